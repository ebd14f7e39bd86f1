/**
 * The subscribers of one bus, and the order in which they get messages. No I/O.
 *
 * ```
 *  deliver ──▶ a delivery under way? ──yes──▶ waiting ─┐ one after the other
 *                      │ no                            │
 *                      ▼                               ▼
 *              subscribers of the path, of its parents, of the root: fit? ──▶ call, or report
 * ```
 *
 * - A delivery goes to those who were there when it began and are there when their turn comes. Each
 *   registration has a birth number for the one and `active` for the other, so that nothing is
 *   copied when nobody comes or goes.
 * - Where a topic's messages go is remembered, and looked up again when the tree has changed.
 * - Whatever a subscriber does wrong ends in {@linkcode Dispatcher.report}, and nowhere else.
 */
import { BacklogError, ForbiddenError, MessageError } from "../errors.ts";
import { PathCache } from "../routing/path_cache.ts";
import { Fifo, type Overflow, Queue } from "../base/queue.ts";
import {
  formatTopic,
  isBrokerPath,
  isLocalPath,
  printable,
  type Topic,
  type TopicNode,
  type TopicPath,
  topicPath,
  TopicTree,
} from "../topic.ts";

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
 * A schema after [Standard Schema](https://standardschema.dev), version 1, as Zod, Valibot and ArkType
 * make them: the part that is used of it.
 *
 * @typeParam Out What it makes of a message.
 */
export interface StandardSchema<Out = unknown> {
  /** What the specification puts here. */
  readonly "~standard": {
    /** The version of the specification. */
    readonly version: 1;
    /** The library that made the schema. */
    readonly vendor: string;
    /**
     * Checks a value, and gives what the schema makes of it, or says what is wrong. A schema that
     * answers with a promise cannot be used here.
     */
    readonly validate: (value: unknown) =>
      | { readonly value: Out; readonly issues?: undefined }
      | {
        readonly issues: readonly {
          readonly message: string;
          readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
        }[];
      }
      | Promise<unknown>;
    /** The types that go in and come out; for the compiler only. */
    readonly types?: { readonly input: unknown; readonly output: Out } | undefined;
  };
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

/** What a {@linkcode Dispatcher} tells its owner, beside errors. */
export interface DispatcherOptions extends PubSubOptions {
  /**
   * Called when the first subscriber of a path has come, and when the last has gone.
   *
   * - Never for paths that end in `"*local"`.
   * - If it throws for one that came, that one is not added and the caller gets the error.
   */
  onInterest?(path: TopicPath, wanted: boolean): void;
  /** Called when there is room again in all subscriptions that wait. */
  onRoom?(): void;
}

/** How {@linkcode Dispatcher.add} adds a subscriber. */
export interface AddOptions {
  /** Take it away before its first call. */
  readonly once?: boolean;
  /** Takes it away when aborted. */
  readonly signal?: AbortSignal;
  /** Names or a schema; checked here. */
  readonly accepts?: unknown;
}

const ROOT = topicPath(null);
const SUBSCRIPTION_LIMIT = 65_536;
const WAITING_MAX = 2 ** 20;
const SHOWN_ISSUES_MAX = 5;
const SHOWN_CHARS_MAX = 500;

/** Takes one subscriber away. A class, because an object literal with such a method is slow. */
class Removal implements Disposable {
  readonly #remove: () => void;

  constructor(remove: () => void) {
    this.#remove = remove;
  }

  [Symbol.dispose](): void {
    this.#remove();
  }
}

const NOTHING = new Removal(() => {});

/** What a subscriber gets of a message; throws if the message does not fit. */
type Fit = (path: TopicPath, message: object) => unknown;

/** One subscriber at one path. */
class Registration {
  readonly path: TopicPath;
  readonly birth: number;
  readonly subscriber: Subscriber<unknown>;
  readonly once: boolean;
  readonly fit: Fit | undefined;
  /** Where the messages of a `Subscription` go. */
  readonly queue: Queue<Delivery<unknown>> | undefined;
  active = true;
  /** Takes the listener off the signal. */
  release: (() => void) | undefined = undefined;

  constructor(
    path: TopicPath,
    birth: number,
    subscriber: Subscriber<unknown>,
    options: { once: boolean; fit: Fit | undefined; queue: Queue<Delivery<unknown>> | undefined },
  ) {
    this.path = path;
    this.birth = birth;
    this.subscriber = subscriber;
    this.once = options.once;
    this.fit = options.fit;
    this.queue = options.queue;
  }
}

/** Where the messages of one path go; {@linkcode Dispatcher.routeOf} makes one. */
export class Route {
  /** The path. */
  readonly path: TopicPath;
  /** Whether they stay in the process. */
  readonly isLocal: boolean;
  /** Whether it is the broker's, and so not for the catch-all. */
  readonly broker: boolean;
  /** Those from here up get them; out of date when `version` is not the tree's. */
  node: TopicNode<Registration>;
  version: number;

  constructor(path: TopicPath, tree: TopicTree<Registration>) {
    this.path = path;
    this.isLocal = isLocalPath(path);
    this.broker = isBrokerPath(path);
    this.node = tree.deepest(path);
    this.version = tree.version;
  }
}

/** The subscribers of one bus; see the module. */
export class Dispatcher {
  /** The owner's `onError`; use {@linkcode Dispatcher.report}. */
  readonly onError: (error: unknown, context: ErrorContext) => void;
  readonly #options: DispatcherOptions;
  readonly #tree = new TopicTree<Registration>();
  /** All, in the order of their births. */
  readonly #all = new Set<Registration>();
  /** The subscriptions with `overflow: "wait"` that have no room. */
  readonly #full = new Set<Registration>();
  readonly #waiting = new Fifo<{ route: Route; message: object }>();
  /** The routes of the topics that were published lately. */
  readonly #routes = new PathCache(ROOT, this.routeOf(ROOT));
  #births = 0;
  #delivering = false;

  /** Makes a dispatcher without subscribers. */
  constructor(options: DispatcherOptions = {}) {
    if (options.onError !== undefined && typeof options.onError !== "function") {
      throw new TypeError(`Cannot use onError: it is ${typeof options.onError}, not a function`);
    }
    this.onError = (error, context) =>
      options.onError === undefined ? warn(error, context) : options.onError(error, context);
    this.#options = options;
  }

  /**
   * Adds a subscriber.
   *
   * @returns Takes away exactly this one; twice is a no-op.
   * @throws {TypeError} If `subscriber` is no function, or `accepts` is neither names nor a schema.
   */
  add(path: TopicPath, subscriber: Subscriber<never>, options: AddOptions = {}): Disposable {
    if (typeof subscriber !== "function") {
      throw new TypeError(
        `Cannot subscribe to ${formatTopic(path)}: the subscriber must be a function, ` +
          `it is ${subscriber === null ? "null" : typeof subscriber}`,
      );
    }
    const registration = this.#add(path, subscriber as Subscriber<unknown>, options, undefined);
    if (registration === undefined) return NOTHING;
    return new Removal(() => this.#remove(registration));
  }

  /** Takes away the earliest registration of `subscriber` for the path; whether there was one. */
  remove(path: TopicPath, subscriber: Subscriber<never>): boolean {
    const registration = this.#tree.get(path)?.values.find((r) => r.subscriber === subscriber);
    if (registration === undefined) return false;
    this.#remove(registration);
    return true;
  }

  /** Takes all subscribers away; subscriptions end after what they hold. */
  clear(): void {
    const gone = [...this.#all];
    const paths = [...this.interests()];
    this.#all.clear();
    this.#tree.clear();
    for (const registration of gone) {
      this.#retire(registration);
      registration.queue?.close();
    }
    for (const path of paths) this.#options.onInterest?.(path, false);
  }

  /**
   * Adds a subscriber that puts messages into a queue.
   *
   * @throws {RangeError} If the limit is not a positive whole number.
   * @throws {TypeError} If another option is wrong.
   */
  subscribe(path: TopicPath, options: SubscribeOptions<unknown> = {}): Subscription<unknown> {
    const { limit = SUBSCRIPTION_LIMIT, overflow = "drop-oldest" } = options;
    const name = `the subscription of ${formatTopic(path)}`;
    const queue: Queue<Delivery<unknown>> = new Queue({
      name,
      limit,
      overflow,
      onRoom: () => this.#makeRoom(registration),
      onCancel: () => registration && this.#remove(registration),
    });
    const take = (topic: TopicPath, message: unknown) => {
      const pushed = queue.push({ topic, message });
      if (pushed === "ended") this.#remove(registration!);
      else if (pushed === "dropping") {
        const text =
          `Cannot hold all messages in ${name}: it holds ${limit}, which is its limit, ` +
          `and drops the oldest; take them faster, raise limit or choose another overflow`;
        this.report(new BacklogError(text, { limit }), { topic: path });
      } else if (overflow === "wait" && queue.full) this.#full.add(registration!);
    };
    const registration: Registration | undefined = this.#add(path, take, options, queue);
    if (registration === undefined) queue.close({ error: options.signal?.reason });
    return {
      get dropped() {
        return queue.dropped;
      },
      [Symbol.asyncIterator]: () => queue[Symbol.asyncIterator](),
      [Symbol.dispose]: () => queue.cancel(),
      [Symbol.asyncDispose]: () => Promise.resolve(queue.cancel()),
    };
  }

  /** The paths that have a subscriber here; without those that end in `"*local"`. */
  *interests(): Generator<TopicPath, void, undefined> {
    for (const node of this.#tree.nodes()) {
      if (node.values.length > 0 && !isLocalPath(node.path)) yield node.path;
    }
  }

  /** Whether anyone here gets what is published to this path. */
  wants(route: Route): boolean {
    if (route.path.length === 0) {
      for (const { path: wanted } of this.#all) if (!isBrokerPath(wanted)) return true;
      return false;
    }
    this.#update(route);
    const stop = route.broker ? this.#tree.root : undefined;
    let node: TopicNode<Registration> | undefined = route.node;
    for (; node !== stop && node !== undefined; node = node.parent) {
      if (node.values.length > 0) return true;
    }
    return false;
  }

  /** Whether a subscription with `overflow: "wait"` has no room. */
  get full(): boolean {
    return this.#full.size > 0;
  }

  /**
   * Makes sure that what is published to this path can be held by all who get it.
   *
   * @throws {BacklogError} If not.
   */
  checkRoom(path: TopicPath): void {
    this.#checkWaiting(path);
    if (this.#full.size === 0) return;
    for (const { path: subscribed, queue } of this.#full) {
      if (!reaches(path, subscribed)) continue;
      const limit = queue!.limit;
      throw new BacklogError(
        `Cannot publish to ${formatTopic(path)}: the subscription of ${formatTopic(subscribed)} ` +
          `holds ${queue!.length} messages, its limit is ${limit}; publish when some are taken`,
        { limit },
      );
    }
  }

  /**
   * All the checks of `publish` that need no network, before any delivery.
   *
   * @returns Where it goes.
   * @throws {TypeError} If the topic is none, or the message is no object of named values.
   * @throws {RangeError} If the topic is too long.
   * @throws {ForbiddenError} If the topic is the broker's.
   * @throws {BacklogError} If a subscription that waits has no room.
   */
  checkPublish(topic: Topic, message: object): Route {
    const route = this.#routes.get(topic) ?? this.#remember(this.routeOf(topicPath(topic)));
    if (typeof message !== "object" || message === null || Array.isArray(message)) {
      throw noMessage(route.path, message);
    }
    if (route.broker) throw forbidden(route.path);
    if (this.#delivering || this.#full.size > 0) this.checkRoom(route.path);
    return route;
  }

  #remember(route: Route): Route {
    this.#routes.set(route.path, route);
    return route;
  }

  /** Where the messages of a path go, which `topicPath` has checked; good for good. */
  routeOf(path: TopicPath): Route {
    return new Route(path, this.#tree);
  }

  /**
   * Delivers a message, now or after the deliveries under way.
   *
   * @throws {BacklogError} If too many wait.
   */
  deliver(route: Route, message: object): void {
    if (this.#delivering) {
      this.#checkWaiting(route.path);
      this.#waiting.push({ route, message });
      return;
    }
    this.#delivering = true;
    try {
      this.#pass(route, message);
      if (this.#waiting.length > 0) this.#deliverWaiting();
    } finally {
      this.#delivering = false;
    }
  }

  /** Calls the owner's code; what it throws, or rejects with, is reported. */
  call(callback: () => unknown): void {
    try {
      watch(callback(), (error) => this.report(error, {}));
    } catch (error) { // Its mistake must not stop what it is told of.
      this.report(error, {});
    }
  }

  /** Tells `onError`; never throws. */
  report(error: unknown, context: ErrorContext): void {
    const failed = (second: unknown) => {
      warn(error, context);
      warn(second, context, "onError failed: ");
    };
    try {
      watch(this.onError(error, context) as unknown, failed);
    } catch (second) {
      // The owner's onError threw; there is nobody else to tell.
      failed(second);
    }
  }

  #add(
    path: TopicPath,
    subscriber: Subscriber<unknown>,
    { once = false, signal, accepts }: AddOptions,
    queue: Queue<Delivery<unknown>> | undefined,
  ): Registration | undefined {
    const fit = accepts === undefined ? undefined : fitOf(accepts);
    if (signal?.aborted) return undefined;
    const registration = new Registration(path, this.#births++, subscriber, { once, fit, queue });
    if (signal !== undefined) {
      const onAbort = () => {
        this.#remove(registration);
        queue?.clear();
        queue?.close({ error: signal.reason });
      };
      signal.addEventListener("abort", onAbort, { once: true });
      registration.release = () => signal.removeEventListener("abort", onAbort);
    }
    const node = this.#tree.add(path, registration);
    this.#all.add(registration);
    if (node.values.length === 1 && !isLocalPath(path)) {
      try {
        this.#options.onInterest?.(path, true);
      } catch (error) {
        // The owner refuses; nothing of the registration may stay.
        this.#forget(registration);
        throw error;
      }
    }
    return registration;
  }

  #remove(registration: Registration | undefined): void {
    if (!registration?.active) return;
    this.#forget(registration);
    const { path } = registration;
    const left = this.#tree.get(path);
    if ((left === undefined || left.values.length === 0) && !isLocalPath(path)) {
      this.#options.onInterest?.(path, false);
    }
  }

  #forget(registration: Registration): void {
    this.#all.delete(registration);
    this.#tree.remove(registration.path, registration);
    this.#retire(registration);
  }

  /** The end of a registration that is in no list any more. */
  #retire(registration: Registration): void {
    registration.active = false;
    registration.release?.();
    this.#makeRoom(registration);
  }

  #makeRoom(registration: Registration | undefined): void {
    if (registration === undefined || !this.#full.delete(registration)) return;
    if (this.#full.size === 0) this.#options.onRoom?.();
  }

  #checkWaiting(path: TopicPath): void {
    if (this.#waiting.length < WAITING_MAX) return;
    throw new BacklogError(
      `Cannot publish to ${formatTopic(path)}: ${WAITING_MAX} messages, the limit, wait for the ` +
        `delivery under way to end; publish less from within subscribers`,
      { limit: WAITING_MAX },
    );
  }

  /** Looks again who is on the way, if anybody came or went. */
  #update(route: Route): void {
    if (route.version === this.#tree.version) return;
    route.node = this.#tree.deepest(route.path);
    route.version = this.#tree.version;
  }

  #deliverWaiting(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#pass(next.route, next.message);
    }
  }

  /** Passes a message to those who get it. */
  #pass(route: Route, message: object): void {
    const { path } = route;
    const end = this.#births;
    if (path.length === 0) return this.#broadcast(path, message, end);
    this.#update(route);
    const stop = route.broker ? this.#tree.root : undefined;
    let node: TopicNode<Registration> | undefined = route.node;
    for (; node !== stop && node !== undefined; node = node.parent) {
      const { values } = node;
      const { length } = values;
      for (let index = 0; index < length; index++) {
        const registration = values[index]!;
        if (registration.birth >= end) break;
        if (registration.active) this.#call(registration, path, message);
      }
    }
  }

  #broadcast(path: TopicPath, message: object, end: number): void {
    for (const registration of this.#all) {
      if (registration.birth >= end) break;
      if (!isBrokerPath(registration.path)) this.#call(registration, path, message);
    }
  }

  #call(registration: Registration, path: TopicPath, message: object): void {
    try {
      let value: unknown = message;
      if (registration.fit !== undefined) {
        value = registration.fit(path, message);
        if (!registration.active) return; // taken away by what the schema called
      }
      if (registration.once) this.#remove(registration);
      const { subscriber } = registration;
      const result = subscriber(path, value);
      if (result !== undefined) this.#watch(result, registration, path, message);
    } catch (error) {
      // Whatever a subscriber throws: the others get the message all the same.
      this.#failed(error, registration, path, message);
    }
  }

  // Not in #call, where its closure would cost each call.
  #watch(result: unknown, registration: Registration, path: TopicPath, message: object): void {
    watch(result, (error) => this.#failed(error, registration, path, message));
  }

  #failed(error: unknown, registration: Registration, topic: TopicPath, message: object): void {
    const { subscriber, queue } = registration;
    this.report(error, queue === undefined ? { topic, message, subscriber } : { topic, message });
  }
}

