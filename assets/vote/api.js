// Calls of docs/study-api.md. A call without an answer is sent again: every call may be repeated.

export class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const NUM_TRIES = 6;

export class Api {
  constructor() {
    this.token = null;
    this.onTrouble = () => {};
  }

  get(path) {
    return this.#call(path, { method: 'GET' });
  }

  post(path, body = {}) {
    return this.#call(path, { method: 'POST', body: JSON.stringify(body) });
  }

  async #call(path, options) {
    const headers = { 'Content-Type': 'application/json' };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    for (let tried = 1; ; tried += 1) {
      const answer = await this.#once(path, { ...options, headers });
      if (answer.ok) {
        this.onTrouble('');
        return answer.body;
      }
      // If the server says that it cannot store anything, the rater decides when to try again.
      const mayPass = answer.code !== 'unavailable'
        && (answer.status === 0 || answer.status === 429 || answer.status >= 500);
      if (!mayPass || tried === NUM_TRIES) {
        this.onTrouble('');
        throw new Refusal(answer.status, answer.code, answer.message);
      }
      this.onTrouble(answer.status === 429
        ? 'Too many answers in a short time. Yours will be sent in a moment …'
        : 'The server is not responding. Your answer is kept here and will be sent again …');
      await pause(Math.min(8000, 500 * 2 ** tried));
    }
  }

  async #once(path, options) {
    const unreachable = { ok: false, status: 0, code: 'unreachable', message: 'The server cannot be reached. Check your connection, then try again.' };
    let response;
    try {
      response = await fetch(`api/${path}`, { ...options, cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer' });
    } catch (error) {
      if (error instanceof TypeError) return unreachable;
      throw error;
    }
    const isJson = (response.headers.get('Content-Type') || '').startsWith('application/json');
    const body = isJson ? await response.json().catch(() => null) : null;
    if (response.ok && body) return { ok: true, body };
    const fault = (body && body.error) || { code: 'unreachable', message: 'The server reported an error. Try again later.' };
    return { ok: false, status: response.ok ? 0 : response.status, ...fault };
  }
}
