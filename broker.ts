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
  decodeTopic,
  encodeLimits,
  FrameError,
  type FrameReader,
  FrameType,
  Reason,
  topicEnd,
} from "./frame.ts";
import type { ByteStream } from "./outbox.ts";
import { type Peer, type Route, Router } from "./router.ts";
import { greetClient, type Greeter, Session, type SessionHandler } from "./session.ts";
import { ELEMENT_BYTES_MAX, isBrokerPath, isLocalPath, TOPIC_ELEMENTS_MAX } from "./topic.ts";
import { listen, type Listener } from "./transport.ts";

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
   * The most clients.
   *
   * @default {10000}
   */
  connections?: number;
  /**
   * The most connections that are not authenticated yet; more are closed at once.
   *
   * @default {256}
   */
  halfOpen?: number;
  /**
   * The most bytes that wait for one client; one that reads too slowly to stay below is cut off.
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
  /** Authenticated clients. */
  readonly sessions: number;
  /** Messages that came from clients. */
  readonly received: number;
  /** Messages that were handed to clients: one that went to three counts three times. */
  readonly delivered: number;
  /** Messages that were dropped because a client did not read them in time. */
  readonly dropped: number;
  /** Connections that were not let in. */
  readonly refused: number;
  /** Bytes that wait for clients to read them. */
  readonly queuedBytes: number;
}

const MESSAGE_BYTES = 1024 * 1024;
const SUBSCRIPTIONS = 1024;
const CONNECTIONS = 10_000;
const HALF_OPEN = 256;
const QUEUE_BYTES = 64 * 1024 * 1024;
const AUTH_TIMEOUT_MS = 5000;
const SHUTDOWN_MS = 10_000;
const BROKER_ID_BYTES = 16;
const KEY_BYTES = 32;

/**
 * Passes messages between {@linkcode NetPubSub} objects.
 *
 * - A client gets the messages of the topics that it subscribed to, and never its own.
 * - Each client proves that it has the key before anything else; until then it can hold nothing of
 *   the broker's but one of `halfOpen` places, for `authTimeout`.
 */
export class Broker {
  readonly #options: BrokerOptions;
  readonly #authkey: Uint8Array<ArrayBuffer>;
  readonly #limits: Required<BrokerLimits>;
  readonly #router = new Router<Client>();
  readonly #id = randomBytes(BROKER_ID_BYTES);
  readonly #halfOpen = new Set<ByteStream>();
  readonly #clients = new Set<Client>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #finished = Promise.withResolvers<void>();
  #listener: Listener | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #received = 0;
  #delivered = 0;
  #dropped = 0;
  #refused = 0;

  /**
   * Makes a broker that does not listen yet.
   *
   * @throws {TypeError} When the address or the key is none.
   * @throws {RangeError} When the key is empty, or a limit out of range.
   */
  constructor(options: BrokerOptions = {}) {
    if (options.address !== undefined) parseAddress(options.address);
    this.#options = options;
    this.#authkey = keyBytes(options.authkey ?? randomBytes(KEY_BYTES));
    this.#limits = checkLimits(options.limits ?? {});
    checkRange("authTimeout", options.authTimeout ?? AUTH_TIMEOUT_MS, 2 ** 31 - 1);
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
    const listener = await listen(this.#options.address);
    if (this.#stopping !== undefined) {
      await listener.close();
      throw new Error("Cannot start the broker: it was shut down meanwhile");
    }
    this.#listener = listener;
    if (!isLoopback(listener.endpoint)) {
      this.#warn(
        `Listening at ${this.address} without TLS: messages can be read and changed on the way`,
      );
    }
    this.#keep(this.#accept(listener));
    this.#options.onListen?.({ address: this.address });
  }

  /** Remembers a task until it ends, so that shutdown can wait for it. */
  #keep(task: Promise<void>): void {
    this.#tasks.add(task);
    task.catch((error) => this.#warn(error)).then(() => this.#tasks.delete(task));
  }

  async #accept(listener: Listener): Promise<void> {
    for await (const stream of listener.connections((error) => this.#warn(error))) {
      if (this.#halfOpen.size >= this.#limits.halfOpen) {
        this.#refused++;
        stream.close();
      } else this.#keep(this.#admit(stream));
    }
  }

