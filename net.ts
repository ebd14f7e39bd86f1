/**
 * `NetPubSub`: a `PubSub` that other processes can hear, through a broker.
 *
 * ```ts
 * import { Broker } from "@mpubsub/mpubsub/broker";
 * import { NetPubSub } from "@mpubsub/mpubsub/net";
 * import { assertEquals } from "@std/assert";
 *
 * await using broker = new Broker();
 * await broker.start();
 *
 * await using here = new NetPubSub(broker.address, broker.authkey);
 * await using there = new NetPubSub(broker.address, broker.authkey);
 * const answers = there.subscribe(["sum", "result"]);
 * await Promise.all([here.connect(), there.connect()]);
 *
 * here.publish(["sum", "result"], { value: 42 });
 * for await (const { topic, message } of answers) {
 *   assertEquals(topic, ["sum", "result"]);
 *   assertEquals(message, { value: 42 });
 *   break;
 * }
 * ```
 *
 * @module
 */
import { BytesCache } from "./base/bytes_cache.ts";
import { printable } from "./base/printable.ts";
import { Decoder } from "./codec/codec.ts";
import {
  AuthError,
  BacklogError,
  ConnectionLostError,
  ForbiddenError,
  MessageError,
  ProtocolError,
} from "./errors.ts";
import { absolute, type Address, formatEndpoint, isExposed, parseAddress } from "./io/address.ts";
import {
  type ConnectionFile,
  isMissing,
  readConnectionFile,
  withKey,
} from "./io/connection_file.ts";
import { Client, type Gap, type State, type Target } from "./net/client.ts";
import { decodeGap, decodeRefused } from "./protocol/bodies.ts";
import { type Frame, FrameType, type Limits, Reason } from "./protocol/frame.ts";
import type { HeldFrame } from "./protocol/inbox.ts";
import { keyBytes, keyNameBytes } from "./protocol/handshake.ts";
import { decodeTopic, encodeTopic, topicEnd } from "./protocol/topic_block.ts";
import {
  type MessageOf,
  type PublishArgs,
  type PublishOptions,
  PubSub,
  type PubSubOptions,
  type TopicMap,
  type TopicOf,
  type Untyped,
} from "./pubsub.ts";
import { Dispatcher } from "./pubsub/dispatcher.ts";
import type { LocalRoute } from "./pubsub/local_route.ts";
import { formatTopic, type Topic, type TopicPath } from "./topic.ts";

export { AuthError, BacklogError, ConnectionLostError, ForbiddenError, ProtocolError };
export type { Address, Gap, State };

/** Options of a {@linkcode NetPubSub}. */
export interface NetPubSubOptions extends PubSubOptions {
  /**
   * The name under which the broker knows the key, at most 64 bytes of UTF-8; without one it is the
   * broker's single key. By default the name that stands in the connection file, if there is one.
   *
   * @default {""}
   */
  keyName?: string;
  /**
   * For a broker whose address begins with `tls://`: in `caCerts` what vouches for its certificate, in
   * PEM, beside what the system trusts and what stands in the connection file.
   */
  tls?: {
    /**
     * Certificates, in PEM.
     *
     * @default {[]}
     */
    caCerts?: string[];
  };
  /**
   * How many bytes may be published and not acknowledged; beyond it `publish` throws
   * `BacklogError`. A single message always fits.
   *
   * @default {16777216}
   */
  backlog?: number;
  /**
   * What the broker does when messages come faster than this object takes them.
   *
   * - `"drop-oldest"`: the oldest go, and `onGap` is told how many.
   * - `"wait"`: those who publish them are held back, as far as the broker allows it (`maxPatience`);
   *   where it does not, the oldest go.
   *
   * @default {"drop-oldest"}
   */
  overflow?: "drop-oldest" | "wait";
  /**
   * With `overflow: "wait"`: for how long this object may hold others back without taking anything, in
   * milliseconds. Then it is cut off and told by `onGap`. The broker's `maxPatience` may be less, and
   * counts then.
   *
   * @default {Infinity}
   */
  patience?: number;
  /**
   * Told each change of `state`, with the reason when it was not asked for; and while `reconnecting`
   * when the reason changes, because the broker refuses the key, say.
   *
   * @param state The new state.
   * @param reason Why, unless `connect()` or `disconnect()` was called.
   */
  onState?(state: State, reason?: Error): void;
  /**
   * Told once whenever messages were or may have been missed or repeated.
   *
   * @param gap What, why, and how many.
   */
  onGap?(gap: Gap): void;
}

