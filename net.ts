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

/** Options of `connect`, `disconnect` and `flush`. */
export interface WaitOptions {
  /** When it aborts, the call gives up and rejects with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * Publishes to other processes, and subscribes to what they publish: a `PubSub` that is a client of a
 * broker.
 *
 * - Local and remote publishers and subscribers look the same, and join at any time.
 * - Before `connect()` and after `disconnect()`, it is simply a local `PubSub`.
 * - A lost connection is made again, however long that takes; what is published meanwhile waits, up to
 *   `backlog`.
 * - Its own subscribers hear its messages at once; the broker never sends them back.
 * - `addSubscriber` and `subscribe` also throw `RangeError` when the topic, or the number of topics, is
 *   over a limit of the broker.
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
   * @throws {TypeError} When `address` is not a valid address, or `authkey` or an option is of the wrong
   * kind.
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
   * Makes an object for the broker whose connection file is at `path`; it is not connected yet.
   *
   * - The file is read again before each attempt to connect: a broker that was started again is found,
   *   with its new key.
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

  /** Whether this object is connected, or about to be. */
  get state(): State {
    return this.#client.state;
  }

  /** Bytes published and not yet acknowledged by the broker, to within 256 KiB; 0 if there are none. */
  get pending(): number {
    return this.#client.pending;
  }

  /**
   * Settles when this object has become disconnected: resolves after `disconnect()`; rejects if
   * `connect()` failed, `disconnect()` could not deliver everything, or the broker ended the session
   * for good. The rejection need not be handled.
   */
  get closed(): Promise<void> {
    return this.#client.closed;
  }

  /**
   * Sets the broker to connect to; from then on a connection file is no longer read.
   *
   * @param address Where the broker listens.
   * @param authkey The broker's key: bytes, or a string that stands for its UTF-8 bytes.
   * @throws {Error} When the object is not disconnected.
   * @throws {TypeError} When `address` is not a valid address, or `authkey` is of the wrong kind.
   * @throws {RangeError} When the key is empty.
   */
  setBroker(address: Address, authkey: string | Uint8Array): void {
    if (this.state !== "disconnected") {
      throw new Error(`Cannot set the broker: the object is ${this.state}; disconnect it first`);
    }
    this.#finder.set({ address, authkey });
  }

  /**
   * Publishes a message to the subscribers here and, once connected, to those of the other clients.
   *
   * - While the connection is lost, the message waits.
   * - All checks come before anything is delivered or sent.
   * - A topic that ends in `"*local"`, or `local: true`, keeps the message here.
   *
   * @param topic The topic; `null` for a broadcast.
   * @param rest The message, by default `{}`, and options.
   * @throws {TypeError} When `topic` is not a valid topic, the message is not an object of named values,
   * or a value cannot be sent.
   * @throws {RangeError} When the topic or the message is larger than the broker allows.
   * @throws {ForbiddenError} When the topic begins with `"*broker"`.
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
   * - If it is connected, there is nothing to do; if it is connecting or reconnecting, waits for that.
   * - From then on a lost connection is made again, until `disconnect()`.
   *
   * @param options A `signal`: when it aborts, the call that began to connect gives up, and any other
   * call stops waiting.
   * @returns Resolves once both sides are authenticated and the subscriptions are in force.
   * @throws {ConnectionLostError} When nobody answers within 10 s.
   * @throws {AuthError} When the keys differ, or the broker's certificate is not trusted.
   * @throws {ForbiddenError} When the key does not grant a subscription; `onError` gets one error for
   * each.
   * @throws {ProtocolError} When what answers is not a broker with which this client can speak.
   */
  connect(options: WaitOptions = {}): Promise<void> {
    return this.#client.connect(options.signal);
  }

  /**
   * Disconnects, once everything that was published is acknowledged, or after 10 s.
   *
   * - If it is disconnected, there is nothing to do; if it is connecting, gives up, and `connect()`
   *   rejects.
   * - If it is reconnecting and something is not acknowledged, waits for the broker to come back.
   *
   * @param options A `signal`: when it aborts, the call stops waiting for acknowledgements.
   * @returns Resolves once nothing of the connection is left.
   * @throws {ConnectionLostError} When messages were not acknowledged; `undelivered` says how many.
   */
  disconnect(options: WaitOptions = {}): Promise<void> {
    return this.#client.disconnect(options.signal);
  }

  /**
   * Waits until the broker has everything that was published, and all subscriptions that were
   * made, before the call.
   *
   * - "Has" means: in the broker's memory, on its way to those who subscribed.
   * - It keeps waiting while the connection is lost and made again.
   *
   * @param options A `signal`: when it aborts, the call stops waiting.
   * @returns Resolves once the broker has it all.
   * @throws {ConnectionLostError} When the object is disconnected, or becomes so.
   * @throws {ForbiddenError} When the broker has refused a subscription since the last call, perhaps
   * because the rights of the key have changed; `onError` gets one error for each.
   */
  flush(options: WaitOptions = {}): Promise<void> {
    return this.#client.flush(options.signal);
  }

  /** Lets the program end although this object is connected, as `Deno.Listener.unref` does. */
  unref(): void {
    this.#client.keepsAlive = false;
  }

  /** Undoes `unref()`. */
  ref(): void {
    this.#client.keepsAlive = true;
  }

  /** Disconnects, as `disconnect()` does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }
}
