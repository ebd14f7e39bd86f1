/**
 * The jobs of one session: what its broker has given to members here, and what the broker is told of
 * them.
 *
 * ```
 *  JOB: the next number ──▶ a member ┬── has finished it ──▶ FINISHED ┐ as ranges of numbers,
 *                                    └── gives it back ────▶ RETURNED ┘ many at a time
 * ```
 *
 * In another session nothing is told of these any more: the broker has given them to others.
 */
import type { JobRange } from "../protocol/job_bodies.ts";
import type { JobGiver } from "../pubsub/group_members.ts";
import { Deferred } from "./deferred.ts";

/** So many jobs are not told of later than others: their member may get as many more meanwhile. */
const TOLD_AT_ONCE = 1024;

/** Tells a broker what became of jobs. */
export interface JobTeller {
  /** These have finished; the numbers ascend. */
  finished(ranges: readonly JobRange[]): void;
  /** These have not begun, and never will. */
  returned(ranges: readonly JobRange[]): void;
}

/** Numbers the jobs of one session, and tells what became of them. */
export class Jobs implements JobGiver {
  readonly #teller: JobTeller;
  #arrived = 0;
  /** How many have not ended. */
  #open = 0;
  /** The numbers of those that have ended, and are not told of yet. */
  #finished: number[] = [];
  #returned: number[] = [];
  #isDue = false;
  #isOver = false;
  /** Settles when none is open; `undefined` unless somebody waits for that. */
  #idle: Deferred | undefined;

  /** Makes it for a session that has just begun. */
  constructor(teller: JobTeller) {
    this.#teller = teller;
  }

  /** How many have not ended. */
  get open(): number {
    return this.#open;
  }

  /** The number of the job whose JOB has just arrived; it ends once. */
  next(): number {
    this.#open++;
    return ++this.#arrived;
  }

  end(number: number, isDone: boolean): void {
    if (this.#isOver) return;
    const ended = isDone ? this.#finished : this.#returned;
    if (ended.push(number) >= TOLD_AT_ONCE) this.tell();
    else if (!this.#isDue) {
      this.#isDue = true;
      // What has ended by then of one read, and of functions that waited for the same, is one frame.
      Promise.resolve().then(() => this.tell());
    }
    if (--this.#open === 0) this.#rest();
  }

  /** Tells what is not told yet. */
  tell(): void {
    this.#isDue = false;
    const [finished, returned] = [this.#finished, this.#returned];
    if (finished.length > 0) {
      this.#finished = [];
      this.#teller.finished(rangesOf(finished));
    }
    if (returned.length > 0) {
      this.#returned = [];
      this.#teller.returned(rangesOf(returned));
    }
  }

  #rest(): void {
    this.#idle?.settle({});
    this.#idle = undefined;
  }

  /** Waits until all that have come have ended, and tells of them. */
  async idle(signal: AbortSignal | undefined): Promise<void> {
    if (this.#open > 0) await (this.#idle ??= new Deferred()).wait(signal);
    this.tell();
  }

  /** Their session is over: of those that are open nobody wants to know any more. */
  close(): void {
    this.#isOver = true;
    this.#open = 0;
    this.#finished = [];
    this.#returned = [];
    this.#rest();
  }
}

/** Numbers, which it sorts, as ranges. */
function rangesOf(numbers: number[]): JobRange[] {
  const ranges: { first: number; count: number }[] = [];
  for (const number of numbers.sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last.first + last.count === number) last.count++;
    else ranges.push({ first: number, count: 1 });
  }
  return ranges;
}
