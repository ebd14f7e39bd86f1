/**
 * Which other brokers are on a bus, and what brokers tell each other besides messages.
 *
 * - With a beat, each broker tells all others that it is there; it says goodbye when it ends.
 * - A broker that was not heard for a minute is gone.
 */
import type { NatsConnection } from "@nats-io/nats-core";
import { clock } from "../base/clock.ts";
import { every, type Timer } from "../base/timers.ts";
import { ProtocolError } from "../errors.ts";
import {
  type ControlMessage,
  decodeControlMessage,
  encodeControlMessage,
} from "./control_message.ts";
import type { ExchangeCounts } from "./exchange_context.ts";
import type { Mode } from "./mode.ts";
import type { UplinkEvents } from "./uplink_events.ts";

/** How often a broker says that it is there. */
const BEAT_MS = 2000;
/** After so long without a beat, a broker is not counted. */
const FRESH_MS = 3 * BEAT_MS;
/** After so long without a beat, a broker is gone. */
const SILENT_MS = 60_000;
/** How many brokers a bus may have. */
const BROKERS_MAX = 4096;

/** What a {@linkcode Membership} needs. */
export interface MembershipOptions {
  /** The id of this broker. */
  readonly id: string;
  /** What the subjects of the bus begin with. */
  readonly prefix: string;
  /** The stream that this broker uses, if it uses one. */
  readonly stream: string | null;
  readonly events: UplinkEvents;
  readonly counts: ExchangeCounts;
  /** Called with the error when something is not from a broker of the bus. */
  refuse(error: unknown): void;
  /** A monotonic time in milliseconds. */
  now?(): number;
}

/** Keeps track of the other brokers on the bus, and tells them of this one. */
export class Membership {
  readonly #options: MembershipOptions;
  readonly #now: () => number;
  /** When each other broker was last heard, the one that has been silent longest first. */
  readonly #seen = new Map<string, number>();
  #connection: NatsConnection | undefined;
  #mode: Mode | undefined;
  #saidBye = false;

  /** Makes one that has heard nobody. */
  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#now = () => options.now?.() ?? clock.now();
  }

  /** How many others were heard lately. */
  get size(): number {
    const now = this.#now();
    return this.#seen.values().filter((at) => now - at <= FRESH_MS).toArray().length;
  }

  /**
   * Notes that something else came from a broker.
   *
   * @throws {ProtocolError} If there are too many others.
   */
  heard(id: string): void {
    if (this.#mode !== undefined) this.#note(id, this.#mode);
  }

  /** Whether a broker was heard, and is not gone. */
  has(id: string): boolean {
    return this.#seen.has(id);
  }

  /**
   * Says over a connection that this broker is there, and listens to the others, until it is disposed.
   *
   * @param mode Gets what they say.
   */
  begin(nc: NatsConnection, mode: Mode): Timer {
    const { prefix, id, events } = this.#options;
    this.#connection = nc;
    this.#mode = mode;
    const now = this.#now();
    for (const id of this.#seen.keys()) this.#seen.set(id, now);
    for (const subject of [`${prefix}.c`, `${prefix}.c.${id}`]) {
      nc.subscribe(subject, {
        callback: (error, message) => {
          if (error !== null) events.warn(`NATS refuses a subscription: ${error.message}`);
          else this.#hear(mode, message.data);
        },
      });
    }
    this.#sayBeat(mode);
    return every(() => {
      this.#sayBeat(mode);
      this.#tick(mode);
    }, BEAT_MS);
  }

  #tick(mode: Mode): void {
    const now = this.#now();
    for (const [id, at] of this.#seen) {
      if (now - at <= SILENT_MS) break;
      this.#lose(id, `was not heard for ${SILENT_MS / 1000} s`, mode);
    }
    mode.tick();
    this.#options.events.look();
  }

  /** A broker is gone, without a goodbye. */
  #lose(id: string, why: string, mode: Mode): void {
    this.#seen.delete(id);
    this.#options.events.change("left", id, `Broker ${id} ${why}`);
    mode.gone(id, false);
  }

  #sayBeat(mode: Mode, to?: string): void {
    this.say(
      { type: "beat", from: this.#options.id, stream: this.#options.stream, ...mode.beat },
      to,
    );
  }

  /** Says something to all others, or to one. */
  say(message: ControlMessage, to?: string): void {
    const subject = to === undefined
      ? `${this.#options.prefix}.c`
      : `${this.#options.prefix}.c.${to}`;
    if (this.#saidBye || this.#connection?.isClosed() !== false) return;
    try {
      this.#connection.publish(subject, encodeControlMessage(message));
    } catch (error) { // It is longer than this server allows.
      this.#options.events.warn(`Cannot tell other brokers something: ${error}`);
    }
  }

  /** Says goodbye; nothing is said after that. */
  sayGoodbye(): void {
    this.say({ type: "bye", from: this.#options.id });
    this.#saidBye = true;
  }

  #hear(mode: Mode, bytes: Uint8Array): void {
    const { id, events } = this.#options;
    try {
      const message = decodeControlMessage(bytes);
      const { type, from } = message;
      if (from === id) return;
      if (type === "bye") {
        if (this.#seen.delete(from)) events.change("left", from, `Broker ${from} said goodbye`);
        return mode.gone(from, true);
      }
      this.#note(from, mode);
      if (type === "beat" && message.stream !== this.#options.stream) {
        return this.#warnOfOtherStream(from, message.stream);
      }
      mode.hear(message);
    } catch (error) {
      this.#options.refuse(error);
    }
  }

  /**
   * Notes that a broker is there; a new one gets a beat of this one. If there are too many, one that is
   * silent gives up its place.
   *
   * @throws {ProtocolError} If none is silent.
   */
  #note(id: string, mode: Mode): void {
    const now = this.#now();
    const isNew = !this.#seen.delete(id);
    if (isNew && this.#seen.size >= BROKERS_MAX) this.#makeRoom(now, mode);
    this.#seen.set(id, now);
    if (!isNew) return;
    this.#options.events.change("joined", id, `Broker ${id} is on the bus`);
    this.#sayBeat(mode, id);
  }

  #makeRoom(now: number, mode: Mode): void {
    const [id, at] = this.#seen.entries().next().value!;
    if (now - at <= FRESH_MS) {
      throw new ProtocolError(`Cannot take one more broker: there are ${BROKERS_MAX}`);
    }
    this.#lose(id, "is silent, and there are too many brokers", mode);
  }

  #warnOfOtherStream(from: string, stream: string | null): void {
    const { events, counts, stream: own } = this.#options;
    counts.invalid++;
    const theirs = stream === null ? "no stream" : `the stream ${stream}`;
    events.warn(
      `Broker ${from} uses ${theirs}, and this one ${own ?? "none"}: they do not hear each other`,
    );
  }
}
