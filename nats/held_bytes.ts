/**
 * The bound of what is kept of other brokers' packets until more of them come: packets that wait for
 * one before them, and parts of a frame. Whoever has waited longest without progress is given up first:
 * what really comes from a broker does not wait for long.
 */

/** Who keeps something. */
export interface Holder {
  /** Lets go of all that it keeps. */
  giveUp(): void;
}

/** Bounds what all holders keep together. */
export class HeldBytes {
  readonly #max: number;
  #sum = 0;
  /** How many bytes each keeps, who has waited longest first. */
  readonly #holders = new Map<Holder, number>();

  /** Bounds it to so many bytes. */
  constructor(max: number) {
    this.#max = max;
  }

  /** How many bytes all keep. */
  get bytes(): number {
    return this.#sum;
  }

  /** Notes how many bytes a holder keeps now; gives up others if that is too much, and it if need be. */
  keeps(holder: Holder, bytes: number): void {
    this.#forget(holder);
    if (bytes > 0) this.#holders.set(holder, bytes);
    this.#sum += bytes;
    while (this.#sum > this.#max) {
      const oldest = this.#holders.keys().next().value!;
      this.#forget(oldest);
      oldest.giveUp();
    }
  }

  #forget(holder: Holder): void {
    this.#sum -= this.#holders.get(holder) ?? 0;
    this.#holders.delete(holder);
  }
}
