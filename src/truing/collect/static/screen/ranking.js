// Ranking by digits, by drag, and by the rank fields, which hold what counts.

export class Ranking {
  constructor(part, onChange) {
    this.part = part;
    this.order = part.querySelector(".order");
    this.selects = [...part.querySelectorAll("select")];
    this.tiesNext = false;
    this.onChange = onChange;
    this.order.addEventListener("pointerdown", (event) => this.#drag(event));
    part.addEventListener("change", () => this.draw());
    this.draw();
  }

  get ranks() {
    return this.selects.map((select) => Number(select.value));
  }

  get last() {
    return Math.max(0, ...this.ranks);
  }

  // The answer of that number comes next; pressed again, it is taken out.
  digit(number) {
    const select = this.selects[number - 1];
    if (!select) return;
    if (select.value) select.value = "";
    else select.value = this.tiesNext && this.last ? this.last : this.#free();
    this.tiesNext = false;
    this.#changed();
  }

  tie() {
    this.tiesNext = this.part.dataset.ties === "yes";
  }

  takeLast() {
    const last = this.last;
    const select = this.selects.findLast((one) => Number(one.value) === last);
    if (select) select.value = "";
    this.#changed();
  }

  // Ranks count what stands before: two tied at 1 are followed by 3.
  #free() {
    return this.ranks.filter((rank) => rank > 0).length + 1;
  }

  #changed() {
    this.draw();
    this.onChange();
  }

  draw() {
    const answers = this.selects.map((select, place) => ({ place, rank: Number(select.value) || Infinity }));
    answers.sort((a, b) => (a.rank === b.rank ? a.place - b.place : a.rank - b.rank));
    this.order.replaceChildren(...answers.map((one) => this.#chip(one)));
  }

  #chip({ place, rank }) {
    const chip = document.createElement("li");
    const at = document.createElement("span");
    at.className = "at";
    at.textContent = rank === Infinity ? "–" : `${rank}.`;
    chip.classList.toggle("is-open", rank === Infinity);
    chip.append(at, ` Answer ${place + 1}`);
    chip.dataset.place = place;
    return chip;
  }

  // Where a chip is dropped, all ranks are what the order then is.
  #drag(event) {
    const chip = event.target.closest("li");
    if (!chip) return;
    chip.classList.add("is-dragged");
    let isMoved = false;
    const over = (moved) => {
      const target = document.elementFromPoint(moved.clientX, moved.clientY)?.closest(".order li");
      if (!target || target === chip) return;
      const box = target.getBoundingClientRect();
      isMoved = true;
      target[moved.clientX < box.left + box.width / 2 ? "before" : "after"](chip);
    };
    const end = () => {
      removeEventListener("pointermove", over);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      if (!isMoved) return chip.classList.remove("is-dragged");
      [...this.order.children].forEach((one, index) => {
        this.selects[one.dataset.place].value = index + 1;
      });
      this.#changed();
    };
    addEventListener("pointermove", over);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }
}
