/**
 * A bus that is a client of a broker, in whatever runtime: what that has of sockets and files is given
 * to it. The doors do so; their classes are what programs use.
 */
import { asyncDispose, followPolyfill } from "../base/disposal.ts";
import type { Addresses } from "../io/address.ts";
import {
  type MessageTo,
  type PublishArgs,
  type PublishOptions,
  PubSub,
  type TopicMap,
  type TopicOf,
  type Untyped,
} from "../pubsub.ts";
import { Dispatcher } from "../pubsub/dispatcher.ts";
import { noReceiver } from "../pubsub/receiver.ts";
import type { Topic } from "../topic.ts";
import type { BrokerFinder } from "./broker_finder.ts";
import { Client } from "./client.ts";
import type { NetPubSubOptions, State } from "./options.ts";

/** Options of `disconnect` and `flush`. */
export interface WaitOptions {
  /**
   * When it aborts, the call stops waiting, and rejects with the signal's reason. By default nothing
   * but the call's own timeout, if it has one, ends the wait.
   */
  signal?: AbortSignal | undefined;
}

/** Options of `connect`. */
export interface ConnectOptions extends WaitOptions {
  /**
   * Waits until the broker, and its connection file, is there, for ever or until `signal` aborts or
   * `disconnect()` is called. By default the call rejects when the first attempt fails.
   *
   * @default {false}
   */
  wait?: boolean | undefined;
}

/** The client of a bus; throws if it is none. Set by the class. */
let clientOf: (bus: object) => Client;

/**
 * What a `NetPubSub` does, in every runtime.
 *
 * @typeParam T The messages of a typed bus, as for a `PubSub`.
 */
export class ClientPubSub<T extends TopicMap<T> = Untyped> extends PubSub<T> {
  readonly #dispatcher: Dispatcher;
  readonly #finder: BrokerFinder;
  readonly #client: Client;

  static {
    clientOf = (bus) => {
      try {
        return (bus as ClientPubSub).#client;
      } catch { // It has none.
        throw noReceiver(bus, "NetPubSub", bus instanceof ClientPubSub);
      }
    };
  }

  /** `"NetPubSub"`; so Vue makes no proxy of a bus that stands in what it observes. */
  override get [Symbol.toStringTag](): string {
    return "NetPubSub";
  }

  /**
   * A door calls it.
   *
   * @param finder Finds the broker.
   * @param options Its key's name, its queues, and its callbacks.
   */
  protected constructor(finder: BrokerFinder, options: NetPubSubOptions) {
    const dispatcher = new Dispatcher({
      ...(options.onError && { onError: (error, context) => options.onError!(error, context) }),
      onInterest: (path, wanted) => this.#client.interest(path, wanted),
      onMember: (member, isThere) => this.#client.member(member, isThere),
      onRoom: () => this.#client.resume(),
      isDecided: () => this.#client.isDecided,
    });
    super(dispatcher);
    this.#dispatcher = dispatcher;
    this.#finder = finder;
    this.#client = new Client(dispatcher, finder, options);
  }

  /** Whether this object is connected, or about to be. */
  get state(): State {
    return clientOf(this).state;
  }

  /**
   * How many published bytes the broker has not acknowledged yet, accurate to 256 KiB: what waits until
   * there is a connection, and what is on its way. 0 means that it has acknowledged everything.
   */
  get pending(): number {
    return clientOf(this).pending;
  }

  /**
   * Settles once this object is disconnected again; pending until then. It resolves after
   * `disconnect()`. It rejects if `connect()` failed, `disconnect()` could not deliver everything, or
   * the broker ended the session for good. You need not handle the rejection.
   */
  get closed(): Promise<void> {
    return clientOf(this).closed;
  }

  /**
   * Sets the broker to connect to. After `fromFile` the connection file is no longer read, and after
   * `from` the function no longer called.
   *
   * @param address Where the broker listens.
   * @param authkey The broker's key: bytes, or a string that stands for its UTF-8 bytes.
   * @throws {Error} If the object is not disconnected.
   * @throws {TypeError} If `address` is not a valid address, or `authkey` is of the wrong kind.
   * @throws {RangeError} If the port is out of range, the path of a Unix socket is too long, or the key
   * is empty.
   */
  setBroker(address: Addresses, authkey: string | Uint8Array): void {
    const { state } = clientOf(this);
    if (state !== "disconnected") {
      throw new Error(`Cannot set the broker: the object is ${state}; disconnect it first`);
    }
    this.#finder.set({ address, authkey });
  }

