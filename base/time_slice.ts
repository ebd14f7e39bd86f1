/**
 * Lets everything else have its turn while one task has much to do.
 *
 * A read that finds bytes waiting resolves at once, without a turn of the event loop, and so may a
 * hundred more after it: whoever sends without end could keep everybody else from being heard. So the
 * time that a task spends is counted, alone or with that of others (rounds.ts), and a timer, which
 * needs a turn, resets it.
 *
 * To look at the clock takes as long as a small piece of work. So it is looked at after a number of
 * pieces, which grows while they take little time, and shrinks at once when they take long. Tasks that
 * know how much work something is have more of it between two looks (see `trust` of rounds.ts): of
 * reads that bring little each, only some are measured then, and count for the others.
 */
import { Rounds, type Share } from "./rounds.ts";

/** How long it takes, about, from one look at the clock to the next. */
const LOOK_MS = 0.05;
/** How much work there is between the first two looks, and the most where nobody is trusted more. */
const WORK_FIRST = 64;
const WORK_MAX = 1024;

/** The turns of one task among others. */
export class TimeSlice {
  readonly #rounds: Rounds;
  readonly #share: Share;
  #since = 0;
  /** How often what has been measured since then counts; 0 while nothing is measured. */
  #weight = 0;
  #isOver = false;
  /** How much work there is from one look at the clock to the next, and how much of it is left. */
  #step = WORK_FIRST;
  #left = WORK_FIRST;
  /** How long a piece of work took when that was measured last, in milliseconds. */
  #pace = 0;
  #hasEnded = false;

  /** Begins with nothing spent; tasks with the same rounds take their turns together. */
  constructor(rounds: Rounds = new Rounds()) {
    this.#rounds = rounds;
    this.#share = rounds.enter();
  }

  /** When it began to spend what is measured, or the clock was looked at since. */
  get began(): number {
    return this.#since;
  }

  /** Begins to spend time. */
  begin(): void {
    const { trust } = this.#rounds;
    this.#isOver = false;
    this.#left = this.#step;
    // At random, so that nobody can choose what is measured.
    this.#weight = trust === 1 || Math.random() * trust < 1 ? trust : 0;
    if (this.#weight > 0) this.#since = this.#rounds.now();
  }

  /** Has done all there was; returns the same as {@linkcode TimeSlice.did}. */
  finish(): boolean {
    return this.#weight > 0 ? this.isOver() : this.#isOver;
  }

  /** Notes that so much was read before it began, too little to do anything with. */
  readInVain(bytes: number): void {
    this.#rounds.readInVain(bytes);
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
   * Notes work that was done; returns whether so much time was spent that others should have their
   * turn, as far as that is known.
   */
  did(work: number): boolean {
    this.#left -= work;
    return this.#left > 0 ? this.#isOver : this.isOver();
  }

  /** Looks at the clock: whether so much time was spent that others should have their turn. */
  isOver(): boolean {
    const now = this.#rounds.now();
    const isMeasured = this.#weight > 0;
    const done = this.#step - this.#left;
    const took = isMeasured ? now - this.#since : done * this.#pace;
    // What is as much as a step counts as what it takes.
    const weight = this.#left > 0 ? this.#weight : 1;
    this.#since = now;
    this.#weight = 1;
    if (isMeasured) this.#adapt(done, took);
    this.#left = this.#step;
    if (this.#hasEnded) return false;
    return this.#isOver = this.#rounds.spend(this.#share, weight * took);
  }

  /** Chooses the next step: twice as much work if this took little time, or as much as fits. */
  #adapt(done: number, took: number): void {
    if (done > 0) this.#pace = took / done;
    const most = WORK_MAX * this.#rounds.trust;
    if (took <= LOOK_MS) {
      if (this.#left <= 0) this.#step = Math.min(2 * this.#step, most);
    } else if (done > 0) {
      this.#step = Math.min(Math.max(1, Math.floor(done * LOOK_MS / took)), most);
    }
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
