// What a task's fields say, as the service takes it: answers by place on the screen.

import { read } from "./fields.js";

// { answers, flags, clause } or { missing: element, words } naming what is still to be done.
export function answerOf(form) {
  const fields = read(form);
  const answers = [];
  for (const part of form.querySelectorAll("[data-task]")) {
    const [answer, words] = PARTS[part.dataset.task](fields, part, form);
    if (words) return { missing: part, words };
    if (answer) answers.push({ type: part.dataset.task, ...answer });
  }
  return { answers, flags: fields.flag ?? [], clause: fields.clause ?? "" };
}

const places = (form) => [...form.querySelectorAll(".pane")].map((pane) => pane.dataset.place);

const PARTS = {
  pair(fields) {
    if (!fields.pair) return [null, "Choose a place on the scale first."];
    const [choice, margin] = fields.pair.split(":");
    return [margin === "bad" ? { choice, margin: 0, both_bad: true } : { choice, margin: Number(margin), both_bad: false }];
  },

  ranking(fields, part, form) {
    const ranks = places(form).map((place) => Number(fields[`rank-${place}`] ?? 0));
    if (ranks.includes(0)) return [null, "Give every answer a rank first."];
    if (part.dataset.ties === "no" && new Set(ranks).size < ranks.length) return [null, "No two answers may share a rank here."];
    return [{ ranks }];
  },

  scales(fields, part, form) {
    const groups = [...part.querySelectorAll(".score")];
    const open = groups.find((group) => !group.querySelector(":checked"));
    if (open) return [null, `Not scored yet: ${open.getAttribute("aria-label")}.`];
    const scores = places(form).map((place) => {
      const prefix = `score-${place}-`;
      const mine = Object.entries(fields).filter(([name]) => name.startsWith(prefix));
      return Object.fromEntries(mine.map(([name, value]) => [name.slice(prefix.length), Number(value)]));
    });
    return [{ scores }];
  },

  critique(fields, part, form) {
    const text = fields.critique?.trim() ?? "";
    const each = part.querySelector("#critique-0") ? places(form).map((place) => fields[`critique-${place}`]?.trim() ?? "") : [];
    const isEmpty = !text && each.every((words) => !words);
    if (isEmpty && "required" in part.dataset) return [null, "Write a few words on why first."];
    return [isEmpty ? null : { text, of_responses: each }];
  },

  rewrite(fields, part) {
    const text = fields.rewrite?.trim() ?? "";
    const isUnchanged = !text || text === part.dataset.source?.trim();
    if (isUnchanged && "required" in part.dataset) return [null, "Write the better answer better first."];
    return [isUnchanged ? null : { of: Number(fields["rewrite-of"]), text }];
  },
};
