// Requests to the service. A request that never arrived throws a TypeError, as fetch does; what was answered is returned.

const token = document.querySelector('meta[name="csrf-token"]').content;

export async function request(method, path, body) {
  // Asked for as JSON, so that what goes wrong comes as words and not as a page.
  const headers = { "X-CSRF-Token": token, Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin" });
}

// The HTML of a page's part. Throws a Refusal with the service's own words where it would not give it.
export async function fragment(path) {
  const response = await request("GET", path);
  if (!response.ok) throw await Refusal.from(response);
  return response.text();
}

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  static async from(response) {
    let message = `the service answered ${response.status}`;
    try {
      const body = await response.json();
      message = body.error?.message ?? message;
    } catch {
      // Not every answer has words: a proxy's, for one.
    }
    return new Refusal(response.status, String(message));
  }
}

// A key that names one submission, however often it is sent. randomUUID would need https.
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
