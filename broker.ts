/**
 * The broker: accepts connections, authenticates them, and passes messages between them.
 *
 * ```ts
 * import { Broker } from "@mpubsub/mpubsub/broker";
 * import { NetPubSub } from "@mpubsub/mpubsub/net";
 * import { assertEquals } from "@std/assert";
 *
 * await using broker = new Broker();
 * await broker.start();
 *
 * await using alice = new NetPubSub(broker.address, broker.authkey);
 * await using bob = new NetPubSub(broker.address, broker.authkey);
 * const heard = Promise.withResolvers<unknown>();
 * bob.addSubscriber("greeting", (_topic, { text }) => heard.resolve(text));
 * await Promise.all([alice.connect(), bob.connect()]);
 *
 * alice.publish("greeting", { text: "hello" });
 * assertEquals(await heard.promise, "hello");
 * ```
 *
 * @module
 */
import { Background } from "./base/background.ts";
import { toHex } from "./base/bytes.ts";
import { clock } from "./base/clock.ts";
import { asyncDispose, followPolyfill } from "./base/disposal.ts";
import { lent } from "./base/lease.ts";
import { later } from "./base/timers.ts";
import { BrokerTopics } from "./broker/broker_topics.ts";
import { Callbacks } from "./broker/callbacks.ts";
import { Connections } from "./broker/connections.ts";
import { Counters } from "./broker/counters.ts";
import { Groups } from "./broker/groups.ts";
import { type BrokerKey, Keyring } from "./broker/keys.ts";
import { type Holder, Memory } from "./broker/memory.ts";
import { type BrokerOptions, type CheckedOptions, checkedOptions } from "./broker/options.ts";
import { Sessions } from "./broker/sessions.ts";
import type { BrokerStats } from "./broker/stats.ts";
import { TopicCounts } from "./broker/topic_counts.ts";
import type { GroupName, HandedOver, TellLost, Uplink, UplinkBus } from "./broker/uplink.ts";
import { UplinkPeer } from "./broker/uplink_peer.ts";
import {
  AuthError,
  type CertificateProblem,
  ConnectionLostError,
  ProtocolError,
} from "./errors.ts";
import { type Address, type Addresses, formatEndpoint, reachNotice } from "./io/address.ts";
import { listenAll, type Listener } from "./io/listener.ts";
import { refusal, upgradeRequest } from "./io/web_request.ts";
import { type Certificate, certificateAdvice } from "./io/certificate.ts";
import {
  createTicket,
  type Ticket,
  type TicketNarrow,
  type TicketOptions,
} from "./protocol/create_ticket.ts";
import { decodeTopic } from "./protocol/topic_block.ts";
import type { Origin, Peer } from "./routing/peer.ts";
import { Router } from "./routing/router.ts";

export { any } from "./topic.ts";
export type { BrokerLimits, BrokerOptions, ClientEvent } from "./broker/options.ts";
export type {
  BrokerReport,
  BrokerStats,
  ClientStats,
  Endings,
  GroupStats,
  JobStats,
  Refusals,
  TopicStats,
  UplinkStats,
} from "./broker/stats.ts";
export type {
  Address,
  Addresses,
  BrokerKey,
  Certificate,
  GroupName,
  HandedOver,
  TellLost,
  Uplink,
  UplinkBus,
};

const SHUTDOWN_MS = 10_000;
const GOING = "the broker is shutting down";
/** The origin of what the broker publishes itself; nobody holds it back. */
const ITSELF: Origin = { withhold: () => () => {} };

