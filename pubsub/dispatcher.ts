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
 * - Where a topic's messages go is remembered, and looked up again when the tree has changed there.
 * - Whatever goes wrong in a subscriber goes to {@linkcode Dispatcher.report}, and nowhere else.
 */
import { Fifo } from "../base/fifo.ts";
import { type Bound, Queue, type Size } from "../base/queue.ts";
import { warn, WarningLines } from "../base/warn.ts";
import { BacklogError, ForbiddenError } from "../errors.ts";
import { TopicCache } from "../routing/topic_cache.ts";
import { TopicTree } from "../routing/topic_tree.ts";
import {
  formatTopic,
  isBrokerPath,
  isLocalPath,
  slashNotice,
  type Topic,
  type TopicPath,
  topicPath,
  type TopicPattern,
  topicPattern,
} from "../topic.ts";
import { AbortListeners } from "./abort_listeners.ts";
import { fitOf } from "./accepts.ts";
import { describeError, watch } from "./callback_errors.ts";
import type { Member } from "./group_members.ts";
import { GROUP_WAITING_MAX, LocalGroups } from "./groups.ts";
import { LocalRoute } from "./local_route.ts";
import { QueueSubscription } from "./queue_subscription.ts";
import { NOTHING, Registration, Removal } from "./registration.ts";
import { Registrations } from "./registrations.ts";
import {
  type Delivery,
  type ErrorContext,
  type Handle,
  NO_INFO,
  type PubSubOptions,
  type SubscribeOptions,
  type Subscriber,
  type Subscription,
} from "./subscriber.ts";

/** What the owner of a {@linkcode Dispatcher} is called for, besides errors. */
export interface DispatcherOptions extends PubSubOptions {
  /**
   * Called when a topic gets its first subscriber, and when it has lost its last.
   *
   * - Never for topics that end in `"*local"`.
   * - If it throws for the first, that subscriber is not added and the caller gets the error.
   */
  onInterest?(path: TopicPattern, wanted: boolean): void;
  /**
   * Called when a member of a group comes, and when it goes.
   *
   * - Never for topics that end in `"*local"`.
   * - If it throws when one comes, that is not added and the caller gets the error.
   */
  onMember?(member: Member, isThere: boolean): void;
  /** Whether somebody else decides which members of groups get what is not local. */
  isDecided?(): boolean;
  /** Called when there is room again in all subscriptions that wait. */
  onRoom?(): void;
}

/** Options of {@linkcode Dispatcher.add}. */
export interface AddOptions {
  /** Removes it before its first call. */
  readonly once?: boolean | undefined;
  /** Removes it when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Names or a schema; checked here. */
  readonly accepts?: unknown;
  /** The group of which it is a member, and how much it works on at a time; checked here. */
  readonly group?: unknown;
  readonly concurrency?: unknown;
}

/** A message that waits for the deliveries before it. */
interface Waiting {
  readonly route: LocalRoute;
  readonly message: object;
  readonly size: Size | undefined;
  readonly isDecided: boolean;
}

const ROOT = topicPath(null);
const SUBSCRIPTION_LIMIT = 65_536;
const SUBSCRIPTION_BYTES = 64 * 1024 * 1024;
const WAITING_MAX = 2 ** 20;
/** How many messages a loop gets at a time that is a member of a group. */
const GROUP_LIMIT = 16;
const GROUP_BOUND: Bound = {
  name: "limit",
  limit: GROUP_WAITING_MAX,
  holds: `${GROUP_WAITING_MAX} messages`,
};

/** Keeps the subscribers of one bus, and delivers messages to them. */
export class Dispatcher {
  /** The owner's `onError`; use {@linkcode Dispatcher.report}. */
  readonly onError: (error: unknown, context: ErrorContext) => void;
  readonly #options: DispatcherOptions;
  readonly #tree = new TopicTree<Registrations>();
  /** All, in the order of their births. */
  readonly #all = new Set<Registration>();
  /** The subscriptions with `overflow: "wait"` that have no room, and groups. */
  readonly #full = new Set<Registration>();
  /** How many of these are groups. */
  #fullGroups = 0;
  readonly #abortListeners = new AbortListeners();
  /** Made with the first member of one. */
  #groups: LocalGroups | undefined;
  readonly #waiting = new Fifo<Waiting>();
  /** The routes of the topics that were published lately. */
  readonly #routes = new TopicCache(ROOT, this.routeOf(ROOT));
  readonly #lines = new WarningLines("other errors");
  /** Whether it has told of a topic that may be meant as a path. */
  #isAdvised = false;
  #interestCount = 0;
  #births = 0;
  #delivering = false;
  /** How many of all are subscriptions. */
  #queues = 0;
  /** What the message that is being delivered counts in them, if anything. */
  #size: Size | undefined;
  /** Whether somebody else decides which members of groups get it. */
  #isDecided = false;

