/**
 * A bounded first-in first-out queue with a named policy for when it is full, read by one consumer.
 *
 * ```
 *  push ──▶ [ held … ] ──▶ next()        a call of next() waits while the queue is empty; then
 *           at most `limit`,             push() hands its value to that call at once
 *           and `limitBytes`
 * ```
 *
 * - It ends quietly or with an error. Before that, what it holds is yielded or discarded.
 * - A consumer that takes one value after the other without a turn of the event loop waits for one
 *   every few milliseconds, as if the queue were empty; what it holds stays in it meanwhile.
 */
import { BacklogError } from "../errors.ts";
import { FairLoop } from "./fair_loop.ts";
import { Fifo } from "./fifo.ts";

/**
 * What happens when something is added to a full queue.
 *
 * - `"drop-oldest"`: the oldest is dropped and counted.
 * - `"throw"`: the queue ends with a `BacklogError`, after what it holds.
 * - `"wait"`: nothing is dropped; what is still added is kept beyond the limit.
 */
export type Overflow = "drop-oldest" | "wait" | "throw";

/**
 * What {@linkcode Queue.push} did.
 *
 * - `"kept"`: the value waits, or the consumer has it.
 * - `"dropping"`: kept; the oldest was dropped, as the first since the queue was last empty.
 * - `"dropped"`: kept; the oldest was dropped, as others before it.
 * - `"ended"`: not kept; the queue has ended, perhaps just now.
 */
export type Pushed = "kept" | "dropping" | "dropped" | "ended";

/** How many bytes a value counts. */
export interface Size {
  /** The most that these can be; it costs nothing to ask. */
  readonly most: number;
  /** How many they are. */
  readonly bytes: number;
}

/** What a {@linkcode Queue} needs to know. */
export interface QueueOptions {
  /** What the queue is called in errors. */
  readonly name: string;
  /** How many values it holds. */
  readonly limit: number;
  /** How many bytes these are together, unless it is one alone; by default any number. */
  readonly limitBytes?: number;
  /** What happens to one more. */
  readonly overflow: Overflow;
  /** Called when the queue was full and the consumer has made room. */
  onRoom?(): void;
  /** Called when the consumer wants no more. */
  onCancel?(): void;
  /** A monotonic time in milliseconds, by which the consumer's turns are counted. */
  now?(): number;
}

/** Up to this part of its bytes values are not measured, until the queue has been empty. */
const UNMEASURED_PART = 16;

/** A bound of a queue. */
export interface Bound {
  readonly name: "limit" | "limitBytes";
  readonly limit: number;
  /** What the queue holds of it. */
  readonly holds: string;
}

interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** A bounded queue that one consumer iterates over. */
export class Queue<T> implements AsyncIterable<T> {
  readonly #options: QueueOptions;
  readonly #limit: number;
  readonly #limitBytes: number;
  readonly #held = new Fifo<T>();
  /** The bytes of the first of these; those behind have none. */
  readonly #sizes = new Fifo<number>();
  #bytes = 0;
  /** The most that those can be that came while there were few, and were not measured. */
  #unmeasured = 0;
  /** Calls of `next()` that wait for a value, or for a turn. */
  readonly #waiters = new Fifo<Waiter<T>>();
  readonly #loop: FairLoop;
  /** How many of the values it holds the consumer may take before the time is looked at. */
  #granted = 0;
  /** Whether the consumer waits for a turn of the event loop, though values may be there. */
  #yielding = false;
  #dropped = 0;
  #dropping = false;
  #consumed = false;
  #end: { readonly error?: unknown } | undefined;

  /**
   * Makes an empty queue.
   *
   * @throws {RangeError} If `limit` or `limitBytes` is not a positive whole number.
   * @throws {TypeError} If `overflow` is not one of the policies.
   */
  constructor(options: QueueOptions) {
    const { name, overflow } = options;
    checkLimit(options, "limit");
    if (options.limitBytes !== undefined) checkLimit(options, "limitBytes");
    if (overflow !== "drop-oldest" && overflow !== "wait" && overflow !== "throw") {
      throw new TypeError(
        `Cannot make ${name}: overflow is ${String(overflow)}; ` +
          `it must be "drop-oldest", "wait" or "throw"`,
      );
    }
    this.#options = options;
    this.#limit = options.limit;
    this.#limitBytes = options.limitBytes ?? Infinity;
    this.#loop = new FairLoop(options.now);
  }

  /** How many values it holds. */
  get length(): number {
    return this.#held.length;
  }

  /** How many bytes the values are that it holds. */
  get bytes(): number {
    return this.#bytes + this.#unmeasured;
  }

  /** Whether it holds as many values, or bytes, as it may. */
  get full(): boolean {
    return this.#held.length >= this.#limit || this.bytes >= this.#limitBytes;
  }

