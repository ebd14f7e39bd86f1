/**
 * `NetPubSub` for pages: a `PubSub` that other processes can hear, through a broker that listens at
 * `ws://` or `wss://`. It needs nothing of the runtime but `WebSocket`, so it works in every browser,
 * and in Deno, Node and Bun, too.
 *
 * ```ts
 * import { Broker } from "@mpubsub/mpubsub/broker";
 * import { NetPubSub } from "@mpubsub/mpubsub/web";
 * import { assertEquals } from "@std/assert";
 *
 * await using broker = new Broker({ address: "ws://127.0.0.1:0/bus" });
 * await broker.start();
 *
 * await using bus = new NetPubSub(broker.address, broker.authkey);
 * await bus.connect();
 * assertEquals(bus.state, "connected");
 * ```
 *
 * @module
 */
import {
  AuthError,
  BacklogError,
  type CertificateProblem,
  ConnectionLostError,
  ForbiddenError,
  ProtocolError,
} from "./errors.ts";
import type { Address, Addresses } from "./io/address.ts";
import type { ConnectionFile } from "./io/connection_info.ts";
import type { Outside } from "./io/outside.ts";
import { watchPage } from "./io/page_events.ts";
import { HOME, webEndpointOf } from "./io/web_address.ts";
import { dialWeb } from "./io/web_dial.ts";
import { asAddress, BrokerFinder, finderOf } from "./net/broker_finder.ts";
import { askedOf } from "./net/broker_function.ts";
import { ClientPubSub, type ConnectOptions, type WaitOptions } from "./net/client_pubsub.ts";
import type { Gap, NetPubSubOptions, State } from "./net/options.ts";
import type { TopicMap, Untyped } from "./pubsub.ts";

export { any } from "./topic.ts";
export { AuthError, BacklogError, ConnectionLostError, ForbiddenError, ProtocolError };
export type {
  Address,
  Addresses,
  CertificateProblem,
  ClientPubSub,
  ConnectionFile,
  ConnectOptions,
  Gap,
  NetPubSubOptions,
  State,
  WaitOptions,
};

/** The `WebSocket` of a page. */
const OUTSIDE: Outside = { dial: dialWeb, endpointOf: webEndpointOf, home: HOME, watchPage };

/**
 * Publishes to other processes, and subscribes to what they publish: the `NetPubSub` of
 * `@mpubsub/mpubsub/net`, over the platform's `WebSocket`.
 *
 * - Of several addresses those that are not of a WebSocket are left out. In a page, an address that begins
 *   with `/`, such as `/bus`, is a path of the page's own host.
 * - The browser decides which certificates it trusts; the option `tls` changes nothing.
 * - In Deno, Node and Bun, its connection keeps the program running whatever `unref()` was called for.
 *
 * @typeParam T The messages of a typed bus, as for a `PubSub`.
 */
export class NetPubSub<T extends TopicMap<T> = Untyped> extends ClientPubSub<T> {
  /**
   * Makes an object that is not connected yet; does no I/O.
   *
   * @param address Where the broker listens.
   * @param authkey The broker's key: bytes, or a string that stands for its UTF-8 bytes.
   * @param options Its key's name, its queues, and its callbacks.
   * @throws {TypeError} If `address` is not a valid address, or not one of a WebSocket that this page may
   * use; or `authkey` or an option is of the wrong kind.
   * @throws {RangeError} If the port or an option is out of range, or the key is empty.
   */
  constructor(address: Addresses, authkey: string | Uint8Array, options: NetPubSubOptions = {}) {
    super(finderOf(address, authkey, () => new BrokerFinder(options, OUTSIDE)), options);
  }

  /**
   * Makes an object for the broker of which a function tells; it is not connected yet.
   *
   * - The function is called anew before each attempt to connect, so it can give a new ticket each time.
   *   It has 10 s to answer.
   * - In a page, the address may be left out: then it is the page's own host.
   * - Whatever it throws or rejects with counts as a broker that cannot be reached now: `connect()`
   *   rejects with a `ConnectionLostError` whose `cause` that is, or goes on trying if told so.
   * - What it returns and is malformed is a `TypeError`, as with a connection file.
   *
   * @typeParam T The messages of a typed bus, as for a `PubSub`.
   * @param ask Returns a key, and where the broker is: what stands in a connection file, as an object.
   * @param options Its key's name, its queues, and its callbacks.
   * @returns The object.
   * @throws {TypeError} If `ask` is not a function, or an option is of the wrong kind.
   * @throws {RangeError} If an option is out of range.
   *
   * @example
   * ```ts
   * import { NetPubSub } from "@mpubsub/mpubsub/web";
   *
   * const bus = NetPubSub.from(() => fetch("/ticket").then((response) => response.json()));
   * ```
   */
  static from<T extends TopicMap<T> = Untyped>(
    ask: () => ConnectionFile | Promise<ConnectionFile>,
    options: NetPubSubOptions = {},
  ): NetPubSub<T> {
    const finder = new BrokerFinder(options, OUTSIDE);
    finder.follow(askedOf(ask, OUTSIDE), true);
    return new NetPubSub<T>(asAddress(finder), "", options);
  }
}
