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
import { every, later } from "./base/timers.ts";
import { Admission } from "./broker/admission.ts";
import { BrokerTopics } from "./broker/broker_topics.ts";
import {
  checkSubscriptions,
  ClientPeer,
  MEMORY_FULL,
  type PeerContext,
} from "./broker/client_peer.ts";
import { Counters } from "./broker/counters.ts";
import { type BrokerKey, type Key, Keyring } from "./broker/keys.ts";
import {
  type BrokerOptions,
  type CheckedOptions,
  checkedOptions,
  type ClientEvent,
} from "./broker/options.ts";
import type { BrokerStats } from "./broker/stats.ts";
import { TopicCounts } from "./broker/topic_counts.ts";
import type { Uplink, UplinkBus } from "./broker/uplink.ts";
import { UplinkPeer } from "./broker/uplink_peer.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "./errors.ts";
import { type Address, formatEndpoint, isExposed } from "./io/address.ts";
import type { Connection } from "./io/connection.ts";
import { listen, type Listener } from "./io/listener.ts";
import type { Certificate } from "./io/tls.ts";
import { authenticateClient, BusyError } from "./protocol/authenticate.ts";
import {
  clientFrameLimits,
  decodeOpening,
  encodeOpened,
  Resumption,
  SESSION_ID_BYTES,
} from "./protocol/bodies.ts";
import { FrameError, type FrameLimits, FrameType, Reason } from "./protocol/frame.ts";
import type { FrameReader } from "./protocol/frame_reader.ts";
import { randomBytes } from "./protocol/handshake.ts";
import { Link, TICKS } from "./protocol/link.ts";
import { WINDOW_BYTES } from "./protocol/session.ts";
import { decodeTopic, topicEnd } from "./protocol/topic_block.ts";
import type { Origin, Peer } from "./routing/peer.ts";
import { Router } from "./routing/router.ts";
import type { TopicPath } from "./topic.ts";

export type { BrokerLimits, BrokerOptions, ClientEvent } from "./broker/options.ts";
export type {
  BrokerReport,
  BrokerStats,
  ClientStats,
  Endings,
  Refusals,
  TopicStats,
  UplinkStats,
} from "./broker/stats.ts";
export type { Address, BrokerKey, Certificate, Uplink, UplinkBus };

const SHUTDOWN_MS = 10_000;
/** How long a client waits for the word that its proof is wrong. */
const REFUSAL_DELAY_MS = 500;
/** How much of `memory` is free after it was full. */
const RELIEF = 1 / 16;
const GOING = "the broker is shutting down";
const BROKER_ID_BYTES = 16;
/** What the broker publishes of itself is held back by nobody. */
const ITSELF: Origin = { withhold: () => () => {} };

