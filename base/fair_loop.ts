/**
 * Gives everything else its turn while a loop takes values that are there.
 *
 * A promise that is resolved already is followed without a turn of the event loop. So a loop over
 * values that are there keeps timers, signals and sockets waiting until there are none left, for
 * minutes if each value is a little work. Here the loop waits for a timer now and then:
 *
 * ```
 *  steps of work   0 ── ARM_MS: sets the timer ── + DUE_MS: waits for it
 *                            └── a turn comes anyway: 0 again, nobody has waited
 * ```
 *
 * - The timer is set early, so it is due when the loop waits for it, and the wait costs one turn only.
 *   In a loop that has turns of its own, it fires in one of those.
 * - For a few values it is not set early: who takes only these by hand, and stops, leaves no timer.
 * - A look at the clock takes longer than a step of a loop that does little. So the looks are as many
 *   steps apart as take `LOOK_MS`, which adapts to what the steps do.
 */
import { clock } from "./clock.ts";
import { Turn } from "./turn.ts";

/** How long a loop goes on before the timer is set. */
const ARM_MS = 2;
/** How long it goes on with the timer set: long enough for that to be due. */
const DUE_MS = 3;
/** How long it goes on from look to look. */
const LOOK_MS = 0.05;
/** After so many steps without a rest the timer is set early. */
const EARLY_STEPS = 8;
/** How many steps are between two looks at most: so many may become slow before that is seen. */
const STRIDE_MAX = 128;
/** The same when the loop has waited: what comes then may be something else. */
const RESTED_STRIDE_MAX = 8;

/** Shared by all, because there is a loop for each queue. */
function read(): number {
  return clock.now();
}

/** Counts how long one loop has gone on without a turn. */
export class FairLoop {
  readonly #now: () => number;
  #stride = 1;
  /** How many steps may follow until the next look. */
  #free = 0;
  /** When the clock was looked at last; `undefined` if the loop has waited since. */
  #seen: number | undefined;
  /** The time that the loop has taken since the last turn that is known of. */
  #spentMs = 0;
  /** How many steps there have been since it has waited. */
  #taken = 0;
  #turn: Turn | undefined;
  /** When the loop waits for that turn. */
  #due = 0;

  /** Begins with nothing spent; `now` is a monotonic time in milliseconds. */
  constructor(now: () => number = read) {
    this.#now = now;
  }

  /**
   * Before the next steps.
   *
   * @param count How many values are there.
   * @returns How many of them may be taken before it is asked again; 0 if it is time for a turn.
   */
  steps(count: number): number {
    if (this.#free === 0) this.#look();
    const steps = Math.min(count, this.#free);
    this.#free -= steps;
    this.#taken += Math.max(1, steps); // One follows the turn.
    return steps;
  }

  /** What to wait for when no step may follow. */
  get turn(): Promise<void> {
    return this.#turn?.came ?? Promise.resolve();
  }

  #look(): void {
    const now = this.#now();
    const took = this.#seen === undefined ? 0 : now - this.#seen;
    if (this.#seen !== undefined) this.#stride = strideAfter(this.#stride, took);
    this.#seen = now;
    if (this.#turn?.hasCome) {
      this.#turn = undefined;
      this.#spentMs = 0;
    }
    this.#spentMs += took;
    if (this.#turn === undefined) {
      const isEarly = this.#taken >= EARLY_STEPS;
      if (this.#spentMs >= (isEarly ? ARM_MS : ARM_MS + DUE_MS)) {
        this.#turn = new Turn();
        this.#due = isEarly ? now + DUE_MS : now;
      }
    }
    if (this.#turn === undefined || now < this.#due) this.#free = this.#stride;
  }

  /** The loop waits for what is not there yet, or is done: cancels the timer. */
  rest(): void {
    this.#stride = Math.min(RESTED_STRIDE_MAX, 2 * this.#stride);
    this.#free = this.#stride;
    this.#taken = 0;
    if (this.#seen === undefined) return;
    this.#turn?.cancel();
    this.#turn = undefined;
    this.#seen = undefined;
    this.#spentMs = 0;
  }
}

/** How many steps take `LOOK_MS`, after so many took so long. */
function strideAfter(stride: number, took: number): number {
  return Math.max(1, Math.min(STRIDE_MAX, 2 * stride, Math.floor(stride * LOOK_MS / took)));
}