function noMessage(path: TopicPath, message: unknown): TypeError {
  const kind = message === null ? "null" : Array.isArray(message) ? "an array" : typeof message;
  return new TypeError(
    `Cannot publish to ${formatTopic(path)}: the message is ${kind}, ` +
      `it must be an object of named values`,
  );
}

function forbidden(path: TopicPath): ForbiddenError {
  return new ForbiddenError(
    `Cannot publish to ${formatTopic(path)}: only the broker publishes to topics that begin ` +
      `with "*broker"; choose another first element`,
    { topic: path },
  );
}

/** Whether what is published to `published` goes to the subscribers of `subscribed`. */
function reaches(published: TopicPath, subscribed: TopicPath): boolean {
  if (published.length === 0) return !isBrokerPath(subscribed);
  return subscribed.every((element, index) => element === published[index]);
}

/** Calls `failed` if `result` is a promise, or like one, and rejects. */
function watch(result: unknown, failed: (error: unknown) => void): void {
  if (typeof result !== "object" && typeof result !== "function" || result === null) return;
  if (typeof (result as { then?: unknown }).then !== "function") return;
  Promise.resolve(result).then(undefined, failed);
}

/** The check for `accepts`. */
function fitOf(accepts: unknown): Fit {
  if (Array.isArray(accepts) && accepts.every((name) => typeof name === "string")) {
    return fitOfNames(accepts);
  }
  if (isSchema(accepts)) return fitOfSchema(accepts);
  throw new TypeError(
    "Cannot subscribe: accepts must be an array of names, or a schema with the property " +
      `"~standard"`,
  );
}

