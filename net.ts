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
import { type Address, parseAddress, readConnectionFile } from "./address.ts";
import { keyBytes, keyNameBytes } from "./auth.ts";
import { BytesCache } from "./bytes_cache.ts";
import { decode, Encoder } from "./codec.ts";
import { Dispatcher } from "./dispatch.ts";
import { AuthError, BacklogError, ConnectionLostError, ProtocolError } from "./errors.ts";
import {
  brokerFrameLimits,
  decodeLimits,
  decodeTopic,
  encodeTopic,
  type FrameReader,
  FrameType,
  type Limits,
  Reason,
  topicEnd,
} from "./frame.ts";
import type { ByteStream } from "./outbox.ts";
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
import { greetBroker, Session, type SessionEnd, type SessionHandler } from "./session.ts";
import { formatTopic, isLocalPath, type TopicPath } from "./topic.ts";
import { dial } from "./transport.ts";

export { AuthError, BacklogError, ConnectionLostError, ProtocolError };
export type { Address };

/** What a {@linkcode NetPubSub} is doing about its connection. */
export type State = "disconnected" | "connecting" | "connected" | "reconnecting";

/** Options of a {@linkcode NetPubSub}. */
export interface NetPubSubOptions extends PubSubOptions {
  /**
   * The name under which the broker knows the key, at most 64 bytes of UTF-8.
   *
   * @default {""} The broker's single key.
   */
  keyName?: string;
  /**
   * How many bytes may be published and not acknowledged; beyond it `publish` throws
   * `BacklogError`. A single message always fits.
   *
   * @default {16777216}
   */
  backlog?: number;
  /** Told each change of `state`, with the reason when it was not asked for. */
  onState?(state: State, reason?: Error): void;
}

/** Options of what waits for a broker. */
export interface WaitOptions {
  /** Gives up when it aborts; the call then rejects with the signal's reason. */
  signal?: AbortSignal;
}

const BACKLOG_BYTES = 16 * 1024 * 1024;
/** How long a broker may take to answer a connection attempt. */
const CONNECT_MS = 10_000;
/** How long `disconnect` waits for acknowledgements. */
const DISCONNECT_MS = 10_000;
const TOPICS_MAX = 1024;

/**
 * A {@linkcode PubSub} whose messages also go to, and come from, the other clients of a broker.
 *
 * - Local and remote publishers and subscribers look the same, and join at any time.
 * - While it is not connected it is simply local.
 * - Its own subscribers hear its messages at once; the broker never sends them back.
 */
export class NetPubSub<T extends TopicMap<T> = Untyped> extends PubSub<T> {
  readonly #dispatcher: Dispatcher;
  readonly #encoder = new Encoder();
  readonly #options: NetPubSubOptions;
  #address: Address;
  #authkey: Uint8Array<ArrayBuffer>;
  #file: string | URL | undefined;

  #state: State = "disconnected";
  #link: Link | undefined;
  #connecting: Promise<void> | undefined;
  #disconnecting: Promise<void> | undefined;
  /** Ends the attempt to connect that is under way. */
  #attempt = new AbortController();
  #span = new Span();
  #latestTopic: { path: TopicPath; block: Uint8Array } | undefined;

  /**
   * Makes an object that is not connected yet; does no I/O.
   *
   * @param address Where the broker listens.
   * @param authkey The broker's key: bytes, or a string that stands for its UTF-8 bytes.
   * @param options Options.
   * @throws {TypeError} When the address or the key is none.
   * @throws {RangeError} When the key is empty, or an option is out of range.
   */
  constructor(address: Address, authkey: string | Uint8Array, options: NetPubSubOptions = {}) {
    parseAddress(address);
    const key = keyBytes(authkey);
    keyNameBytes(options.keyName ?? "");
    checkBacklog(options.backlog ?? BACKLOG_BYTES);
    const dispatcher = new Dispatcher({
      ...(options.onError && {
        onError: (error, context) => options.onError!(error, context),
      }),
      onInterest: (path, wanted) => this.#link?.interest(path, wanted),
      onRoom: () => this.#link?.resume(),
    });
    super(dispatcher);
    this.#dispatcher = dispatcher;
    this.#options = options;
    this.#address = address;
    this.#authkey = key;
  }

