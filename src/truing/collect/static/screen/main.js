// The rating screen: shows one item after another, and sees that nothing a rater does is lost.

import { ActiveClock } from "./active.js";
import { answerOf } from "./answer.js";
import { fragment, newKey, Refusal, request } from "./api.js";
import { Chat } from "./chat.js";
import { Drafts } from "./drafts.js";
import { read, write } from "./fields.js";
import { keys } from "./keyboard.js";
import { Outbox } from "./outbox.js";
import { markChosen, scrollTogether, toggleDifference } from "./panes.js";
import { Ranking } from "./ranking.js";

const screen = document.getElementById("screen");
const stage = document.getElementById("stage");
const guideline = document.getElementById("guideline");
const help = document.getElementById("help");
const settings = JSON.parse(screen.dataset.settings);
const { campaign, rater } = screen.dataset;
const AHEAD_MS = 400;
const RETRY_MS = 5_000;

const clock = new ActiveClock();
const drafts = new Drafts(rater);
const sent = [];
const chat = new Chat(campaign, takeNext, say);
let ranking;
let ahead;
let beforeGuideline;
let takenBack = Promise.resolve();

const outbox = new Outbox(rater, {
  onChange(waiting, aside) {
    const words = [];
    if (waiting) words.push(waiting === 1 ? "1 answer waits to be sent" : `${waiting} answers wait to be sent`);
    if (aside) words.push(aside === 1 ? "1 answer could not be taken" : `${aside} answers could not be taken`);
    document.getElementById("outbox-state").textContent = words.join(", ");
  },
  onAcknowledged(entry, acknowledgement) {
    const one = sent.find((other) => other.leaseId === entry.lease_id);
    if (one) one.undoUntil = acknowledgement.undo_until;
  },
  onRefused(refusal, fate) {
    if (refusal.status === 401) say("You are signed out. Your answers are kept here: sign in again, and they are sent.", true);
    else if (fate === "aside") say("The service fails on one of your answers. It is kept on this machine, and the others are sent. Load this page again to send it once more; if that does not help, tell a lead.", true);
    else if (fate === "waiting") say(`Not taken yet, and kept here: ${refusal.message}`, true);
    else say(`Not taken: ${refusal.message}`, true);
  },
});

const form = () => document.getElementById("task");
const button = (name) => document.querySelector(`[data-do="${name}"]`);

function say(words, isBad = false) {
  const place = document.getElementById("message");
  place.textContent = words;
  place.classList.toggle("bad", isBad);
  clearTimeout(say.timer);
  if (!isBad) say.timer = setTimeout(() => place.replaceChildren(), 6_000);
}

// Showing an item

function show(html) {
  stage.innerHTML = html;
  begin();
}

// Make what stands on the stage ready to be worked on. `touched`: fields that the rater filled in already.
function begin(touched = {}) {
  const task = form();
  ranking = undefined;
  if (!task) {
    focusHeading();
    return chat.shown();
  }
  const draft = drafts.of(task);
  clock.restart(draft.active_s ?? 0);
  if (draft.fields) write(task, { ...draft.fields, ...touched });
  for (const panel of task.querySelectorAll("[data-panel]")) if (hasWork(panel)) open(panel, true);
  if (task.querySelector("[data-veiled]")) task.querySelector(".dock").inert = true;
  const part = task.querySelector('[data-task="ranking"]');
  if (part) ranking = new Ranking(part, changed);
  if (settings.scroll_together) scrollTogether([...task.querySelectorAll(".pane")]);
  markChosen(task);
  scrollTo(0, 0);
  focusHeading();
  setTimeout(lookAhead, AHEAD_MS);
}

function focusHeading() {
  // Not where the rater is at work already: what they type would go nowhere, or be taken for keys.
  if (!stage.contains(document.activeElement)) stage.querySelector("h1")?.focus({ preventScroll: true });
}

function hasWork(panel) {
  return [...panel.querySelectorAll("input, textarea")].some((control) => (control.type.match(/radio|checkbox/) ? control.checked : control.value));
}

function changed() {
  const task = form();
  drafts.save(task, clock.seconds);
  markChosen(task);
  task.querySelector(".is-missing")?.classList.remove("is-missing");
}

// Taking the next: fetched ahead, so that nobody waits for it

const nextPath = () => {
  const held = [form()?.dataset.lease, ...outbox.entries.map((entry) => entry.lease_id)].filter(Boolean);
  return `/rate/${campaign}/next?${new URLSearchParams(held.map((lease) => ["holding", lease]))}`;
};

function lookAhead() {
  // Where it fails, takeNext asks again and says what is wrong.
  if (form()) ahead ??= fragment(nextPath()).catch(() => undefined);
}

const leaseIn = (html) => /data-lease="([^"]*)"/.exec(html ?? "")?.[1];

