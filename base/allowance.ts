/**
 * How often something may happen: a token bucket.
 *
 * ```
 *   + perSecond ──▶ [ tokens, at most `most`, full at first ] ──▶ spend() takes one
 * ```
 */

/** Allows something so many times at once, and so many times a second in the long run. */
export class Allowance {
  readonly #most: number;
  readonly #perSecond: number;
  #tokens: number;
  #at: number | undefined;

  /** Makes one that is full. */
  constructor(most: number, perSecond: number) {
    this.#most = this.#tokens = most;
    this.#perSecond = perSecond;
  }

  /** Whether it may happen once more, now; `now` is a monotonic time in milliseconds. */
  spend(now: number): boolean {
    const gained = (now - (this.#at ?? now)) / 1000 * this.#perSecond;
    this.#tokens = Math.min(this.#most, this.#tokens + gained);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
