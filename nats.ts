/**
 * Joins brokers on many machines to one bus, through NATS. Programs connect to the broker near them, as
 * without NATS. A broker passes to another one only messages that its clients want.
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
 * The standalone broker has options for it: `mpubsub-broker --uplink nats://127.0.0.1:4222 --bus plant
 * FILE`. `docs/scaling.md` says what is guaranteed, and what it costs.
 *
 * @module
 */
import type { NatsConnection } from "@nats-io/nats-core";
import { clock } from "./base/clock.ts";
import { addCounts } from "./base/count.ts";
import { later, type Timer } from "./base/timers.ts";
import type { UplinkStats } from "./broker/stats.ts";
import type { GroupName, HandedOver, TellLost, Uplink, UplinkBus } from "./broker/uplink.ts";
import { ProtocolError } from "./errors.ts";
import { connectionOptions } from "./nats/connection_options.ts";
import { CoreMode } from "./nats/core_mode.ts";
import { type ExchangeContext, type ExchangeCounts, lose } from "./nats/exchange_context.ts";
import { JetStreamMode } from "./nats/jetstream_mode.ts";
import { JoinedGroups } from "./nats/joined_groups.ts";
import { Membership } from "./nats/membership.ts";
import type { Mode } from "./nats/mode.ts";
import type { NatsUplinkOptions } from "./nats/options.ts";
import { readPacket } from "./nats/packet.ts";
import { Reconnector } from "./nats/reconnect.ts";
import { busPrefix, isStreamName, subjectProblem } from "./nats/subject.ts";
import { type NatsUplinkEvent, UplinkEvents } from "./nats/uplink_events.ts";

export type {
  GroupName,
  HandedOver,
  NatsUplinkEvent,
  NatsUplinkOptions,
  TellLost,
  Uplink,
  UplinkBus,
  UplinkStats,
};

const QUEUE_BYTES = 64 * 1024 * 1024;
const QUEUE_BYTES_MIN = 1024 * 1024;
/** An id is 8 random bytes, as a hexadecimal number. */
const ID_DIGITS = 16;

