// The responses: they scroll together, show which is chosen, and what differs between them.

import { fragment } from "./api.js";

export function scrollTogether(panes) {
  const expected = new Map();
  const reach = (pane) => Math.max(1, pane.scrollHeight - pane.clientHeight);
  for (const pane of panes) {
    pane.addEventListener(
      "scroll",
      () => {
        if (Math.abs((expected.get(pane) ?? -9) - pane.scrollTop) < 2) return;
        const share = pane.scrollTop / reach(pane);
        for (const other of panes) {
          if (other === pane) continue;
          other.scrollTop = share * reach(other);
          expected.set(other, other.scrollTop);
        }
        expected.delete(pane);
      },
      { passive: true },
    );
  }
}

export function markChosen(form) {
  const choice = form.querySelector('[name="pair"]:checked')?.value.split(":")[0];
  for (const pane of form.querySelectorAll(".pane")) {
    pane.classList.toggle("is-chosen", choice !== undefined && choice === ["first", "second"][pane.dataset.place]);
  }
}

// Both answers as they were written, with what only one of them has marked; or, pressed again, as they were laid out.
export async function toggleDifference(form, button) {
  const isShown = button.getAttribute("aria-pressed") === "true";
  if (!isShown && !form.dataset.compared) {
    const holder = document.createElement("template");
    holder.innerHTML = await fragment(`/rate/task/${form.dataset.lease}/difference`);
    form.querySelectorAll(".differing").forEach((target, place) => target.replaceChildren(...holder.content.children[place].childNodes));
    form.dataset.compared = "yes";
  }
  button.setAttribute("aria-pressed", String(!isShown));
  for (const pane of form.querySelectorAll(".pane")) {
    pane.querySelector(".differing").hidden = isShown;
    pane.querySelector(".response").hidden = !isShown;
  }
}