  /** Makes a dispatcher without subscribers. */
  constructor(options: DispatcherOptions = {}) {
    if (options.onError !== undefined && typeof options.onError !== "function") {
      throw new TypeError(`Cannot use onError: it is ${typeof options.onError}, not a function`);
    }
    this.onError = (error, context) =>
      options.onError === undefined
        ? this.#lines.write(describeError(error, context))
        : options.onError(error, context);
    this.#options = options;
  }

  /**
   * The path of a topic to publish to.
   *
   * @throws {TypeError} If it is not a valid topic.
   * @throws {RangeError} If it is too long.
   */
  pathOf(topic: Topic): TopicPath {
    const path = topicPath(topic);
    this.#advise(topic);
    return path;
  }

  /**
   * The pattern of a topic to subscribe to.
   *
   * @throws {TypeError} If it is not a valid topic.
   * @throws {RangeError} If it is too long.
   */
  patternOf(topic: Topic): TopicPattern {
    const pattern = topicPattern(topic);
    this.#advise(topic);
    return pattern;
  }

  #advise(topic: Topic): void {
    const notice = this.#isAdvised ? undefined : slashNotice(topic);
    if (notice === undefined) return;
    this.#isAdvised = true;
    warn(`The topic ${notice}`);
  }

  /**
   * Adds a subscriber.
   *
   * @returns Removes exactly this one; twice is a no-op.
   * @throws {TypeError} If `subscriber` is not a function, or `accepts` is neither names nor a schema.
   */
  add(path: TopicPattern, subscriber: Subscriber<never>, options: AddOptions = {}): Handle {
    if (typeof subscriber !== "function") {
      throw new TypeError(
        `Cannot subscribe to ${formatTopic(path)}: the subscriber is ` +
          `${subscriber === null ? "null" : typeof subscriber}; it must be a function`,
      );
    }
    if (options.group !== undefined) return this.#groupsHere.add(path, subscriber, options);
    if (options.concurrency !== undefined) {
      throw new TypeError(
        "Cannot use concurrency without group: only messages of groups are counted",
      );
    }
    const registration = this.#add(path, subscriber as Subscriber<unknown>, options, undefined);
    if (registration === undefined) return NOTHING;
    return new Removal(() => this.#remove(registration));
  }

  /** Removes the earliest registration of `subscriber` for the path; returns whether there was one. */
  remove(path: TopicPattern, subscriber: Subscriber<never>): boolean {
    const registration = this.#tree.get(path)?.value?.earliestOf(subscriber);
    const member = this.#groups?.earliestOf(path, subscriber);
    if (member !== undefined && !(registration?.birth! < member.birth)) member.end();
    else if (registration !== undefined) this.#remove(registration);
    return registration !== undefined || member !== undefined;
  }

  /** Removes all subscribers; subscriptions end after what they hold. */
  clear(): void {
    this.#groups?.clear();
    const gone = [...this.#all];
    const paths = [...this.interests()];
    this.#all.clear();
    this.#tree.clear();
    this.#interestCount = 0;
    this.#queues = 0;
    for (const registration of gone) registration.active = false;
    for (const registration of gone) {
      this.#release(registration);
      registration.queue?.close();
    }
    for (const path of paths) this.#options.onInterest?.(path, false);
  }

  /**
   * Adds a subscriber that puts messages into a queue.
   *
   * @throws {RangeError} If `limit` or `limitBytes` is not a positive whole number.
   * @throws {TypeError} If another option is of the wrong kind.
   */
  subscribe(path: TopicPattern, options: SubscribeOptions<unknown> = {}): Subscription<unknown> {
    if (options.group !== undefined) return this.#subscribeInGroup(path, options);
    const { limit = SUBSCRIPTION_LIMIT, limitBytes = SUBSCRIPTION_BYTES } = options;
    const { overflow = "drop-oldest" } = options;
    const name = `the subscription of ${formatTopic(path)}`;
    const queue: Queue<Delivery<unknown>> = new Queue({
      name,
      limit,
      limitBytes,
      overflow,
      onRoom: () => this.#makeRoom(registration),
      onCancel: () => registration && this.#remove(registration),
    });
    const take = (topic: TopicPath, message: unknown) => {
      const pushed = queue.push({ topic, message, info: NO_INFO }, this.#size);
      if (pushed === "ended") this.#remove(registration!);
      else if (pushed === "dropping") {
        const { bound } = queue;
        const text = `Cannot hold all messages in ${name}: it is full ` +
          `(${bound.name} is ${bound.limit}) and drops the oldest; ` +
          `take them faster, raise ${bound.name} or choose another overflow`;
        this.report(new BacklogError(text, { limit: bound.limit }), { topic: path });
      } else if (overflow === "wait" && queue.full) this.#filled(registration!);
    };
    const registration: Registration | undefined = this.#add(path, take, options, queue);
    if (registration === undefined) queue.close({ error: options.signal?.reason });
    return new QueueSubscription(queue);
  }

  #subscribeInGroup(path: TopicPattern, options: SubscribeOptions<unknown>): Subscription<unknown> {
    const { overflow, limitBytes, limit = GROUP_LIMIT } = options;
    const excess = overflow !== undefined ? "overflow" : limitBytes !== undefined && "limitBytes";
    if (excess) {
      throw new TypeError(`Cannot use ${excess} with group: a member gets no more than its limit`);
    }
    return this.#groupsHere.subscribe(path, limit, options);
  }

  get #groupsHere(): LocalGroups {
    return this.#groups ??= new LocalGroups({
      register: (path, take) => {
        const isLocal = isLocalPath(path);
        const shareOut = (topic: TopicPath, message: unknown) => {
          if (!this.#isDecided || isLocal) take(topic, message as object, NO_INFO);
        };
        return this.#add(path, shareOut, { isGroup: true }, undefined)!;
      },
      unregister: (registration) => this.#remove(registration),
      setFull: (registration, isFull) => this.#setFull(registration, isFull),
      onAbort: (signal, callback) => this.#abortListeners.add(signal, callback),
      born: () => this.#births++,
      onMember: (member, isThere) => this.#options.onMember?.(member, isThere),
      report: (error, context) => this.report(error, context),
    });
  }

  #setFull(registration: Registration, isFull: boolean): void {
    if (isFull && registration.active) this.#filled(registration);
    else this.#makeRoom(registration);
  }

  /** The topics that have a subscriber here, except those that end in `"*local"`. */
  *interests(): Generator<TopicPattern, void, undefined> {
    for (const { path, value } of this.#tree.nodes()) {
      if (value !== undefined && value.size > value.groups && !isLocalPath(path)) yield path;
    }
  }

  /** The members of groups, except those of topics that end in `"*local"`. */
  members(): Iterable<Member> {
    return this.#groups?.members() ?? [];
  }

  /** How many {@linkcode Dispatcher.members} gives. */
  get memberCount(): number {
    return this.#groups?.memberCount ?? 0;
  }

  /** The member that has this number. */
  member(number: number): Member | undefined {
    return this.#groups?.member(number);
  }

  /** The members give back what they were given from elsewhere and have not begun. */
  recallJobs(): void {
    for (const member of this.members()) member.recall();
  }

  /** How many topics {@linkcode Dispatcher.interests} gives. */
  get interestCount(): number {
    return this.#interestCount;
  }

  /** Whether anyone here gets what is published to this path. */
  wants(route: LocalRoute): boolean {
    if (route.path.length === 0) {
      for (const { path: wanted } of this.#all) if (!isBrokerPath(wanted)) return true;
      return false;
    }
    this.#update(route);
    const { crossing } = route;
    if (crossing !== undefined) return crossing.some(hasSubscribers);
    let node: LocalRoute["node"] | undefined = route.node;
    while (node !== undefined && !hasSubscribers(node)) node = node.parent;
    return node !== undefined;
  }

  /** Whether there are subscriptions, for which what comes from elsewhere counts its bytes. */
  get holds(): boolean {
    return this.#queues > 0;
  }

  /** Whether a subscription with `overflow: "wait"` has no room. */
  get full(): boolean {
    return this.#full.size > this.#fullGroups;
  }

  /**
   * Makes sure that what is published to this path can be held by all who get it.
   *
   * @param isDecided Whether somebody else decides which members of groups do.
   * @throws {BacklogError} If not.
   */
  checkRoom(path: TopicPath, isDecided = false): void {
    this.#checkWaiting(path);
    const full = this.#full.size === 0 ? undefined : this.#fullFor(path, isDecided);
    if (full === undefined) return;
    const bound = full.queue?.bound ?? GROUP_BOUND;
    const what = full.queue === undefined ? "a group" : "the subscription";
    throw new BacklogError(
      `Cannot publish to ${formatTopic(path)}: ${what} of ${formatTopic(full.path)} holds ` +
        `${bound.holds} (${bound.name} is ${bound.limit}); publish again when some are taken`,
      { limit: bound.limit },
    );
  }

  /** A subscription, or group, without room that gets what is published to a path. */
  #fullFor(path: TopicPath, isDecided: boolean): Registration | undefined {
    const gets = ({ isGroup, path }: Registration) => !(isDecided && isGroup && !isLocalPath(path));
    if (path.length === 0) {
      return this.#full.values().find((one) => gets(one) && !isBrokerPath(one.path));
    }
    for (const { value } of this.#tree.crossing(path)) {
      const first = value?.full.values().find(gets);
      if (first !== undefined) return first;
    }
    return undefined;
  }

  /**
   * All the checks of `publish` that need no network, before any delivery.
   *
   * @param isLocal Whether the message stays in this process, whatever its topic is.
   * @returns Where it goes.
   * @throws {TypeError} If `topic` is not a valid topic, or the message not an object of named values.
   * @throws {RangeError} If the topic is too long.
   * @throws {ForbiddenError} If the topic is the broker's.
   * @throws {BacklogError} If a subscription that waits has no room.
   */
  checkPublish(topic: Topic, message: object, isLocal = false): LocalRoute {
    const route = this.#routes.get(topic) ?? this.#remember(this.routeOf(this.pathOf(topic)));
    if (typeof message !== "object" || message === null || Array.isArray(message)) {
      throw noMessage(route.path, message);
    }
    if (route.broker) throw forbidden(route.path);
    if (this.#delivering || this.#full.size > 0) {
      const isDecided = !isLocal && !route.isLocal && this.#options.isDecided?.();
      this.checkRoom(route.path, isDecided);
    }
    return route;
  }

  #remember(route: LocalRoute): LocalRoute {
    this.#routes.set(route.path, route);
    return route;
  }

  /** Where the messages of a path go, which `topicPath` has checked; stays valid. */
  routeOf(path: TopicPath): LocalRoute {
    return new LocalRoute(path, this.#tree);
  }

  /**
   * Delivers a message, now or after the deliveries under way.
   *
   * @param size What it counts in a subscription that holds it; only asked before this returns.
   * @throws {BacklogError} If too many wait.
   */
  deliver(route: LocalRoute, message: object, size?: Size): void {
    if (this.#delivering) return this.#wait(route, message, size, false);
    this.#delivering = true;
    this.#size = size;
    try {
      this.#pass(route, message);
      if (this.#waiting.length > 0) this.#deliverWaiting();
    } finally {
      this.#delivering = false;
    }
  }

  /** Delivers a message of which somebody else decides which members of groups get it: none here does. */
  deliverDecided(route: LocalRoute, message: object, size?: Size): void {
    if (this.#delivering) return this.#wait(route, message, size, true);
    this.#isDecided = true;
    try {
      this.deliver(route, message, size);
    } finally {
      this.#isDecided = false;
    }
  }

  #wait(route: LocalRoute, message: object, size: Size | undefined, isDecided: boolean): void {
    this.#checkWaiting(route.path);
    const bytes = size?.bytes;
    const counted = bytes === undefined ? bytes : { most: bytes, bytes };
    this.#waiting.push({ route, message, size: counted, isDecided });
  }

  /** Calls the owner's code; what it throws, or rejects with, is reported. */
  call(callback: () => unknown): void {
    try {
      watch(callback(), (error) => this.report(error, {}));
    } catch (error) { // What the owner's code throws must not stop what called it.
      this.report(error, {});
    }
  }

  /** Calls `onError`; never throws. */
  report(error: unknown, context: ErrorContext): void {
    const failed = (second: unknown) => {
      this.#lines.write(describeError(error, context));
      this.#lines.write(describeError(second, context, "onError failed: "));
    };
    try {
      watch(this.onError(error, context) as unknown, failed);
    } catch (second) {
      // The owner's onError threw: only the console is left.
      failed(second);
    }
  }

  #add(
    path: TopicPattern,
    subscriber: Subscriber<unknown>,
    { once = false, signal, accepts, isGroup = false }: AddOptions & { isGroup?: boolean },
    queue: Queue<Delivery<unknown>> | undefined,
  ): Registration | undefined {
    const fit = accepts === undefined ? undefined : fitOf(accepts);
    if (signal?.aborted) return undefined;
    const node = this.#tree.at(path);
    const registrations = node.value ??= new Registrations();
    const options = { once, fit, queue, isGroup };
    const registration = new Registration(node, this.#births++, subscriber, options);
    if (signal !== undefined) {
      const onAbort = () => {
        this.#remove(registration);
        queue?.clear();
        queue?.close({ error: signal.reason });
      };
      registration.release = this.#abortListeners.add(signal, onAbort);
    }
    registrations.add(registration);
    this.#all.add(registration);
    if (queue !== undefined) this.#queues++;
    if (isGroup) return registration;
    if (registrations.size - registrations.groups === 1 && !isLocalPath(path)) {
      this.#interestCount++;
      try {
        this.#options.onInterest?.(path, true);
      } catch (error) {
        // The owner refuses; nothing of the registration may stay.
        this.#takeOut(registration);
        this.#release(registration);
        this.#interestCount--;
        throw error;
      }
    }
    return registration;
  }

  #remove(registration: Registration | undefined): void {
    if (!registration?.active) return;
    const { path } = registration;
    if (this.#takeOut(registration) && !isLocalPath(path)) {
      this.#interestCount--;
      this.#options.onInterest?.(path, false);
    }
    this.#release(registration);
  }

  /** Takes a registration out of all lists; returns whether it was the last of its path, groups aside. */
  #takeOut(registration: Registration): boolean {
    const { node, isGroup } = registration;
    const registrations = node.value!;
    registration.active = false;
    registrations.removed(registration);
    this.#all.delete(registration);
    if (registration.queue !== undefined) this.#queues--;
    if (registrations.size === 0) {
      node.value = undefined;
      this.#tree.prune(node);
    }
    return !isGroup && registrations.size === registrations.groups;
  }

  /** Ends a registration that is in no list any more. */
  #release(registration: Registration): void {
    registration.release?.();
    this.#makeRoom(registration);
  }

  #filled(registration: Registration): void {
    if (registration.isGroup && !this.#full.has(registration)) this.#fullGroups++;
    this.#full.add(registration);
    registration.node.value?.full.add(registration);
  }

  #makeRoom(registration: Registration | undefined): void {
    if (registration === undefined || !this.#full.delete(registration)) return;
    registration.node.value?.full.delete(registration);
    if (registration.isGroup) this.#fullGroups--;
    if (!this.full) this.#options.onRoom?.();
  }

  #checkWaiting(path: TopicPath): void {
    if (this.#waiting.length < WAITING_MAX) return;
    throw new BacklogError(
      `Cannot publish to ${formatTopic(path)}: ${WAITING_MAX} messages (the limit) wait for the ` +
        `delivery under way to end; publish less from within subscribers`,
      { limit: WAITING_MAX },
    );
  }

  /** Finds again where messages go, if that may have changed. */
  #update(route: LocalRoute): void {
    if (route.shape === route.node.shape && route.forks === this.#tree.forks) return;
    this.#tree.follow(route);
  }

  #deliverWaiting(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#size = next.size;
      this.#isDecided = next.isDecided;
      this.#pass(next.route, next.message);
    }
    this.#isDecided = false;
  }

  /** Passes a message to those who get it. */
  #pass(route: LocalRoute, message: object): void {
    const { path } = route;
    const end = this.#births;
    if (path.length === 0) return this.#broadcast(path, message, end);
    this.#update(route);
    if (route.crossing !== undefined) return this.#cross(route.crossing, path, message, end);
    let node: LocalRoute["node"] | undefined = route.node;
    for (; node !== undefined; node = node.parent) {
      if (node.value === undefined) continue;
      const { list } = node.value;
      const { length } = list;
      for (let index = 0; index < length; index++) {
        const registration = list[index]!;
        if (registration.birth >= end) break;
        if (registration.active) this.#call(registration, path, message);
      }
    }
  }

  /** Passes a message to those at several nodes. Not in #pass, where it would cost each message. */
  #cross(
    crossing: readonly LocalRoute["node"][],
    path: TopicPath,
    message: object,
    end: number,
  ): void {
    for (const { value } of crossing) {
      const list = value?.list ?? [];
      const { length } = list;
      for (let index = 0; index < length; index++) {
        const registration = list[index]!;
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
        if (!registration.active) return; // Removed by what the schema called.
      }
      if (registration.once) this.#remove(registration);
      const { subscriber } = registration;
      const result = subscriber(path, value, NO_INFO);
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

/** Whether somebody subscribes there who is in no group. */
function hasSubscribers({ value }: LocalRoute["node"]): boolean {
  return value !== undefined && value.size > value.groups;
}

function noMessage(path: TopicPath, message: unknown): TypeError {
  const kind = message === null ? "null" : Array.isArray(message) ? "an array" : typeof message;
  return new TypeError(
    `Cannot publish to ${formatTopic(path)}: the message is ${kind}; ` +
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
