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
import { type Address, formatEndpoint, isLoopback, parseAddress } from "./address.ts";
import { keyBytes, randomBytes } from "./auth.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "./errors.ts";
import {
  clientFrameLimits,
  decodeOpening,
  decodeTopic,
  encodeOpened,
  type FrameLimits,
  type FrameReader,
  FrameType,
  Reason,
  Resumption,
  SESSION_ID_BYTES,
  topicEnd,
} from "./frame.ts";
import { greetClient, type Greeter } from "./greeting.ts";
import { Link, type LinkHandler, TICKS } from "./link.ts";
import {
  checkSubscriptions,
  ClientPeer,
  MEMORY_FULL,
  type PeerContext,
  type PeerCounts,
} from "./peer.ts";
import { Router } from "./router.ts";
import { WINDOW_BYTES } from "./session.ts";
import { ELEMENT_BYTES_MAX, TOPIC_ELEMENTS_MAX, type TopicPath } from "./topic.ts";
import { type Connection, every, later, listen, type Listener } from "./transport.ts";

export type { Address };

/** What a broker allows; over a limit it refuses, and says so. */
export interface BrokerLimits {
  /**
   * The largest message, in bytes as encoded.
   *
   * @default {1048576}
   */
  messageBytes?: number;
  /**
   * The most elements of a topic, at most 16.
   *
   * @default {16}
   */
  topicElements?: number;
  /**
   * The longest element of a topic, in bytes of UTF-8, at most 255.
   *
   * @default {255}
   */
  elementBytes?: number;
  /**
   * The most topics to which one client subscribes.
   *
   * @default {1024}
   */
  subscriptions?: number;
  /**
   * The most clients, those that lost their connection and may come back among them. When there are
   * as many, the one that has been away longest is forgotten for a new one.
   *
   * @default {10000}
   */
  connections?: number;
  /**
   * The most connections that are not authenticated yet.
   *
   * @default {256}
   */
  halfOpen?: number;
  /**
   * The most bytes that are queued for one client, or not acknowledged by it; at least 2 MiB, and
   * twice the largest message. For one that holds its publishers back it is twice as much, since what
   * they have under way still comes.
   *
   * @default {67108864}
   */
  queueBytes?: number;
}

/** Options of a {@linkcode Broker}. */
export interface BrokerOptions {
  /**
   * Where to listen.
   *
   * @default {undefined} A new Unix socket that only this user can reach; loopback TCP where there
   * are none.
   */
  address?: Address;
  /**
   * The key that clients must have: bytes, or a string that stands for its UTF-8 bytes.
   *
   * @default {undefined} 32 random bytes.
   */
  authkey?: string | Uint8Array;
  /** What the broker allows. */
  limits?: BrokerLimits;
  /**
   * How long a client may take to authenticate, in milliseconds from accept.
   *
   * @default {5000}
   */
  authTimeout?: number;
  /**
   * After how long without anything to send a side gives a sign of life, in milliseconds. Who is
   * silent for two of these is gone.
   *
   * @default {15000}
   */
  heartbeat?: number;
  /**
   * For how long a client that lost its connection may come back and find its session, in
   * milliseconds.
   *
   * @default {60000}
   */
  resumeWindow?: number;
  /**
   * The most bytes that are queued for all clients together. Over it, the client that holds most
   * loses its oldest messages first, and is told.
   *
   * @default {1073741824}
   */
  memory?: number;
  /**
   * The longest time, in milliseconds, for which a client with `overflow: "wait"` may hold back those
   * who publish to it without acknowledging anything; then it is cut off, and told.
   *
   * @default {0} Nobody may: `"wait"` is the same as `"drop-oldest"`.
   */
  maxPatience?: number;
  /** Called once the broker listens. */
  onListen?(info: { address: string }): void;
  /**
   * Told what went wrong with one connection, and what deserves a warning; nothing else is
   * affected by it.
   *
   * @default {undefined} Refused clients are counted in {@linkcode Broker.stats}; a warning goes to
   * `console.warn`.
   */
  onError?(error: unknown): void;
}

