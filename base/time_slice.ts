/**
 * Lets everything else have its turn while one task has much to do.
 *
 * A read that finds bytes waiting resolves at once, without a turn of the event loop, and so may a
 * hundred more after it: whoever sends without end could keep everybody else from being heard. So the
 * time that a task spends is counted, and a timer, which needs a turn, resets it.
 *
 * ```
 *  spent   0 ───── ARM_MS: sets the timer ───────── TURN_MS: waits for it
 *                        └── a turn comes anyway: 0 again, nobody has waited
 * ```
 *
 * By the time that the task waits for it, the timer is due, so the wait costs only one turn.
 *
 * To look at the clock takes as long as a small piece of work. So it is looked at after a number of
 * pieces, which grows while they take little time, and shrinks at once when they take long.
 */
import { clock } from "./clock.ts";
import { later, type Timer } from "./timers.ts";

/** How long one turn may take. */
const TURN_MS = 5;
/** When the timer is set: early enough to be due at the end of the turn. */
const ARM_MS = 1;
/** How long it takes, about, from one look at the clock to the next. */
const LOOK_MS = 0.05;
/** How much work there is between the first two looks, and the most that there ever is. */
const WORK_FIRST = 64;
export const WORK_MAX = 1024;

/** Shared by all, because there is a slice for each connection. */
function read(): number {
  return clock.now();
}

/** The turns of one task among others. */
export class TimeSlice {
  #spent = 0;
  #since = 0;
  /** How much work there is from one look at the clock to the next, and how much of it is left. */
  #step = WORK_FIRST;
  #left = WORK_FIRST;
  readonly #now: () => number;
  #timer: Timer | undefined;
  #next: PromiseWithResolvers<void> | undefined;

  /** Begins with nothing spent; `now` is a monotonic time in milliseconds. */
  constructor(now: () => number = read) {
    this.#now = now;
  }

  /** Begins to spend time. */
  begin(): void {
    this.#since = this.#now();
  }

  /** How much work may be done before the clock is looked at; at least 1. */
  get left(): number {
    return this.#left;
  }

  /**
   * Notes work that was done, at most {@linkcode WORK_MAX} for one piece; returns whether so much time
   * was spent that others should have their turn, as far as that is known.
   */
  did(work: number): boolean {
    this.#left -= work;
    return this.#left > 0 ? this.#spent > TURN_MS : this.isOver();
  }

  /** Looks at the clock: whether so much time was spent that others should have their turn. */
  isOver(): boolean {
    const now = this.#now();
    const took = now - this.#since;
    this.#spent += took;
    this.#since = now;
    this.#adapt(took);
    if (this.#spent > ARM_MS && this.#next === undefined) this.#arm();
    return this.#spent > TURN_MS;
  }

  /** Chooses the next step: twice as much work if this took little time, or as much as fits. */
  #adapt(took: number): void {
    const done = Math.min(this.#step, this.#step - this.#left);
    if (took <= LOOK_MS) {
      if (this.#left <= 0) this.#step = Math.min(2 * this.#step, WORK_MAX);
    } else if (done > 0) this.#step = Math.max(1, Math.floor(done * LOOK_MS / took));
    this.#left = this.#step;
  }

  #arm(): void {
    this.#next = Promise.withResolvers<void>();
    this.#timer = later(() => this.#renew(), 0, true);
  }

  #renew(): void {
    this.#next?.resolve();
    this.#next = undefined;
    this.#spent = 0;
  }

  /** Lets everything else have its turn, after {@linkcode TimeSlice.isOver}. */
  async next(): Promise<void> {
    await this.#next?.promise;
  }

  /** There is nothing more to do: cancels the timer, and lets go of whoever waits for it. */
  end(): void {
    this.#timer?.cancel();
    this.#renew();
  }
}
