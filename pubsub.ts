/**
 * A message bus for the parts of one process. No I/O: it runs wherever JavaScript does.
 *
 * A topic is a path of strings. A message goes to the subscribers of its topic, then of each parent,
 * then of `null`, the catch-all. A message published to `null` is a broadcast, and goes to every
 * subscriber.
 *
 * @example Subscribe and publish
 * ```ts
 * import { PubSub } from "@mpubsub/mpubsub/pubsub";
 * import { assertEquals } from "@std/assert";
 *
 * const bus = new PubSub();
 * const heard: string[] = [];
 * bus.addSubscriber(["foo", "bar"], (_topic, { message }) => heard.push(`foo bar: ${message}`));
 * bus.addSubscriber("foo", (topic, { message }) => heard.push(`foo, from ${topic}: ${message}`));
 * bus.addSubscriber(null, () => heard.push("anything"));
 *
 * bus.publish(["foo", "bar"], { message: "hello" });
 *
 * assertEquals(heard, ["foo bar: hello", "foo, from foo,bar: hello", "anything"]);
 * ```
 *
 * @example Messages with types, one at a time
 * ```ts
 * import { PubSub } from "@mpubsub/mpubsub/pubsub";
 * import { assertEquals } from "@std/assert";
 *
 * const bus = new PubSub<{ count: { value: number } }>();
 * const counts = bus.subscribe("count");
 * bus.publish("count", { value: 1 });
 * bus.publish("count", { value: 2 });
 *
 * let sum = 0;
 * for await (const { message } of counts) {
 *   sum += message.value;
 *   if (message.value === 2) break; // ends the subscription
 * }
 * assertEquals(sum, 3);
 * ```
 *
 * @module
 */
import type { StandardSchema } from "./pubsub/accepts.ts";
import { Dispatcher } from "./pubsub/dispatcher.ts";
import { noReceiver } from "./pubsub/receiver.ts";
import type {
  Handle,
  PubSubOptions,
  SubscribeOptions,
  Subscriber,
  SubscriberOptions,
  Subscription,
} from "./pubsub/subscriber.ts";
import type {
  MessageOf,
  MessageTo,
  PathOf,
  PublishArgs,
  PublishOptions,
  TopicMap,
  TopicOf,
  Untyped,
} from "./pubsub/topic_map.ts";
import { type Topic, topicPattern } from "./topic.ts";

export { BacklogError, type ErrorDetails, ForbiddenError, MessageError } from "./errors.ts";
export type {
  Deliveries,
  Delivery,
  ErrorContext,
  Handle,
  Info,
  PubSubOptions,
  SubscribeOptions,
  Subscriber,
  SubscriberOptions,
  Subscription,
} from "./pubsub/subscriber.ts";
export type { StandardSchema } from "./pubsub/accepts.ts";
export type {
  MessageOf,
  MessageTo,
  PathOf,
  PublishArgs,
  PublishOptions,
  RootPath,
  TopicMap,
  TopicOf,
  Untyped,
} from "./pubsub/topic_map.ts";
export type { Overflow } from "./base/queue.ts";
export { any } from "./topic.ts";
export type { Topic, TopicPath } from "./topic.ts";

/** The dispatcher of a bus; throws if it is none. Set by the class. */
let dispatcherOf: (bus: object) => Dispatcher;

