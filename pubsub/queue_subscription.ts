/**
 * What `subscribe` returns: the queue of a subscription, as its consumer has it.
 */
import { asyncDispose, dispose, followPolyfill } from "../base/disposal.ts";
import type { Queue } from "../base/queue.ts";
import { noReceiver } from "./receiver.ts";
import type { Deliveries, Delivery, Subscription } from "./subscriber.ts";

/** The queue of a subscription; throws if it is none. Set by the class. */
let queueOf: (subscription: object) => Queue<Delivery<unknown>>;

/** Iterates over what a queue holds, once. */
export class QueueSubscription implements Subscription<unknown> {
  readonly #queue: Queue<Delivery<unknown>>;

  static {
    queueOf = (subscription) => {
      if (#queue in subscription) return subscription.#queue;
      throw noReceiver(subscription, "Subscription", subscription instanceof QueueSubscription);
    };
  }

  /** Makes one for a queue that nobody else iterates over. */
  constructor(queue: Queue<Delivery<unknown>>) {
    this.#queue = queue;
  }

  get dropped(): number {
    return queueOf(this).dropped;
  }

  [Symbol.asyncIterator](): Deliveries<unknown> {
    return queueOf(this)[Symbol.asyncIterator]();
  }

  get [Symbol.toStringTag](): string {
    return "Subscription"; // So Vue makes no proxy of it.
  }

  [dispose](): void {
    queueOf(this).cancel();
  }

  [asyncDispose](): Promise<void> {
    queueOf(this).cancel();
    return Promise.resolve();
  }
}
followPolyfill(QueueSubscription.prototype);
