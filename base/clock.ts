/**
 * The time: as a monotonic number of milliseconds, and as that of day.
 *
 * It is the platform's as it was when this was loaded: a program that fakes its own time, as tests do,
 * stops neither connections nor the turns of others. Only this project's own tests put another one in
 * its place.
 */
const platform = performance;
const { now } = platform;
const date = Date.now;

/** Tells the time. */
export const clock: {
  /** Milliseconds since some moment; never goes back. */
  now: () => number;
  /** Milliseconds since 1970, as the machine's clock says; it may be set anew. */
  date: () => number;
} = { now: () => now.call(platform), date };

/**
 * How much time passes from lap to lap. It is that of the clock that says more: while a machine sleeps,
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