  /** Which of its bounds is reached, or will be with one more value. */
  get bound(): Bound {
    const { length } = this.#held;
    return length >= this.#limit
      ? { name: "limit", limit: this.#limit, holds: `${length} messages` }
      : { name: "limitBytes", limit: this.#limitBytes, holds: `${this.bytes} bytes` };
  }

  /** Whether a value of so many bytes is one too many. */
  #isTooMuch(bytes: number): boolean {
    return this.#held.length >= this.#limit ||
      this.#bytes > 0 && this.bytes + bytes > this.#limitBytes;
  }

  /** How many values were dropped to make room for newer ones. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Adds a value, or does what the policy says.
   *
   * @param size What it counts against `limitBytes`; one without is bounded by `limit` alone. It is
   * measured only once the queue holds more than a sixteenth of that.
   */
  push(value: T, size?: Size): Pushed {
    if (this.#end !== undefined) return "ended";
    if (!this.#yielding) {
      const waiter = this.#waiters.shift();
      if (waiter !== undefined) {
        waiter.resolve({ done: false, value });
        return "kept";
      }
    }
    const bytes = size === undefined || this.#isFew(size) ? 0 : size.bytes;
    const { name, overflow } = this.#options;
    if (overflow === "wait" || !this.#isTooMuch(bytes)) {
      this.#hold(value, bytes);
      return "kept";
    }
    if (overflow === "throw") {
      const { bound } = this;
      this.close({
        error: new BacklogError(
          `Cannot put another message into ${name}: it is full (${bound.name} is ${bound.limit}); ` +
            `take them faster, raise ${bound.name} or choose another overflow`,
          { limit: bound.limit },
        ),
      });
      return "ended";
    }
    do {
      this.#shift();
      this.#dropped++;
    } while (this.#isTooMuch(bytes));
    this.#hold(value, bytes);
    if (this.#dropping) return "dropped";
    this.#dropping = true;
    return "dropping";
  }

  /** Whether there are so few that a value of this size need not be measured; if so, counts it. */
  #isFew({ most }: Size): boolean {
    const sum = this.#unmeasured + most;
    if (sum * UNMEASURED_PART > this.#limitBytes) return false;
    this.#unmeasured = sum;
    return true;
  }

  #hold(value: T, bytes: number): void {
    if (bytes > 0) {
      // Those before it without bytes; most queues have either none with bytes, or all.
      while (this.#sizes.length < this.#held.length) this.#sizes.push(0);
      this.#sizes.push(bytes);
      this.#bytes += bytes;
    }
    this.#held.push(value);
  }

  #shift(): T {
    if (this.#bytes > 0) this.#bytes -= this.#sizes.shift() ?? 0;
    const value = this.#held.shift() as T;
    if (this.#held.length === 0) this.#unmeasured = 0;
    return value;
  }

  /**
   * Takes no more values; the consumer still gets what the queue holds.
   *
   * @param end With an `error`, every later `next()` of the consumer rejects with it; without, the
   * iteration is done.
   */
  close(end: { readonly error?: unknown } = {}): void {
    this.#end = end;
    if (this.#held.length > 0) return; // Those who wait for a turn get that first.
    this.#loop.rest();
    this.#yielding = false;
    this.#endWaiters(end);
  }

  #endWaiters(end: { readonly error?: unknown }): void {
    for (let w = this.#waiters.shift(); w !== undefined; w = this.#waiters.shift()) {
      if ("error" in end) w.reject(end.error);
      else w.resolve({ done: true, value: undefined });
    }
  }

  /** Discards what the queue holds. */
  clear(): void {
    this.#held.clear();
    this.#sizes.clear();
    this.#bytes = this.#unmeasured = 0;
    this.#granted = 0;
    this.#dropping = false;
  }

  /** The consumer wants no more: ends quietly, and discards what the queue holds. */
  cancel(): void {
    this.clear();
    this.close();
    this.#options.onCancel?.();
  }

  /**
   * The one consumer's iterator.
   *
   * - `next()` may be called again before it has settled; the calls are served in order.
   * - `return()`, which `break` calls, cancels the queue.
   *
   * @throws {TypeError} If another consumer is not done with it.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    if (this.#consumed && (this.#end === undefined || this.#held.length > 0)) {
      throw new TypeError(
        `Cannot iterate over ${this.#options.name}: it has a consumer already`,
      );
    }
    this.#consumed = true;
    return {
      next: () => this.#next(),
      return: () => {
        this.cancel();
        return Promise.resolve({ done: true, value: undefined });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #next(): Promise<IteratorResult<T, undefined>> {
    if (this.#granted === 0 && !this.#grant()) return this.#wait();
    this.#granted--;
    return Promise.resolve({ done: false, value: this.#take() });
  }

  /** Whether the consumer may take a value that is there. */
  #grant(): boolean {
    if (this.#held.length === 0 || this.#yielding) return false;
    this.#granted = this.#loop.steps(this.#held.length);
    if (this.#granted > 0) return true;
    this.#yielding = true;
    this.#loop.turn.then(() => this.#goOn());
    return false;
  }

  #wait(): Promise<IteratorResult<T, undefined>> {
    if (this.#held.length === 0 && !this.#yielding) this.#loop.rest();
    if (this.#end === undefined || this.#held.length > 0) {
      return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
    }
    if ("error" in this.#end) return Promise.reject(this.#end.error);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Takes the first of what it holds. */
  #take(): T {
    const wasFull = this.full;
    const value = this.#shift();
    if (this.#held.length === 0) this.#dropping = false;
    if (wasFull && !this.full) this.#options.onRoom?.();
    return value;
  }

  /** The turn has come. */
  #goOn(): void {
    // What onRoom adds comes after what is held.
    while (this.#held.length > 0 && this.#waiters.length > 0) {
      this.#waiters.shift()!.resolve({ done: false, value: this.#take() });
    }
    this.#yielding = false;
    if (this.#end !== undefined) this.#endWaiters(this.#end);
  }
}

function checkLimit(options: QueueOptions, name: "limit" | "limitBytes"): void {
  const limit: unknown = options[name];
  if (Number.isSafeInteger(limit) && limit as number > 0) return;
  throw new RangeError(
    `Cannot make ${options.name}: ${name} is ${String(limit)}; it must be a positive whole number`,
  );
}