/** Options of what waits for a broker. */
export interface WaitOptions {
  /** Gives up when it aborts; the call then rejects with the signal's reason. */
  signal?: AbortSignal;
}

const BACKLOG_BYTES = 16 * 1024 * 1024;
const PATIENCE_MAX_MS = 2 ** 32 - 1;
const ROUTES_MAX = 32_768;

/**
 * A `PubSub` whose messages also go to, and come from, the other clients of a broker.
 *
 * - Local and remote publishers and subscribers look the same, and join at any time.
 * - Before it is connected, and after it was disconnected, it is simply local.
 * - A lost connection is made again, for ever; what is published meanwhile waits, up to `backlog`.
 * - Its own subscribers hear its messages at once; the broker never sends them back.
 * - `addSubscriber` and `subscribe` throw `RangeError` also when the topic, or one topic more, is over
 *   what the broker allows.
 *
 * @typeParam T The messages of a typed bus, as of a `PubSub`.
 *
 * @example What the broker has, and what it does not get
 * ```ts
 * import { Broker, NetPubSub } from "@mpubsub/mpubsub";
 * import { assertEquals } from "@std/assert";
 *
 * await using broker = new Broker();
 * await broker.start();
 * await using bus = new NetPubSub(broker.address, broker.authkey);
 * await bus.connect();
 *
 * bus.publish("jobs", { id: 1 });
 * bus.publish("jobs", { id: 2 }, { local: true }); // stays in this process
 * await bus.flush();
 *
 * assertEquals(bus.pending, 0);
 * assertEquals(broker.stats().received, 1);
 * ```
 *
 * @example Hear of connections that come and go
 * ```ts
 * import { Broker, NetPubSub, type State } from "@mpubsub/mpubsub";
 * import { assertEquals } from "@std/assert";
 *
 * await using broker = new Broker();
 * await broker.start();
 * const states: State[] = [];
 * const bus = new NetPubSub(broker.address, broker.authkey, {
 *   onState: (state) => states.push(state),
 *   onGap: ({ reason, missed }) => console.warn(reason, missed),
 * });
 * await bus.connect();
 * await bus.disconnect();
 *
 * assertEquals(states, ["connecting", "connected", "disconnected"]);
 * ```
 */
export class NetPubSub<T extends TopicMap<T> = Untyped> extends PubSub<T> {
  readonly #dispatcher: Dispatcher;
  readonly #client: Client;
  readonly #decoder = new Decoder();
  readonly #options: NetPubSubOptions;
  #target: Target;
  #file: string | URL | undefined;
  /** Whether it was told that what passes can be read on the way. */
  #warned = false;
  /** How many topics the broker is told of. */
  #interests = 0;
  /** The latest topic that was checked against these limits, as bytes. */
  #latest: { path: TopicPath; limits: Limits; block: Uint8Array } | undefined;
  readonly #routes = new BytesCache<LocalRoute>(ROUTES_MAX);