function isSchema(value: unknown): value is StandardSchema {
  const standard = value === null || value === undefined
    ? undefined
    : (value as Partial<StandardSchema>)["~standard"];
  return typeof standard?.validate === "function";
}

function fitOfNames(accepts: readonly string[]): Fit {
  const names = new Set(accepts);
  return (path, message) => {
    const issues: string[] = [];
    for (const [name, value] of Object.entries(message)) {
      if (value !== undefined && !names.has(name)) {
        issues.push(`it has ${JSON.stringify(name)}, which the subscriber does not accept`);
      }
    }
    if (issues.length > 0) throw misfit(path, issues);
    return message;
  };
}

function fitOfSchema(schema: StandardSchema): Fit {
  return (path, message) => {
    const result = schema["~standard"].validate(message);
    if ("then" in result) {
      watch(result, () => {
        // Nobody waits for this promise; that there is one is the error.
      });
      throw new TypeError(
        `Cannot deliver a message of ${formatTopic(path)} to a subscriber: ` +
          "accepts must be a synchronous schema, its validate returned a promise",
      );
    }
    if (!result.issues) return result.value;
    throw misfit(
      path,
      result.issues.map(({ message: text, path: at = [] }) => {
        const keys = at.map((step) => String(typeof step === "object" ? step.key : step));
        return keys.length === 0 ? text : `${keys.join(".")}: ${text}`;
      }),
    );
  };
}

function misfit(topic: TopicPath, issues: readonly string[]): MessageError {
  const more = issues.length - SHOWN_ISSUES_MAX;
  const shown = issues.slice(0, SHOWN_ISSUES_MAX).join("; ") +
    (more > 0 ? `; and ${more} more` : "");
  const text = shown.length <= SHOWN_CHARS_MAX ? shown : `${shown.slice(0, SHOWN_CHARS_MAX)}…`;
  return new MessageError(
    `Cannot deliver a message of ${formatTopic(topic)} to a subscriber: ${text}`,
    { topic, issues },
  );
}

/** The default `onError`; never throws. */
function warn(error: unknown, { topic }: ErrorContext, prefix = ""): void {
  let text: string;
  try {
    text = String(error);
  } catch {
    // Its toString threw, or it has none.
    text = `${typeof error} that has no text`;
  }
  console.warn(printable(`mpubsub: ${topic ? `${formatTopic(topic)}: ` : ""}${prefix}${text}`));
}
