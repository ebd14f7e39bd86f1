/**
 * Long work in pieces, so that everything else has its turn in between.
 *
 * ```
 *  add() ──▶ broker 1: work, work ┐
 *            broker 2: work       ├─ by turns, a few steps each ──▶ after many steps, a rest of
 *            broker 3: work       ┘                                 twice what they took
 * ```
 *
 * - What fits into the steps that are left is done before `add()` returns, as most work is.
 * - What one owner has to be done is done in its order. However much that is, others wait for a few
 *   steps of it only.
 */
import { clock } from "../base/clock.ts";
import { Fifo } from "../base/fifo.ts";
import type { Timer } from "../base/timers.ts";

/** Work in steps that each take some microseconds at most; must not throw. */
export type Work = Generator<void, void, void>;

/** How many steps there are before a rest: two or three milliseconds. */
export const TURN_STEPS = 256;
/** How many of them in a row are for one owner. */
const SLICE_STEPS = 32;
/** How long a rest is, as a multiple of what came before it. */
const REST = 2;

/** Does work in pieces. */
export class Turns {
  readonly #later: (callback: () => void, ms: number) => Timer;
  /** What is to be done, by owner; whose turn it is first. */
  readonly #works = new Map<object, Fifo<Work>>();
  /** How many steps were done since the latest rest. */
  #steps = 0;
  #rest: Timer | undefined;
  #isGoing = false;

  /** Makes one that has nothing to do; `later` calls a function once after some milliseconds. */
  constructor(later: (callback: () => void, ms: number) => Timer) {
    this.#later = later;
  }

  /** Does work, after all that its owner has added before. */
  add(owner: object, work: Work): void {
    const works = this.#works.get(owner) ?? new Fifo<Work>();
    works.push(work);
    this.#works.set(owner, works);
    if (!this.#isGoing) this.#go();
  }

  #go(): void {
    const began = clock.now();
    this.#isGoing = true;
    for (const [owner, works] of this.#works) {
      if (this.#steps >= TURN_STEPS) break;
      this.#slice(works);
      // The next time it comes after all others.
      this.#works.delete(owner);
      if (works.length > 0) this.#works.set(owner, works);
    }
    this.#isGoing = false;
    if (this.#steps === 0) return;
    this.#rest ??= this.#later(() => {
      this.#rest = undefined;
      this.#steps = 0;
      this.#go();
    }, REST * (clock.now() - began));
  }

  #slice(works: Fifo<Work>): void {
    const end = Math.min(TURN_STEPS, this.#steps + SLICE_STEPS);
    for (let work = works.at(0); work !== undefined && this.#steps < end; work = works.at(0)) {
      this.#steps++;
      if (work.next().done) works.shift();
    }
  }
}
