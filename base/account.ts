/**
 * What is kept in memory, summed up: whoever keeps something adds how much it is, and takes it off again.
 */

/** A sum of bytes that has a bound. */
export class Account {
  /** How many bytes are kept. */
  bytes = 0;
  readonly #max: number;
  readonly #onExcess: () => void;
  /** Whether somebody is told soon that it is too much. */
  #isTold = false;

  /**
   * Makes one in which nothing is kept.
   *
   * @param onExcess Called soon after more than `max` bytes are kept, when nothing else is under way.
   */
  constructor(max = Infinity, onExcess: () => void = () => {}) {
    this.#max = max;
    this.#onExcess = onExcess;
  }

  /** So many bytes more are kept, or fewer. */
  add(change: number): void {
    this.bytes += change;
    if (this.bytes > this.#max && change > 0) this.#tell();
  }

  /** Whoever adds may be in the middle of something, which must not be taken from under it. */
  #tell(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    Promise.resolve().then(() => {
      this.#isTold = false;
      if (this.bytes > this.#max) this.#onExcess();
    });
  }
}
