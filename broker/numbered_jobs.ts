/**
 * The jobs of one session that are not finished, by their numbers, which are those of their order.
 *
 * ```
 *  number   base + 1 …                          last
 *           [ – – j – j j j … j ]   mostly the first are finished first
 *               └──▶ Map            those that are left behind, when the list has many holes
 * ```
 */
import type { GroupJob } from "./group_jobs.ts";

/** A list with more holes than so many, and more than {@linkcode HOLES} for each job, begins anew. */
const HOLES_MIN = 4096;
const HOLES = 4;

/** Jobs by number. */
export class NumberedJobs {
  #list: (GroupJob | undefined)[] = [];
  /** The number before that of the first in the list. */
  #base = 0;
  /** Before it the list has none. */
  #head = 0;
  readonly #left = new Map<number, GroupJob>();
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** Adds one; returns its number. */
  add(job: GroupJob): number {
    if (this.#list.length - this.#size > HOLES_MIN + HOLES * this.#size) this.#beginAnew();
    this.#size++;
    return this.#base + this.#list.push(job);
  }

  #beginAnew(): void {
    for (let at = this.#head; at < this.#list.length; at++) {
      const job = this.#list[at];
      if (job !== undefined) this.#left.set(this.#base + at + 1, job);
    }
    this.#base += this.#list.length;
    this.#list = [];
    this.#head = 0;
  }

  /** Takes out the one of a number; `undefined` if there is none. */
  take(number: number): GroupJob | undefined {
    const at = number - this.#base - 1;
    let job: GroupJob | undefined;
    if (at >= 0) {
      job = this.#list[at];
      if (job === undefined) return undefined;
      this.#list[at] = undefined;
      if (at === this.#head) this.#advance();
    } else {
      job = this.#left.get(number);
      if (job === undefined) return undefined;
      this.#left.delete(number);
    }
    this.#size--;
    return job;
  }

  #advance(): void {
    const list = this.#list;
    do this.#head++; while (this.#head < list.length && list[this.#head] === undefined);
    if (this.#head < list.length) return;
    this.#base += list.length;
    list.length = this.#head = 0;
  }

  /** Takes out all, one by one, in their order. */
  *takeAll(): Generator<GroupJob, void, undefined> {
    this.#beginAnew();
    for (const [number, job] of [...this.#left].sort(([a], [b]) => a - b)) {
      this.#left.delete(number);
      this.#size--;
      yield job;
    }
  }
}
