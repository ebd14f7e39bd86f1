/**
 * Lets everything else have its turn while one task has much to do.
 *
 * A read that finds bytes waiting resolves at once, without a turn of the event loop, and so may a
 * hundred more after it: whoever sends without end could keep everybody else from being heard. So the
 * time that a task spends is counted, alone or with that of others (rounds.ts), and a timer, which
 * needs a turn, resets it.
 *
 * To look at the clock takes as long as a small piece of work. So it is looked at after a number of
 * pieces, which grows while they take little time, and shrinks at once when they take long.
 */
import { Rounds, type Share } from "./rounds.ts";

/** How long it takes, about, from one look at the clock to the next. */
const LOOK_MS = 0.05;
/** How much work there is between the first two looks, and the most that there ever is. */
const WORK_FIRST = 64;
export const WORK_MAX = 1024;

/** The turns of one task among others. */
export class TimeSlice {
  readonly #rounds: Rounds;
  readonly #share: Share;
  #since = 0;
  #isOver = false;
  /** How much work there is from one look at the clock to the next, and how much of it is left. */
  #step = WORK_FIRST;
  #left = WORK_FIRST;
  #hasEnded = false;

  /** Begins with nothing spent; tasks with the same rounds take their turns together. */
  constructor(rounds: Rounds = new Rounds()) {
    this.#rounds = rounds;
    this.#share = rounds.enter();
  }

  /** Begins to spend time. */
  begin(): void {
    this.#since = this.#rounds.now();
    this.#isOver = false;
  }

  /** Notes that what was read before it began was too little to do anything with. */
  readInVain(): void {
    this.#rounds.readInVain();
  }

  /** Whether others must have their turn before it begins. */
  get mustWait(): boolean {
    return !this.#hasEnded && this.#rounds.mustWait(this.#share);
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
    return this.#left > 0 ? this.#isOver : this.isOver();
  }

  /** Looks at the clock: whether so much time was spent that others should have their turn. */
  isOver(): boolean {
    const now = this.#rounds.now();
    const took = now - this.#since;
    this.#since = now;
    this.#adapt(took);
    if (this.#hasEnded) return false;
    return this.#isOver = this.#rounds.spend(this.#share, took);
  }

  /** Chooses the next step: twice as much work if this took little time, or as much as fits. */
  #adapt(took: number): void {
    const done = Math.min(this.#step, this.#step - this.#left);
    if (took <= LOOK_MS) {
      if (this.#left <= 0) this.#step = Math.min(2 * this.#step, WORK_MAX);
    } else if (done > 0) this.#step = Math.max(1, Math.floor(done * LOOK_MS / took));
    this.#left = this.#step;
  }

  /** Waits for its next turn. */
  async next(): Promise<void> {
    if (!this.#hasEnded) await this.#rounds.wait(this.#share);
  }

  /** There is nothing more to do for now. */
  rest(): void {
    this.#rounds.rest(this.#share);
  }

  /** There is nothing more to do ever: lets go of whoever waits for it. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#rounds.leave(this.#share);
  }
}
