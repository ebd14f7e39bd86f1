/**
 * A proxy between clients and a broker that breaks connections as planned.
 */
import { clock } from "../base/clock.ts";
import { asyncDispose, followPolyfill } from "../base/disposal.ts";
import { later, type Timer } from "../base/timers.ts";
import { type Address, type Endpoint, formatEndpoint, isWeb, parseAddress } from "../io/address.ts";
import type { Connection } from "../io/connection.ts";
import { dial } from "../io/dial.ts";
import { listen, type Listener } from "../io/listener.ts";
import type { Fault, Plan } from "./fault.ts";

/** Options of a {@linkcode Proxy}. */
export interface ProxyOptions {
  /**
   * The address of the broker. Of a WebSocket the proxy passes every byte, that of HTTP and of TLS, too;
   * so a certificate has to be for the proxy's address.
   */
  readonly target: Address;
  /**
   * Where to listen. By default a new Unix socket, or loopback TCP where there are no Unix sockets, and
   * for a WebSocket.
   */
  readonly address?: Address | undefined;
  /**
   * Which faults each connection gets. By default none.
   */
  readonly plan?: Plan | undefined;
}

/** Counts of what a {@linkcode Proxy} has done since it was made. */
export interface ProxyStats {
  /** Connections that clients made. */
  readonly connections: number;
  /** Connections that were cut, by the plan or by `cut()`. */
  readonly cut: number;
  /** Connections that were refused, by the plan or by `refuse()`. */
  readonly refused: number;
  /** Bytes that passed, in both directions together. */
  readonly bytes: number;
}

const PIECE_BYTES = 64 * 1024;
/** How many pieces may be delayed at a time. */
const LATE_PIECES_MAX = 256;

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
  readonly #target: Endpoint;
  readonly #relays = new Map<Relay, Promise<void>>();
  #listener: Listener | undefined;
  #accepting: Promise<void> | undefined;
  #refusing: Timer | undefined;
  #connections = 0;
  #cut = 0;
  #refused = 0;
  #bytes = 0;

  /**
   * Makes a proxy that does not listen yet.
   *
   * @param options Where the broker is, and what happens to connections to it.
   * @throws {TypeError} If `target` is not a valid address.
   * @throws {RangeError} If its port is over 65535, or its path is too long for a socket.
   */
  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#target = parseAddress(options.target);
  }

  /**
   * Where clients connect.
   *
   * @throws {Error} If `start()` has not resolved yet.
   */
  get address(): string {
    if (this.#listener === undefined) {
      throw new Error("Cannot get the address: the proxy does not listen; await start() first");
    }
    const { endpoint } = this.#listener;
    const target = this.#target;
    return formatEndpoint(
      isWeb(target) && endpoint.transport === "tcp"
        ? { ...target, hostname: endpoint.hostname, port: endpoint.port }
        : endpoint,
    );
  }

  /**
   * Starts to listen.
   *
   * @returns Resolves when clients can connect.
   * @throws {Deno.errors.AddrInUse} If another program listens at the address.
   * @throws {DOMException} Its name is `NotSupportedError`, if this is not Deno.
   */
  async start(): Promise<void> {
    const { address } = this.#options;
    const usual = isWeb(this.#target) ? "tcp://127.0.0.1:0" : undefined;
    const own = address === undefined ? usual : formatEndpoint(carrierOf(parseAddress(address)));
    this.#listener = await listen(own);
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
      const ended = relay.run(carrierOf(this.#target));
      this.#relays.set(relay, ended);
      ended.then(() => this.#relays.delete(relay));
    }
  }

  /** Cuts all present connections. */
  cut(): void {
    for (const relay of this.#relays.keys()) relay.cut();
  }

  /**
   * Freezes all present connections: nothing passes in either direction, and neither side is told.
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
    this.#refusing?.cancel();
    this.#refusing = later(() => this.#refusing = undefined, ms);
  }

  /**
   * Counts what the proxy has done.
   *
   * @returns A snapshot.
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
    this.#refusing?.cancel();
    await this.#listener?.close();
    for (const relay of this.#relays.keys()) relay.close();
    await Promise.all([this.#accepting, ...this.#relays.values()]);
  }

  /** Closes, as `close()` does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
followPolyfill(Proxy.prototype, asyncDispose);

/** What carries what is passed to an endpoint. */
function carrierOf(endpoint: Endpoint): Endpoint {
  if (!isWeb(endpoint)) return endpoint;
  const { hostname, port } = endpoint;
  return { transport: "tcp", hostname, port };
}

interface RelayCounts {
  cut(): void;
  passed(bytes: number): void;
}

/** A client's connection, and the one to the broker that belongs to it. */
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

  async run(target: Endpoint): Promise<void> {
    try {
      this.#broker = await dial(target, this.#closing.signal);
      await Promise.all([
        this.#pass("up", this.#client, this.#broker),
        this.#pass("down", this.#broker, this.#client),
      ]);
    } catch { // One side is gone, or was never there: so the other is closed.
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
    this.#frozenUntil = clock.now() + ms;
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
      await this.#wait(this.#frozenUntil - clock.now());
      if (count === null) {
        await late.written;
        return await to.closeWrite();
      }
      await late.write(piece.subarray(0, count), delay);
      passed += count;
      this.#counts.passed(count);
    }
  }

  /** Waits for `ms`, or until the relay is closed. */
  async #wait(ms: number): Promise<void> {
    if (ms <= 0) return;
    const { signal } = this.#closing;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = ms === Infinity ? undefined : later(resolve, ms, true);
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted) resolve();
    await promise;
    timer?.cancel();
  }
}

/** Writes pieces in their order, each some time after it came; several may wait at once. */
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
    this.written = this.#writeLate(piece, before, clock.now() + delay);
    this.written.catch(() => {}); // Whoever waits for it, or for the next, gets the error.
    if (delay === 0 || this.#pieces > LATE_PIECES_MAX) await this.written;
  }

  async #writeLate(piece: Uint8Array, before: Promise<void>, due: number): Promise<void> {
    await before;
    await this.#wait(due - clock.now());
    for (let at = 0; at < piece.length;) at += await this.#to.write(piece.subarray(at));
    this.#pieces--;
  }
}
