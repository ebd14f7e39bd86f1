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
 * many there should have been. It comes after some turns of the event loop, in which all that came
 * meanwhile is read: a program that is busy again and again ticks no faster than it reads.
 */
import { Laps } from "./laps.ts";
import { every, type Timer } from "./timers.ts";
import { inNextTurn } from "./turn.ts";

/** A timer that is so many ticks late is throttled, or nothing went on for a while. */
const LATE_TICKS = 2;
/** In so many turns a question gets to another program in the same process, and the answer back. */
const LATE_TURNS = 4;

/** Ticks every so many milliseconds. */
export class Ticker {
  readonly #ms: number;
  readonly #tick: (passed: number) => void;
  readonly #laps = new Laps();
  readonly #timer: Timer;
  /** Cancels the turn for which a late tick waits. */
  #cancel: (() => void) | undefined;

  /**
   * Begins to tick.
   *
   * @param tick Gets the number of ticks for which this one stands, at least 1.
   */
  constructor(ms: number, tick: (passed: number) => void) {
    this.#ms = ms;
    this.#tick = tick;
    this.#timer = every(() => this.#fired(), ms);
  }

  /** Ticks if the timer is late; `now` is what `clock.now` says. */
  look(now: number): void {
    if (now - this.#laps.began >= (1 + LATE_TICKS) * this.#ms) this.#tick(this.#passed());
  }

  #fired(): void {
    if (this.#cancel !== undefined) return;
    const passed = this.#passed();
    if (passed < LATE_TICKS) this.#tick(passed);
    else this.#tickAfter(LATE_TURNS, passed);
  }

  #tickAfter(turns: number, passed: number): void {
    this.#cancel = inNextTurn(() => {
      if (turns > 1) return this.#tickAfter(turns - 1, passed);
      this.#cancel = undefined;
      this.#tick(passed);
    });
  }

  /** How many ticks have passed since it was asked last, at least 1. */
  #passed(): number {
    return Math.max(1, Math.round(this.#laps.next() / this.#ms));
  }

  /** Ticks no more by itself. */
  end(): void {
    this.#timer.cancel();
    this.#cancel?.();
  }
}
