// Repeats the reads of a view while the page is visible, with growing pauses while the server
// fails.

import { ApiError } from "./api.js";

/** The longest pause between two tries, in milliseconds. */
const MAX_PAUSE = 30_000;
/** The statuses after which an early retry does not help, since the server refuses the request. */
const REFUSED = new Set([400, 401, 403, 422]);

export class Loop {
  #timer;
  #abort = new AbortController();
  #round;
  #failures = 0;
  #since;
  #onState;

  /**
   * `onState` is called with `undefined` if a round succeeds, and with the error and the time of
   * the first failure if it fails.
   */
  constructor(onState) {
    this.#onState = onState;
    document.addEventListener("visibilitychange", () => this.now());
  }

  /**
   * Repeats `round(signal)` instead of the previous function. It returns the milliseconds until the
   * next round, or throws.
   */
  start(round) {
    this.#round = round;
    this.now();
  }

  /** Begins a round at once or, if the page is hidden, when it becomes visible. */
  now() {
    this.#pause();
    if (this.#round && !document.hidden) this.#run();
  }

  #pause() {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#abort = new AbortController();
  }

  async #run() {
    const { signal } = this.#abort;
    let pause;
    try {
      pause = await this.#round(signal);
      if (signal.aborted) return;
      this.#failures = 0;
      this.#since = undefined;
      this.#onState(undefined);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) console.error(error);
      this.#since ??= new Date();
      const longest = REFUSED.has(error.status) ? MAX_PAUSE : Math.min(MAX_PAUSE, 1000 * 2 ** this.#failures);
      this.#failures += 1;
      // Half of the pause is random, so that many pages do not come back at the same moment.
      pause = Math.max(error.retryAfter ?? 0, longest * (0.5 + Math.random() / 2));
      this.#onState({ error, since: this.#since });
    }
    this.#timer = setTimeout(() => this.#run(), pause);
  }
}