  /**
   * Makes an object for the broker whose connection file is at `path`. The file is read again
   * before each attempt to connect, so a broker that was started again is found.
   *
   * @param path The file that `mpubsub-broker FILE` wrote.
   * @param options Options.
   * @throws {Deno.errors.NotFound} When there is no such file.
   * @throws {Deno.errors.PermissionDenied} When others can read the file.
   * @throws {TypeError} When it is not a connection file.
   */
  static async fromFile<T extends TopicMap<T> = Untyped>(
    path: string | URL,
    options: NetPubSubOptions = {},
  ): Promise<NetPubSub<T>> {
    const { address, authkey } = await readConnectionFile(path);
    const bus = new NetPubSub<T>(address, authkey, options);
    bus.#file = path;
    return bus;
  }

  /** What this object is doing about its connection. */
  get state(): State {
    return this.#state;
  }

  /** Bytes published and not acknowledged by the broker, to within 16 KiB. */
  get pending(): number {
    return this.#link?.session.pending ?? 0;
  }

  /**
   * Settles when the connection that `connect()` makes has ended: resolves after `disconnect()`,
   * rejects when it was lost.
   */
  get closed(): Promise<void> {
    return this.#span.closed;
  }

  /**
   * Sets the broker to connect to.
   *
   * @throws {Error} When the object is not disconnected.
   */
  setBroker(address: Address, authkey: string | Uint8Array): void {
    if (this.#state !== "disconnected") {
      throw new Error(`Cannot set the broker: the object is ${this.#state}, disconnect it first`);
    }
    parseAddress(address);
    this.#authkey = keyBytes(authkey);
    this.#address = address;
    this.#file = undefined;
  }

  /**
   * Publishes to the subscribers here and, while connected, to those of the other clients.
   *
   * - All checks come before anything is delivered or sent.
   *
   * @throws {TypeError} When the topic or the message is none, or a value cannot be sent.
   * @throws {RangeError} When the topic or the message is larger than the broker allows.
   * @throws {ForbiddenError} When the topic is the broker's own.
   * @throws {BacklogError} When too much is not acknowledged yet; `await flush()` makes room.
   */
  override publish<const K extends TopicOf<T>>(
    topic: K,
    ...rest: PublishArgs<MessageOf<T, K>>
  ): void {
    const [message = {}, options] = rest as [message?: object, options?: PublishOptions];
    const path = this.#dispatcher.checkPublish(topic, message);
    const link = this.#state === "connected" ? this.#link : undefined;
    if (link !== undefined && options?.local !== true && !isLocalPath(path)) {
      this.#send(link, path, message);
    }
    this.#dispatcher.deliver(path, message);
  }