/**
 * Publishes messages to the subscribers of their topics, within one process.
 *
 * - A message goes to the subscribers of its topic, then of each parent, then to the catch-all
 *   (subscribers of `null`); within one topic in the order in which they subscribed.
 * - A message published to `null` is a broadcast: every subscriber gets it, in the order in which they
 *   subscribed.
 * - Subscribers get the message itself, not a copy.
 * - What a subscriber throws, or rejects with, goes to `onError`; it stops nobody else.
 * - Topics that begin with `"*broker"` are reserved for what a broker publishes about itself. The
 *   catch-all does not get their messages, and their subscribers get no broadcasts.
 *
 * @typeParam T The message types by the first element of the topic; see {@linkcode TopicMap}. By
 * default any topic takes any message.
 *
 * @example The types of messages
 * ```ts
 * import { PubSub } from "@mpubsub/mpubsub/pubsub";
 * import { assertEquals } from "@std/assert";
 *
 * interface Messages {
 *   hello: { message: string };
 *   stop: { force?: boolean };
 * }
 *
 * const bus = new PubSub<Messages>();
 * const heard: string[] = [];
 * bus.addSubscriber("hello", (_topic, { message }) => {
 *   heard.push(message.toUpperCase());
 * });
 *
 * bus.publish(["hello", "world"], { message: "hi" });
 * bus.publish("stop"); // nothing is required
 *
 * assertEquals(heard, ["HI"]);
 * ```
 *
 * @example Only messages that fit
 * ```ts
 * import { MessageError, PubSub } from "@mpubsub/mpubsub/pubsub";
 * import { assertEquals, assertInstanceOf } from "@std/assert";
 *
 * const errors: unknown[] = [];
 * const bus = new PubSub({ onError: (error) => errors.push(error) });
 * const heard: number[] = [];
 * bus.addSubscriber("kitchen", (_topic, { celsius }) => heard.push(celsius), {
 *   accepts: ["celsius"], // or a schema
 * });
 *
 * bus.publish("kitchen", { celsius: 21.5 });
 * bus.publish("kitchen", { celsius: 22, humidity: 40 });
 *
 * assertEquals(heard, [21.5]);
 * assertInstanceOf(errors[0], MessageError);
 * ```
 */
export class PubSub<T extends TopicMap<T> = Untyped> {
  /**
   * Not there at run time; tells the compiler which topics this bus has, for subclasses as well.
   *
   * @ignore
   */
  declare readonly _topics?: (map: T) => T;
  readonly #dispatcher: Dispatcher;

  static {
    dispatcherOf = (bus) => {
      try {
        return (bus as PubSub).#dispatcher;
      } catch { // It has none.
        throw noReceiver(bus, "PubSub", bus instanceof PubSub);
      }
    };
  }

  /** `"PubSub"`; so Vue makes no proxy of a bus that stands in what it observes. */
  get [Symbol.toStringTag](): string {
    return "PubSub";
  }

  /**
   * Makes a bus without subscribers.
   *
   * @param options `onError`, which gets the errors of subscribers.
   */
  constructor(options: PubSubOptions = {}) {
    // A subclass that has its own dispatcher passes it instead.
    this.#dispatcher = options instanceof Dispatcher ? options : new Dispatcher(options);
  }

  /**
   * Subscribes a function to messages that fit a schema; it gets what the schema makes of each.
   *
   * @typeParam Out What the schema makes of a message.
   * @typeParam K The topic.
   * @param topic The topic; `null` for all.
   * @param subscriber Called with the topic and the validated value.
   * @param options `accepts`, which may be any synchronous Standard Schema, and the other options.
   * @returns Removes exactly this subscription; see {@linkcode Handle}.
   * @throws {TypeError} If `topic` is not a valid topic, `subscriber` is not a function, or `accepts` is
   * not a schema.
   * @throws {RangeError} If the topic is too long, or has more than three `any`, or an option of a group is
   * out of range.
   */
  addSubscriber<Out, const K extends TopicOf<T>>(
    topic: K,
    subscriber: Subscriber<Out, PathOf<T, K>>,
    options: SubscriberOptions<StandardSchema<Out>> & { readonly accepts: StandardSchema<Out> },
  ): Handle;
  /**
   * Subscribes a function.
   *
   * - A function that subscribes twice is called twice for each message.
   * - If it subscribes during a delivery, it does not get the message that is being delivered.
   * - It is not awaited. What it throws, or rejects with, goes to `onError`.
   *
   * @param topic The topic; `null` for all.
   * @param subscriber Called with the topic and the message.
   * @param options `once`, `signal`, `accepts`: the names of the values that it accepts, and `group`: of
   * which it is a member.
   * @returns Removes exactly this subscription; see {@linkcode Handle}.
   * @throws {TypeError} If `topic` is not a valid topic, `subscriber` is not a function, or `accepts` is
   * neither names nor a schema.
   * @throws {RangeError} If the topic is too long, or has more than three `any`, or an option of a group is
   * out of range.
   */
  addSubscriber<const K extends TopicOf<T>>(
    topic: K,
    subscriber: Subscriber<MessageOf<T, K>, PathOf<T, K>>,
    options?: SubscriberOptions,
  ): Handle;
  addSubscriber(
    topic: Topic,
    subscriber: Subscriber<never, never>,
    options?: SubscriberOptions<unknown>,
  ): Handle {
    const dispatcher = dispatcherOf(this);
    return dispatcher.add(dispatcher.patternOf(topic), subscriber, options);
  }

