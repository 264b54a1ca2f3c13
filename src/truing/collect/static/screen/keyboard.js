// Keys, off while typing. Digits go by their place on the keyboard where a layout has other signs there.

const TYPING = 'textarea, select, [contenteditable], input:not([type="radio"], [type="checkbox"], [type="button"], [type="submit"])';
const NATIVE_ENTER = "button, a, summary";

// What a keydown does. `actions` has a function for each action's name, and digit(n, target), extra(event), escape().
export function keys(settings, actions) {
  const names = Object.fromEntries(Object.entries(settings.keys).map(([name, key]) => [key.toLowerCase(), name]));
  return (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    if (event.key === "Escape") actions.escape();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) act(event, () => actions.submit());
    else if (event.ctrlKey || event.metaKey || event.altKey || !settings.are_keys_on || event.target.closest?.(TYPING)) return;
    else plain(event, names, actions);
  };
}

function plain(event, names, actions) {
  const name = names[event.key.toLowerCase()];
  if (document.querySelector("dialog[open]") && name !== "help") return;
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
  if (name && !(event.key === "Enter" && event.target.closest?.(NATIVE_ENTER))) act(event, () => actions[name]());
  else if (digit !== undefined && !event.shiftKey) act(event, () => actions.digit(Number(digit), event.target));
  else if (/^\d$/.test(event.key)) act(event, () => actions.digit(Number(event.key), event.target));
  else actions.extra(event);
}

function act(event, action) {
  event.preventDefault();
  if (!event.repeat) action();
}
