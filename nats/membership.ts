/**
 * Which other brokers are on a bus, and what brokers tell each other beside messages.
 *
 * - Each broker says with a beat that it is there, to all; it says goodbye when it ends.
 * - One that was not heard of for a minute is gone.
 */
import type { NatsConnection } from "@nats-io/nats-core";
import { every } from "../base/timers.ts";
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
/** One that was not heard of for that long is not counted. */
const FRESH_MS = 3 * BEAT_MS;
/** One that was not heard of for that long is gone. */
const SILENT_MS = 60_000;
/** So many brokers a bus may have. */
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
  /** Takes what was thrown when something came that is not of a broker of the bus. */
  refuse(error: unknown): void;
}

/** This broker, and the others that it has heard of; see the module. */
export class Membership {
  readonly #options: MembershipOptions;
  /** When each other broker was heard of. */
  readonly #seen = new Map<string, number>();
  #connection: NatsConnection | undefined;
  #saidBye = false;

  /** Makes one that has heard of nobody. */
  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  /** How many others were heard of lately. */
  get size(): number {
    const now = performance.now();
    return this.#seen.values().filter((at) => now - at <= FRESH_MS).toArray().length;
  }

  /** Whether a broker was heard of, and is not gone. */
  has(id: string): boolean {
    return this.#seen.has(id);
  }

  /**
   * Says over a connection that this broker is there, and hears the others, until that is disposed.
   *
   * @param mode Told what they say.
   */
  begin(nc: NatsConnection, mode: Mode): Disposable {
    const { prefix, id, events } = this.#options;
    this.#connection = nc;
    const now = performance.now();
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
    const now = performance.now();
    for (const [id, at] of this.#seen) {
      if (now - at <= SILENT_MS) continue;
      this.#seen.delete(id);
      this.#options.events.tell("left", `Broker ${id} was not heard of for ${SILENT_MS / 1000} s`);
      mode.gone(id, false);
    }
    mode.tick();
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
    } catch (error) { // Longer than this server takes.
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
        if (this.#seen.delete(from)) events.tell("left", `Broker ${from} said goodbye`);
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

  /** Notes that a broker is there; one that is new is told the same of this one. */
  #note(id: string, mode: Mode): void {
    const isNew = !this.#seen.has(id);
    if (isNew && this.#seen.size >= BROKERS_MAX) {
      throw new ProtocolError(`Cannot take one more broker: there are ${BROKERS_MAX}`);
    }
    this.#seen.set(id, performance.now());
    if (!isNew) return;
    this.#options.events.tell("joined", `Broker ${id} is on the bus`);
    this.#sayBeat(mode, id);
  }

  #warnOfOtherStream(from: string, stream: string | null): void {
    const { events, counts, stream: own } = this.#options;
    counts.invalid++;
    const theirs = stream === null ? "no stream" : `the stream ${stream}`;
    events.warn(
      `Broker ${from} uses ${theirs}, this one ${own ?? "none"}: they do not hear each other`,
    );
  }
}
