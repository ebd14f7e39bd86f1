/**
 * How much time passes, whatever a machine does meanwhile.
 */
import { clock } from "./clock.ts";

/**
 * Measures from lap to lap. The time is that of the clock that says more: while a machine sleeps,
 * the monotonic one stands still on some platforms, and the other one may be set back.
 */
export class Laps {
  #now = clock.now();
  #date = clock.date();

  /** When this lap began, as `clock.now` says. */
  get began(): number {
    return this.#now;
  }

  /** Begins another lap; returns how many milliseconds the one before took. */
  next(): number {
    const { began } = this;
    const date = this.#date;
    this.#now = clock.now();
    this.#date = clock.date();
    return Math.max(this.#now - began, this.#date - date);
  }
}