/**
 * Passes messages between `NetPubSub` objects, of this process and of others.
 *
 * - A client gets the messages of the topics that it subscribed to, and never its own.
 * - Each client proves that it has the key before anything else; until then it can hold nothing of
 *   the broker's but one of `halfOpen` places, for `authTimeout`.
 * - A client whose connection is lost finds its session again for `resumeWindow`, and gets all that
 *   was published meanwhile, within `queueBytes`.
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
  readonly #frameLimits: FrameLimits;
  readonly #keyring: Keyring;
  readonly #router: Router<Peer>;
  readonly #uplinkPeer: UplinkPeer | undefined;
  readonly #traffic = new TopicCounts();
  readonly #reporter: BrokerTopics;
  readonly #id = randomBytes(BROKER_ID_BYTES);
  readonly #admission: Admission<Connection>;
  /** The authenticated connections. */
  readonly #links = new Map<Link, { readonly stream: Connection; readonly key: Key }>();
  /** All sessions, by their secret id. */
  readonly #peers = new Map<string, ClientPeer>();
  /** Those without a connection, the one that lost it first in front; what forgets them in time. */
  readonly #detached = new Map<ClientPeer, Disposable>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #finished = Promise.withResolvers<void>();
  readonly #counters = new Counters();
  readonly #context: PeerContext;
  #listener: Listener | undefined;
  #listensSince = 0;
  /** Whether the uplink is this broker's. */
  #hasJoined = false;
  #joined = 0;
  #ticker: Disposable | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  readonly #aborting = new AbortController();
  #keepsAlive = true;
  #queuedBytes = 0;

  /**
   * Makes a broker that does not listen yet.
   *
   * @param options Where it listens, who may come, and what it allows.
   * @throws {TypeError} When the address or a key is none, or a `tls://` address has no certificate.
   * @throws {RangeError} When a key is empty, or a limit out of range.
   */
  constructor(options: BrokerOptions = {}) {
    this.#options = checkedOptions(options);
    this.#frameLimits = clientFrameLimits(this.#options.limits);
    this.#keyring = new Keyring(options.authkey, options.keys ?? []);
    this.#admission = new Admission(this.#options.limits);
    const { uplink } = this.#options;
    this.#router = new Router<Peer>({
      ...(uplink !== undefined && {
        onInterest: (peer, path, wants) => this.#uplinkPeer!.note(peer, path, wants),
        refusal: (path) => uplink.refusal(path),
      }),
    });
    this.#context = {
      router: this.#router,
      limits: this.#options.limits,
      counters: this.#counters,
      maxPatience: this.#options.maxPatience,
      now: () => performance.now(),
      decodeTopic: (bytes, start, end) => decodeTopic(bytes, start, end, this.#options.limits),
      onBytes: (change) => {
        this.#queuedBytes += change;
        if (change > 0 && this.#queuedBytes > this.#options.memory) this.#relieve();
      },
      traffic: this.#traffic,
      onWatch: () => {
        if (this.#stopping === undefined) this.#reporter.watch();
      },
    };
    this.#uplinkPeer = uplink && new UplinkPeer(uplink, this.#context);
    this.#reporter = new BrokerTopics({
      traffic: this.#traffic,
      messageBytes: this.#options.limits.messageBytes,
      isWanted: (path) => this.#router.isWanted(path),
      subscribers: (path) => this.#subscribers(path),
      stats: () => ({
        ...this.stats(),
        uptime: performance.now() - this.#listensSince,
        address: this.address,
      }),
      clients: () => this.#peers.values().map((peer) => peer.stats()),
      publish: (path, frame) => {
        for (const peer of this.#router.peersOf(path)) peer.take(frame, 1, ITSELF, undefined);
      },
    });
  }

  /**
   * Where the broker listens, with the port or path that it got.
   *
   * @throws {Error} Before `start()` has resolved.
   */
  get address(): string {
    if (this.#listener === undefined) {
      throw new Error("Cannot tell the address: the broker does not listen, await start() first");
    }
    return formatEndpoint(this.#listener.endpoint);
  }

  /** The key without a name, which grants everything; a copy. */
  get authkey(): Uint8Array {
    return this.#keyring.single.bytes.slice();
  }

  /**
   * Takes these named keys in the place of those before; `authkey` stays as it is.
   *
   * - Who holds one that is still there, with the same bytes, stays connected, with the rights that it
   *   has now.
   * - Who holds one that is gone, or has other bytes, is disconnected, and its session forgotten.
   * - What was queued for a client before goes to it all the same, while its key is there.
   *
   * @param keys All that there are from now on.
   * @throws {TypeError} When one of them is no key. Then nothing has changed.
   * @throws {RangeError} When one is empty, or a name comes twice. Then nothing has changed.
   */
  setKeys(keys: readonly BrokerKey[]): void {
    const changed = this.#keyring.replace(keys);
    for (const [link, { key }] of this.#links) {
      if (this.#keyring.has(key)) continue;
      if (!link.ended) this.#counters.endings.revoked++;
      link.end(Reason.KEY_REVOKED, revoked(key).message);
    }
    for (const peer of this.#peers.values()) {
      if (!this.#keyring.has(peer.key)) this.#remove(peer);
      else if (changed.has(peer.key)) peer.narrow();
    }
  }

  /** Resolves when the broker has shut down. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /**
   * Begins to listen.
   *
   * @returns Resolves when clients can connect. A second call is the same start.
   * @throws {Deno.errors.AddrInUse} When somebody listens at the address.
   * @throws {Deno.errors.InvalidData} When the certificate, or its key, is none.
   * @throws {Error} After `shutdown()`.
   */
  start(): Promise<void> {
    if (this.#stopping !== undefined) {
      return Promise.reject(
        new Error("Cannot start the broker: it was shut down, make a new Broker"),
      );
    }
    return this.#starting ??= this.#start().catch((error) => {
      this.#starting = undefined;
      throw error;
    });
  }

  async #start(): Promise<void> {
    const { address, tls } = this.#options;
    const listener = await listen(address, tls);
    if (this.#stopping !== undefined) {
      await listener.close();
      throw new Error("Cannot start the broker: it was shut down meanwhile");
    }
    try {
      if (this.#uplinkPeer !== undefined) this.#options.uplink?.join(this.#uplinkPeer);
      this.#hasJoined = true;
    } catch (error) { // It is another broker's, or does not fit this one's limits.
      await listener.close();
      throw error;
    }
    this.#listener = listener;
    this.#listensSince = performance.now();
    listener.keepsAlive = this.#keepsAlive;
    if (isExposed(listener.endpoint)) {
      this.#warn(
        `Listening at ${this.address} without TLS: messages can be read and changed on the way`,
      );
    }
    this.#ticker = every(() => this.#tick(), this.#options.heartbeat / TICKS);
    this.#keep(this.#accept(listener));
    this.#contain("onListen", () => this.#options.onListen?.({ address: this.address }));
  }

  /** How many clients get the messages of a topic. */
  #subscribers(path: TopicPath): number {
    const peers = this.#router.peersOf(path);
    const isUp = this.#uplinkPeer !== undefined && peers.includes(this.#uplinkPeer);
    return isUp ? peers.length - 1 : peers.length;
  }

  #tick(): void {
    for (const link of this.#links.keys()) link.tick();
  }

  /** Remembers a task until it ends, so that shutdown can wait for it. */
  #keep(task: Promise<void>): void {
    this.#tasks.add(task);
    task.catch((error) => this.#warn(error)).then(() => this.#tasks.delete(task));
  }

  async #accept(listener: Listener): Promise<void> {
    const failed = (error: Error) => {
      this.#admission.relieve();
      this.#warn(error);
    };
    for await (const stream of listener.connections(failed)) {
      stream.keepsAlive = this.#keepsAlive;
      this.#keep(this.#admit(stream));
    }
  }

  async #admit(stream: Connection): Promise<void> {
    const { authTimeout } = this.#options;
    const entrant = this.#admission.enter(stream);
    using _timeout = later(
      () => entrant.refuse("timeout", `it did not within ${authTimeout} ms`),
      authTimeout,
    );
    try {
      const key = await authenticateClient(stream, {
        brokerId: this.#id,
        keyOf: (name) => this.#keyring.get(name),
        isBusy: () => !this.#hasRoom(),
        delay: () => entrant.pause(REFUSAL_DELAY_MS),
      });
      if (!this.#hasRoom()) throw new BusyError();
      this.#admission.leave(entrant);
      this.#keep(this.#serve(stream, key));
    } catch (thrown) { // A wrong key, bytes that are no handshake, or whatever the stream throws.
      this.#admission.leave(entrant);
      if (hasNoDescriptors(thrown)) this.#admission.relieve();
      const { kind, error } = entrant.refusal(thrown);
      this.#counters.refusals[kind]++;
      stream.close();
      this.#tell(error);
    }
  }

  /** Whether one more client may come. One that is away gives up its place. */
  #hasRoom(): boolean {
    return this.#stopping === undefined && this.#links.size < this.#options.limits.connections;
  }

  /** Serves an authenticated connection to its end. */
  async #serve(stream: Connection, key: Key): Promise<void> {
    let peer: ClientPeer | undefined;
    const link = new Link(stream, this.#frameLimits);
    link.expect({
      [FrameType.OPEN]: (reader) => {
        peer = this.#open(link, key, reader);
        inTime();
      },
    });
    this.#links.set(link, { stream, key });
    let tooLate: Disposable | undefined = later(
      () => link.fail(new ProtocolError("Cannot wait longer: no OPEN came")),
      this.#options.authTimeout,
    );
    // Lets go of it at once: this lasts as long as the connection.
    const inTime = () => {
      tooLate?.[Symbol.dispose]();
      tooLate = undefined;
    };
    const end = await link.finished;
    inTime();
    const { reason, error } = end;
    this.#links.delete(link);
    this.#counters.countEnd(end);
    if (peer !== undefined && peer.session.link === link) {
      peer.session.detach();
      if (this.#stopping !== undefined || reason !== undefined && !peer.isCutOff) {
        this.#remove(peer, error);
      } else this.#keepForReturn(peer, error);
    }
    if (error !== undefined) this.#tell(error);
  }

  /** Takes an OPEN: goes on with a session, or begins one. */
  #open(link: Link, key: Key, { buffer, body, end }: FrameReader): ClientPeer {
    const { limits, heartbeat } = this.#options;
    if (!this.#keyring.has(key)) throw revoked(key);
    const { opening, topics: start } = decodeOpening(buffer.subarray(body, end));
    const topics: TopicPath[] = [];
    for (let at = body + start; at < end;) {
      const next = topicEnd(buffer, at, end);
      topics.push(decodeTopic(buffer, at, next, limits));
      checkSubscriptions(topics.length, limits);
      at = next;
    }
    const known = this.#peerOf(opening.session, key);
    let outcome: Resumption = Resumption.NEW;
    let missed = 0;
    let peer: ClientPeer;
    if (known !== undefined && !known.isCutOff) {
      outcome = Resumption.RESUMED;
      peer = known;
      this.#detach(known);
    } else {
      if (known !== undefined) {
        // It goes on counting until it is forgotten: this answer may not arrive.
        outcome = Resumption.CUT_OFF;
        missed = known.missedSince(opening.taken);
      }
      peer = new ClientPeer(randomBytes(SESSION_ID_BYTES), key, ++this.#joined, this.#context);
      this.#peers.set(keyOf(peer.id), peer);
    }
    try {
      const taken = outcome === Resumption.RESUMED ? opening.taken : 0;
      for (const path of peer.open({ ...opening, taken }, topics)) peer.deny(path, link);
    } catch (error) { // ProtocolError: that count cannot be, so the session is of no use.
      this.#remove(peer);
      throw error;
    }
    peer.address = this.#links.get(link)?.stream.remoteAddress;
    if (outcome === Resumption.RESUMED) this.#counters.resumed++;
    this.#tellClient(outcome === Resumption.RESUMED ? "resumed" : "joined", peer);
    const { session } = peer;
    link.send(
      FrameType.OPENED,
      encodeOpened({
        outcome,
        session: peer.id,
        taken: session.taken,
        missed,
        heartbeat,
        window: WINDOW_BYTES,
        limits,
      }),
    );
    session.attach(link);
    this.#makeRoom();
    return peer;
  }

  #peerOf(id: Uint8Array | undefined, key: Key): ClientPeer | undefined {
    const peer = id && this.#peers.get(keyOf(id));
    return peer?.key === key ? peer : undefined;
  }

  /** Ignores from now on what the session's connection yields, if it has one. */
  #detach(peer: ClientPeer): void {
    peer.session.link?.end(Reason.REPLACED, "the session goes on over another connection");
    peer.session.detach();
    this.#detached.get(peer)?.[Symbol.dispose]();
    this.#detached.delete(peer);
  }

  #keepForReturn(peer: ClientPeer, error: Error | undefined): void {
    this.#tellClient("lost", peer, error);
    const forget = later(() => this.#remove(peer), this.#options.resumeWindow);
    this.#detached.set(peer, forget);
    this.#makeRoom();
  }

  /** Forgets those who have been away longest, when there are more clients than there may be. */
  #makeRoom(): void {
    for (const peer of this.#detached.keys()) {
      if (this.#links.size + this.#detached.size <= this.#options.limits.connections) return;
      this.#remove(peer);
    }
  }

  #remove(peer: ClientPeer, error?: Error): void {
    this.#detached.get(peer)?.[Symbol.dispose]();
    this.#detached.delete(peer);
    const isNews = this.#peers.delete(keyOf(peer.id));
    peer.remove(error);
    if (isNews) this.#tellClient("left", peer, error);
  }

  #tellClient(
    type: ClientEvent["type"],
    { number: client, key, address }: ClientPeer,
    error?: Error,
  ): void {
    const { onClient } = this.#options;
    if (onClient === undefined) return;
    const event: ClientEvent = {
      type,
      client,
      keyName: key.name,
      ...(address !== undefined && { address }),
      ...(error !== undefined && { reason: error.message }),
    };
    this.#contain("onClient", () => onClient(event));
  }

  /** The memory is full: those who hold most lose what they can; if need be, their sessions. */
  #relieve(): void {
    const excess = () => this.#queuedBytes - this.#options.memory * (1 - RELIEF);
    const largest = [...this.#peers.values()].sort((a, b) => b.bytes - a.bytes);
    for (const peer of largest) if (excess() > 0) peer.relieve(excess());
    for (const peer of largest) if (excess() > 0) peer.cutOff(MEMORY_FULL);
  }

  #tell(error: unknown): void {
    this.#contain("onError", () => this.#options.onError?.(error));
  }

  /** Calls the program's code; its mistake must not end a connection. */
  async #contain(name: string, call: () => unknown): Promise<void> {
    try {
      await call();
    } catch (thrown) {
      console.warn(`mpubsub: ${name} of the broker failed: ${thrown}`);
    }
  }

  #warn(problem: unknown): void {
    if (this.#options.onError !== undefined) return this.#tell(problem);
    console.warn(`mpubsub: ${problem instanceof Error ? problem.message : problem}`);
  }

  /**
   * What the broker has done, and holds.
   *
   * @returns Counts that do not change any more.
   */
  stats(): BrokerStats {
    let waiting = 0;
    for (const peer of this.#peers.values()) if (peer.holdsBack) waiting++;
    return {
      connections: this.#links.size + this.#admission.size,
      sessions: this.#peers.size,
      detached: this.#detached.size,
      ...this.#counters.snapshot(),
      waiting,
      queuedBytes: this.#queuedBytes,
      ...(this.#options.uplink !== undefined && { uplink: this.#options.uplink.stats() }),
    };
  }

  /** Lets the program end although the broker runs, as `Deno.Listener.unref` does. */
  unref(): void {
    this.#setKeepsAlive(false);
  }

  /** Takes `unref()` back. */
  ref(): void {
    this.#setKeepsAlive(true);
  }

  #setKeepsAlive(keeps: boolean): void {
    this.#keepsAlive = keeps;
    if (this.#listener !== undefined) this.#listener.keepsAlive = keeps;
    for (const { caller } of this.#admission.entrants()) caller.keepsAlive = keeps;
    for (const { stream } of this.#links.values()) stream.keepsAlive = keeps;
  }

  /**
   * Stops listening, sends what waits for the clients, tells them that the broker goes, and closes.
   *
   * - No message is taken from its beginning on; those that were taken are acknowledged.
   * - It takes at most 10 s; a second call ends it at once.
   *
   * @returns Resolves when everything is closed, as `finished` does.
   */
  shutdown(): Promise<void> {
    if (this.#stopping === undefined) this.#stopping = this.#shutdown();
    else this.#abort();
    return this.#stopping;
  }

  async #shutdown(): Promise<void> {
    this.#reporter.end();
    const closed = this.#listener?.close();
    for (const entrant of this.#admission.entrants()) entrant.refuse("busy", GOING);
    for (const peer of this.#detached.keys()) this.#remove(peer);
    for (const { session } of this.#peers.values()) session.close();
    for (const { session } of this.#peers.values()) {
      const end = () => session.link?.end(Reason.SHUTDOWN, GOING);
      if (session.outbox.unacknowledged === 0) end();
      // Rejects when the connection is lost: then there is nobody to tell.
      else session.flush().then(end, () => {});
    }
    const opened = new Set([...this.#peers.values()].map(({ session }) => session.link));
    for (const link of this.#links.keys()) if (!opened.has(link)) link.end(Reason.SHUTDOWN, GOING);
    const timeout = later(() => this.#abort(), SHUTDOWN_MS);
    await Promise.allSettled([closed, ...this.#tasks]);
    // Those who publish are gone: what they said last goes up before.
    if (this.#hasJoined) await this.#options.uplink?.leave(this.#aborting.signal);
    timeout[Symbol.dispose]();
    this.#ticker?.[Symbol.dispose]();
    this.#finished.resolve();
  }

  #abort(): void {
    this.#aborting.abort();
    for (const link of this.#links.keys()) link.close();
  }

  /** Shuts down, as `shutdown()` does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}

function keyOf(id: Uint8Array): string {
  return id.toString();
}

/** Whether TLS could not be begun since there are as many open files as there may be. */
function hasNoDescriptors(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EMFILE";
}

function revoked({ name }: Key): FrameError {
  return new FrameError(
    `The key ${JSON.stringify(name)} is no longer one of the broker's`,
    Reason.KEY_REVOKED,
  );
}

// The errors that `onError` is told.
export { AuthError, ConnectionLostError, ProtocolError };
