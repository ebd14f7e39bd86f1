/**
 * When tickets end: calls for each of them when its time has come. There is one timer, for the next of
 * them, however many there are. It looks at the clock once a minute at least, because that may be set
 * anew, and a machine may sleep. Many that end at the same time do so in turns with everything else.
 */
import type { Background } from "../base/background.ts";
import { clock } from "../base/clock.ts";
import { Heap, type HeapItem } from "../base/heap.ts";
import { later, type Timer } from "../base/timers.ts";

/** The longest time between two looks at the clock. */
const LOOK_MS = 60_000;
/** How many are ended in one step. */
const STEP = 16;

/** Something that ends at a time. */
export interface Expiring extends HeapItem {
  /** When, in milliseconds since 1970. */
  readonly ends: number;
  /** Ends it. */
  readonly end: () => void;
}

/** All that end at some time, the next one first. */
export class Expiries {
  readonly #all = new Heap<Expiring>((a, b) => a.ends < b.ends);
  readonly #background: Background;
  #timer: Timer | undefined;
  /** What the timer waits for. */
  #next: Expiring | undefined;
  /** Whether some are being ended. */
  #isEnding = false;

  /** Makes one of which nothing ends; `background` is where the ends are made. */
  constructor(background: Background) {
    this.#background = background;
  }

  /** Calls `end` at a time, unless what is returned is removed before. */
  add(ends: number, end: () => void): Expiring {
    const expiring = { at: 0, ends, end };
    this.#all.add(expiring);
    this.#wait();
    return expiring;
  }

  /** Forgets one that has not ended. */
  remove(expiring: Expiring): void {
    this.#all.remove(expiring);
    this.#wait();
  }

  /** Waits for the first of them, unless it does already. */
  #wait(): void {
    const { first } = this.#all;
    if (this.#isEnding || first === this.#next) return;
    this.#next = first;
    this.#timer?.cancel();
    this.#timer = first && later(() => this.#look(), waitFor(first));
  }

  #look(): void {
    this.#next = undefined;
    this.#isEnding = true;
    this.#background.run(this.#endDue());
  }

  /** Ends those whose time has come, in steps. */
  *#endDue(): Generator<void, void, undefined> {
    for (let count = 1, next = this.#takeDue(); next !== undefined; next = this.#takeDue()) {
      next.end();
      if (count++ % STEP === 0) yield;
    }
    this.#isEnding = false;
    this.#wait();
  }

  /** Takes out the first, if its time has come. */
  #takeDue(): Expiring | undefined {
    const { first } = this.#all;
    if (first === undefined || first.ends > clock.date()) return undefined;
    this.#all.remove(first);
    return first;
  }
}

function waitFor({ ends }: Expiring): number {
  return Math.max(0, Math.min(ends - clock.date(), LOOK_MS));
}