  async #admit(stream: ByteStream): Promise<void> {
    this.#halfOpen.add(stream);
    const timeout = setTimeout(
      () => stream.close(),
      this.#options.authTimeout ?? AUTH_TIMEOUT_MS,
    );
    let client: Client;
    try {
      await greetClient(stream, this.#greeter());
      client = this.#open(stream);
    } catch (error) { // A wrong key, bytes that are no handshake, or whatever the stream throws.
      this.#refused++;
      stream.close();
      this.#tell(error);
      return;
    } finally {
      clearTimeout(timeout);
      this.#halfOpen.delete(stream);
    }
    await this.#serve(client);
  }

  #greeter(): Greeter {
    return {
      brokerId: this.#id,
      keyOf: (name) => name === "" ? this.#authkey : undefined,
      busy: this.#stopping !== undefined || this.#clients.size >= this.#limits.connections,
    };
  }

  #open(stream: ByteStream): Client {
    if (this.#stopping !== undefined) {
      throw new ConnectionLostError("Cannot take a client: the broker is shutting down");
    }
    const client = new Client(stream, {
      router: this.#router,
      limits: this.#limits,
      count: (received, delivered) => {
        this.#received += received;
        this.#delivered += delivered;
      },
      drop: (messages) => this.#dropped += messages,
    });
    this.#clients.add(client);
    return client;
  }

  async #serve(client: Client): Promise<void> {
    const { error } = await client.session.finished;
    this.#clients.delete(client);
    this.#router.clear(client);
    if (error !== undefined) this.#tell(error);
  }

  #tell(error: unknown): void {
    const { onError } = this.#options;
    if (onError === undefined) return;
    try {
      onError(error);
    } catch (thrown) { // The program's mistake must not end a connection.
      console.warn(`mpubsub: onError of the broker threw: ${thrown}`);
    }
  }

  #warn(problem: unknown): void {
    if (this.#options.onError !== undefined) return this.#tell(problem);
    console.warn(`mpubsub: ${problem instanceof Error ? problem.message : problem}`);
  }

  /** What the broker has done, and holds. */
  stats(): BrokerStats {
    let queuedBytes = 0;
    for (const { session } of this.#clients) queuedBytes += session.queued;
    return {
      connections: this.#clients.size + this.#halfOpen.size,
      sessions: this.#clients.size,
      received: this.#received,
      delivered: this.#delivered,
      dropped: this.#dropped,
      refused: this.#refused,
      queuedBytes,
    };
  }

  /**
   * Stops listening, tells the clients, sends what waits for them, and closes.
   *
   * - It takes at most 10 s; a second call ends it at once.
   *
   * @returns Resolves when everything is closed, as `finished` does.
   */
  shutdown(): Promise<void> {
    if (this.#stopping === undefined) this.#stopping = this.#shutdown();
    else for (const { session } of this.#clients) session.abort();
    return this.#stopping;
  }

  async #shutdown(): Promise<void> {
    const closed = this.#listener?.close();
    for (const stream of this.#halfOpen) stream.close();
    for (const { session } of this.#clients) {
      session.end(Reason.SHUTDOWN, "the broker is shutting down");
    }
    const timeout = setTimeout(() => {
      for (const { session } of this.#clients) session.abort();
    }, SHUTDOWN_MS);
    await Promise.allSettled([closed, ...this.#tasks]);
    clearTimeout(timeout);
    this.#finished.resolve();
  }

  /** {@linkcode Broker.shutdown}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}

/** What a client needs from its broker. */
interface ClientContext {
  readonly router: Router<Client>;
  readonly limits: Required<BrokerLimits>;
  count(received: number, delivered: number): void;
  drop(messages: number): void;
}

/** One client: what it sends is routed, what it asked for is queued for it. */
class Client implements Peer, SessionHandler {
  readonly session: Session;
  readonly #context: ClientContext;
  #opened = false;
  /** Frames of this read that go the same way and stand side by side. */
  #run:
    | { route: Route<Client>; reader: FrameReader; start: number; end: number; messages: number }
    | undefined;

  constructor(stream: ByteStream, context: ClientContext) {
    this.#context = context;
    this.session = new Session(stream, clientFrameLimits(context.limits), this);
  }

  take(frames: Uint8Array, messages: number): void {
    if (this.session.queued + frames.length > this.#context.limits.queueBytes) {
      this.#context.drop(messages);
      const text = `more than ${this.#context.limits.queueBytes} bytes wait to be read`;
      this.session.end(Reason.TOO_SLOW, text, new ConnectionLostError(`Client cut off: ${text}`));
      return;
    }
    this.session.forward(frames, messages);
  }

  frame(reader: FrameReader): void {
    if (reader.type === FrameType.PUBLISH && this.#opened) return this.#publish(reader);
    // What was published before an interest changed goes where the interests then led.
    this.batch();
    if (this.#opened === (reader.type === FrameType.OPEN)) {
      throw new ProtocolError(
        this.#opened ? "Cannot take a second OPEN" : "Cannot take a frame: the first must be OPEN",
      );
    }
    this.#changeInterests(reader);
  }

  #changeInterests(reader: FrameReader): void {
    const { buffer, type, body, end } = reader;
    const { router, limits } = this.#context;
    for (let at = body; at < end || type !== FrameType.OPEN;) {
      const next = topicEnd(buffer, at, end);
      const path = decodeTopic(buffer, at, next, limits);
      if (type === FrameType.UNSUBSCRIBE) router.remove(this, path);
      else this.#subscribe(path);
      at = next;
      if (type !== FrameType.OPEN) {
        if (at !== end) throw new ProtocolError("Cannot take a frame: bytes follow its topic");
        return;
      }
    }
    this.#opened = true;
    this.session.send(FrameType.OPENED, encodeLimits(limits));
  }

  #subscribe(path: readonly string[]): void {
    const { router, limits } = this.#context;
    router.add(this, path);
    if (router.interestsOf(this) > limits.subscriptions) {
      throw new FrameError(
        `Cannot subscribe: the limit is ${limits.subscriptions} topics`,
        Reason.TOO_MANY_SUBSCRIPTIONS,
      );
    }
  }

  #publish(reader: FrameReader): void {
    const { buffer, start, body, end } = reader;
    const { router, limits } = this.#context;
    const payload = topicEnd(buffer, body, end);
    if (end - payload > limits.messageBytes) {
      throw new FrameError(
        `Cannot take a message: it is ${end - payload} bytes, limit is ${limits.messageBytes}`,
        Reason.TOO_BIG,
      );
    }
    if (end === payload) throw new ProtocolError("Cannot take a message: it has no payload");
    const route = router.route(buffer, body, payload, () => {
      const path = decodeTopic(buffer, body, payload, limits);
      if (isBrokerPath(path) || isLocalPath(path)) {
        throw new FrameError("Cannot take a message: its topic is reserved", Reason.FORBIDDEN);
      }
      return path;
    });
    const run = this.#run;
    if (run !== undefined && run.route === route && run.end === start) {
      run.end = end;
      run.messages++;
    } else {
      this.batch();
      this.#run = { route, reader, start, end, messages: 1 };
    }
  }

  /** Passes the run on. */
  batch(): void {
    const run = this.#run;
    if (run === undefined) return;
    this.#run = undefined;
    const { route: { peers }, reader, start, end, messages } = run;
    let delivered = 0;
    let slice: Uint8Array | undefined;
    for (const peer of peers) {
      if (peer === this) continue;
      slice ??= reader.buffer.subarray(start, end);
      peer.take(slice, messages);
      delivered += messages;
    }
    if (slice !== undefined) reader.keep();
    this.#context.count(messages, delivered);
  }
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
  checkRange("limits.messageBytes", messageBytes, 2 ** 30);
  checkRange("limits.topicElements", topicElements, TOPIC_ELEMENTS_MAX);
  checkRange("limits.elementBytes", elementBytes, ELEMENT_BYTES_MAX);
  checkRange("limits.subscriptions", subscriptions, 2 ** 20);
  checkRange("limits.connections", connections, 2 ** 20);
  checkRange("limits.halfOpen", halfOpen, 2 ** 20);
  checkRange("limits.queueBytes", queueBytes, Number.MAX_SAFE_INTEGER);
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

function checkRange(name: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) return;
  throw new RangeError(`Cannot use ${name} ${value}: it must be an integer from 1 to ${max}`);
}

// The errors that `onError` is told.
export { AuthError, ConnectionLostError, ProtocolError };
