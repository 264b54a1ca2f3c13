// What was sent and is not acknowledged yet. It lies in localStorage before it is sent, so neither a closed tab nor a lost
// connection loses it; the service takes it once, by its idempotency key, however often it comes. One that the service fails on
// for half a minute is set aside, so that later ones are sent: it is tried once a minute, and when the page is loaded again.

import { Refusal, request } from "./api.js";

const SHORTEST_MS = 2_000;
const LONGEST_MS = 60_000;
const ASIDE_AFTER_MS = 30_000;

export class Outbox {
  // `onChange(waiting, aside)` is told the counts whenever they change; `onAcknowledged(entry, acknowledgement)` each arrival;
  // `onRefused(refusal, fate)` what the service said instead, and what becomes of the entry: "waiting", "aside" or "dropped".
  constructor(rater, { onChange, onAcknowledged, onRefused }) {
    this.place = `truing.outbox.${rater}`;
    this.onChange = onChange;
    this.onAcknowledged = onAcknowledged;
    this.onRefused = onRefused;
    this.wait = SHORTEST_MS;
    this.failures = new Map();
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
    const aside = this.entries.filter((entry) => this.#isAside(entry)).length;
    this.onChange(this.entries.length - aside, aside);
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

  // Send what waits, in order. Resolves when nothing waits any more or nothing can be sent now.
  flush() {
    this.sending ??= this.#sendAll().finally(() => {
      this.sending = undefined;
    });
    return this.sending;
  }

  async #sendAll() {
    clearTimeout(this.timer);
    for (let entry = this.#next(); entry; entry = this.#next()) {
      let response;
      try {
        response = await request("POST", "/rate/submit", entry);
      } catch {
        // No connection: the entry stays in the outbox, which the page shows.
        return this.#later();
      }
      if (response.ok) this.onAcknowledged(entry, await response.json());
      // 401, 403: this page belongs to a session that ended (signed in again in another tab, for one). Loaded again, it sends.
      else if ([401, 403, 429].includes(response.status)) {
        this.onRefused(await Refusal.from(response), "waiting");
        return this.#later();
      } else if (response.status >= 500) {
        const refusal = await Refusal.from(response);
        if (!this.#fail(entry)) {
          this.onRefused(refusal, "waiting");
          return this.#later();
        }
        this.wait = SHORTEST_MS;
        this.tell();
        this.onRefused(refusal, "aside");
        continue;
      } else this.onRefused(await Refusal.from(response), "dropped");
      this.entries = this.entries.filter((other) => other.idempotency_key !== entry.idempotency_key);
      this.wait = SHORTEST_MS;
    }
    if (this.entries.length) this.timer = setTimeout(() => this.flush(), LONGEST_MS);
  }

  // The first that is to be tried now: one set aside has its turn once a minute.
  #next() {
    const now = performance.now();
    return this.entries.find((entry) => !this.#isAside(entry) || this.failures.get(entry.idempotency_key).last <= now - LONGEST_MS);
  }

  #isAside(entry) {
    const failure = this.failures.get(entry.idempotency_key);
    return failure && failure.last - failure.first >= ASIDE_AFTER_MS;
  }

  // The service failed on an entry once more. True where it is set aside.
  #fail(entry) {
    const now = performance.now();
    this.failures.set(entry.idempotency_key, { first: this.failures.get(entry.idempotency_key)?.first ?? now, last: now });
    return this.#isAside(entry);
  }

  #later() {
    this.timer = setTimeout(() => this.flush(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_MS);
  }
}
