// What was sent and is not acknowledged yet. It lies in localStorage before it is sent, so neither a closed tab nor a lost
// connection loses it; the service takes it once, by its idempotency key, however often it comes.

import { Refusal, request } from "./api.js";

const SHORTEST_MS = 2_000;
const LONGEST_MS = 60_000;

export class Outbox {
  // `onChange(waiting, refused)` is told the counts whenever they change; `onAcknowledged(entry, acknowledgement)` each arrival.
  constructor(rater, { onChange, onAcknowledged, onRefused }) {
    this.place = `truing.outbox.${rater}`;
    this.onChange = onChange;
    this.onAcknowledged = onAcknowledged;
    this.onRefused = onRefused;
    this.wait = SHORTEST_MS;
    addEventListener("online", () => this.flush());
    addEventListener("storage", (event) => event.key === this.place && this.tell());
    this.tell();
  }

  get entries() {
    return JSON.parse(localStorage.getItem(this.place) ?? "[]");
  }

  set entries(entries) {
    localStorage.setItem(this.place, JSON.stringify(entries));
    this.tell();
  }

  tell() {
    this.onChange(this.entries.length);
  }

  add(submission) {
    this.entries = [...this.entries, submission];
  }

  // Take an entry back that has not left. False where it may have arrived.
  withdraw(leaseId) {
    const kept = this.entries.filter((entry) => entry.lease_id !== leaseId);
    if (this.sending || kept.length === this.entries.length) return false;
    this.entries = kept;
    return true;
  }

  // Send what waits, in order. Resolves when nothing waits any more or the connection is down.
  flush() {
    this.sending ??= this.#sendAll().finally(() => {
      this.sending = undefined;
    });
    return this.sending;
  }

  async #sendAll() {
    clearTimeout(this.timer);
    for (let [entry] = this.entries; entry; [entry] = this.entries) {
      let response;
      try {
        response = await request("POST", "/rate/submit", entry);
      } catch {
        // No connection: the entry stays in the outbox, which the page shows.
        return this.#later();
      }
      if (response.ok) this.onAcknowledged(entry, await response.json());
      // 401, 403: this page belongs to a session that ended (signed in again in another tab, for one). Loaded again, it sends.
      else if ([401, 403, 429].includes(response.status) || response.status >= 500) {
        this.onRefused(entry, await Refusal.from(response), true);
        return this.#later();
      } else this.onRefused(entry, await Refusal.from(response), false);
      this.entries = this.entries.filter((other) => other.idempotency_key !== entry.idempotency_key);
      this.wait = SHORTEST_MS;
    }
  }

  #later() {
    this.timer = setTimeout(() => this.flush(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_MS);
  }
}
