// Unfinished work: kept here at every input, and by the service a moment later, so that it is there on another machine too.

import { request } from "./api.js";
import { read } from "./fields.js";

const SERVICE_MS = 3_000;
const KEPT_MS = 3 * 24 * 3_600_000;
const PREFIX = "truing.draft.";

export class Drafts {
  constructor(rater) {
    this.prefix = `${PREFIX}${rater}.`;
    for (const name of Object.keys(localStorage).filter((key) => key.startsWith(PREFIX))) {
      if (Date.now() - (JSON.parse(localStorage.getItem(name)).saved_at ?? 0) > KEPT_MS) localStorage.removeItem(name);
    }
  }

  save(form, activeS) {
    const content = { fields: read(form), active_s: activeS, saved_at: Date.now() };
    localStorage.setItem(this.prefix + form.dataset.lease, JSON.stringify(content));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      // What does not arrive stays here, and goes with the next input.
      request("PUT", `/rate/task/${form.dataset.lease}/draft`, content).catch(() => {});
    }, SERVICE_MS);
  }

  // The newer of what was kept here and what came with the page.
  of(form) {
    const here = JSON.parse(localStorage.getItem(this.prefix + form.dataset.lease) ?? "{}");
    const served = JSON.parse(form.dataset.draft);
    return (here.saved_at ?? 0) >= (served.saved_at ?? 0) && here.fields ? here : served;
  }

  forget(leaseId) {
    clearTimeout(this.timer);
    localStorage.removeItem(this.prefix + leaseId);
  }
}
