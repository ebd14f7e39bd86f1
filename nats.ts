/**
 * Joins brokers on many machines to one bus, through NATS. Programs stay as they are, each with its
 * own broker; the brokers pass on to each other what somebody elsewhere wants.
 *
 * ```ts
 * import { Broker } from "@mpubsub/mpubsub/broker";
 * import { NatsUplink } from "@mpubsub/mpubsub/nats";
 *
 * const broker = new Broker({
 *   uplink: new NatsUplink({ servers: "nats://127.0.0.1:4222", bus: "plant" }),
 * });
 * ```
 *
 * The standalone broker has the same as options: `mpubsub-broker --uplink nats://127.0.0.1:4222 --bus
 * plant FILE`. `docs/scaling.md` has the guarantees, and the cost.
 *
 * @module
 */
import {
  type Authenticator,
  type ConnectionOptions,
  credsAuthenticator,
  type NatsConnection,
} from "@nats-io/nats-core";
import { every, later, pause } from "./base/timers.ts";
import type { UplinkStats } from "./broker/stats.ts";
import type { Uplink, UplinkBus } from "./broker/uplink.ts";
import { ProtocolError } from "./errors.ts";
import {
  type ControlMessage,
  decodeControlMessage,
  encodeControlMessage,
} from "./nats/control_message.ts";
import { CoreMode } from "./nats/core_mode.ts";
import { type ExchangeContext, type ExchangeCounts, lose } from "./nats/exchange_context.ts";
import { JetStreamMode } from "./nats/jetstream_mode.ts";
import type { Mode } from "./nats/mode.ts";
import { PACKET_BYTES_MAX, readPacket } from "./nats/packet.ts";
import { busPrefix, subjectProblem } from "./nats/subject.ts";
import { connect } from "./nats/transport.ts";
import { randomBytes } from "./protocol/handshake.ts";

export type { Uplink, UplinkBus, UplinkStats };

/** Options of a {@linkcode NatsUplink}. */
export interface NatsUplinkOptions {
  /**
   * Where NATS is: `nats://host:4222`, or `tls://host:4222`, one or several of a cluster. May have
   * `user:password@` or `token@` in front of the host, the same in all.
   */
  servers: string | readonly string[];
  /**
   * The name of the bus: brokers with the same one are joined. At most 64 letters, digits, `_` and `-`.
   *
   * @default {"default"}
   */
  bus?: string;
  /**
   * The name of a JetStream stream that keeps all messages, so that a broker that was cut off catches
   * up. It is made if it is not there, with a day and 1 GiB as its limits, in a cluster with three
   * replicas. All brokers of a bus have to name the same. Without it, what is lost is told.
   */
  stream?: string;
  /**
   * What a credentials file of NATS holds: a JWT, and the seed of a key.
   */
  credentials?: string | Uint8Array;
  /**
   * For TLS: the certificates that are trusted beside those of the system, as PEM.
   */
  tls?: { caCerts?: readonly string[] };
  /**
   * How many bytes may wait for NATS, or for its confirmation; then the oldest messages are dropped,
   * and the others told. At least 1 MiB, and twice the largest message of the broker.
   *
   * @default {67108864}
   */
  queueBytes?: number;
  /**
   * Told what happens.
   *
   * @param event What.
   */
  onEvent?(event: NatsUplinkEvent): void;
}

/** Something that happened to a {@linkcode NatsUplink}. */
export interface NatsUplinkEvent {
  /**
   * - `"connected"`: there is a connection to a server.
   * - `"disconnected"`: it is lost; a new one is made.
   * - `"unreachable"`: none can be made; told once for each reason, and tried for ever.
   * - `"joined"`: another broker of the bus was heard of.
   * - `"left"`: it said goodbye, or was not heard of for a minute.
   * - `"warning"`: NATS refused something, or something came that is not of the bus.
   */
  readonly type: "connected" | "disconnected" | "unreachable" | "joined" | "left" | "warning";
  /** That, as a sentence. */
  readonly message: string;
}

