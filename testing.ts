/**
 * Tools to test programs that use mpubsub, and mpubsub itself: a proxy that breaks connections as
 * planned, and a checker that finds what was lost, repeated or inverted.
 *
 * ```ts
 * import { Broker, NetPubSub } from "@mpubsub/mpubsub";
 * import { checkHistory, Proxy } from "@mpubsub/mpubsub/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await using broker = new Broker();
 * await broker.start();
 * // The first connection breaks after 500 bytes from the broker, whatever is in the middle of them.
 * const plan = (connection: number) =>
 *   connection === 0 ? [{ kind: "cut", direction: "down", after: 500 } as const] : [];
 * await using proxy = new Proxy({ target: broker.address, plan });
 * await proxy.start();
 *
 * await using alice = new NetPubSub(broker.address, broker.authkey);
 * await using bob = new NetPubSub(proxy.address, broker.authkey);
 * const seen: { publisher: string; id: number }[] = [];
 * const all = Promise.withResolvers<void>();
 * bob.addSubscriber("count", (_topic, { id }) => {
 *   seen.push({ publisher: "alice", id });
 *   if (id === 99) all.resolve();
 * });
 * await Promise.all([alice.connect(), bob.connect()]);
 *
 * const ids = Array.from({ length: 100 }, (_, id) => id);
 * for (const id of ids) alice.publish("count", { id });
 * await all.promise;
 *
 * assertEquals(proxy.stats().cut, 1);
 * const { faults } = checkHistory({ published: { alice: ids }, seen: { bob: seen } });
 * assertEquals(faults, []);
 * ```
 *
 * @module
 */
import { type Address, formatEndpoint } from "./io/address.ts";
import { type Connection, dial, later, listen, type Listener } from "./io/transport.ts";

export type { Address };

/** Something that a {@linkcode Proxy} does to a connection at a certain byte. */
export interface Fault {
  /**
   * What is done when so many bytes have passed.
   *
   * - `"cut"`: both sides are closed.
   * - `"half"`: the side that reads sees the end of what the other side sends; the other direction goes
   *   on.
   * - `"freeze"`: nothing passes in this direction for `ms`, or ever again; nobody is told.
   * - `"delay"`: from now on everything in this direction comes `ms` later.
   */
  readonly kind: "cut" | "half" | "freeze" | "delay";
  /** Where: `"up"` is from the client to the broker, `"down"` from the broker to the client. */
  readonly direction: "up" | "down";
  /** How many bytes of the direction pass before; the fault may come in the middle of a frame. */
  readonly after: number;
  /**
   * For `"freeze"` and `"delay"`: how long, in milliseconds; without an end by default.
   *
   * @default {Infinity}
   */
  readonly ms?: number;
}

/**
 * What happens to each connection, by its number from 0.
 *
 * - `"refuse"` closes it at once.
 */
export type Plan = (connection: number) => readonly Fault[] | "refuse";

/** Options of a {@linkcode Proxy}. */
export interface ProxyOptions {
  /** The address of the broker. */
  readonly target: Address;
  /**
   * Where to listen. By default a new Unix socket, or loopback TCP where there are none.
   */
  readonly address?: Address;
  /**
   * What happens to each connection. By default nothing.
   */
  readonly plan?: Plan;
}

/** What a {@linkcode Proxy} has done since it was made. */
export interface ProxyStats {
  /** Connections that came. */
  readonly connections: number;
  /** Connections that were cut, by the plan or by `cut()`. */
  readonly cut: number;
  /** Connections that were refused. */
  readonly refused: number;
  /** Bytes that passed. */
  readonly bytes: number;
}

/** What a random plan is made of. */
export interface RandomPlanOptions {
  /** How many bytes pass at most before the first fault of a connection. */
  readonly bytes: number;
  /**
   * The kinds of faults to choose from; one that stands here twice is twice as likely.
   *
   * @default {["cut"]}
   */
  readonly kinds?: readonly (Fault["kind"] | "refuse")[];
  /**
   * How long a freeze or a delay is at most, in milliseconds.
   *
   * @default {100}
   */
  readonly ms?: number;
}

const PIECE_BYTES = 64 * 1024;
/** So many pieces may be late at a time. */
const LATE_PIECES_MAX = 256;
/** A part of the random faults come this early: in handshakes, and where sessions are resumed. */
const EARLY_BYTES = 400;
const EARLY_PART = 1 / 4;