async function takeNext() {
  const gone = form()?.dataset.lease;
  const ready = await ahead;
  ahead = undefined;
  const lease = leaseIn(ready);
  if (lease && lease !== gone && !outbox.entries.some((entry) => entry.lease_id === lease)) return show(ready);
  await outbox.flush();
  try {
    show(await fragment(nextPath()));
  } catch (error) {
    if (error instanceof Refusal) return show(nothing("Nothing to show", error.message));
    show(nothing("You are offline", "Your answers are kept on this machine and are sent when the connection is back; then the next item comes."));
    clearTimeout(takeNext.timer);
    takeNext.timer = setTimeout(() => form() || takeNext(), RETRY_MS);
  }
}

function nothing(heading, text) {
  const part = document.getElementById("nothing-template").content.cloneNode(true);
  part.querySelector("h1").textContent = heading;
  part.querySelector("p").textContent = text;
  const holder = document.createElement("div");
  holder.append(part);
  return holder.innerHTML;
}

// Sending and taking back

function send(content) {
  const task = form();
  const leaseId = task.dataset.lease;
  sent.push({ leaseId, html: stage.innerHTML, fields: read(task), active_s: clock.seconds });
  outbox.add({
    lease_id: leaseId,
    idempotency_key: newKey(),
    guideline_hash: task.dataset.guidelineHash,
    active_s: clock.seconds,
    flags: [],
    clause: "",
    ...content,
  });
  drafts.forget(leaseId);
  task.classList.add("is-waiting");
  task.inert = true;
  for (const one of document.querySelectorAll('[data-do="undo"]')) one.disabled = false;
  const arrived = outbox.flush();
  return Promise.all([takeNext(), arrived]);
}

const actions = {
  submit() {
    if (document.getElementById("chat")) return chat.send();
    const task = form();
    if (!task || task.inert || task.querySelector(".dock").inert) return;
    const content = answerOf(task);
    if (content.missing) {
      content.missing.hidden = false;
      content.missing.classList.add("is-missing");
      const target = content.missing.querySelector(".score:not(:has(:checked)) input") ?? content.missing.querySelector("textarea, select, input");
      target.focus();
      return say(content.words);
    }
    say(`Sent. ${label("undo")} takes it back.`);
    return send(content);
  },

  "send-skip"() {
    const fields = read(form());
    const reason = (fields["skip-other"] ?? fields.skip ?? "").trim();
    if (!reason) return say("Choose a reason, or write one.");
    say(`Skipped. ${label("undo")} takes it back.`);
    return send({ skip_reason: reason, flags: fields.flag ?? [] });
  },

  // One after the other: pressed twice, it takes two answers back.
  undo() {
    takenBack = takenBack.then(takeBack, takeBack);
  },

  flag: () => toggle("flag"),
  critique: () => toggle("critique"),
  skip: () => toggle("skip"),
  async rewrite() {
    if (toggle("rewrite")) await startRewrite();
  },

  async diff() {
    if (!button("diff")) return;
    await toggleDifference(form(), button("diff")).catch(() => say("The difference needs the connection, which is down.", true));
  },

  async guideline() {
    const opener = button("guideline");
    if (!opener) return;
    if (!guideline.hidden) return closeGuideline();
    try {
      guideline.innerHTML = await fragment(`/rate/${campaign}/guideline`);
    } catch (error) {
      return say(error.message, true);
    }
    beforeGuideline = document.activeElement;
    guideline.hidden = false;
    opener.setAttribute("aria-expanded", "true");
    guideline.focus();
  },

  "end-chat": () => chat.end(),
  help: () => (help.open ? help.close() : help.showModal()),
  "close-help": () => help.close(),

  unveil() {
    form().querySelector(".panes").removeAttribute("data-veiled");
    form().querySelector(".veil-note").remove();
    form().querySelector(".dock").inert = false;
    form().querySelector("h1").focus();
  },

  digit(number, target) {
    const task = form();
    if (!task || task.inert || task.querySelector(".dock").inert) return;
    const row = target.closest?.(".score") ?? (task.querySelector('[data-task="pair"], [data-task="ranking"]') ? null : firstOpenRow(task));
    if (row) return score(row, number);
    if (ranking) return ranking.digit(number);
    const step = task.querySelector(`[data-task="pair"] [data-digit="${number}"]`);
    if (!step) return;
    if (step.checked) return actions.submit();
    step.click();
  },

  // Keys that only some tasks have, and scrolling the answers from wherever the focus is.
  extra(event) {
    const way = { ArrowDown: 60, ArrowUp: -60, PageDown: 400, PageUp: -400 }[event.key];
    const pane = form()?.querySelector(".pane");
    if (ranking && event.key === "=") ranking.tie();
    else if (ranking && event.key === "Backspace") ranking.takeLast();
    else if (way && pane && event.target.matches("body, h1")) pane.scrollBy({ top: way });
    else return;
    event.preventDefault();
  },

  escape() {
    if (!guideline.hidden) closeGuideline();
    for (const panel of form()?.querySelectorAll("[data-panel]") ?? []) if (!("required" in panel.dataset) && !hasWork(panel)) open(panel, false);
  },
};

