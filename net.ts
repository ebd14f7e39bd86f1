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
import {
  AuthError,
  BacklogError,
  ConnectionLostError,
  ForbiddenError,
  ProtocolError,
} from "./errors.ts";
import type { Address } from "./io/address.ts";
import { readConnectionFile, withKey } from "./io/connection_file.ts";
import { BrokerFinder } from "./net/broker_finder.ts";
import { Client } from "./net/client.ts";
import type { Gap, NetPubSubOptions, State } from "./net/options.ts";
import {
  type MessageOf,
  type PublishArgs,
  type PublishOptions,
  PubSub,
  type TopicMap,
  type TopicOf,
  type Untyped,
} from "./pubsub.ts";
import { Dispatcher } from "./pubsub/dispatcher.ts";
import type { Topic } from "./topic.ts";

export { AuthError, BacklogError, ConnectionLostError, ForbiddenError, ProtocolError };
export type { Address, Gap, NetPubSubOptions, State };

/** Options of what waits for a broker. */
export interface WaitOptions {
  /** Gives up when it aborts; the call then rejects with the signal's reason. */
  signal?: AbortSignal;
}

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
  readonly #finder: BrokerFinder;
  readonly #client: Client;

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
    const finder = new BrokerFinder({ address, authkey }, options);
    const dispatcher = new Dispatcher({
      ...(options.onError && { onError: (error, context) => options.onError!(error, context) }),
      onInterest: (path, wanted) => this.#client.interest(path, wanted),
      onRoom: () => this.#client.resume(),
    });
    super(dispatcher);
    this.#dispatcher = dispatcher;
    this.#finder = finder;
    this.#client = new Client(dispatcher, finder, options);
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
    bus.#finder.follow(path, broker);
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
    this.#finder.set({ address, authkey });
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
    if (options?.local !== true && !route.isLocal) this.#client.publish(route.path, message);
    this.#dispatcher.deliver(route, message);
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

  /** Disconnects, as `disconnect()` does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }
}
