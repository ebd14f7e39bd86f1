/**
 * Connects to NATS, and again whenever the connection is lost.
 */
import type { ConnectionOptions, NatsConnection } from "@nats-io/nats-core";
import { clock } from "../base/clock.ts";
import { isCount } from "../base/count.ts";
import { pause } from "../base/timers.ts";
import { PAYLOAD_BYTES_MIN } from "./packet.ts";
import { connect } from "./transport.ts";
import type { UplinkEvents } from "./uplink_events.ts";

const BACKOFF_MIN_MS = 50;
const BACKOFF_MAX_MS = 5000;

/** What a {@linkcode Reconnector} needs. */
export interface ReconnectorOptions {
  /** Where NATS is, the nearest first. */
  readonly hosts: readonly string[];
  readonly options: ConnectionOptions;
  /** The name of the bus, for events. */
  readonly bus: string;
  readonly events: UplinkEvents;
}

/** Keeps a connection to NATS. */
export class Reconnector {
  readonly #hosts: readonly string[];
  readonly #options: ConnectionOptions;
  readonly #bus: string;
  readonly #events: UplinkEvents;
  #connection: NatsConnection | undefined;
  #server: string | null = null;
  #disconnects = 0;

  /** Makes one that does nothing yet. */
  constructor({ hosts, options, bus, events }: ReconnectorOptions) {
    this.#hosts = hosts;
    this.#options = options;
    this.#bus = bus;
    this.#events = events;
  }

  /** The connection, if there is one. */
  get connection(): NatsConnection | undefined {
    return this.#connection;
  }

  /** The server of the latest connection. */
  get server(): string | null {
    return this.#server;
  }

  /** How many connections were lost. */
  get disconnects(): number {
    return this.#disconnects;
  }

  /**
   * Connects, and again whenever the connection is lost, until `signal` aborts.
   *
   * @param serve Uses a connection, until it is closed.
   */
  async run(serve: (nc: NatsConnection) => Promise<void>, signal: AbortSignal): Promise<void> {
    let told = "";
    for (let attempt = 0; !signal.aborted; attempt++) {
      const backoff = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** attempt);
      if (attempt > 0) await pause(backoff * (0.5 + Math.random() / 2), signal);
      if (signal.aborted) break;
      try {
        const nc = await connect({ ...this.#options, servers: [...this.#hosts], signal });
        if (signal.aborted) return await nc.close();
        const since = clock.now();
        await this.#use(nc, serve, signal);
        if (clock.now() - since > BACKOFF_MAX_MS) attempt = 0;
        told = "";
      } catch (error) { // Nobody answers, a wrong password, a wrong certificate: it may pass.
        if (signal.aborted) break;
        const message = error instanceof Error ? error.message : String(error);
        if (message !== told) {
          this.#events.tell(
            "unreachable",
            `Cannot connect to NATS at ${this.#hosts.join(", ")}: ${message}`,
          );
        }
        told = message;
      }
    }
  }

  async #use(
    nc: NatsConnection,
    serve: (nc: NatsConnection) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const server = nc.getServer();
    if (nc.isClosed()) {
      throw await nc.closed() ?? new Error(`${server} closed the connection at once`);
    }
    const payload: unknown = nc.info?.max_payload;
    if (!isCount(payload) || payload < PAYLOAD_BYTES_MIN) {
      await nc.close();
      throw new Error(`${server} takes ${payload} bytes in a message, not ${PAYLOAD_BYTES_MIN}`);
    }
    this.#connection = nc;
    this.#server = server;
    this.#events.tell("connected", `Connected to NATS at ${server}, bus ${this.#bus}`);
    await serve(nc);
    const reason = await nc.closed();
    this.#connection = undefined;
    if (signal.aborted) return;
    this.#disconnects++;
    const why = reason instanceof Error ? `: ${reason.message}` : "";
    this.#events.tell("disconnected", `The connection to NATS at ${server} is lost${why}`);
  }
}
