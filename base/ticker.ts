/**
 * Counts time in ticks. They come from a timer; and where that is late, from whoever looks meanwhile:
 *
 * ```
 *  timer  │  │  │  │                         │        hidden: its timers fire once a minute
 *  looks       x x      x     x     x     x           at what is read, say
 *  ticks  1  1  1  1    1     2     2     2  1
 * ```
 *
 * A timer that was late, because a program was busy or a machine slept, fires once. Then the tick says how
 * many there should have been.
 */
import { Laps } from "./clock.ts";
import { every, type Timer } from "./timers.ts";

/** A timer that is so many ticks late is throttled, or nothing went on for a while. */
const LATE_TICKS = 2;

/** Ticks every so many milliseconds. */
export class Ticker {
  readonly #ms: number;
  readonly #tick: (passed: number) => void;
  readonly #laps = new Laps();
  readonly #timer: Timer;

  /**
   * Begins to tick.
   *
   * @param tick Gets the number of ticks for which this one stands, at least 1.
   */
  constructor(ms: number, tick: (passed: number) => void) {
    this.#ms = ms;
    this.#tick = tick;
    this.#timer = every(() => this.#next(), ms);
  }

  /** Ticks if the timer is late; `now` is what `clock.now` says. */
  look(now: number): void {
    if (now - this.#laps.began >= (1 + LATE_TICKS) * this.#ms) this.#next();
  }

  #next(): void {
    this.#tick(Math.max(1, Math.round(this.#laps.next() / this.#ms)));
  }

  /** Ticks no more by itself. */
  end(): void {
    this.#timer.cancel();
  }
}
