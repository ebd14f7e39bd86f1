/**
 * Values in their order, in a ring of slots.
 */

const SLOTS_MIN = 16;
const SLOTS_KEPT_MAX = 1024;
/** The slots of all that are empty from the start; nothing is ever put there. */
const NO_SLOTS: undefined[] = [];

/** An unbounded first-in first-out list; adding and taking cost the same at any length. */
export class Fifo<T> {
  // A ring: `#length` values from `#head` on, in a number of slots that is a power of two.
  #slots: (T | undefined)[] = NO_SLOTS;
  #head = 0;
  #length = 0;

  /** How many values it holds. */
  get length(): number {
    return this.#length;
  }

  /** Adds a value at the end. */
  push(value: T): void {
    if (this.#length === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = value;
    this.#length++;
  }

  /** Removes the first value and returns it; `undefined` if it is empty. */
  shift(): T | undefined {
    const length = this.#length;
    if (length === 0) return undefined;
    const slots = this.#slots, head = this.#head;
    const value = slots[head];
    slots[head] = undefined;
    this.#head = (head + 1) & (slots.length - 1);
    this.#length = length - 1;
    if (length === 1 && slots.length > SLOTS_KEPT_MAX) this.clear();
    return value;
  }

  /** The value at a place, from 0; `undefined` beyond the end. */
  at(index: number): T | undefined {
    if (index >= this.#length) return undefined;
    return this.#slots[(this.#head + index) & (this.#slots.length - 1)];
  }

  /** Removes all values. */
  clear(): void {
    this.#slots = NO_SLOTS;
    this.#head = 0;
    this.#length = 0;
  }

  #grow(): void {
    const slots = this.#slots;
    const first = slots.slice(this.#head);
    this.#slots = first.concat(slots.slice(0, this.#head));
    this.#slots.length = Math.max(SLOTS_MIN, slots.length * 2);
    this.#head = 0;
  }
}
