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
  type CertificateProblem,
  ConnectionLostError,
  ForbiddenError,
  ProtocolError,
} from "./errors.ts";
import { type Address, type Addresses, parseAddress } from "./io/address.ts";
import type { ConnectionFile } from "./io/connection_info.ts";
import { dial } from "./io/dial.ts";
import type { Outside } from "./io/outside.ts";
import { programName } from "./io/program.ts";
import { checkCaCerts } from "./io/tls_errors.ts";
import { followFile } from "./net/broker_file.ts";
import { asAddress, BrokerFinder, finderOf } from "./net/broker_finder.ts";
import { askedOf } from "./net/broker_function.ts";
import { ClientPubSub, type ConnectOptions, type WaitOptions } from "./net/client_pubsub.ts";
import type { Gap, NetPubSubOptions, State } from "./net/options.ts";
import {
  createTicket,
  type Ticket,
  type TicketNarrow,
  type TicketOptions,
} from "./protocol/create_ticket.ts";
import type { TopicMap, Untyped } from "./pubsub.ts";

export { any } from "./topic.ts";
export {
  AuthError,
  BacklogError,
  ConnectionLostError,
  createTicket,
  ForbiddenError,
  ProtocolError,
};
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
  Ticket,
  TicketNarrow,
  TicketOptions,
  WaitOptions,
};

/** The sockets and files of Deno, Node or Bun. */
const OUTSIDE: Outside = { dial, endpointOf: parseAddress, programName };

/**
 * Publishes to other processes, and subscribes to what they publish: a `PubSub` that is a client of a
 * broker.
 *
 * - Local and remote publishers and subscribers look the same, and join at any time.
 * - Before `connect()` and after `disconnect()`, it is simply a local `PubSub`.
 * - From the call of `connect()` on, its messages go to the broker. Until there is a connection they
 *   wait, up to the option `backlog`.
 * - It restores a lost connection, however long that takes.
 * - Its own subscribers get its messages at once; the broker never sends them back.
 * - `addSubscriber` and `subscribe` also throw `RangeError` when the topic, or the number of topics, is
 *   over a limit of the broker.
 *
 * @typeParam T The messages of a typed bus, as for a `PubSub`.
 *
 * @example What reaches the broker, and what stays here
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
 * @example Follow the state of the connection
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
export class NetPubSub<T extends TopicMap<T> = Untyped> extends ClientPubSub<T> {
  /**
   * Makes an object that is not connected yet; does no I/O.
   *
   * @param address Where the broker listens.
   * @param authkey The broker's key: bytes, or a string that stands for its UTF-8 bytes.
   * @param options Its key's name, its queues, and its callbacks.
   * @throws {TypeError} If `address` is not a valid address, or `authkey` or an option is of the wrong
   * kind.
   * @throws {RangeError} If the port or an option is out of range, the path of a Unix socket is too
   * long, or the key is empty.
   */
  constructor(address: Addresses, authkey: string | Uint8Array, options: NetPubSubOptions = {}) {
    super(finderOf(address, authkey, () => newFinder(options)), options);
  }

  /**
   * Makes an object for the broker whose connection file is at `path`; it is not connected yet.
   *
   * - It reads the file again before each attempt to connect, so it finds a restarted broker and its
   *   new key.
   * - The file need not be there yet; then `connect()` rejects, or waits for it if told so.
   *
   * @typeParam T The messages of a typed bus, as for a `PubSub`.
   * @param path The file that `mpubsub FILE` wrote, or `mpubsub key file NAME` printed.
   * @param options Its key's name, its queues, and its callbacks.
   * @returns Resolves with the object.
   * @throws {Error} Its name is `PermissionDenied`, if other users can read or change the file, it
   * belongs to one of them, or this user cannot read it; `IsADirectory`, if it is a directory. In Deno
   * it is of the class in `Deno.errors` that has this name.
   * @throws {DOMException} Its name is `NotSupportedError`, if this is not Deno, Node or Bun, or too old a
   * version.
   * @throws {TypeError} If `path` is not a path; if it is not a connection file, or holds no key; or an
   * option is of the wrong kind.
   * @throws {RangeError} If an option is out of range.
   */
  static async fromFile<T extends TopicMap<T> = Untyped>(
    path: string | URL,
    options: NetPubSubOptions = {},
  ): Promise<NetPubSub<T>> {
    const finder = newFinder(options);
    await followFile(finder, path);
    return new NetPubSub<T>(asAddress(finder), "", options);
  }

  /**
   * Makes an object for the broker of which a function tells; it is not connected yet.
   *
   * - The function is called anew before each attempt to connect, so it can give a new ticket each time.
   *   It has 10 s to answer.
   * - Whatever it throws or rejects with counts as a broker that cannot be reached now: `connect()`
   *   rejects with a `ConnectionLostError` whose `cause` that is, or goes on trying if told so.
   * - What it returns and is malformed is a `TypeError`, as with a connection file.
   *
   * @typeParam T The messages of a typed bus, as for a `PubSub`.
   * @param ask Returns where the broker is, and a key: what stands in a connection file, as an object.
   * @param options Its key's name, its queues, and its callbacks.
   * @returns The object.
   * @throws {TypeError} If `ask` is not a function, or an option is of the wrong kind.
   * @throws {RangeError} If an option is out of range.
   *
   * @example
   * ```ts
   * import { Broker, createTicket, NetPubSub } from "@mpubsub/mpubsub";
   * import { assertEquals } from "@std/assert";
   *
   * await using broker = new Broker({ address: "tcp://127.0.0.1:0" });
   * await broker.start();
   * const { authkey } = broker;
   *
   * await using bus = NetPubSub.from(async () => ({
   *   ...await createTicket(authkey, { name: "", for: "ann", expireIn: 60_000 }),
   *   address: broker.address as string,
   * }));
   * await bus.connect();
   * assertEquals(bus.state, "connected");
   * ```
   */
  static from<T extends TopicMap<T> = Untyped>(
    ask: () => ConnectionFile | Promise<ConnectionFile>,
    options: NetPubSubOptions = {},
  ): NetPubSub<T> {
    const finder = newFinder(options);
    finder.follow(askedOf(ask, OUTSIDE), true);
    return new NetPubSub<T>(asAddress(finder), "", options);
  }
}

function newFinder(options: NetPubSubOptions): BrokerFinder {
  checkCaCerts(options.tls?.caCerts ?? []);
  return new BrokerFinder(options, OUTSIDE);
}