  /**
   * Publishes a message to the subscribers here and, unless the object is disconnected, to those of the
   * other clients.
   *
   * - From the call of `connect()` on, and while the object is reconnecting, the message waits until
   *   there is a connection. `onError` is told how many messages were not delivered in the end.
   * - All checks come first: if it throws, nobody gets the message. What waits is checked again when the
   *   broker has told its limits; `onError` gets a `MessageError` for each message that exceeds them.
   * - With a topic that ends in `"*local"`, or with `local: true`, the message stays in this process.
   * - Otherwise the broker decides which member of each group gets it, also among those here, from the
   *   call of `connect()` on. `onError` gets a `MessageError` for a message that a group did not take, or
   *   that none of its members has finished.
   *
   * @param topic The topic; `null` for a broadcast.
   * @param rest The message, by default `{}`, and options.
   * @throws {TypeError} If `topic` is not a valid topic or has `any`, the message is not an object of named
   * values, or it holds a value that cannot be sent.
   * @throws {RangeError} If the topic or the message is larger than the broker allows, or any may allow,
   * or if the message takes too much memory where it arrives.
   * @throws {ForbiddenError} If the topic begins with `"*broker"`.
   * @throws {BacklogError} If more than `backlog` bytes would be unacknowledged (`await flush()` makes
   * room), or as for a `PubSub`.
   */
  override publish<const K extends TopicOf<T>>(
    topic: K,
    ...rest: PublishArgs<MessageTo<T, K>>
  ): void;
  override publish(topic: Topic, message: object = {}, options?: PublishOptions): void {
    const client = clientOf(this);
    const route = this.#dispatcher.checkPublish(topic, message, options?.local);
    const isLocal = options?.local === true || route.isLocal;
    if (!isLocal) client.publish(route.path, message);
    if (!isLocal && client.isDecided) this.#dispatcher.deliverDecided(route, message);
    else this.#dispatcher.deliver(route, message);
  }

  /**
   * Connects to the broker.
   *
   * - If it is already connected, resolves at once. If it is connecting or reconnecting, waits for
   *   that.
   * - Once connected, it restores a lost connection until `disconnect()` is called.
   * - Without `wait`, the first attempt decides: if it fails, the object is disconnected again. With
   *   `wait` it goes on trying; if one call says so, that holds for all that wait for the connection.
   * - Each call returns a promise of its own. Like any promise, one that rejects and that nobody handles
   *   ends the program.
   *
   * @param options `wait`, and a `signal`: when it aborts, the call that began to connect gives up, and
   * any other call only stops waiting. Either rejects with the signal's reason.
   * @returns Resolves once both sides are authenticated and the subscriptions are in force.
   * @throws {ConnectionLostError} If there is no connection file, the function of `from` fails, no broker
   * listens at the address, it does not answer within 10 s, it has no place for this client, or
   * `disconnect()` is called meanwhile.
   * @throws {DOMException} Its name is `NotSupportedError`, if this runtime has no sockets: a page, for which
   * `@mpubsub/mpubsub/web` is, or too old a version of Node or Bun.
   * @throws {AuthError} If the keys differ, or the broker's certificate cannot be used.
   * @throws {ForbiddenError} If the key does not grant one of the subscriptions; `onError` gets one
   * error for each.
   * @throws {ProtocolError} If what answers is not a broker, speaks another version of the protocol, or
   * does not speak TLS when it has to, or does when it has not.
   * @throws {Error} If the connection file, or what the function of `from` returned, cannot be used, as
   * for `fromFile`.
   */
  connect(options: ConnectOptions = {}): Promise<void> {
    return clientOf(this).connect(options);
  }

  /**
   * Waits up to 10 s until the broker has acknowledged everything that was published, then disconnects.
   *
   * - Its members of groups leave: they give back what they have not begun, and it waits within the same
   *   10 s until they have finished the rest. A member that awaits this call keeps it waiting.
   * - If it is disconnected, resolves at once.
   * - If it is connecting or reconnecting, with messages to deliver, it waits for the broker within the
   *   same 10 s; without any, it gives up, and `connect()` rejects.
   * - It also delivers what is published while it waits. What is published after that, while the
   *   connection is closed, waits for the next one, if `connect()` is called before the object is
   *   disconnected; otherwise `onError` is told how many messages these were.
   *
   * @param options A `signal`: when it aborts, the object disconnects at once. If messages were not
   * acknowledged, or a member had not finished, the call rejects with the signal's reason.
   * @returns Resolves once the connection is closed.
   * @throws {ConnectionLostError} If messages were not acknowledged; `undelivered` says how many. Or if a
   * member had not finished; others get those messages. `onError` gets the same error.
   */
  disconnect(options: WaitOptions = {}): Promise<void> {
    return clientOf(this).disconnect(options.signal);
  }

  /**
   * Waits until the broker has all messages published, and all subscriptions made, before the call, and
   * knows what members of groups had finished.
   *
   * - The messages are then in the broker's memory; subscribers may not have got them yet.
   * - It has no timeout: while the object is connecting or reconnecting, it keeps waiting.
   *
   * @param options A `signal`: when it aborts, the call stops waiting.
   * @returns Resolves once the broker has them all.
   * @throws {ConnectionLostError} If the object is disconnected, or becomes so.
   * @throws {ForbiddenError} If the broker has refused a subscription since the last call, perhaps
   * because the rights of the key have changed; `onError` gets one error for each.
   */
  flush(options: WaitOptions = {}): Promise<void> {
    return clientOf(this).flush(options.signal);
  }

  /**
   * Lets the program end although this object is connected, which otherwise keeps it running. What an
   * attempt to connect has begun still does, until it has succeeded or failed.
   */
  unref(): void {
    clientOf(this).keepsAlive = false;
  }

  /** Undoes `unref()`. */
  ref(): void {
    clientOf(this).keepsAlive = true;
  }

  /** Disconnects, as `disconnect()` does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }
}
followPolyfill(ClientPubSub.prototype, asyncDispose);