/**
 * Joins a broker to others through NATS; give it to one broker as its option `uplink`.
 *
 * - It connects when its broker starts, and again whenever the connection is lost. Meanwhile messages
 *   for other brokers wait, up to `queueBytes`; clients of this broker get messages of each other as
 *   usual.
 * - While it is connected, it keeps the program running, even after `unref()` of the broker.
 * - When it first connects, it replaces the transport of NATS's client (`@nats-io/nats-core`) in the
 *   whole process. The program's own connections to NATS then use it, too, without a change.
 * - A broker applies the rights of keys to its own clients only. Whoever may publish to the bus in NATS
 *   may publish to any topic.
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
  readonly #bus: string;
  readonly #prefix: string;
  readonly #stream: string | undefined;
  readonly #queueBytes: number;
  readonly #id = crypto.getRandomValues(new BigUint64Array(1))[0]!.toString(16)
    .padStart(ID_DIGITS, "0");
  readonly #counts: ExchangeCounts = {
    sent: 0,
    received: 0,
    dropped: 0,
    lost: 0,
    gaps: 0,
    invalid: 0,
  };
  readonly #events: UplinkEvents;
  readonly #reconnector: Reconnector;
  readonly #members: Membership;
  #groups: JoinedGroups | undefined;
  readonly #leaving = new AbortController();
  readonly #timers = new Set<Timer>();
  #mode: Mode | undefined;
  #heldBytes = 0;
  #running: Promise<void> | undefined;

  /**
   * Makes an uplink that does nothing until its broker starts.
   *
   * @param options Where NATS is, and which bus to join.
   * @throws {TypeError} If a server is not a valid address, servers have different users, or
   * `credentials` are not valid.
   * @throws {RangeError} If `bus` or `stream` is not a valid name, or `queueBytes` is too small.
   */
  constructor(options: NatsUplinkOptions) {
    const { bus = "default", stream, queueBytes = QUEUE_BYTES } = options;
    const connection = connectionOptions(options);
    this.#bus = bus;
    this.#prefix = busPrefix(bus);
    this.#stream = stream;
    if (stream !== undefined && !isStreamName(stream)) {
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
    const events = this.#events = new UplinkEvents(options.onEvent?.bind(options));
    this.#reconnector = new Reconnector({ ...connection, bus, events });
    this.#members = new Membership({
      id: this.#id,
      prefix: this.#prefix,
      stream: stream ?? null,
      events,
      counts: this.#counts,
      refuse: (error) => this.#refuse(error),
    });
  }

  /**
   * Starts the uplink; the broker calls it.
   *
   * @param bus The broker.
   * @throws {Error} If the uplink serves a broker already.
   * @throws {RangeError} If `queueBytes` is too small for the messages of the broker.
   */
  join(bus: UplinkBus): void {
    if (this.#mode !== undefined) {
      throw new Error("Cannot join: a NatsUplink is for one broker; make another for this one");
    }
    if (this.#queueBytes < 2 * bus.messageBytes) {
      throw new RangeError(
        `Cannot join: queueBytes is ${this.#queueBytes}; it must be at least twice messageBytes, ` +
          `which is ${bus.messageBytes}`,
      );
    }
    const context = this.#contextOf(bus);
    this.#groups = new JoinedGroups({
      id: this.#id,
      prefix: this.#prefix,
      bus,
      read: (take) => this.#read(take),
      warn: (message) => this.#events.warn(message),
    });
    this.#mode = this.#stream === undefined
      ? new CoreMode(context)
      : new JetStreamMode(context, this.#stream);
    // For brokers that are cut off, the stream also keeps what nobody wants now.
    if (this.#stream !== undefined) bus.want([], true);
    this.#running = this.#run(this.#mode);
  }

  #contextOf(bus: UplinkBus): ExchangeContext {
    return {
      id: this.#id,
      prefix: this.#prefix,
      queueBytes: this.#queueBytes,
      bus,
      counts: this.#counts,
      isHere: (id) => this.#members.has(id),
      heard: (id) => this.#members.heard(id),
      say: (message, to) => this.#members.say(message, to),
      deliver: (frames) => {
        try {
          this.#counts.lost = addCounts(this.#counts.lost, bus.deliver(frames));
        } catch (error) {
          this.#refuse(error);
          lose({ counts: this.#counts, bus }, [], 0);
        }
      },
      read: (bytes, take) =>
        this.#read(() => {
          const { header, body } = readPacket(bytes);
          take(header, body);
        }),
      onBytes: (change) => {
        this.#heldBytes += change;
        bus.onBytes(change);
      },
      later: (callback, ms) => this.#later(callback, ms),
      warn: (message) => this.#events.warn(message),
    };
  }

  /** Reads something of others; counts what no broker says. */
  #read(take: () => void): void {
    try {
      take();
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** Calls `callback` after a while, unless the timer is cancelled before, or this has left. */
  #later(callback: () => void, ms: number): Timer {
    if (this.#leaving.signal.aborted) return { cancel() {} };
    const timer = later(() => {
      this.#timers.delete(timer);
      callback();
    }, ms);
    this.#timers.add(timer);
    return {
      cancel: () => {
        this.#timers.delete(timer);
        timer.cancel();
      },
    };
  }

  /** Counts what was not sent by a broker of the bus and of this version. */
  #refuse(error: unknown): void {
    const isTheirs = error instanceof ProtocolError || error instanceof RangeError ||
      error instanceof TypeError || error instanceof SyntaxError;
    if (!isTheirs) throw error;
    this.#counts.invalid++;
    this.#events.warn(
      `Something on the bus ${this.#bus} is not from a broker of this version: ${error.message}`,
    );
  }

  /** Connects, and connects again, until it is to leave. */
  #run(mode: Mode): Promise<void> {
    const { signal } = this.#leaving;
    return this.#reconnector.run(async (nc) => {
      this.#watch(nc, mode);
      const closed = new AbortController();
      nc.closed().then(() => closed.abort());
      const beats = [this.#members.begin(nc, mode), this.#groups!.begin(nc)];
      try {
        await mode.serve(nc, AbortSignal.any([closed.signal, signal]));
      } finally {
        for (const beat of beats) beat.cancel();
      }
    }, signal);
  }

  /** Warns of what NATS refuses, and closes a connection whose server shuts down. */
  async #watch(nc: NatsConnection, mode: Mode): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type === "error") {
        this.#events.warn(`NATS refuses something: ${status.error.message}`);
      }
      if (status.type !== "ldm") continue;
      // The server shuts down, and says so first: there are other servers, and nothing is lost yet.
      mode.exchange.disconnected();
      await nc.close();
    }
  }

  /**
   * Notes that a client wants a topic and all below it, or no longer does; the broker calls it.
   *
   * @param path The topic.
   * @param wants `true` if it begins, `false` if it ceases.
   */
  wants(path: readonly string[], wants: boolean): void {
    this.#mode?.wants(path, wants);
  }

  /**
   * Takes messages that other brokers want; the broker calls it.
   *
   * @param frames Whole PUBLISH frames.
   * @param _messages How many messages the frames hold.
   * @param publisher Who published them.
   */
  take(frames: Uint8Array, _messages: number, publisher: object): void {
    this.#mode?.exchange.take(frames, publisher);
  }

  /**
   * Notes that a group has members at this broker, or has none any more; the broker calls it.
   *
   * @param name The group.
   * @param isThere Whether it has members.
   */
  group(name: GroupName, isThere: boolean): void {
    this.#groups?.change(name, isThere);
  }

  /**
   * Hands messages over to the members of a group at another broker; the broker calls it.
   *
   * @param broker The id of that broker.
   * @param name The group.
   * @param frames Whole PUBLISH frames.
   * @param tellLost Called when a message was taken there, and is given up later.
   * @returns What became of them.
   */
  async handOver(
    broker: string,
    name: GroupName,
    frames: Uint8Array,
    tellLost: TellLost,
  ): Promise<HandedOver> {
    return await this.#groups?.handOver(broker, name, frames, tellLost) ?? "not taken";
  }

  /**
   * Says why messages for a topic cannot be passed on, as when its subject would be too long for NATS;
   * the broker calls it.
   *
   * @param path The topic.
   * @returns The reason, as the end of a sentence; `undefined` if they can be passed on.
   */
  refusal(path: readonly string[]): string | undefined {
    return subjectProblem(this.#prefix, path);
  }

  /**
   * Gives up what it holds: packets of others that wait for earlier ones, as if those never came, and then
   * the oldest messages that wait for NATS. Who would have got the messages is told. The broker calls it.
   *
   * @param bytes How many bytes, at most.
   */
  free(bytes: number): void {
    this.#mode?.exchange.free(bytes);
  }

  /**
   * Counts what the uplink has done, and what it holds.
   *
   * @returns A snapshot.
   */
  stats(): UplinkStats {
    const now = clock.now();
    const mode = this.#mode;
    const { connection, server, disconnects } = this.#reconnector;
    return {
      state: connection === undefined ? "connecting" : "connected",
      server,
      bus: this.#bus,
      stream: this.#stream ?? null,
      brokers: this.#members.size,
      unaware: mode?.unaware ?? 0,
      subscriptions: mode?.exchange.subscriptions ?? 0,
      ...this.#counts,
      disconnects,
      queuedBytes: mode?.exchange.queuedBytes ?? 0,
      heldBytes: this.#heldBytes,
      lag: now - (mode?.exchange.waitingSince ?? now),
      behind: mode?.behind ?? 0,
    };
  }

  /**
   * Sends the messages that wait, tells the other brokers that it leaves, and disconnects; the broker
   * calls it.
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
    if (left > 0) this.#events.warn(`${left} bytes were not passed on to other brokers`);
    this.#leaving.abort();
    await Promise.race([
      Promise.all([this.#reconnector.connection?.close(), this.#running]),
      aborted.promise,
    ]);
    for (const timer of this.#timers) timer.cancel();
  }

  /** Sends what waits, and says goodbye, if there is a connection. */
  async #sayGoodbye(signal: AbortSignal): Promise<void> {
    const nc = this.#reconnector.connection;
    if (nc === undefined) return;
    await Promise.race([this.#mode?.exchange.drained(signal), nc.closed()]);
    this.#groups?.end();
    this.#members.sayGoodbye();
    await nc.flush().catch(() => {}); // The connection is lost: then it is gone anyway.
  }
}