/** What a broker has done, and holds, at one moment. */
export interface BrokerStats {
  /** Open connections, those that are not authenticated yet among them. */
  readonly connections: number;
  /** Clients: those that are connected, and those that may come back. */
  readonly sessions: number;
  /** Clients that lost their connection and may come back. */
  readonly detached: number;
  /** How often a client came back to its session. */
  readonly resumed: number;
  /** Messages that came from clients. */
  readonly received: number;
  /** Messages that were queued for clients: one that went to three counts three times. */
  readonly delivered: number;
  /** Messages that were dropped because a client did not take them in time. */
  readonly dropped: number;
  /** Connections that were not let in. */
  readonly refused: number;
  /** Messages that were not taken from a client: too large, or to a topic that is not its own. */
  readonly refusedMessages: number;
  /** Clients that hold back those who publish to them. */
  readonly waiting: number;
  /** How often a client began to hold others back. */
  readonly waits: number;
  /** Clients that were cut off because they held others back too long. */
  readonly cutOff: number;
  /** Bytes that are queued for clients, or not acknowledged by them. */
  readonly queuedBytes: number;
}

const MESSAGE_BYTES = 1024 * 1024;
const SUBSCRIPTIONS = 1024;
const CONNECTIONS = 10_000;
const HALF_OPEN = 256;
const QUEUE_BYTES = 64 * 1024 * 1024;
/** Room for a window that is not acknowledged, and as much that waits. */
const QUEUE_BYTES_MIN = 2 * WINDOW_BYTES;
const AUTH_TIMEOUT_MS = 5000;
const SHUTDOWN_MS = 10_000;
const HEARTBEAT_MS = 15_000;
const RESUME_WINDOW_MS = 60_000;
const MEMORY_BYTES = 1024 * 1024 * 1024;
/** How much of `memory` is free after it was full. */
const RELIEF = 1 / 16;
const GOING = "the broker is shutting down";
const MILLISECONDS_MAX = 2 ** 31 - 1;
const BROKER_ID_BYTES = 16;
const KEY_BYTES = 32;

/**
 * Passes messages between {@linkcode NetPubSub} objects.
 *
 * - A client gets the messages of the topics that it subscribed to, and never its own.
 * - Each client proves that it has the key before anything else; until then it can hold nothing of
 *   the broker's but one of `halfOpen` places, for `authTimeout`.
 * - A client whose connection is lost finds its session again for `resumeWindow`, and gets all that
 *   was published meanwhile, within `queueBytes`.
 */