  /**
   * Makes an object that is not connected yet; does no I/O.
   *
   * @param address Where the broker listens.
   * @param authkey The broker's key: bytes, or a string that stands for its UTF-8 bytes.
   * @param options How it copes with errors, lost connections and full queues.
   * @throws {TypeError} When the address or the key is none, or an option of the wrong kind.
   * @throws {RangeError} When the key is empty, or an option is out of range.
   */
  constructor(address: Address, authkey: string | Uint8Array, options: NetPubSubOptions = {}) {
    parseAddress(address);
    const { overflow = "drop-oldest", patience = Infinity, backlog = BACKLOG_BYTES } = options;
    const target = targetOf({ address, authkey }, options);
    checkOptions(overflow, patience, backlog);
    const dispatcher = new Dispatcher({
      ...(options.onError && { onError: (error, context) => options.onError!(error, context) }),
      onInterest: (path, wanted) => this.#interest(path, wanted),
      onRoom: () => this.#client.resume(),
    });
    super(dispatcher);
    this.#dispatcher = dispatcher;
    this.#options = options;
    this.#target = target;
    this.#client = new Client(
      {
        wait: overflow === "wait",
        patience: Math.min(Math.ceil(patience), PATIENCE_MAX_MS),
        backlog,
      },
      {
        get full() {
          return dispatcher.full;
        },
        target: () => this.#findBroker(),
        interests: () => dispatcher.interests(),
        frame: (frame, limits) => this.#take(frame, limits),
        held: (frame, limits) => this.#takeHeld(frame, limits),
        denied: (error) => dispatcher.report(error, { topic: error.topic }),
        state: (state, reason) => this.#tellState(state, reason),
        gap: (reason, missed, resent) => this.#tellGap(reason, missed, resent),
      },
    );
  }

  /**
   * Makes an object for the broker whose connection file is at `path`; it is not connected yet. The
   * file is read again before each attempt to connect, so a broker that was started again is found,
   * with its new key.
   *
   * @typeParam T The messages of a typed bus, as of a `PubSub`.
   * @param path The file that `mpubsub-broker FILE` wrote, or `mpubsub-broker key NAME` printed.
   * @param options How it copes with errors, lost connections and full queues.
   * @returns Resolves with the object.
   * @throws {Deno.errors.NotFound} When there is no such file.
   * @throws {Deno.errors.PermissionDenied} When others can read the file.
   * @throws {TypeError} When it is not a connection file, or holds no key; or an option is of the
   * wrong kind.
   * @throws {RangeError} When an option is out of range.
   */
  static async fromFile<T extends TopicMap<T> = Untyped>(
    path: string | URL,
    options: NetPubSubOptions = {},
  ): Promise<NetPubSub<T>> {
    const broker = withKey(path, await readConnectionFile(path));
    const bus = new NetPubSub<T>(broker.address, broker.authkey, options);
    bus.#target = targetOf(broker, options);
    bus.#file = absolute(path);
    return bus;
  }

  /** What this object is doing about its connection. */
  get state(): State {
    return this.#client.state;
  }

  /** Bytes published and not acknowledged by the broker, to within 256 KiB; 0 when there are none. */
  get pending(): number {
    return this.#client.pending;
  }

  /**
   * Settles when the time from `connect()` on has ended: resolves after `disconnect()`, rejects when
   * `connect()` failed, `disconnect()` could not deliver everything, or the broker ended the session
   * for good. A rejection that nobody handles is no error.
   */
  get closed(): Promise<void> {
    return this.#client.closed;
  }

  /**
   * Sets the broker to connect to; a connection file is not read again then.
   *
   * @param address Where the broker listens.
   * @param authkey The broker's key: bytes, or a string that stands for its UTF-8 bytes.
   * @throws {Error} When the object is not disconnected.
   * @throws {TypeError} When the address or the key is none.
   * @throws {RangeError} When the key is empty.
   */
  setBroker(address: Address, authkey: string | Uint8Array): void {
    if (this.state !== "disconnected") {
      throw new Error(`Cannot set the broker: the object is ${this.state}, disconnect it first`);
    }
    parseAddress(address);
    this.#target = targetOf({ address, authkey }, this.#options);
    this.#file = undefined;
  }

  /**
   * Publishes to the subscribers here and, once connected, to those of the other clients.
   *
   * - While the connection is lost, the message waits.
   * - All checks come before anything is delivered or sent.
   * - A topic that ends in `"*local"`, or `local: true`, keeps the message here.
   *
   * @param topic The topic; `null` for a broadcast.
   * @param rest The message, by default `{}`, and options.
   * @throws {TypeError} When the topic or the message is none, or a value cannot be sent.
   * @throws {RangeError} When the topic or the message is larger than the broker allows.
   * @throws {ForbiddenError} When the topic is the broker's own.
   * @throws {BacklogError} When too much is not acknowledged yet; `await flush()` makes room.
   */
  override publish<const K extends TopicOf<T>>(
    topic: K,
    ...rest: PublishArgs<MessageOf<T, K>>
  ): void;
  override publish(topic: Topic, message: object = {}, options?: PublishOptions): void {
    const route = this.#dispatcher.checkPublish(topic, message);
    if (this.#client.publishes && options?.local !== true && !route.isLocal) {
      this.#send(route.path, message);
    }
    this.#dispatcher.deliver(route, message);
  }

  #send(path: TopicPath, message: object): void {
    const { limits } = this.#client;
    this.#client.publish(path, this.#topicBlock("publish", path, limits), message);
  }

  #topicBlock(action: string, path: TopicPath, limits: Limits): Uint8Array {
    const latest = this.#latest;
    if (latest !== undefined && latest.limits === limits && isSame(latest.path, path)) {
      return latest.block;
    }
    const block = encodeTopic(path);
    checkTopic(action, path, block, limits);
    this.#latest = { path, limits, block };
    return block;
  }

  /** The first subscriber of a topic has come, or the last has gone. */
  #interest(path: TopicPath, wanted: boolean): void {
    if (wanted) {
      const { limits } = this.#client;
      const { subscriptions } = limits;
      this.#topicBlock("subscribe", path, limits);
      if (this.#interests >= subscriptions) {
        throw new RangeError(
          `Cannot subscribe to ${formatTopic(path)}: the broker's limit is ${subscriptions} topics`,
        );
      }
    }
    this.#interests += wanted ? 1 : -1;
    this.#client.interest(path, wanted);
  }

  async #findBroker(): Promise<Target> {
    if (this.#file !== undefined) {
      try {
        const broker = withKey(this.#file, await readConnectionFile(this.#file));
        this.#target = targetOf(broker, this.#options);
      } catch (error) {
        if (!isMissing(error)) throw error;
        throw new ConnectionLostError(
          `Cannot connect: there is no connection file ${this.#file}, start a broker with it`,
          { cause: error },
        );
      }
    }
    this.#warn(this.#target.address);
    return this.#target;
  }

  /** Tells once that what passes can be read on the way. */
  #warn(address: Address): void {
    const endpoint = parseAddress(address);
    if (this.#warned || !isExposed(endpoint)) return;
    this.#warned = true;
    const shown = formatEndpoint(endpoint);
    this.#dispatcher.report(
      new Error(`Connecting to ${shown} without TLS: messages can be read and changed on the way`),
      {},
    );
  }

  #take(frame: Frame, limits: Limits): void {
    const { buffer, type, body, end } = frame;
    if (type === FrameType.PUBLISH) this.#takeMessages(frame, limits);
    else this.#takeNotice(type, buffer.subarray(body, end), limits);
  }

  #takeHeld({ type, bytes, body }: HeldFrame, limits: Limits): void {
    if (type !== FrameType.PUBLISH) return this.#takeNotice(type, bytes.subarray(body), limits);
    const payload = topicEnd(bytes, body, bytes.length);
    this.#takeMessage(this.#routeOf(bytes, body, payload, limits), bytes, payload, bytes.length);
  }

  #takeNotice(type: number, body: Uint8Array, limits: Limits): void {
    if (type === FrameType.GAP) {
      const missed = decodeGap(body);
      return this.#dispatcher.call(() =>
        this.#options.onGap?.({ direction: "in", reason: "overflow", missed })
      );
    }
    if (type === FrameType.LOST) {
      const missed = decodeGap(body) || undefined;
      return this.#tellGap("cut off", missed, 0);
    }
    if (type === FrameType.REFUSED) return this.#refused(body, limits);
    throw new ProtocolError(`Cannot take a frame of type ${type}`);
  }

  /** Takes a message, and those for the same topic that stand right behind it. */
  #takeMessages(frame: Frame, limits: Limits): void {
    const { buffer, body } = frame;
    const payload = topicEnd(buffer, body, frame.end);
    const route = this.#routeOf(buffer, body, payload, limits);
    this.#takeMessage(route, buffer, payload, frame.end);
    const next = this.#extend(frame, payload - body, limits);
    if (next > 0) this.#takeRun(route, frame, payload - body, next, limits);
  }

  /** Where the messages of the topic block from `start` to before `end` go. */
  #routeOf(buffer: Uint8Array, start: number, end: number, limits: Limits): LocalRoute {
    let route = this.#routes.get(buffer, start, end);
    if (route === undefined) {
      route = this.#dispatcher.routeOf(decodeTopic(buffer, start, end, limits));
      this.#routes.set(buffer, start, end, route);
    }
    return route;
  }

  /** Where the payload of the next message for the same topic begins, if there is one to take now. */
  #extend(frame: Frame, topicBytes: number, { messageBytes }: Limits): number {
    if (!this.#client.takes || this.#dispatcher.full) return 0;
    return frame.extend(topicBytes, messageBytes);
  }

  /** Takes the messages behind the first; `next` is where the payload of the second begins. */
  #takeRun(
    route: LocalRoute,
    frame: Frame,
    topicBytes: number,
    next: number,
    limits: Limits,
  ): void {
    const { buffer, start, filled } = frame;
    this.#decoder.beginRun(buffer, start, filled);
    try {
      for (; next > 0; next = this.#extend(frame, topicBytes, limits)) {
        this.#takeMessage(route, buffer, next, frame.end);
      }
    } finally {
      this.#decoder.endRun();
    }
  }

  #takeMessage(route: LocalRoute, buffer: Uint8Array, start: number, end: number): void {
    if (!this.#dispatcher.wants(route)) return;
    let message: Record<string, unknown>;
    try {
      message = this.#decoder.decode(buffer, start, end);
    } catch (error) { // Another client's fault, not the broker's: it costs that message.
      if (!(error instanceof ProtocolError)) throw error;
      return this.#dispatcher.report(error, { topic: route.path });
    }
    this.#dispatcher.deliver(route, message);
  }

  /** The broker did not take a message of ours. */
  #refused(body: Uint8Array, limits: Limits): void {
    const { topic, reason, text } = decodeRefused(body, limits);
    const said = `The broker refused a message: ${printable(text)}`;
    const error = reason === Reason.FORBIDDEN
      ? new ForbiddenError(said, { topic })
      : new MessageError(said, { topic, issues: [text] });
    this.#dispatcher.report(error, { topic });
  }

  /**
   * Connects to the broker.
   *
   * - Connected: nothing to do. Connecting or reconnecting: waits for that.
   * - From then on a lost connection is made again, until `disconnect()`.
   *
   * @param options With a `signal`: aborted, the call that began to connect gives up, and the others
   * no longer wait.
   * @returns Resolves once both sides are authenticated and the subscriptions are in force.
   * @throws {ConnectionLostError} When nobody answers within 10 s.
   * @throws {AuthError} When the keys differ, or the broker's certificate is not trusted.
   * @throws {ForbiddenError} When the key does not grant one of the subscriptions; `onError` is told
   * all of them.
   * @throws {ProtocolError} When what answers is no broker that this client can speak to.
   */
  connect(options: WaitOptions = {}): Promise<void> {
    return this.#client.connect(options.signal);
  }

  /**
   * Disconnects, after everything that was published has been acknowledged, or 10 s.
   *
   * - Disconnected: nothing to do. Connecting: gives up, and `connect()` rejects.
   * - Reconnecting: waits for the broker to come back, if there is something to acknowledge.
   *
   * @param options With a `signal`: aborted, it no longer waits for what is not acknowledged.
   * @returns Resolves once nothing of the connection is left.
   * @throws {ConnectionLostError} When messages were not acknowledged; it says how many.
   */
  disconnect(options: WaitOptions = {}): Promise<void> {
    return this.#client.disconnect(options.signal);
  }

  /**
   * Waits until the broker has everything that was published, and all subscriptions that were
   * made, before the call.
   *
   * - "Has" means: in the broker's memory, on its way to those who subscribed.
   * - It goes on waiting over lost connections.
   *
   * @param options With a `signal`: aborted, it no longer waits.
   * @returns Resolves once the broker has it all.
   * @throws {ConnectionLostError} When the object is disconnected, or becomes so.
   * @throws {ForbiddenError} When the broker refused a subscription since the call before: when it was
   * made, when the connection was made again, or since the rights have changed. `onError` is told all.
   */
  flush(options: WaitOptions = {}): Promise<void> {
    return this.#client.flush(options.signal);
  }

  /** Lets the program end although this object is connected, as `Deno.Listener.unref` does. */
  unref(): void {
    this.#client.keepsAlive = false;
  }

  /** Takes `unref()` back. */
  ref(): void {
    this.#client.keepsAlive = true;
  }

  #tellState(state: State, reason: Error | undefined): void {
    const { onState } = this.#options;
    this.#dispatcher.call(() => reason === undefined ? onState?.(state) : onState?.(state, reason));
  }

  #tellGap(reason: Gap["reason"], missed: number | undefined, resent: number): void {
    const gap: Gap = {
      direction: this.#interests > 0 ? "in" : "out",
      reason,
      ...(missed !== undefined && { missed }),
      ...(resent > 0 && { resent }),
    };
    this.#dispatcher.call(() => this.#options.onGap?.(gap));
  }

  /** Disconnects, as `disconnect()` does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }
}

/** Where a broker is, as a program or a connection file says. */
function targetOf(
  { address, authkey, keyName = "", ca }:
    & Omit<ConnectionFile, "address" | "authkey">
    & { address: Address; authkey: string | Uint8Array },
  options: NetPubSubOptions,
): Target {
  const name = options.keyName ?? keyName;
  keyNameBytes(name);
  const caCerts = [...options.tls?.caCerts ?? [], ...ca === undefined ? [] : [ca]];
  return { address, key: keyBytes(authkey), keyName: name, caCerts };
}