/**
 * A plan with a fault in each direction of each connection; the one that is reached first counts.
 *
 * - The same seed gives the same faults to the same connections.
 * - A quarter of them come in the first 400 bytes, which is where handshakes and resumptions are.
 *
 * @param seed A whole number.
 * @param options Where the faults come, and of which kinds.
 * @returns The plan, for a {@linkcode Proxy}.
 *
 * @example The same seed, the same faults
 * ```ts
 * import { randomPlan } from "@mpubsub/mpubsub/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const options = { bytes: 10_000, kinds: ["cut", "freeze"] } as const;
 * const [plan, again] = [randomPlan(7, options), randomPlan(7, options)];
 * assertEquals(plan(0), again(0));
 * ```
 */
export function randomPlan(seed: number, options: RandomPlanOptions): Plan {
  const { bytes, kinds = ["cut"], ms = 100 } = options;
  return (connection) => {
    const random = randomOf(seed + connection * 7919);
    const faults: Fault[] = [];
    for (const direction of ["up", "down"] as const) {
      const kind = kinds[Math.floor(random() * kinds.length)]!;
      if (kind === "refuse") return "refuse";
      const range = random() < EARLY_PART ? Math.min(EARLY_BYTES, bytes) : bytes;
      const after = Math.floor(random() * range);
      faults.push({ kind, direction, after, ms: Math.ceil(random() * ms) });
    }
    return faults;
  };
}

/** Numbers from 0 to below 1 that are the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Relays connections to a broker, and breaks them as planned.
 *
 * @example A connection that is lost, and made again
 * ```ts
 * import { Broker, NetPubSub } from "@mpubsub/mpubsub";
 * import { Proxy } from "@mpubsub/mpubsub/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await using broker = new Broker();
 * await broker.start();
 * await using proxy = new Proxy({ target: broker.address });
 * await proxy.start();
 * await using bus = new NetPubSub(proxy.address, broker.authkey);
 * await bus.connect();
 *
 * proxy.cut();
 * bus.publish("foo", { n: 1 }); // waits until there is a connection again
 * await bus.flush();
 *
 * assertEquals(proxy.stats().connections, 2);
 * assertEquals(broker.stats().received, 1);
 * ```
 */
export class Proxy implements AsyncDisposable {
  readonly #options: ProxyOptions;
  readonly #relays = new Map<Relay, Promise<void>>();
  #listener: Listener | undefined;
  #accepting: Promise<void> | undefined;
  #refusing: Disposable | undefined;
  #connections = 0;
  #cut = 0;
  #refused = 0;
  #bytes = 0;

  /**
   * Makes a proxy that does not listen yet.
   *
   * @param options Where the broker is, and what happens to connections to it.
   */
  constructor(options: ProxyOptions) {
    this.#options = options;
  }