/**
 * Passes messages between `NetPubSub` objects, of this process and of others.
 *
 * - A client gets the messages of the topics that it subscribed to, and never its own.
 * - Each client first proves that it has a key, within `authTimeout`; `limits.halfOpen` bounds how many
 *   may be doing so.
 * - The broker keeps a session for each client: its subscriptions, and the messages queued for it. A
 *   client that loses its connection and comes back within `resumeWindow` gets what was published
 *   meanwhile, up to `limits.queueBytes`.
 *
 * @example Keys with rights
 * ```ts
 * import { Broker, ForbiddenError, NetPubSub } from "@mpubsub/mpubsub";
 * import { assertEquals, assertInstanceOf } from "@std/assert";
 *
 * await using broker = new Broker({
 *   address: "tcp://127.0.0.1:0", // any free port
 *   keys: [
 *     { name: "kitchen", key: "secret 1", publish: ["sensors"] },
 *     { name: "screen", key: "secret 2", subscribe: ["sensors"] },
 *   ],
 * });
 * await broker.start();
 *
 * const refused = Promise.withResolvers<unknown>();
 * await using kitchen = new NetPubSub(broker.address, "secret 1", {
 *   keyName: "kitchen",
 *   onError: refused.resolve,
 * });
 * await using screen = new NetPubSub(broker.address, "secret 2", {
 *   keyName: "screen",
 * });
 * const heard = Promise.withResolvers<unknown>();
 * screen.addSubscriber(null, (_topic, message) => heard.resolve(message));
 * await Promise.all([kitchen.connect(), screen.connect()]);
 *
 * kitchen.publish(["sensors", "kitchen"], { celsius: 21.5 });
 * assertEquals(await heard.promise, { celsius: 21.5 });
 *
 * kitchen.publish("alerts", { text: "fire" });
 * assertInstanceOf(await refused.promise, ForbiddenError);
 * assertEquals(broker.stats().forbidden, 1);
 * ```
 */
export class Broker {
  readonly #options: CheckedOptions;
  readonly #keyring: Keyring;
  readonly #counters = new Counters();
  readonly #callbacks: Callbacks;
  readonly #background = new Background();
  readonly #memory: Memory;
  readonly #groups: Groups;
  readonly #sessions: Sessions;
  readonly #connections: Connections;
  readonly #uplinkPeer: UplinkPeer | undefined;
  readonly #brokerTopics: BrokerTopics;
  /** Where it listens, and since when. */
  #listening: { readonly addresses: readonly string[]; readonly since: number } | undefined;
  #starting: Promise<void> | undefined;
  #isStopping = false;
  readonly #aborting = new AbortController();
  readonly #finished = Promise.withResolvers<void>();

