/**
 * What `subscribe` returns: the queue of a subscription, as its consumer has it.
 */
import { asyncDispose, dispose, followPolyfill } from "../base/disposal.ts";
import type { Queue } from "../base/queue.ts";
import type { Deliveries, Delivery, Subscription } from "./subscriber.ts";

/** Iterates over what a queue holds, once. */
export class QueueSubscription implements Subscription<unknown> {
  readonly #queue: Queue<Delivery<unknown>>;

  /** Makes one for a queue that nobody else iterates over. */
  constructor(queue: Queue<Delivery<unknown>>) {
    this.#queue = queue;
  }

  get dropped(): number {
    return this.#queue.dropped;
  }

  [Symbol.asyncIterator](): Deliveries<unknown> {
    return this.#queue[Symbol.asyncIterator]();
  }

  get [Symbol.toStringTag](): string {
    return "Subscription"; // So Vue makes no proxy of it.
  }

  [dispose](): void {
    this.#queue.cancel();
  }

  [asyncDispose](): Promise<void> {
    this.#queue.cancel();
    return Promise.resolve();
  }
}
followPolyfill(QueueSubscription.prototype);
