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
 */
import { later } from "./timers.ts";

/** How long one turn may take. */
const TURN_MS = 5;
/** When the timer is set: early enough to be due at the end of the turn. */
const ARM_MS = 1;

/** Shared by all, because there is a slice for each connection. */
function clock(): number {
  return performance.now();
}

/** The turns of one task among others. */
export class TimeSlice {
  #spent = 0;
  #since = 0;
  readonly #now: () => number;
  #timer: Disposable | undefined;
  #next: Promise<void> | undefined;

  /** Begins with nothing spent; `now` is a monotonic time in milliseconds. */
  constructor(now: () => number = clock) {
    this.#now = now;
  }

  /** Begins to spend time. */
  begin(): void {
    this.#since = this.#now();
  }

  /** Whether so much time was spent that others should have their turn. */
  isOver(): boolean {
    const now = this.#now();
    this.#spent += now - this.#since;
    this.#since = now;
    if (this.#spent > ARM_MS) this.#next ??= this.#arm();
    return this.#spent > TURN_MS;
  }

  #arm(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const renew = () => {
      this.#next = undefined;
      this.#spent = 0;
      resolve();
    };
    this.#timer = later(renew, 0, true);
    return promise;
  }

  /** Lets everything else have its turn, after {@linkcode TimeSlice.isOver}. */
  async next(): Promise<void> {
    await this.#next;
  }

  /** There is nothing more to do: disposes of the timer. */
  end(): void {
    this.#timer?.[Symbol.dispose]();
  }
}
