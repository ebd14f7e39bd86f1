/**
 * A bounded first-in first-out queue with a named policy for when it is full, read by one consumer.
 *
 * ```
 *  push ──▶ [ held … ] ──▶ next()        a call of next() waits while the queue is empty; then
 *           at most `limit`              push() hands its value to that call at once
 * ```
 *
 * It ends quietly or with an error. Before that, what it holds is yielded or discarded.
 */
import { BacklogError } from "../errors.ts";
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

/** What a {@linkcode Queue} needs to know. */
export interface QueueOptions {
  /** What the queue is called in errors. */
  readonly name: string;
  /** How many values it holds. */
  readonly limit: number;
  /** What happens to one more. */
  readonly overflow: Overflow;
  /** Called when the queue was full and the consumer has made room. */
  onRoom?(): void;
  /** Called when the consumer wants no more. */
  onCancel?(): void;
}

interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** A bounded queue that one consumer iterates over. */
export class Queue<T> implements AsyncIterable<T> {
  readonly #options: QueueOptions;
  readonly #held = new Fifo<T>();
  readonly #waiters = new Fifo<Waiter<T>>();
  #dropped = 0;
  #dropping = false;
  #consumed = false;
  #end: { readonly error?: unknown } | undefined;

  /**
   * Makes an empty queue.
   *
   * @throws {RangeError} If `limit` is not a positive whole number.
   * @throws {TypeError} If `overflow` is not one of the policies.
   */
  constructor(options: QueueOptions) {
    const { name, limit, overflow } = options;
    if (!Number.isSafeInteger(limit) || limit < 1) {
      throw new RangeError(
        `Cannot make ${name}: limit is ${String(limit)}; it must be a positive whole number`,
      );
    }
    if (overflow !== "drop-oldest" && overflow !== "wait" && overflow !== "throw") {
      throw new TypeError(
        `Cannot make ${name}: overflow is ${String(overflow)}; ` +
          `it must be "drop-oldest", "wait" or "throw"`,
      );
    }
    this.#options = options;
  }

  /** How many values it holds. */
  get length(): number {
    return this.#held.length;
  }

  /** How many values it may hold. */
  get limit(): number {
    return this.#options.limit;
  }

  /** Whether it holds as many values as it may. */
  get full(): boolean {
    return this.#held.length >= this.#options.limit;
  }

  /** How many values were dropped to make room for newer ones. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Adds a value, or does what the policy says. */
  push(value: T): Pushed {
    if (this.#end !== undefined) return "ended";
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value });
      return "kept";
    }
    const { name, limit, overflow } = this.#options;
    if (!this.full || overflow === "wait") {
      this.#held.push(value);
      return "kept";
    }
    if (overflow === "throw") {
      this.close({
        error: new BacklogError(
          `Cannot put another message into ${name}: it is full (the limit is ${limit}); ` +
            `take them faster, raise limit or choose another overflow`,
          { limit },
        ),
      });
      return "ended";
    }
    this.#held.shift();
    this.#held.push(value);
    this.#dropped++;
    if (this.#dropping) return "dropped";
    this.#dropping = true;
    return "dropping";
  }

  /**
   * Takes no more values; the consumer still gets what the queue holds.
   *
   * @param end With an `error`, every later `next()` of the consumer rejects with it; without, the
   * iteration is done.
   */
  close(end: { readonly error?: unknown } = {}): void {
    this.#end = end;
    for (let w = this.#waiters.shift(); w !== undefined; w = this.#waiters.shift()) {
      if ("error" in end) w.reject(end.error);
      else w.resolve({ done: true, value: undefined });
    }
  }

  /** Discards what the queue holds. */
  clear(): void {
    this.#held.clear();
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
    if (this.#held.length > 0) {
      const wasFull = this.full;
      const value = this.#held.shift() as T;
      if (this.#held.length === 0) this.#dropping = false;
      if (wasFull && !this.full) this.#options.onRoom?.();
      return Promise.resolve({ done: false, value });
    }
    if (this.#end === undefined) {
      return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
    }
    if ("error" in this.#end) return Promise.reject(this.#end.error);
    return Promise.resolve({ done: true, value: undefined });
  }
}
