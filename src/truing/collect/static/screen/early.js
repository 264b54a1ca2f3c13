// What a rater does before the screen's modules have come: kept, and done by main.js once they are there. A classic script in
// <head>, so that it listens before there is an item to answer.

const early = [];
const kinds = ["keydown", "click", "input", "submit"];

function keep(event) {
  // The browser's own way of sending a form would load the page anew.
  if (event.type === "submit" && event.target.matches("#task, #chat")) event.preventDefault();
  early.push(event);
}

for (const kind of kinds) addEventListener(kind, keep);

// What was kept, in order. From here on the screen listens itself.
function takeEarly() {
  for (const kind of kinds) removeEventListener(kind, keep);
  return early;
}