  /**
   * Removes the function's earliest subscription to exactly this topic.
   *
   * @param topic The topic to which it subscribed.
   * @param subscriber The function.
   * @returns Whether there was such a subscription.
   * @throws {TypeError} If `topic` is not a valid topic.
   * @throws {RangeError} If the topic is too long, or has more than three `any`.
   */
  removeSubscriber<const K extends TopicOf<T>>(
    topic: K,
    subscriber: Subscriber<MessageOf<T, K>, PathOf<T, K>>,
  ): boolean;
  removeSubscriber(topic: Topic, subscriber: Subscriber<never, never>): boolean {
    return dispatcherOf(this).remove(topicPattern(topic), subscriber);
  }

  /** Removes all subscribers. A `Subscription` still yields what it holds, then ends. */
  clearSubscribers(): void {
    dispatcherOf(this).clear();
  }

  /**
   * Publishes a message to the subscribers of its topic and of each topic above it.
   *
   * - It returns once they have been called. If a subscriber publishes, its message is delivered after
   *   the one under way, in the order of publishing.
   * - If it throws, nobody gets the message.
   *
   * @param topic The topic; `null` for a broadcast.
   * @param rest The message, by default `{}`, and options.
   * @throws {TypeError} If `topic` is not a valid topic or has `any`, or the message is not an object of
   * named values.
   * @throws {RangeError} If the topic is too long.
   * @throws {ForbiddenError} If the topic begins with `"*broker"`.
   * @throws {BacklogError} If a `Subscription` with `overflow: "wait"` has no room, 65,536 messages wait
   * for the members of a group, or too many, published by subscribers, for the delivery under way to end.
   */
  publish<const K extends TopicOf<T>>(topic: K, ...rest: PublishArgs<MessageTo<T, K>>): void;
  publish(topic: Topic, message: object = {}, _options?: PublishOptions): void {
    const dispatcher = dispatcherOf(this);
    dispatcher.deliver(dispatcher.checkPublish(topic, message), message);
  }

  /**
   * Subscribes to messages that fit a schema, to iterate over what the schema makes of each.
   *
   * @typeParam Out What the schema makes of a message.
   * @typeParam K The topic.
   * @param topic The topic; `null` for all.
   * @param options `accepts`, which may be any synchronous Standard Schema, and the other options.
   * @returns The messages from now on; see {@linkcode Subscription}.
   * @throws {TypeError} If `topic` is not a valid topic, or an option is of the wrong kind.
   * @throws {RangeError} If the topic is too long, or has more than three `any`, or `limit` or `limitBytes`
   * is not a positive whole number.
   */
  subscribe<Out, const K extends TopicOf<T>>(
    topic: K,
    options: SubscribeOptions<StandardSchema<Out>> & { readonly accepts: StandardSchema<Out> },
  ): Subscription<Out, PathOf<T, K>>;
  /**
   * Subscribes to messages, to iterate over them.
   *
   * @param topic The topic; `null` for all.
   * @param options How many messages and bytes it holds, what happens to one more, when it ends, and which
   * messages it accepts.
   * @returns The messages from now on; see {@linkcode Subscription}.
   * @throws {TypeError} If `topic` is not a valid topic, or an option is of the wrong kind.
   * @throws {RangeError} If the topic is too long, or has more than three `any`, or `limit` or `limitBytes`
   * is not a positive whole number.
   */
  subscribe<const K extends TopicOf<T>>(
    topic: K,
    options?: SubscribeOptions,
  ): Subscription<MessageOf<T, K>, PathOf<T, K>>;
  subscribe(topic: Topic, options?: SubscribeOptions<unknown>): Subscription<unknown> {
    const dispatcher = dispatcherOf(this);
    return dispatcher.subscribe(dispatcher.patternOf(topic), options);
  }
}
