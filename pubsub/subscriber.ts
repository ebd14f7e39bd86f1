/**
 * The public types of subscribing: subscribers, subscriptions, their options, and where errors go.
 */
import type { Overflow } from "../base/queue.ts";
import type { any, TopicPath } from "../topic.ts";

/** What else is known of a message; of most, nothing. */
export interface Info {
  /** Of a message for one of a group: how many members had it before, and were lost. */
  readonly redelivered?: number;
}

/** That of a message of which nothing else is known. */
export const NO_INFO: Info = Object.freeze({});

/**
 * A function that is called with the topic, the message and what else is known of it.
 *
 * - TypeScript checks its parameters like those of a method. So it may destructure just the values that
 *   it needs, with narrower types than the topic's messages have.
 * - Its return value is ignored, but if that is a promise that rejects, `onError` gets the reason.
 *
 * @typeParam M The message.
 * @typeParam P The topic.
 */
export type Subscriber<M, P = TopicPath> = {
  bivarianceHack(topic: P, message: M, info: Info): unknown;
}["bivarianceHack"];

/** Where an error that `onError` gets comes from. What is not known is absent. */
export interface ErrorContext {
  /** The topic of the message, or of the subscription concerned, which may have {@linkcode any}. */
  readonly topic?: readonly (string | typeof any)[];
  /** The message that was being delivered. */
  readonly message?: object;
  /** The subscriber that failed, or that does not accept the message; absent for a `Subscription`. */
  readonly subscriber?: Subscriber<never>;
}

/** Options of a `PubSub`. */
export interface PubSubOptions {
  /**
   * Called when a subscriber fails, or a message does not reach a subscriber. By default, the topic and
   * the error are written to `console.warn`, on one line: a hundred such lines at once, and ten a
   * minute in the long run; a line tells how many before it were left out.
   *
   * - If `onError` itself throws or rejects, both errors are written to `console.warn`.
   *
   * @param error What the subscriber threw, or one of the errors of mpubsub.
   * @param context Where it comes from.
   */
  onError?:
    | { bivarianceHack(error: unknown, context: ErrorContext): void }["bivarianceHack"]
    | undefined;
}

/**
 * Removes one subscriber, which `addSubscriber` added, and no other; twice is a no-op.
 *
 * - With `using`, it is removed at the end of the block.
 *
 * @example Two ways to remove a subscriber
 * ```ts
 * import { PubSub } from "@mpubsub/mpubsub/pubsub";
 * import { assertEquals } from "@std/assert";
 *
 * const bus = new PubSub();
 * const heard: string[] = [];
 * const handle = bus.addSubscriber("a", () => heard.push("until it is removed"));
 * {
 *   using _handle = bus.addSubscriber("a", () => heard.push("in the block"));
 *   bus.publish("a");
 * }
 * handle.remove();
 * bus.publish("a");
 *
 * assertEquals(heard, ["until it is removed", "in the block"]);
 * ```
 */
export interface Handle extends Disposable {
  /** Removes the subscriber; for where there is no `using`. It can be passed on alone. */
  remove(): void;
}

/**
 * Options of `addSubscriber`.
 *
 * @typeParam Accepts A list of names, or a schema.
 */
export interface SubscriberOptions<Accepts = readonly string[]> {
  /**
   * Calls the subscriber for one message only: it is removed before that call. By default it stays.
   *
   * @default {false}
   */
  readonly once?: boolean | undefined;
  /** Removes the subscriber when aborted. */
  readonly signal?: AbortSignal | undefined;
  /**
   * What the subscriber accepts: a list of names of values, of which a message may leave some out, or a
   * schema. A message that has any other name, or that the schema refuses, is not delivered to it;
   * `onError` gets a `MessageError`. By default it accepts any message.
   */
  readonly accepts?: Accepts | undefined;
  /**
   * Makes it a member of the group of this name, of 1 to 255 bytes: each message of the topic goes to one
   * of the members that are subscribed to the same topic with it. By default it gets every message.
   */
  readonly group?: string | undefined;
  /**
   * How many messages it may have as a member of a group, whose promises have not settled yet.
   *
   * @default {16}
   */
  readonly concurrency?: number | undefined;
}

/**
 * Options of `subscribe`.
 *
 * @typeParam Accepts A list of names, or a schema.
 */
