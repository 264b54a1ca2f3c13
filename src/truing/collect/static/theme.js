// The theme a person chose, set before anything is painted (a classic script in <head>, so that no page flashes in the other),
// and the button in the bar that chooses it: as the system has it, light, dark.
{
  const themes = ["auto", "light", "dark"];
  const root = document.documentElement;
  const apply = (chosen) => {
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
    else delete root.dataset.theme;
  };
  const current = () => root.dataset.theme ?? "auto";
  apply(localStorage.getItem("truing.theme"));

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => { document.getElementById("theme-name").textContent = current(); };
    button.addEventListener("click", () => {
      const next = themes[(themes.indexOf(current()) + 1) % themes.length];
      localStorage.setItem("truing.theme", next);
      apply(next);
      show();
    });
    addEventListener("storage", (event) => { if (event.key === "truing.theme") { apply(event.newValue); show(); } });
    show();
    button.hidden = false;   // without scripts there is no choice to offer
  });
}
