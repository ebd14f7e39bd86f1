/**
 * A binary heap: finds, adds and removes any of n items in O(log n) steps. Each item remembers its place
 * in the heap, so one that goes need not be looked for.
 */

/** What can be in a heap, in one at a time. */
export interface HeapItem {
  /** Where it is in its heap; only the heap writes it. */
  at: number;
}

/** Items, of which the first in an order is known. */
export class Heap<T extends HeapItem> {
  readonly #items: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  /** Makes an empty one with that order. */
  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  /** How many items are in it. */
  get size(): number {
    return this.#items.length;
  }

  /** The item before which there is no other. */
  get first(): T | undefined {
    return this.#items[0];
  }

  /** Adds an item, which is in no heap. */
  add(item: T): void {
    this.#items.push(item);
    item.at = this.#items.length - 1;
    this.#rise(item);
  }

  /** Removes an item that is in this heap. */
  remove(item: T): void {
    const last = this.#items.pop()!;
    if (last === item) return;
    this.#put(last, item.at);
    this.changed(last);
  }

  /** Puts an item in its right place: its order has changed. */
  changed(item: T): void {
    this.#rise(item);
    this.#sink(item);
  }

  #put(item: T, at: number): void {
    this.#items[at] = item;
    item.at = at;
  }

  #rise(item: T): void {
    let { at } = item;
    while (at > 0) {
      const above = this.#items[(at - 1) >> 1]!;
      if (!this.#isBefore(item, above)) break;
      const free = above.at;
      this.#put(above, at);
      at = free;
    }
    this.#put(item, at);
  }

  #sink(item: T): void {
    let { at } = item;
    for (;;) {
      const [left, right] = [this.#items[2 * at + 1], this.#items[2 * at + 2]];
      const below = right !== undefined && this.#isBefore(right, left!) ? right : left;
      if (below === undefined || !this.#isBefore(below, item)) break;
      const free = below.at;
      this.#put(below, at);
      at = free;
    }
    this.#put(item, at);
  }
}