/** How often a broker says that it is there. */
const BEAT_MS = 2000;
/** One that was not heard of for that long is not counted. */
const FRESH_MS = 3 * BEAT_MS;
/** One that was not heard of for that long is gone. */
const SILENT_MS = 60_000;
const CONNECT_MS = 5000;
const PING_MS = 10_000;
const BACKOFF_MIN_MS = 50;
const BACKOFF_MAX_MS = 5000;
const QUEUE_BYTES = 64 * 1024 * 1024;
const QUEUE_BYTES_MIN = 1024 * 1024;
const ID_BYTES = 8;
/** So much NATS must take: a packet, the topics that it names, and what the stream is told of it. */
const PAYLOAD_BYTES_MIN = PACKET_BYTES_MAX + 16 * 1024;
/** So many brokers a bus may have. */
const BROKERS_MAX = 4096;
/** So many different warnings are told within that time, each once. */
const WARNINGS_MAX = 100;
const WARN_AGAIN_MS = 60_000;

/**
 * Joins a broker to others through NATS; give it to one broker as its option `uplink`.
 *
 * - It connects, and connects again, by itself and for ever. While there is no connection what goes
 *   up waits, and local messages pass as ever.
 * - While it is connected the program does not end by itself, `unref()` of the broker or not.
 * - NATS's client makes all connections of the process over ours from then on; they are used alike.
 * - Whoever may publish to the bus in NATS may publish everything: the rights of keys end at the
 *   broker.
 *
 * @example Two brokers of one bus
 * ```ts
 * import { Broker, NetPubSub } from "@mpubsub/mpubsub";
 * import { NatsUplink } from "@mpubsub/mpubsub/nats";
 *
 * async function join(): Promise<Broker> {
 *   const uplink = new NatsUplink({ servers: "nats://127.0.0.1:4222" });
 *   const broker = new Broker({ uplink });
 *   await broker.start();
 *   return broker;
 * }
 *
 * async function example() {
 *   await using here = await join();
 *   await using there = await join(); // on another machine
 *   await using alice = new NetPubSub(here.address, here.authkey);
 *   await using bob = new NetPubSub(there.address, there.authkey);
 *   bob.addSubscriber("greeting", (_topic, { text }) => console.log(text));
 *   await Promise.all([alice.connect(), bob.connect()]);
 *   alice.publish("greeting", { text: "hello" }); // once `there` is heard of
 * }
 * ```
 */