async function takeBack() {
  const last = sent.at(-1);
  if (!last) return say("There is nothing to take back.");
  try {
    if (!outbox.withdraw(last.leaseId)) await withdrawThere(last);
  } catch (error) {
    return say(error instanceof Refusal ? error.message : "You are offline: this answer has left, and can be taken back when the connection is there.", true);
  }
  sent.pop();
  button("undo").disabled = sent.length === 0;
  if (form() && !form().inert) ahead = Promise.resolve(stage.innerHTML);
  show(last.fresh ?? last.html);
  const task = form();
  task.inert = false;
  task.classList.remove("is-waiting");
  write(task, last.fields);
  clock.restart(last.active_s);
  if (ranking) ranking.draw();
  changed();
  say("Taken back. Change it and send it again.");
}

async function withdrawThere(last) {
  await outbox.flush();
  const response = await request("POST", "/rate/undo", { lease_id: last.leaseId, idempotency_key: (last.undoKey ??= newKey()) });
  if (!response.ok) throw await Refusal.from(response);
  last.fresh = await fragment(`/rate/task/${last.leaseId}`);
}

const label = (name) => document.querySelector(`[data-key-of="${name}"]`)?.textContent ?? "Undo";

function firstOpenRow(task) {
  return task.querySelector(".score:not(:has(:checked))");
}

function score(row, number) {
  const input = row.querySelector(`[data-digit="${number}"]`);
  if (!input) return;
  input.click();
  const rows = [...form().querySelectorAll(".score")];
  (rows[rows.indexOf(row) + 1] ?? row).querySelector("input").focus();
}

// Panels that open below the scale

function toggle(name) {
  const panel = form()?.querySelector(`[data-panel="${name}"]`);
  if (!panel) return false;
  const isOpening = panel.hidden;
  open(panel, isOpening || "required" in panel.dataset);
  if (!panel.hidden) panel.querySelector("input, textarea")?.focus();
  else form().querySelector("h1").focus({ preventScroll: true });
  return isOpening || "required" in panel.dataset;
}

function open(panel, isOpen) {
  panel.hidden = !isOpen;
  const opener = button(panel.dataset.panel);
  if (opener?.hasAttribute("aria-expanded")) opener.setAttribute("aria-expanded", String(isOpen));
}

// Back to where the rater was: Enter on the button would open the guideline again, and not send the answer.
function closeGuideline() {
  guideline.hidden = true;
  button("guideline").setAttribute("aria-expanded", "false");
  if (beforeGuideline?.isConnected && beforeGuideline !== document.body) beforeGuideline.focus({ preventScroll: true });
  else stage.querySelector("h1")?.focus({ preventScroll: true });
}

// The better answer's own words to start from; an answer that was begun is left alone.
async function startRewrite() {
  const task = form();
  const part = task.querySelector('[data-task="rewrite"]');
  const of = part.querySelector('[name="rewrite-of"]');
  const text = part.querySelector("textarea");
  if (text.value && text.value !== part.dataset.source) return;
  const choice = read(task).pair?.split(":")[0];
  if (!text.value && choice === "second") of.value = "1";
  const response = await request("GET", `/rate/task/${task.dataset.lease}/text?place=${of.value}`).catch(() => undefined);
  if (!response?.ok) return say("The answer's text needs the connection, which is down. You can write without it.", true);
  text.value = part.dataset.source = await response.text();
  text.setSelectionRange(0, 0);
}

// Wiring

const handlers = {
  keydown: keys(settings, actions),
  input(event) {
    if (!event.target.closest("#task")) return;
    changed();
    if (event.target.name === "rewrite-of") startRewrite();
  },
  submit(event) {
    if (!stage.contains(event.target)) return;
    event.preventDefault();
    actions.submit();
  },
  click(event) {
    const name = event.target.closest("[data-do]")?.dataset.do;
    if (name) actions[name]();
  },
};
for (const [kind, handler] of Object.entries(handlers)) addEventListener(kind, handler);
addEventListener("pagehide", () => {
  const task = form();
  if (task && !task.inert && Object.keys(read(task)).length) drafts.save(task, clock.seconds);
});

// What was done before this script had come
const early = takeEarly();
// The service may hand out again what was answered here and has not arrived there.
const isAnswered = outbox.entries.some((entry) => entry.lease_id === form()?.dataset.lease);
if (isAnswered) takeNext();
else {
  const names = early.filter((event) => event.type === "input").map((event) => event.target.name);
  const now = form() ? read(form()) : {};
  begin(Object.fromEntries(names.map((name) => [name, now[name]])));
  for (const event of early) {
    if (event.type === "input" && event.target.type === "radio") event.target.checked = true;
    handlers[event.type](event);
  }
  outbox.flush();
}
