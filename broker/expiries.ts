/**
 * When tickets end: calls for each of them when its time has come. There is one timer, for the next of
 * them, however many there are. It looks at the clock once a minute at least, because that may be set
 * anew, and a machine may sleep.
 */
import { clock } from "../base/clock.ts";
import { Heap, type HeapItem } from "../base/heap.ts";
import { later, type Timer } from "../base/timers.ts";

/** The longest time between two looks at the clock. */
const LOOK_MS = 60_000;

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
  #timer: Timer | undefined;
  /** What the timer waits for. */
  #next: Expiring | undefined;

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
    if (first === this.#next) return;
    this.#next = first;
    this.#timer?.cancel();
    this.#timer = first && later(() => this.#look(), waitFor(first));
  }

  /** Ends those whose time has come. */
  #look(): void {
    this.#next = undefined;
    const date = clock.date();
    for (
      let { first } = this.#all;
      first !== undefined && first.ends <= date;
      { first } = this.#all
    ) {
      this.#all.remove(first);
      first.end();
    }
    this.#wait();
  }
}

function waitFor({ ends }: Expiring): number {
  return Math.max(0, Math.min(ends - clock.date(), LOOK_MS));
}
