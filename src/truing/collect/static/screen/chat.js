// A live conversation: sends the rater's message, then asks until both answers are there and can be compared.

import { Refusal, request } from "./api.js";

const ASK_MS = 1_500;
const chat = () => document.getElementById("chat");

export class Chat {
  // `refresh()` shows what the service has next; `say(words, isBad)` tells the rater.
  constructor(campaign, refresh, say) {
    this.path = `/rate/${campaign}/chat`;
    this.refresh = refresh;
    this.say = say;
  }

  // Called whenever a part of the page was shown.
  shown() {
    clearTimeout(this.timer);
    if (chat()?.dataset.state === "waiting") this.timer = setTimeout(() => this.refresh(), ASK_MS);
    else chat()?.querySelector("textarea").focus();
  }

  async send() {
    if (chat().dataset.state === "waiting") return;
    const text = chat().querySelector("textarea").value.trim();
    if (!text) return this.say("Write a message first.");
    if (await this.#post(this.path, { text })) this.refresh();
  }

  async end() {
    if (await this.#post(`${this.path}/end`, {})) this.refresh();
  }

  // What was written stays in its field where it could not be sent.
  async #post(path, body) {
    try {
      const response = await request("POST", path, body);
      if (response.ok) return true;
      this.say((await Refusal.from(response)).message, true);
    } catch {
      this.say("You are offline. Your message stays here: send it when the connection is back.", true);
    }
    return false;
  }
}