export interface SubscribeOptions<Accepts = readonly string[]> {
  /**
   * How many messages the subscription holds while its consumer is busy; as a member of a group, by
   * default 16.
   *
   * @default {65536}
   */
  readonly limit?: number | undefined;
  /**
   * How many bytes of memory the messages may take that it holds, as far as they came from a broker: by
   * an estimate from their encoded bytes. A single one always fits, and those that were published here
   * count nothing.
   *
   * @default {67108864}
   */
  readonly limitBytes?: number | undefined;
  /**
   * What happens when it is full and one more message comes.
   *
   * - `"drop-oldest"`: the oldest is dropped, and counted in `dropped`; `onError` gets one
   *   `BacklogError` for all that are dropped until the consumer has caught up.
   * - `"throw"`: the subscription ends; its consumer gets what it holds, then a `BacklogError`.
   * - `"wait"`: nothing is dropped; `publish` throws a `BacklogError`, and nobody gets the message.
   *   What is published during a delivery is still accepted, and held beyond the limit. A `NetPubSub`
   *   takes nothing from the broker until there is room.
   *
   * @default {"drop-oldest"}
   */
  readonly overflow?: Overflow | undefined;
  /**
   * Ends the subscription when aborted: what it holds is discarded, and its consumer gets the signal's
   * reason as an error.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * What it accepts: the names of values, or a schema; see {@linkcode SubscriberOptions}. By default it
   * accepts any message.
   */
  readonly accepts?: Accepts | undefined;
  /**
   * Makes it a member of the group of this name, as for {@linkcode SubscriberOptions}. A message is
   * finished when the consumer asks for the next one, or ends.
   */
  readonly group?: string | undefined;
}

/**
 * A message as a `Subscription` yields it.
 *
 * @typeParam M The message.
 * @typeParam P The topic.
 */
export interface Delivery<M = object, P = TopicPath> {
  /** The topic to which it was published. */
  readonly topic: P;
  /** The message, or what the schema in `accepts` made of it. */
  readonly message: M;
  /** What else is known of it. */
  readonly info: Info;
}

/**
 * What iterates over a `Subscription`. It says more than the iterators of TypeScript before 5.6.
 *
 * @typeParam M The message.
 * @typeParam P The topic.
 */
export interface Deliveries<M = object, P = TopicPath>
  extends AsyncIterator<Delivery<M, P>, undefined, undefined> {
  /**
   * The same, for `for await`.
   *
   * @returns Itself.
   */
  [Symbol.asyncIterator](): Deliveries<M, P>;
}

/**
 * Iterates over the messages of a topic, for one consumer.
 *
 * - It gets messages from the call of `subscribe` on, and holds them until its consumer asks for them.
 * - Leaving the loop (`break`) or disposing ends it, and discards what it holds. Disposing twice is a
 *   no-op.
 * - After `clearSubscribers()` it yields what it holds, then ends.
 * - While a consumer takes one message after the other, timers, sockets and signals get a turn every few
 *   milliseconds, so a loop over many messages keeps nobody waiting. What a message takes in one piece
 *   is up to the consumer.
 *
 * @typeParam M The message.
 * @typeParam P The topic.
 *
 * @example Only the newest
 * ```ts
 * import { PubSub } from "@mpubsub/mpubsub/pubsub";
 * import { assertEquals } from "@std/assert";
 *
 * const bus = new PubSub({ onError() {} }); // gets a BacklogError for what is dropped
 * const positions = bus.subscribe("position", { limit: 1 });
 * for (const x of [1, 2, 3]) bus.publish("position", { x });
 * bus.clearSubscribers();
 *
 * for await (const { message } of positions) assertEquals(message, { x: 3 });
 * assertEquals(positions.dropped, 2);
 * ```
 */
export interface Subscription<M = object, P = TopicPath> extends AsyncIterable<Delivery<M, P>> {
  /** How many messages were dropped to make room for newer ones. */
  readonly dropped: number;
  /**
   * Begins to iterate; several calls of `next()` may wait at a time.
   *
   * @returns Yields each message with its topic.
   * @throws {TypeError} If something iterates over it already.
   */
  [Symbol.asyncIterator](): Deliveries<M, P>;
  /** Ends the subscription, and discards what it holds. */
  [Symbol.dispose](): void;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