  /**
   * Makes a broker that does not listen yet.
   *
   * @param options Where it listens, who may connect, and what it allows.
   * @throws {TypeError} If `address` is not a valid address, a key or a right is of the wrong kind, or
   * only one of a `tls://` address and `tls` is given.
   * @throws {RangeError} If a key or its name is empty, a name comes twice, or a number is out of
   * range.
   */
  constructor(options: BrokerOptions = {}) {
    const checked = checkedOptions(options);
    const { limits, maxPatience, uplink } = checked;
    this.#options = checked;
    this.#keyring = new Keyring(options.authkey, options.keys ?? []);
    this.#callbacks = new Callbacks(checked);
    this.#memory = new Memory(checked.memory, () => this.#holders());
    const router = new Router<Peer>({
      account: this.#memory.account,
      ...(uplink !== undefined && {
        onInterest: (peer, path, wants) => this.#uplinkPeer!.wants(peer, path, wants),
        forbidden: (path) => uplink.refusal(path),
      }),
    });
    const topicCounts = new TopicCounts();
    const background = this.#background;
    const passing = {
      router,
      background,
      topicCounts,
      limits,
      decodeTopic: (bytes: Uint8Array, start: number, end: number) =>
        decodeTopic(bytes, start, end, limits),
    };
    this.#uplinkPeer = uplink && new UplinkPeer(uplink, {
      ...passing,
      groups: () => this.#groups,
      account: this.#memory.account,
      memory: checked.memory,
    });
    this.#groups = new Groups({
      ...passing,
      account: this.#memory.account,
      elsewhere: this.#uplinkPeer,
      maxPatience,
      resumeWindow: checked.resumeWindow,
      now: () => clock.now(),
    });
    this.#sessions = new Sessions({
      ...passing,
      groups: this.#groups,
      options: checked,
      memory: this.#memory,
      counters: this.#counters,
      callbacks: this.#callbacks,
      maxPatience,
      now: () => clock.now(),
      onUnplaced: (link) => this.#connections.unplace(link),
      isStopping: () => this.#isStopping,
      onWatch: () => {
        if (!this.#isStopping) this.#brokerTopics.watch();
      },
    });
    this.#connections = new Connections({
      options: checked,
      keyring: this.#keyring,
      sessions: this.#sessions,
      memory: this.#memory,
      counters: this.#counters,
      callbacks: this.#callbacks,
      background,
      isStopping: () => this.#isStopping,
      onTick: background.repeatedly(() => router.sweep()),
    });
    this.#brokerTopics = new BrokerTopics({
      background,
      topicCounts,
      messageBytes: limits.messageBytes,
      isWanted: (path) => router.isWanted(path),
      subscribers: (path) =>
        router.peersOf(path).reduce((sum, peer) => peer === this.#uplinkPeer ? sum : sum + 1, 0),
      stats: () => ({
        ...this.stats(),
        uptime: clock.now() - this.#listening!.since,
        address: this.addresses[0] ?? null,
      }),
      clients: () => this.#sessions.clients(),
      groups: () => this.#groups.stats(),
      publish: (path, frame) => {
        const lease = lent(frame, this.#memory.account);
        lease.holders++;
        for (const peer of router.peersOf(path)) peer.take(frame, 1, ITSELF, lease);
        lease.release();
      },
    });
  }

  /**
   * Where the broker listens, with the actual port or path; the first of several.
   *
   * @throws {Error} If `start()` has not resolved yet, or it listens nowhere.
   */
  get address(): string {
    const [address] = this.addresses;
    if (address !== undefined) return address;
    throw new Error("Cannot get the address: the broker listens nowhere; give it an address");
  }

  /**
   * All addresses at which the broker listens, in the order in which they were given.
   *
   * @throws {Error} If `start()` has not resolved yet.
   */
  get addresses(): readonly string[] {
    if (this.#listening === undefined) {
      throw new Error("Cannot get the address: the broker does not listen; await start() first");
    }
    return this.#listening.addresses;
  }

  /** What tells this broker from all others: 32 random hexadecimal digits. Whoever connects is told it. */
  get id(): string {
    return toHex(this.#connections.brokerId);
  }

  /**
   * A copy of the key that has no name, and grants everything: the option `authkey`, or the random one.
   */
  get authkey(): Uint8Array {
    return this.#keyring.single.bytes.slice();
  }

  /**
   * Replaces the named keys; `authkey` stays as it is.
   *
   * - A client whose key is kept, with the same name and bytes, stays connected and has the new rights.
   *   It still gets what was queued for it before, but nothing more of what it lost. What it has gained
   *   reaches many subscriptions a moment later.
   * - Any other client with a named key is disconnected, and loses its session.
   *
   * @param keys All named keys from now on.
   * @throws {TypeError} If a key or a right is of the wrong kind. No key changes then.
   * @throws {RangeError} If a key or its name is empty, a name comes twice, or a number is out of
   * range. No key changes then.
   */
  setKeys(keys: readonly BrokerKey[]): void {
    const changed = this.#keyring.replace(keys);
    this.#advise();
    this.#connections.endRevoked();
    this.#sessions.applyKeys(this.#keyring, changed);
  }

  /** Resolves when the broker has shut down. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /**
   * Starts to listen.
   *
   * @returns Resolves when clients can connect. A second call waits for the same start.
   * @throws {Deno.errors.AddrInUse} If another program listens at the address.
   * @throws {Deno.errors.AddrNotAvailable} If this machine does not have the address.
   * @throws {Deno.errors.Busy} If another process holds the lock of the socket for too long.
   * @throws {Deno.errors.InvalidData} If the certificate or its private key cannot be used, or the key
   * is another's.
   * @throws {DOMException} Its name is `NotSupportedError`, if this is not Deno.
   * @throws {Error} If `shutdown()` was called, or the uplink cannot join this broker.
   */
  start(): Promise<void> {
    if (this.#isStopping) {
      return Promise.reject(
        new Error("Cannot start the broker: it was shut down; make a new Broker"),
      );
    }
    return this.#starting ??= this.#start().catch((error) => {
      this.#starting = undefined;
      throw error;
    });
  }

  async #start(): Promise<void> {
    const { address, origins, tls } = this.#options;
    this.#advise();
    const { listeners, endpoints } = await listenAll(address, {
      certificate: tls,
      origins,
      onWait: (text) => this.#callbacks.warn(text),
    });
    const advice = tls && certificateAdvice(tls);
    if (advice !== undefined) this.#callbacks.warn(advice);
    if (this.#isStopping) {
      await closeAll(listeners);
      throw new Error("Cannot start the broker: it was shut down meanwhile");
    }
    try {
      this.#uplinkPeer?.join();
    } catch (error) { // It is another broker's, or does not fit this one's limits.
      await closeAll(listeners);
      throw error;
    }
    this.#listening = { addresses: endpoints.map(formatEndpoint), since: clock.now() };
    for (const { endpoints, ip } of listeners) {
      for (const endpoint of endpoints) {
        const notice = reachNotice(endpoint, ip);
        if (notice === undefined) continue;
        this.#callbacks.warn(`Listening at ${formatEndpoint(endpoint)}${notice}`);
      }
    }
    this.#connections.listen(listeners);
    this.#callbacks.listens(this.addresses);
  }

  /**
   * Takes a client over a WebSocket of a server that you run, such as `Deno.serve`: no second port, no
   * second certificate.
   *
   * - It looks at no path; who calls it decides for which there is a bus.
   * - The bounds of a connection before its upgrade, and of one message of its WebSocket, are those of that
   *   server. From the upgrade on, the broker bounds the time to authenticate, and how many have not.
   *
   * @param request The request for the WebSocket.
   * @returns What to answer: the upgrade; status 426 if the request is for something else, or of another
   * version of WebSockets; 403 if it comes from a page of an origin that may not connect; 405 and 400 if
   * it breaks RFC 6455; 503 if the broker is not started or shuts down.
   *
   * @example
   * ```ts ignore
   * Deno.serve((request) => broker.upgrade(request));
   * app.get("/bus", (c) => broker.upgrade(c.req.raw)); // In Hono.
   * ```
   */
  upgrade(request: Request): Response {
    const isReady = this.#listening !== undefined && !this.#isStopping;
    const taken = isReady
      ? upgradeRequest(request, this.#options.origins, this.#options.limits.messageBytes)
      : refusal(503, "The broker is not running");
    if (taken instanceof Response) return taken;
    this.#connections.take(taken.connection);
    return taken.response;
  }

  /** Tells once of a grant that may not be what was meant. */
  #advise(): void {
    const advice = this.#keyring.takeAdvice();
    if (advice !== undefined) this.#callbacks.warn(advice);
  }

  /**
   * Counts what the broker has done, and what it holds.
   *
   * @returns A snapshot.
   */
  stats(): BrokerStats {
    return {
      connections: this.#connections.size,
      sessions: this.#sessions.size,
      detached: this.#sessions.away,
      ...this.#counters.snapshot(),
      waiting: this.#sessions.waiting,
      queuedBytes: this.#sessions.queuedBytes,
      memoryBytes: this.#memory.account.bytes,
      jobs: this.#groups.totals(),
      ...(this.#uplinkPeer !== undefined && { uplink: this.#uplinkPeer.stats() }),
    };
  }

  /** All for whom memory is kept. */
  *#holders(): Generator<Holder, void, undefined> {
    yield* this.#sessions.holders();
    yield* this.#groups.holders();
    yield* this.#connections.holders();
    if (this.#uplinkPeer !== undefined) yield this.#uplinkPeer.holder;
  }

  /** Lets the program end although the broker runs, which otherwise keeps the program running. */
  unref(): void {
    this.#connections.keepsAlive = false;
  }

  /** Undoes `unref()`. */
  ref(): void {
    this.#connections.keepsAlive = true;
  }

  /**
   * Stops listening, sends clients the messages queued for them, tells them that the broker shuts down,
   * and closes.
   *
   * - From the call on, it takes no more messages; it acknowledges those that it has taken.
   * - It ends after at most 10 s, or at once on a second call.
   *
   * @returns Resolves when everything is closed, as `finished` does.
   */
  shutdown(): Promise<void> {
    if (this.#isStopping) this.#abort();
    else {
      this.#isStopping = true;
      this.#shutdown().then(this.#finished.resolve, this.#finished.reject);
    }
    return this.#finished.promise;
  }

  async #shutdown(): Promise<void> {
    this.#brokerTopics.end();
    const closed = this.#connections.close(GOING);
    this.#groups.close(GOING);
    this.#sessions.close(GOING);
    const timeout = later(() => this.#abort(), SHUTDOWN_MS);
    await closed;
    // The publishers are gone; what they published last goes to other brokers before the uplink ends.
    await this.#uplinkPeer?.leave(this.#aborting.signal);
    timeout.cancel();
    this.#background.end();
  }

  #abort(): void {
    this.#aborting.abort();
    this.#connections.abort();
  }

  /** `"Broker"`; so Vue makes no proxy of a broker that stands in what it observes. */
  get [Symbol.toStringTag](): string {
    return "Broker";
  }

  /** Shuts down, as `shutdown()` does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}
followPolyfill(Broker.prototype, asyncDispose);

async function closeAll(listeners: readonly Listener[]): Promise<void> {
  await Promise.all(listeners.map((listener) => listener.close()));
}

// The errors that `onError` gets.
export { AuthError, ConnectionLostError, ProtocolError };
export type { CertificateProblem };

export { createTicket };
export type { Ticket, TicketNarrow, TicketOptions };