export class NatsUplink implements Uplink {
  readonly #servers: readonly string[];
  readonly #connection: ConnectionOptions;
  readonly #bus: string;
  readonly #prefix: string;
  readonly #stream: string | undefined;
  readonly #queueBytes: number;
  readonly #onEvent: NatsUplinkOptions["onEvent"];
  readonly #id = randomBytes(ID_BYTES).toHex();
  readonly #counts: ExchangeCounts = {
    sent: 0,
    received: 0,
    dropped: 0,
    lost: 0,
    gaps: 0,
    invalid: 0,
  };
  readonly #leaving = new AbortController();
  /** What was warned of lately, and when. */
  readonly #warned = new Map<string, number>();
  readonly #timers = new Set<Disposable>();
  /** When each other broker was heard of. */
  readonly #seen = new Map<string, number>();
  #mode: Mode | undefined;
  #nc: NatsConnection | undefined;
  #server: string | null = null;
  #disconnects = 0;
  #saidBye = false;
  #running: Promise<void> | undefined;

  /**
   * Makes one that does nothing until its broker starts.
   *
   * @param options Where NATS is, and which bus is meant.
   * @throws {TypeError} When an address is none, they have different users, or the credentials are none.
   * @throws {RangeError} When the name of the bus or of the stream is none, or `queueBytes` too small.
   */
  constructor(options: NatsUplinkOptions) {
    const { servers, bus = "default", stream, queueBytes = QUEUE_BYTES } = options;
    const { hosts, ...connection } = connectionOf(
      typeof servers === "string" ? [servers] : servers,
    );
    const { credentials, tls } = options;
    this.#servers = hosts;
    this.#connection = {
      ...connection,
      ...(credentials !== undefined && { authenticator: authenticatorOf(credentials) }),
      ...(tls?.caCerts !== undefined && { tls: { ca: tls.caCerts.join("\n") } }),
    };
    this.#bus = bus;
    this.#prefix = busPrefix(bus);
    this.#stream = stream;
    if (stream !== undefined && !(typeof stream === "string" && /^[\w-]{1,64}$/.test(stream))) {
      throw new RangeError(
        `Cannot use ${JSON.stringify(stream)} as the name of a stream: ` +
          `it must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -`,
      );
    }
    if (!Number.isSafeInteger(queueBytes) || queueBytes < QUEUE_BYTES_MIN) {
      throw new RangeError(
        `Cannot use queueBytes ${queueBytes}: it must be a whole number from ${QUEUE_BYTES_MIN}`,
      );
    }
    this.#queueBytes = queueBytes;
    this.#onEvent = options.onEvent?.bind(options);
  }

  /**
   * Begins; the broker calls it.
   *
   * @param bus The broker.
   * @throws {Error} When it has begun before.
   * @throws {RangeError} When `queueBytes` is too small for the messages of the broker.
   */
  join(bus: UplinkBus): void {
    if (this.#mode !== undefined) {
      throw new Error("Cannot join: a NatsUplink is for one broker, make another for this one");
    }
    if (this.#queueBytes < 2 * bus.messageBytes) {
      throw new RangeError(
        `Cannot join: queueBytes is ${this.#queueBytes}, it must be at least twice messageBytes, ` +
          `which is ${bus.messageBytes}`,
      );
    }
    const context = this.#contextOf(bus);
    this.#mode = this.#stream === undefined
      ? new CoreMode(context)
      : new JetStreamMode(context, this.#stream);
    // The stream keeps what nobody wants now for those who are cut off.
    if (this.#stream !== undefined) bus.want([], true);
    this.#running = this.#run(this.#mode);
  }

  #contextOf(bus: UplinkBus): ExchangeContext {
    const warn = (message: string) => this.#warn(message);
    return {
      id: this.#id,
      prefix: this.#prefix,
      queueBytes: this.#queueBytes,
      bus,
      counts: this.#counts,
      isHere: (id) => this.#seen.has(id),
      say: (control, to) => this.#say(control, to),
      deliver: (frames) => {
        try {
          this.#counts.lost += bus.deliver(frames);
        } catch (error) {
          this.#refuse(error);
          lose({ counts: this.#counts, bus }, [], 0);
        }
      },
      read: (bytes, take) => {
        try {
          const { header, body } = readPacket(bytes);
          take(header, body);
        } catch (error) {
          this.#refuse(error);
        }
      },
      later: (callback, ms) => this.#later(callback, ms),
      warn,
    };
  }

  /** Calls it after a while, unless that is disposed before, or this has left. */
  #later(callback: () => void, ms: number): Disposable {
    if (this.#leaving.signal.aborted) return { [Symbol.dispose]() {} };
    const timer = later(() => {
      this.#timers.delete(timer);
      callback();
    }, ms);
    this.#timers.add(timer);
    return {
      [Symbol.dispose]: () => {
        this.#timers.delete(timer);
        timer[Symbol.dispose]();
      },
    };
  }

  /** Counts what did not come from a broker of the bus, or from one of another version. */
  #refuse(error: unknown): void {
    const isTheirs = error instanceof ProtocolError || error instanceof RangeError ||
      error instanceof TypeError;
    if (!isTheirs) throw error;
    this.#counts.invalid++;
    this.#warn(
      `Something on the bus ${this.#bus} is not of a broker of this version: ${error.message}`,
    );
  }

  /** Connects, and connects again, until it is to leave. */
  async #run(mode: Mode): Promise<void> {
    const { signal } = this.#leaving;
    let told = "";
    for (let attempt = 0; !signal.aborted; attempt++) {
      const backoff = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** attempt);
      if (attempt > 0) await pause(backoff * (0.5 + Math.random() / 2), signal);
      if (signal.aborted) break;
      try {
        const nc = await connect({ ...this.#connection, servers: [...this.#servers], signal });
        if (signal.aborted) return await nc.close();
        const since = performance.now();
        await this.#serve(nc, mode);
        if (performance.now() - since > BACKOFF_MAX_MS) attempt = 0;
        told = "";
      } catch (error) { // Nobody there, a wrong password, a wrong certificate: it may change.
        if (signal.aborted) break;
        const message = error instanceof Error ? error.message : String(error);
        if (message !== told) {
          this.#tell(
            "unreachable",
            `Cannot connect to NATS at ${this.#servers.join(", ")}: ${message}`,
          );
        }
        told = message;
      }
    }
  }

  async #serve(nc: NatsConnection, mode: Mode): Promise<void> {
    const { signal } = this.#leaving;
    const server = nc.getServer();
    if (nc.isClosed()) {
      throw await nc.closed() ?? new Error(`${server} closed the connection at once`);
    }
    const payload = nc.info?.max_payload ?? 0;
    if (payload < PAYLOAD_BYTES_MIN) {
      await nc.close();
      throw new Error(`${server} takes ${payload} bytes in a message, not ${PAYLOAD_BYTES_MIN}`);
    }
    this.#nc = nc;
    this.#server = server;
    const now = performance.now();
    for (const id of this.#seen.keys()) this.#seen.set(id, now);
    this.#tell("connected", `Connected to NATS at ${server}, bus ${this.#bus}`);
    this.#watch(nc, mode);
    for (const subject of [`${this.#prefix}.c`, `${this.#prefix}.c.${this.#id}`]) {
      nc.subscribe(subject, {
        callback: (error, message) => {
          if (error !== null) this.#warn(`NATS refuses a subscription: ${error.message}`);
          else this.#hear(mode, message.data);
        },
      });
    }
    const closed = new AbortController();
    nc.closed().then(() => closed.abort());
    const beat = () => this.#sayBeat(mode);
    beat();
    {
      using _timer = every(() => {
        beat();
        this.#tick(mode);
      }, BEAT_MS);
      await mode.serve(nc, AbortSignal.any([closed.signal, signal]));
    }
    const reason = await nc.closed();
    this.#nc = undefined;
    if (signal.aborted) return;
    this.#disconnects++;
    const why = reason instanceof Error ? `: ${reason.message}` : "";
    this.#tell("disconnected", `The connection to NATS at ${server} is lost${why}`);
  }

  /** Tells what NATS does not allow. */
  async #watch(nc: NatsConnection, mode: Mode): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type === "error") this.#warn(`NATS refuses something: ${status.error.message}`);
      if (status.type !== "ldm") continue;
      // It goes, and says so first: others are there, and nothing is lost yet.
      mode.exchange.disconnected();
      await nc.close();
    }
  }

  #tick(mode: Mode): void {
    const now = performance.now();
    for (const [id, at] of this.#seen) {
      if (now - at <= SILENT_MS) continue;
      this.#seen.delete(id);
      this.#tell("left", `Broker ${id} was not heard of for ${SILENT_MS / 1000} s`);
      mode.gone(id, false);
    }
    mode.tick();
  }

  #sayBeat(mode: Mode, to?: string): void {
    this.#say({ type: "beat", from: this.#id, stream: this.#stream ?? null, ...mode.beat }, to);
  }

  #say(control: ControlMessage, to?: string): void {
    const subject = to === undefined ? `${this.#prefix}.c` : `${this.#prefix}.c.${to}`;
    if (this.#saidBye || this.#nc?.isClosed() !== false) return;
    try {
      this.#nc.publish(subject, encodeControlMessage(control));
    } catch (error) { // Longer than this server takes.
      this.#warn(`Cannot tell other brokers something: ${error}`);
    }
  }

  #hear(mode: Mode, bytes: Uint8Array): void {
    try {
      const control = decodeControlMessage(bytes);
      const { type, from } = control;
      if (from === this.#id) return;
      if (type === "bye") {
        if (this.#seen.delete(from)) this.#tell("left", `Broker ${from} said goodbye`);
        return mode.gone(from, true);
      }
      const isNew = !this.#seen.has(from);
      if (isNew && this.#seen.size >= BROKERS_MAX) {
        throw new ProtocolError(`Cannot take one more broker: there are ${BROKERS_MAX}`);
      }
      this.#seen.set(from, performance.now());
      if (isNew) {
        this.#tell("joined", `Broker ${from} is on the bus`);
        this.#sayBeat(mode, from);
      }
      if (control.type === "beat" && control.stream !== (this.#stream ?? null)) {
        this.#counts.invalid++;
        const theirs = control.stream === null ? "no stream" : `the stream ${control.stream}`;
        return this.#warn(
          `Broker ${from} uses ${theirs}, this one ${
            this.#stream ?? "none"
          }: they do not hear each other`,
        );
      }
      mode.hear(control);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #warn(message: string): void {
    const now = performance.now();
    for (const [told, at] of this.#warned) if (now - at > WARN_AGAIN_MS) this.#warned.delete(told);
    if (this.#warned.has(message) || this.#warned.size >= WARNINGS_MAX) return;
    this.#warned.set(message, now);
    this.#tell("warning", message);
  }

  #tell(type: NatsUplinkEvent["type"], message: string): void {
    try {
      this.#onEvent?.({ type, message });
    } catch (thrown) { // The program's mistake must not end the connection.
      console.warn(`mpubsub: onEvent of the uplink failed: ${thrown}`);
    }
  }

  /**
   * A client wants a topic, or wants it no more; the broker calls it.
   *
   * @param path The topic.
   * @param wants Whether it wants it from now on.
   */
  wants(path: readonly string[], wants: boolean): void {
    this.#mode?.wants(path, wants);
  }

  /**
   * Takes messages that others want; the broker calls it.
   *
   * @param frames Whole frames.
   * @param _messages How many.
   * @param publisher Who published them.
   */
  take(frames: Uint8Array, _messages: number, publisher: object): void {
    this.#mode?.exchange.take(frames, publisher);
  }

  /**
   * Why messages for a topic cannot be passed on: its subject is too long for NATS.
   *
   * @param path The topic.
   * @returns The end of a sentence; nothing when they can.
   */
  refusal(path: readonly string[]): string | undefined {
    return subjectProblem(this.#prefix, path);
  }

  /**
   * What it has done, and holds.
   *
   * @returns Counts that do not change any more.
   */
  stats(): UplinkStats {
    const now = performance.now();
    const mode = this.#mode;
    const fresh = this.#seen.values().filter((at) => now - at <= FRESH_MS);
    return {
      state: this.#nc === undefined ? "connecting" : "connected",
      server: this.#server,
      bus: this.#bus,
      stream: this.#stream ?? null,
      brokers: fresh.toArray().length,
      unaware: mode?.unaware ?? 0,
      subscriptions: mode?.exchange.subscriptions ?? 0,
      ...this.#counts,
      disconnects: this.#disconnects,
      queuedBytes: mode?.exchange.queuedBytes ?? 0,
      lag: now - (mode?.exchange.waitingSince ?? now),
      behind: mode?.behind ?? 0,
    };
  }

  /**
   * Sends what waits, says goodbye and disconnects; the broker calls it.
   *
   * @param signal Ends it at once when it aborts.
   * @returns Resolves when it is disconnected.
   */
  async leave(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    if (signal.aborted) aborted.resolve();
    signal.addEventListener("abort", () => aborted.resolve(), { once: true });
    await Promise.race([this.#sayGoodbye(signal), aborted.promise]);
    const left = this.#mode?.exchange.queuedBytes ?? 0;
    if (left > 0) this.#warn(`${left} bytes were not passed on to other brokers`);
    this.#leaving.abort();
    await Promise.race([Promise.all([this.#nc?.close(), this.#running]), aborted.promise]);
    for (const timer of this.#timers) timer[Symbol.dispose]();
  }

  /** Sends what waits, and says goodbye, if there is a connection. */
  async #sayGoodbye(signal: AbortSignal): Promise<void> {
    const nc = this.#nc;
    if (nc === undefined) return;
    await Promise.race([this.#mode?.exchange.drained(signal), nc.closed()]);
    this.#say({ type: "bye", from: this.#id });
    this.#saidBye = true;
    await nc.flush().catch(() => {}); // The connection is lost: then it is gone anyway.
  }
}

/** Where to connect, and as whom, as NATS's client takes it. */
function connectionOf(
  servers: readonly string[],
): ConnectionOptions & { hosts: readonly string[] } {
  if (servers.length === 0) throw new TypeError("Cannot use no server: give nats://host:4222");
  const users = new Set<string>();
  const hosts: string[] = [];
  let isTls = false;
  for (const text of servers) {
    const url = URL.parse(text);
    const isKnown = url?.protocol === "nats:" || url?.protocol === "tls:";
    const more = url === null ? "" : `${url.pathname}${url.search}${url.hash}`;
    if (url === null || !isKnown || url.hostname === "" || !/^\/?$/.test(more)) {
      throw new TypeError(`Cannot use the server ${shown(text)}: it must be like nats://host:4222`);
    }
    isTls ||= url.protocol === "tls:";
    hosts.push(`${url.hostname}:${url.port || 4222}`);
    users.add(JSON.stringify(userOf(url, text)));
  }
  if (users.size > 1) throw new TypeError("Cannot use the servers: they have different users");
  const [user, pass]: [string, string] = JSON.parse([...users][0]!);
  return {
    hosts,
    name: "mpubsub",
    noEcho: true,
    noRandomize: true, // The first is the nearest.
    reconnect: false, // That is done here, so that it is known what is sent over which connection.
    timeout: CONNECT_MS,
    pingInterval: PING_MS,
    maxPingOut: 1,
    ...(isTls && { tls: {} }),
    ...(pass !== "" ? { user, pass } : user !== "" && { token: user }),
  };
}

function userOf({ username, password }: URL, text: string): [string, string] {
  try {
    return [decodeURIComponent(username), decodeURIComponent(password)];
  } catch (error) { // URIError: a % that begins no escape.
    throw new TypeError(
      `Cannot use the server ${shown(text)}: write % in a user or a password as %25`,
      { cause: error },
    );
  }
}

/** An address without what is secret in it. */
function shown(text: string): string {
  return JSON.stringify(text.replace(/^([^@]*\/\/)?.*@/, "$1…@"));
}

/** Answers as whom we come, from what a credentials file holds. */
function authenticatorOf(credentials: string | Uint8Array): Authenticator {
  const text = typeof credentials === "string"
    ? credentials
    : new TextDecoder().decode(credentials);
  // The client reads lines as Unix ends them, the last one as well.
  const lines = `${text.replaceAll("\r\n", "\n")}\n`;
  const authenticator = credsAuthenticator(new TextEncoder().encode(lines));
  try {
    authenticator("any"); // Else it would say so only when a server asks.
  } catch { // It lacks a part, or the seed is none; the error may show some of that.
    throw new TypeError(
      "Cannot use the credentials: they must be what a credentials file of NATS holds, " +
        "a JWT and the seed of a key",
    );
  }
  return authenticator;
}