export class Broker {
  readonly #settings: Settings;
  readonly #frameLimits: FrameLimits;
  readonly #authkey: Uint8Array<ArrayBuffer>;
  readonly #router = new Router<ClientPeer>();
  readonly #id = randomBytes(BROKER_ID_BYTES);
  readonly #halfOpen = new Set<Connection>();
  /** The authenticated connections. */
  readonly #links = new Map<Link, Connection>();
  /** All sessions, by their secret id. */
  readonly #peers = new Map<string, ClientPeer>();
  /** Those without a connection, the one that lost it first in front; what forgets them in time. */
  readonly #detached = new Map<ClientPeer, Disposable>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #finished = Promise.withResolvers<void>();
  readonly #counts: PeerCounts = {
    received: 0,
    delivered: 0,
    dropped: 0,
    refusedMessages: 0,
    waits: 0,
    cutOff: 0,
  };
  readonly #context: PeerContext;
  #listener: Listener | undefined;
  #ticker: Disposable | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #keepsAlive = true;
  #queuedBytes = 0;
  #refused = 0;
  #resumed = 0;

  /**
   * Makes a broker that does not listen yet.
   *
   * @throws {TypeError} When the address or the key is none.
   * @throws {RangeError} When the key is empty, or a limit out of range.
   */
  constructor(options: BrokerOptions = {}) {
    if (options.address !== undefined) parseAddress(options.address);
    this.#settings = settingsOf(options);
    this.#frameLimits = clientFrameLimits(this.#settings.limits);
    this.#authkey = keyBytes(options.authkey ?? randomBytes(KEY_BYTES));
    this.#context = {
      router: this.#router,
      limits: this.#settings.limits,
      counts: this.#counts,
      maxPatience: this.#settings.maxPatience,
      decodeTopic: (bytes, start, end) => decodeTopic(bytes, start, end, this.#settings.limits),
      onBytes: (change) => {
        this.#queuedBytes += change;
        if (change > 0 && this.#queuedBytes > this.#settings.memory) this.#relieve();
      },
    };
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

  /** The key that clients must have; a copy. */
  get authkey(): Uint8Array {
    return this.#authkey.slice();
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
    const listener = await listen(this.#settings.address);
    if (this.#stopping !== undefined) {
      await listener.close();
      throw new Error("Cannot start the broker: it was shut down meanwhile");
    }
    this.#listener = listener;
    listener.keepsAlive = this.#keepsAlive;
    if (!isLoopback(listener.endpoint)) {
      this.#warn(
        `Listening at ${this.address} without TLS: messages can be read and changed on the way`,
      );
    }
    this.#ticker = every(() => this.#tick(), this.#settings.heartbeat / TICKS);
    this.#keep(this.#accept(listener));
    this.#contain("onListen", () => this.#settings.onListen?.({ address: this.address }));
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
    for await (const stream of listener.connections((error) => this.#warn(error))) {
      stream.keepsAlive = this.#keepsAlive;
      if (this.#stopping !== undefined || this.#halfOpen.size >= this.#settings.limits.halfOpen) {
        this.#refused++;
        stream.close();
      } else this.#keep(this.#admit(stream));
    }
  }

  async #admit(stream: Connection): Promise<void> {
    this.#halfOpen.add(stream);
    using _timeout = later(() => stream.close(), this.#settings.authTimeout);
    try {
      const keyName = await greetClient(stream, this.#greeter());
      if (!this.#hasRoom()) throw busy();
      this.#halfOpen.delete(stream);
      this.#keep(this.#serve(stream, keyName));
    } catch (error) { // A wrong key, bytes that are no handshake, or whatever the stream throws.
      this.#refused++;
      stream.close();
      this.#tell(error);
    } finally {
      this.#halfOpen.delete(stream);
    }
  }

  #greeter(): Greeter {
    return {
      brokerId: this.#id,
      keyOf: (name) => name === "" ? this.#authkey : undefined,
      isBusy: () => !this.#hasRoom(),
    };
  }

  /** Whether one more client may come. One that is away gives up its place. */
  #hasRoom(): boolean {
    return this.#stopping === undefined && this.#links.size < this.#settings.limits.connections;
  }

  /** Serves an authenticated connection to its end. */
  async #serve(stream: Connection, keyName: string): Promise<void> {
    let peer: ClientPeer | undefined;
    const entrance: LinkHandler = {
      frame: (reader) => {
        if (reader.type !== FrameType.OPEN) {
          throw new ProtocolError("Cannot take a frame: the first must be OPEN");
        }
        peer = this.#open(link, keyName, reader);
      },
      batch() {},
      next: () => undefined,
      idle() {},
    };
    const link = new Link(stream, this.#frameLimits, entrance);
    this.#links.set(link, stream);
    const { reason, error } = await link.finished;
    this.#links.delete(link);
    if (peer !== undefined && peer.session.link === link) {
      peer.session.detach();
      if (this.#stopping !== undefined || reason !== undefined && !peer.isCutOff) {
        this.#remove(peer, error);
      } else this.#keepForReturn(peer);
    }
    if (error !== undefined) this.#tell(error);
  }

  /** Takes an OPEN: goes on with a session, or begins one. */
  #open(link: Link, keyName: string, { buffer, body, end }: FrameReader): ClientPeer {
    const { limits, heartbeat } = this.#settings;
    const { opening, topics: start } = decodeOpening(buffer.subarray(body, end));
    const topics: TopicPath[] = [];
    for (let at = body + start; at < end;) {
      const next = topicEnd(buffer, at, end);
      topics.push(decodeTopic(buffer, at, next, limits));
      checkSubscriptions(topics.length, limits);
      at = next;
    }
    const known = this.#peerOf(opening.session, keyName);
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
      peer = new ClientPeer(randomBytes(SESSION_ID_BYTES), keyName, this.#context);
      this.#peers.set(keyOf(peer.id), peer);
    }
    try {
      const taken = outcome === Resumption.RESUMED ? opening.taken : 0;
      peer.open({ ...opening, taken }, topics);
    } catch (error) { // ProtocolError: that count cannot be, so the session is of no use.
      this.#remove(peer);
      throw error;
    }
    if (outcome === Resumption.RESUMED) this.#resumed++;
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

  #peerOf(id: Uint8Array | undefined, keyName: string): ClientPeer | undefined {
    const peer = id && this.#peers.get(keyOf(id));
    return peer?.keyName === keyName ? peer : undefined;
  }

  /** Ignores from now on what the session's connection yields, if it has one. */
  #detach(peer: ClientPeer): void {
    peer.session.link?.end(Reason.REPLACED, "the session goes on over another connection");
    peer.session.detach();
    this.#detached.get(peer)?.[Symbol.dispose]();
    this.#detached.delete(peer);
  }

  #keepForReturn(peer: ClientPeer): void {
    const forget = later(() => this.#remove(peer), this.#settings.resumeWindow);
    this.#detached.set(peer, forget);
    this.#makeRoom();
  }

  /** Forgets those who have been away longest, when there are more clients than there may be. */
  #makeRoom(): void {
    for (const peer of this.#detached.keys()) {
      if (this.#links.size + this.#detached.size <= this.#settings.limits.connections) return;
      this.#remove(peer);
    }
  }

  #remove(peer: ClientPeer, error?: Error): void {
    this.#detached.get(peer)?.[Symbol.dispose]();
    this.#detached.delete(peer);
    this.#peers.delete(keyOf(peer.id));
    peer.remove(error);
  }

  /** The memory is full: those who hold most lose what they can; if need be, their sessions. */
  #relieve(): void {
    const excess = () => this.#queuedBytes - this.#settings.memory * (1 - RELIEF);
    const largest = [...this.#peers.values()].sort((a, b) => b.bytes - a.bytes);
    for (const peer of largest) if (excess() > 0) peer.relieve(excess());
    for (const peer of largest) if (excess() > 0) peer.cutOff(MEMORY_FULL);
  }

  #tell(error: unknown): void {
    this.#contain("onError", () => this.#settings.onError?.(error));
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
    if (this.#settings.onError !== undefined) return this.#tell(problem);
    console.warn(`mpubsub: ${problem instanceof Error ? problem.message : problem}`);
  }

  /** What the broker has done, and holds. */
  stats(): BrokerStats {
    let waiting = 0;
    for (const peer of this.#peers.values()) if (peer.holdsBack) waiting++;
    return {
      connections: this.#links.size + this.#halfOpen.size,
      sessions: this.#peers.size,
      detached: this.#detached.size,
      resumed: this.#resumed,
      ...this.#counts,
      refused: this.#refused,
      waiting,
      queuedBytes: this.#queuedBytes,
    };
  }

  /** Lets the program end although the broker runs, as `Deno.Listener.unref` does. */
  unref(): void {
    this.#setKeepsAlive(false);
  }

  /** Takes {@linkcode Broker.unref} back. */
  ref(): void {
    this.#setKeepsAlive(true);
  }

  #setKeepsAlive(keeps: boolean): void {
    this.#keepsAlive = keeps;
    if (this.#listener !== undefined) this.#listener.keepsAlive = keeps;
    for (const stream of this.#halfOpen) stream.keepsAlive = keeps;
    for (const stream of this.#links.values()) stream.keepsAlive = keeps;
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
    const closed = this.#listener?.close();
    for (const stream of this.#halfOpen) stream.close();
    for (const peer of this.#detached.keys()) this.#remove(peer);
    for (const { session } of this.#peers.values()) session.close();
    for (const { session } of this.#peers.values()) {
      const end = () => session.link?.end(Reason.SHUTDOWN, GOING);
      if (session.delivery.unacknowledged === 0) end();
      // Rejects when the connection is lost: then there is nobody to tell.
      else session.flush().then(end, () => {});
    }
    const opened = new Set([...this.#peers.values()].map(({ session }) => session.link));
    for (const link of this.#links.keys()) if (!opened.has(link)) link.end(Reason.SHUTDOWN, GOING);
    const timeout = later(() => this.#abort(), SHUTDOWN_MS);
    await Promise.allSettled([closed, ...this.#tasks]);
    timeout[Symbol.dispose]();
    this.#ticker?.[Symbol.dispose]();
    this.#finished.resolve();
  }

  #abort(): void {
    for (const link of this.#links.keys()) link.close();
  }

  /** {@linkcode Broker.shutdown}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}

/** The options, checked, each with its value. */
interface Settings {
  readonly address: Address | undefined;
  readonly limits: Required<BrokerLimits>;
  readonly authTimeout: number;
  readonly heartbeat: number;
  readonly resumeWindow: number;
  readonly memory: number;
  readonly maxPatience: number;
  readonly onListen: BrokerOptions["onListen"];
  readonly onError: BrokerOptions["onError"];
}

function settingsOf(options: BrokerOptions): Settings {
  const {
    address,
    limits = {},
    authTimeout = AUTH_TIMEOUT_MS,
    heartbeat = HEARTBEAT_MS,
    resumeWindow = RESUME_WINDOW_MS,
    memory = MEMORY_BYTES,
    maxPatience = 0,
    onListen,
    onError,
  } = options;
  checkRange("authTimeout", authTimeout, 1, MILLISECONDS_MAX);
  checkRange("heartbeat", heartbeat, 10, MILLISECONDS_MAX);
  checkRange("resumeWindow", resumeWindow, 0, MILLISECONDS_MAX);
  checkRange("memory", memory, QUEUE_BYTES_MIN, Number.MAX_SAFE_INTEGER);
  checkRange("maxPatience", maxPatience, 0, MILLISECONDS_MAX);
  return {
    address,
    limits: checkLimits(limits),
    authTimeout,
    heartbeat,
    resumeWindow,
    memory,
    maxPatience,
    onListen: onListen?.bind(options),
    onError: onError?.bind(options),
  };
}

function checkLimits(limits: BrokerLimits): Required<BrokerLimits> {
  const {
    messageBytes = MESSAGE_BYTES,
    topicElements = TOPIC_ELEMENTS_MAX,
    elementBytes = ELEMENT_BYTES_MAX,
    subscriptions = SUBSCRIPTIONS,
    connections = CONNECTIONS,
    halfOpen = HALF_OPEN,
    queueBytes = QUEUE_BYTES,
  } = limits;
  checkRange("limits.messageBytes", messageBytes, 1, 2 ** 30);
  checkRange("limits.topicElements", topicElements, 1, TOPIC_ELEMENTS_MAX);
  checkRange("limits.elementBytes", elementBytes, 1, ELEMENT_BYTES_MAX);
  checkRange("limits.subscriptions", subscriptions, 1, 2 ** 20);
  checkRange("limits.connections", connections, 1, 2 ** 20);
  checkRange("limits.halfOpen", halfOpen, 1, 2 ** 20);
  const queueMin = Math.max(QUEUE_BYTES_MIN, 2 * messageBytes);
  checkRange("limits.queueBytes", queueBytes, queueMin, Number.MAX_SAFE_INTEGER);
  return {
    messageBytes,
    topicElements,
    elementBytes,
    subscriptions,
    connections,
    halfOpen,
    queueBytes,
  };
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(
    `Cannot use ${name} ${String(value)}: it must be a whole number from ${min} to ${max}`,
  );
}

function keyOf(id: Uint8Array): string {
  return id.toString();
}

function busy(): ConnectionLostError {
  return new ConnectionLostError("Cannot take a client: there are as many as there may be");
}

// The errors that `onError` is told.
export { AuthError, ConnectionLostError, ProtocolError };
