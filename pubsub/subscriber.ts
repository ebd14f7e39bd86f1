/**
 * What callers see of subscribing: subscribers, subscriptions, their options, and where errors go.
 */
import type { Overflow } from "../base/queue.ts";
import type { TopicPath } from "../topic.ts";

/**
 * What gets messages: a function of the topic and the message.
 *
 * - It may name just the values that it takes, by destructuring; their types are not checked
 *   against all that the topic's messages may be (parameters compare as those of methods do).
 * - What it returns is ignored, but for a promise: if that rejects, it is reported.
 *
 * @typeParam M The message.
 */
export type Subscriber<M> = {
  bivarianceHack(topic: TopicPath, message: M): unknown;
}["bivarianceHack"];

/** Where an error that is told to `onError` comes from, as far as it is known. */
export interface ErrorContext {
  /** The topic to which the message was published; for what befalls a subscription, its topic. */
  readonly topic?: TopicPath;
  /** The message that was being delivered. */
  readonly message?: object;
  /** The subscriber that failed, or that the message does not fit; none for a `Subscription`. */
  readonly subscriber?: Subscriber<never>;
}

/** Options of a `PubSub`. */
export interface PubSubOptions {
  /**
   * Told what goes wrong in subscribers, and what does not reach them. By default that is one line of
   * `console.warn` with the topic and the error.
   *
   * - An error of its own is contained: both end in a line of `console.warn`.
   *
   * @param error What was thrown, or one of the errors of mpubsub.
   * @param context Where it comes from.
   */
  onError?(error: unknown, context: ErrorContext): void;
}

/**
 * How a subscriber is added.
 *
 * @typeParam Accepts A list of names, or a schema.
 */
export interface SubscriberOptions<Accepts = readonly string[]> {
  /**
   * Take it away before its first call, so that there is no other.
   *
   * @default {false}
   */
  readonly once?: boolean;
  /** Takes it away when aborted. */
  readonly signal?: AbortSignal;
  /**
   * What it takes: the names of values, or a schema. A message that has other names, or that the
   * schema refuses, is not delivered to it, and `onError` gets a `MessageError`. By default it takes
   * any message.
   */
  readonly accepts?: Accepts;
}

/**
 * How a subscription is made.
 *
 * @typeParam Accepts A list of names, or a schema.
 */
export interface SubscribeOptions<Accepts = readonly string[]> {
  /**
   * How many messages it holds until its consumer asks for them.
   *
   * @default {65536}
   */
  readonly limit?: number;
  /**
   * What happens when one more comes.
   *
   * - `"drop-oldest"`: the oldest goes and is counted; `onError` gets one `BacklogError` for all that
   *   go until the consumer has caught up.
   * - `"throw"`: the subscription ends; its consumer gets what it holds, then a `BacklogError`.
   * - `"wait"`: nothing goes; `publish` throws a `BacklogError` and delivers to nobody. What was
   *   published during a delivery was accepted, and is held beyond the limit. A `NetPubSub` takes
   *   nothing from the broker until there is room.
   *
   * @default {"drop-oldest"}
   */
  readonly overflow?: Overflow;
  /** Ends it when aborted: what it holds is let go, and its consumer gets the reason as an error. */
  readonly signal?: AbortSignal;
  /**
   * What it takes: the names of values, or a schema; see {@linkcode SubscriberOptions}. By default it
   * takes any message.
   */
  readonly accepts?: Accepts;
}

/**
 * A message as a `Subscription` yields it.
 *
 * @typeParam M The message.
 */
export interface Delivery<M = object> {
  /** The topic to which it was published. */
  readonly topic: TopicPath;
  /** The message, or what the schema in `accepts` made of it. */
  readonly message: M;
}

/**
 * The messages of a topic, one after the other, for one consumer.
 *
 * - It gets messages from the call of `subscribe` on, and holds them until they are asked for.
 * - `break` and disposing end it, and let go of what it holds; disposing twice is a no-op.
 * - `clearSubscribers()` ends it after what it holds.
 *
 * @typeParam M The message.
 *
 * @example Only the newest
 * ```ts
 * import { PubSub } from "@mpubsub/mpubsub/pubsub";
 * import { assertEquals } from "@std/assert";
 *
 * const bus = new PubSub({ onError() {} }); // it is told of what is dropped
 * const positions = bus.subscribe("position", { limit: 1 });
 * for (const x of [1, 2, 3]) bus.publish("position", { x });
 * bus.clearSubscribers();
 *
 * for await (const { message } of positions) assertEquals(message, { x: 3 });
 * assertEquals(positions.dropped, 2);
 * ```
 */
export interface Subscription<M = object> extends AsyncIterable<Delivery<M>> {
  /** How many messages were dropped for newer ones. */
  readonly dropped: number;
  /**
   * The iterator of the one consumer; several `next()` may wait at a time.
   *
   * @returns Yields each message with its topic.
   * @throws {TypeError} If there is a consumer and it is not done.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Delivery<M>, undefined>;
  /** Ends it, and lets go of what it holds. */
  [Symbol.dispose](): void;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
