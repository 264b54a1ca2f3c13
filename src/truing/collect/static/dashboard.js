// Keeps a dashboard current: asks for its changing part every few seconds while the page is in view, and puts it in place.
// What a person is using (focus inside, text selected) is not replaced under their hands.

const board = document.getElementById("board");
const everyMs = Number(board.dataset.everyS) * 1000;

function isInUse() {
  const selection = getSelection();
  return board.contains(document.activeElement) || (!selection.isCollapsed && board.contains(selection.anchorNode));
}

async function refresh() {
  if (document.hidden || isInUse()) return;
  const answer = await fetch(board.dataset.src, { credentials: "same-origin", redirect: "error" });
  if (!answer.ok) throw new Error(`the dashboard could not be read: ${answer.status}`);
  board.innerHTML = await answer.text();
}

async function keepRefreshing() {
  try {
    await refresh();
    board.removeAttribute("data-stale");
  } catch {
    board.dataset.stale = "";   // the page says that its numbers are old, and goes on trying
  }
  setTimeout(keepRefreshing, everyMs);
}

setTimeout(keepRefreshing, everyMs);