  /**
   * Where clients connect.
   *
   * @throws {Error} Before `start()` has resolved.
   */
  get address(): string {
    if (this.#listener === undefined) {
      throw new Error("Cannot tell the address: the proxy does not listen, await start() first");
    }
    return formatEndpoint(this.#listener.endpoint);
  }

  /**
   * Begins to listen.
   *
   * @returns Resolves when clients can connect.
   * @throws {Deno.errors.AddrInUse} When somebody listens at the address.
   */
  async start(): Promise<void> {
    this.#listener = await listen(this.#options.address);
    this.#accepting = this.#accept(this.#listener);
  }

  async #accept(listener: Listener): Promise<void> {
    for await (const client of listener.connections(() => {})) {
      const number = this.#connections++;
      const plan = this.#options.plan?.(number) ?? [];
      if (plan === "refuse" || this.#refusing !== undefined) {
        this.#refused++;
        client.close();
        continue;
      }
      const relay = new Relay(client, plan, {
        cut: () => this.#cut++,
        passed: (bytes) => this.#bytes += bytes,
      });
      const ended = relay.run(this.#options.target);
      this.#relays.set(relay, ended);
      ended.then(() => this.#relays.delete(relay));
    }
  }

  /** Cuts all connections that are there. */
  cut(): void {
    for (const relay of this.#relays.keys()) relay.cut();
  }

  /**
   * Freezes both directions of all connections that are there: nothing passes, and nobody is told.
   *
   * @param ms For how long, in milliseconds.
   */
  freeze(ms: number): void {
    for (const relay of this.#relays.keys()) relay.freeze(ms);
  }

  /**
   * Refuses new connections.
   *
   * @param ms For how long, in milliseconds.
   */
  refuse(ms: number): void {
    this.#refusing?.[Symbol.dispose]();
    this.#refusing = later(() => this.#refusing = undefined, ms);
  }

  /**
   * What it has done.
   *
   * @returns Counts that do not change any more.
   */
  stats(): ProxyStats {
    return {
      connections: this.#connections,
      cut: this.#cut,
      refused: this.#refused,
      bytes: this.#bytes,
    };
  }

  /** Closes all connections, and stops listening; twice is a no-op. */
  async close(): Promise<void> {
    this.#refusing?.[Symbol.dispose]();
    await this.#listener?.close();
    for (const relay of this.#relays.keys()) relay.close();
    await Promise.all([this.#accepting, ...this.#relays.values()]);
  }

  /** Closes, as `close()` does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

interface RelayCounts {
  cut(): void;
  passed(bytes: number): void;
}

/** One connection, and the one to the broker that belongs to it. */
class Relay {
  readonly #client: Connection;
  readonly #faults: readonly Fault[];
  readonly #counts: RelayCounts;
  readonly #closing = new AbortController();
  #broker: Connection | undefined;
  #frozenUntil = 0;

  constructor(client: Connection, faults: readonly Fault[], counts: RelayCounts) {
    this.#client = client;
    this.#faults = faults;
    this.#counts = counts;
  }

  async run(target: Address): Promise<void> {
    try {
      this.#broker = await dial(target, this.#closing.signal);
      await Promise.all([
        this.#pass("up", this.#client, this.#broker),
        this.#pass("down", this.#broker, this.#client),
      ]);
    } catch { // One of the sides is gone, or was never there: so is the other then.
    } finally {
      this.close();
    }
  }

  cut(): void {
    if (this.#closing.signal.aborted) return;
    this.#counts.cut();
    this.close();
  }

  close(): void {
    this.#closing.abort();
    this.#client.close();
    this.#broker?.close();
  }

  freeze(ms: number): void {
    this.#frozenUntil = performance.now() + ms;
  }

  async #pass(direction: Fault["direction"], from: Connection, to: Connection): Promise<void> {
    const faults = this.#faults.filter((fault) => fault.direction === direction)
      .toSorted((a, b) => a.after - b.after);
    const late = new LateWriter(to, (ms) => this.#wait(ms));
    let passed = 0;
    let delay = 0;
    for (;;) {
      for (let fault = faults[0]; fault !== undefined && fault.after <= passed; fault = faults[0]) {
        faults.shift();
        if (fault.kind === "delay") delay = fault.ms ?? Infinity;
        else {
          await late.written;
          if (fault.kind === "cut") return this.cut();
          if (fault.kind === "half") return await to.closeWrite();
          await this.#wait(fault.ms ?? Infinity);
        }
      }
      const room = Math.min(PIECE_BYTES, (faults[0]?.after ?? Infinity) - passed);
      const piece = new Uint8Array(room);
      const count = await from.read(piece);
      await this.#wait(this.#frozenUntil - performance.now());
      if (count === null) {
        await late.written;
        return await to.closeWrite();
      }
      await late.write(piece.subarray(0, count), delay);
      passed += count;
      this.#counts.passed(count);
    }
  }

  /** Waits for `ms`, unless the relay is closed before. */
  async #wait(ms: number): Promise<void> {
    if (ms <= 0) return;
    const { signal } = this.#closing;
    const { promise, resolve } = Promise.withResolvers<void>();
    using _timer = ms === Infinity ? undefined : later(resolve, ms, true);
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted) resolve();
    await promise;
  }
}

/** Writes pieces in their order, each some time after it came; the time of several passes at once. */
class LateWriter {
  /** Settles when all that came so far is written; rejects when that failed. */
  written: Promise<void> = Promise.resolve();
  readonly #to: Connection;
  readonly #wait: (ms: number) => Promise<void>;
  #pieces = 0;

  constructor(to: Connection, wait: (ms: number) => Promise<void>) {
    this.#to = to;
    this.#wait = wait;
  }

  /** Takes a piece; resolves when there may be another. */
  async write(piece: Uint8Array, delay: number): Promise<void> {
    const before = this.written;
    this.#pieces++;
    this.written = this.#writeLate(piece, before, performance.now() + delay);
    this.written.catch(() => {}); // Whoever waits for it, or for the next, is told.
    if (delay === 0 || this.#pieces > LATE_PIECES_MAX) await this.written;
  }

  async #writeLate(piece: Uint8Array, before: Promise<void>, due: number): Promise<void> {
    await before;
    await this.#wait(due - performance.now());
    for (let at = 0; at < piece.length;) at += await this.#to.write(piece.subarray(at));
    this.#pieces--;
  }
}

/** A message that a subscriber saw. */
export interface Sighting {
  /** Who published it. */
  readonly publisher: string;
  /** Which of the publisher's messages it is. */
  readonly id: number | string;
}

/** What happened, as publishers and subscribers noted it, each in its own order. */
export interface History {
  /** The ids that each publisher published; no id twice. */
  readonly published: Readonly<Record<string, readonly (number | string)[]>>;
  /** What each subscriber saw. */
  readonly seen: Readonly<Record<string, readonly Sighting[]>>;
}

/** Something that should not have happened. */
export interface HistoryFault extends Sighting {
  /**
   * What.
   *
   * - `"lost"`: the subscriber never saw it.
   * - `"repeated"`: it saw it before.
   * - `"inverted"`: it saw it for the first time after a later one of the same publisher.
   * - `"unknown"`: nobody published it.
   */
  readonly kind: "lost" | "repeated" | "inverted" | "unknown";
  /** Who saw it, or did not. */
  readonly subscriber: string;
}

/** What {@linkcode checkHistory} found. */
export interface HistoryReport {
  /** All of them, by subscriber. */
  readonly faults: readonly HistoryFault[];
  /** How many of them are of each kind. */
  readonly counts: Readonly<Record<HistoryFault["kind"], number>>;
  /** How many messages were published. */
  readonly published: number;
  /** How many sightings there were. */
  readonly seen: number;
}

/**
 * Finds what was lost, repeated and inverted.
 *
 * - Every subscriber is expected to see every message of every publisher.
 * - An inversion concerns first sightings only: a message that is sent again is a repetition.
 *
 * @param history What was published, and who saw what.
 * @returns Each fault, and how many there are of each kind.
 *
 * @example One of three is lost, one comes twice
 * ```ts
 * import { checkHistory } from "@mpubsub/mpubsub/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const { counts } = checkHistory({
 *   published: { alice: [1, 2, 3] },
 *   seen: { bob: [1, 3, 3].map((id) => ({ publisher: "alice", id })) },
 * });
 * assertEquals(counts, { lost: 1, repeated: 1, inverted: 0, unknown: 0 });
 * ```
 */
export function checkHistory(history: History): HistoryReport {
  const places = new Map(
    Object.entries(history.published).map(([publisher, ids]) => [
      publisher,
      new Map(ids.map((id, place) => [id, place])),
    ]),
  );
  const faults: HistoryFault[] = [];
  for (const [subscriber, sightings] of Object.entries(history.seen)) {
    for (const fault of faultsOf(subscriber, sightings, places)) faults.push(fault);
  }
  const counts = { lost: 0, repeated: 0, inverted: 0, unknown: 0 };
  for (const { kind } of faults) counts[kind]++;
  const total = (lists: Readonly<Record<string, readonly unknown[]>>) =>
    Object.values(lists).reduce((sum, { length }) => sum + length, 0);
  return { faults, counts, published: total(history.published), seen: total(history.seen) };
}

function* faultsOf(
  subscriber: string,
  sightings: readonly Sighting[],
  places: ReadonlyMap<string, ReadonlyMap<number | string, number>>,
): Generator<HistoryFault> {
  const seen = new Map([...places.keys()].map((publisher) => [publisher, new Set<unknown>()]));
  const latest = new Map<string, number>();
  for (const { publisher, id } of sightings) {
    const place = places.get(publisher)?.get(id);
    const own = seen.get(publisher);
    const fault = (kind: HistoryFault["kind"]) => ({ kind, subscriber, publisher, id });
    if (place === undefined || own === undefined) yield fault("unknown");
    else if (own.has(id)) yield fault("repeated");
    else {
      own.add(id);
      const before = latest.get(publisher) ?? -1;
      if (place < before) yield fault("inverted");
      else latest.set(publisher, place);
    }
  }
  for (const [publisher, ids] of places) {
    for (const id of ids.keys()) {
      if (!seen.get(publisher)!.has(id)) yield { kind: "lost", subscriber, publisher, id };
    }
  }
}