function isSame(a: TopicPath, b: TopicPath): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Checks a topic against the limits of the broker. */
function checkTopic(action: string, path: TopicPath, block: Uint8Array, limits: Limits): void {
  const { topicElements, elementBytes } = limits;
  const refuse = (limit: string, cause?: unknown) =>
    new RangeError(
      `Cannot ${action} to ${formatTopic(path)}: the broker's limit is ${limit}`,
      { cause },
    );
  if (path.length > topicElements) throw refuse(`${topicElements} elements`);
  try {
    decodeTopic(block, 0, block.length, limits);
  } catch (error) { // ProtocolError: the broker would say the same.
    throw refuse(`${elementBytes} bytes for an element`, error);
  }
}

function checkOptions(overflow: unknown, patience: number, backlog: number): void {
  if (overflow !== "drop-oldest" && overflow !== "wait") {
    throw new TypeError(
      `Cannot use overflow ${String(overflow)}: it must be "drop-oldest" or "wait"`,
    );
  }
  if (!(patience > 0)) {
    throw new RangeError(`Cannot use patience ${patience}: it must be a positive number of ms`);
  }
  if (!Number.isSafeInteger(backlog) || backlog < 1) {
    throw new RangeError(`Cannot use backlog ${backlog}: it must be a positive number of bytes`);
  }
}