  #send(link: Link, path: TopicPath, message: object): void {
    const { limits, session } = link;
    if (path.length > limits.topicElements) {
      throw new RangeError(
        `Cannot publish to ${formatTopic(path)}: the broker's limit is ` +
          `${limits.topicElements} elements`,
      );
    }
    const topic = this.#topicBlock(path, limits);
    const payload = this.#encoder.encode(message, limits.messageBytes);
    const { backlog = BACKLOG_BYTES } = this.#options;
    const { pending } = session;
    if (pending > 0 && pending + topic.length + payload.length > backlog) {
      throw new BacklogError(
        `Cannot publish to ${formatTopic(path)}: ${pending} bytes are not acknowledged, ` +
          `limit is ${backlog}; await flush() now and then`,
        { limit: backlog },
      );
    }
    session.publish(topic, payload);
  }

  #topicBlock(path: TopicPath, limits: Limits): Uint8Array {
    const latest = this.#latestTopic;
    if (latest !== undefined && isSame(latest.path, path)) return latest.block;
    const block = encodeTopic(path);
    // Also finds elements that are longer than this broker allows.
    try {
      decodeTopic(block, 0, block.length, limits);
    } catch (error) { // ProtocolError: the broker would say the same.
      throw new RangeError(
        `Cannot publish to ${formatTopic(path)}: the broker's limit is ` +
          `${limits.elementBytes} bytes for an element`,
        { cause: error },
      );
    }
    this.#latestTopic = { path, block };
    return block;
  }

  /**
   * Connects to the broker.
   *
   * - Connected: nothing to do. Connecting: waits for the same attempt.
   *
   * @returns Resolves once both sides are authenticated and the subscriptions are in force.
   * @throws {ConnectionLostError} When nobody answers.
   * @throws {AuthError} When the keys differ.
   * @throws {ProtocolError} When what answers is no broker that this client can speak to.
   */
  connect(options: WaitOptions = {}): Promise<void> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#state === "connected" && this.#disconnecting === undefined) return Promise.resolve();
    return this.#connecting ??= this.#connect(signal).finally(() => this.#connecting = undefined);
  }

  async #connect(signal: AbortSignal | undefined): Promise<void> {
    // A disconnect that failed has told its own caller.
    if (this.#disconnecting !== undefined) await this.#disconnecting.catch(() => {});
    const attempt = this.#attempt = new AbortController();
    const timer = setTimeout(() => {
      attempt.abort(
        new ConnectionLostError(
          `Cannot connect to ${this.#address}: no answer within ${CONNECT_MS} ms`,
        ),
      );
    }, CONNECT_MS);
    const forward = () => attempt.abort(signal?.reason);
    signal?.addEventListener("abort", forward);
    this.#span = new Span(this.#span);
    this.#setState("connecting");
    try {
      await this.#open(attempt.signal);
    } catch (error) {
      this.#finish(error);
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", forward);
    }
  }

  async #open(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#file !== undefined) {
      const { address, authkey } = await readConnectionFile(this.#file);
      this.#address = address;
      this.#authkey = keyBytes(authkey);
    }
    const stream = await dial(this.#address, signal);
    const close = () => stream.close();
    signal.addEventListener("abort", close);
    let link: Link | undefined;
    try {
      await greetBroker(stream, this.#authkey, this.#options.keyName ?? "");
      signal.throwIfAborted();
      link = this.#link = new Link(stream, this.#dispatcher);
      link.session.finished.then((end) => this.#ended(link!, end));
      await link.opened;
      // Aborted after the last byte came, before this ran.
      signal.throwIfAborted();
      this.#setState("connected");
    } catch (error) {
      this.#link = undefined;
      if (link === undefined) stream.close();
      else {
        link.session.abort();
        await link.session.finished;
      }
      signal.throwIfAborted();
      throw asConnectionError(error);
    } finally {
      signal.removeEventListener("abort", close);
    }
  }

  #ended(link: Link, { error }: SessionEnd): void {
    link.resume();
    if (this.#link !== link) return; // The attempt to connect, or disconnect(), saw to it.
    this.#link = undefined;
    if (this.#state !== "connected") return; // #open() waits for this link, and learns it there.
    const { unacknowledged } = link.session;
    this.#finish(
      new ConnectionLostError(
        `Lost the broker, ${unacknowledged} messages were not acknowledged: ${
          error?.message ?? "it ended the session"
        }`,
        { cause: error, undelivered: unacknowledged },
      ),
    );
  }

  /** Ends the span; with an error when that was not asked for. */
  #finish(error?: unknown): void {
    this.#link = undefined;
    this.#span.end(error);
    this.#setState("disconnected", error);
  }

  /**
   * Disconnects, after everything that was published has been acknowledged, or 10 s.
   *
   * - Disconnected: nothing to do. Connecting: gives up, and `connect()` rejects.
   *
   * @throws {ConnectionLostError} When messages were not acknowledged; it says how many.
   */
  disconnect(options: WaitOptions = {}): Promise<void> {
    if (this.#state === "disconnected") return Promise.resolve();
    return this.#disconnecting ??= this.#disconnect(options.signal)
      .finally(() => this.#disconnecting = undefined);
  }

  async #disconnect(signal: AbortSignal | undefined): Promise<void> {
    const connecting = this.#connecting;
    if (connecting !== undefined) {
      this.#attempt.abort(
        new ConnectionLostError("Cannot connect: disconnect() was called meanwhile"),
      );
      await connecting.catch(() => {}); // Its caller is told.
    }
    const link = this.#link;
    if (link === undefined) return;
    const { session } = link;
    link.resume();
    let failure: unknown;
    try {
      await abortable(this.#acknowledged(session), signal, DISCONNECT_MS);
    } catch (error) { // Lost, aborted, or too slow.
      failure = error;
    }
    if (this.#link === link) this.#link = undefined;
    const undelivered = session.unacknowledged;
    if (failure === undefined) session.end(Reason.DONE, "");
    else session.abort();
    await session.finished;
    if (failure === undefined || undelivered === 0 && !signal?.aborted) return this.#finish();
    const error = signal?.aborted ? signal.reason : new ConnectionLostError(
      `Disconnected, ${undelivered} messages were not delivered to the broker`,
      { cause: failure, undelivered },
    );
    this.#finish(error);
    throw error;
  }

  /** Resolves when nothing is left to acknowledge. */
  async #acknowledged(session: Session): Promise<void> {
    while (session.unacknowledged > 0) await session.ask();
  }

  /**
   * Waits until the broker has everything that was published, and all subscriptions that were
   * made, before the call.
   *
   * - "Has" means: in the broker's memory, on its way to those who subscribed.
   *
   * @throws {ConnectionLostError} When the object is disconnected, or becomes so.
   */
  async flush(options: WaitOptions = {}): Promise<void> {
    const { signal } = options;
    signal?.throwIfAborted();
    if (this.#connecting !== undefined) await abortable(this.#connecting, signal);
    if (this.#link === undefined || this.#state !== "connected") {
      throw new ConnectionLostError("Cannot flush: the object is disconnected, connect it first");
    }
    await abortable(this.#link.session.ask(), signal);
  }

  #setState(state: State, reason?: unknown): void {
    if (this.#state === state) return;
    this.#state = state;
    try {
      if (reason instanceof Error) this.#options.onState?.(state, reason);
      else this.#options.onState?.(state);
    } catch (error) { // The program's mistake must not stop the connection's work.
      this.#dispatcher.report(error, {});
    }
  }

  /** {@linkcode NetPubSub.disconnect}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }
}

/** The time from `connect()` to the end of its connection. */
class Span {
  readonly #deferred: PromiseWithResolvers<void>;
  #ended = false;

  /** Goes on with `before` when that has not begun to end, so that whoever waits on it goes on. */
  constructor(before?: Span) {
    this.#deferred = before === undefined || before.#ended
      ? Promise.withResolvers<void>()
      : before.#deferred;
    this.#deferred.promise.catch(() => {}); // It is told through onState, too.
  }

  get closed(): Promise<void> {
    return this.#deferred.promise;
  }

  end(error: unknown): void {
    this.#ended = true;
    if (error === undefined) this.#deferred.resolve();
    else this.#deferred.reject(error);
  }
}

/** One connection to a broker: what arrives goes to the dispatcher. */
class Link implements SessionHandler {
  readonly session: Session;
  /** Resolves when the broker has taken our interests; rejects when it does not. */
  readonly opened: Promise<void>;
  /** The broker's, once it has told them. */
  limits: Limits = {
    messageBytes: Infinity,
    topicElements: Infinity,
    elementBytes: Infinity,
    subscriptions: Infinity,
  };
  readonly #dispatcher: Dispatcher;
  readonly #open = Promise.withResolvers<void>();
  readonly #topics = new BytesCache<TopicPath>(TOPICS_MAX);
  #interests = 0;
  #held: PromiseWithResolvers<void> | undefined;

  constructor(stream: ByteStream, dispatcher: Dispatcher) {
    this.#dispatcher = dispatcher;
    this.session = new Session(stream, brokerFrameLimits(), this);
    this.opened = this.#open.promise;
    const interests = [...dispatcher.interests()].map(encodeTopic);
    this.#interests = interests.length;
    this.session.send(FrameType.OPEN, ...interests);
    this.session.finished.then(({ error }) =>
      this.#open.reject(error ?? new ConnectionLostError("Cannot connect: the broker went away"))
    );
  }

  interest(path: TopicPath, wanted: boolean): void {
    const { subscriptions } = this.limits;
    if (wanted && this.#interests >= subscriptions) {
      throw new RangeError(
        `Cannot subscribe to ${formatTopic(path)}: the broker's limit is ${subscriptions} topics`,
      );
    }
    this.#interests += wanted ? 1 : -1;
    this.session.send(wanted ? FrameType.SUBSCRIBE : FrameType.UNSUBSCRIBE, encodeTopic(path));
  }

  frame(reader: FrameReader): void | Promise<void> {
    const { buffer, body, end } = reader;
    if (reader.type === FrameType.OPENED) {
      this.limits = decodeLimits(buffer.subarray(body, end));
      this.session.limits = brokerFrameLimits(this.limits);
      this.#open.resolve();
      return;
    }
    const payload = topicEnd(buffer, body, end);
    const path = this.#topic(buffer, body, payload);
    if (!this.#dispatcher.wants(path)) return;
    let message: Record<string, unknown>;
    try {
      message = decode(buffer.subarray(payload, end));
    } catch (error) { // Another client's fault, not the broker's: it costs that message.
      if (!(error instanceof ProtocolError)) throw error;
      return this.#dispatcher.report(error, { topic: path });
    }
    this.#dispatcher.deliver(path, message);
    if (!this.#dispatcher.full) return;
    this.#held = Promise.withResolvers<void>();
    return this.#held.promise;
  }

  #topic(buffer: Uint8Array, start: number, end: number): TopicPath {
    let path = this.#topics.get(buffer, start, end);
    if (path === undefined) {
      path = decodeTopic(buffer, start, end, this.limits);
      this.#topics.set(buffer, start, end, path);
    }
    return path;
  }

  /** Goes on after a full subscription held the session back. */
  resume(): void {
    this.#held?.resolve();
    this.#held = undefined;
  }
}

function isSame(a: TopicPath, b: TopicPath): boolean {
  return a.length === b.length && a.every((element, i) => element === b[i]);
}

function checkBacklog(backlog: number): void {
  if (Number.isSafeInteger(backlog) && backlog > 0) return;
  throw new RangeError(`Cannot use backlog ${backlog}: it must be a positive number of bytes`);
}

/** What a caller of connect() tells apart; everything else that a socket throws is a lost one. */
function asConnectionError(error: unknown): unknown {
  if (error instanceof AuthError || error instanceof ProtocolError) return error;
  if (error instanceof ConnectionLostError) return error;
  const what = error instanceof Error ? error.message : error;
  return new ConnectionLostError(`Cannot connect: the connection was lost (${what})`, {
    cause: error,
  });
}

/** Waits for `promise`, but not after `signal` aborts, nor longer than `ms`. */
async function abortable(
  promise: Promise<void>,
  signal: AbortSignal | undefined,
  ms?: number,
): Promise<void> {
  signal?.throwIfAborted();
  const { promise: given, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer = ms === undefined ? undefined : setTimeout(
    () => reject(new ConnectionLostError(`The broker did not acknowledge within ${ms} ms`)),
    ms,
  );
  try {
    await Promise.race([promise, given]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    promise.catch(() => {}); // Once given up, its rejection is nobody's.
  }
}
