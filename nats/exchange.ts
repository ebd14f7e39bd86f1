/**
 * What the two ways in which brokers are joined have in common.
 */
import type { Control } from "./control_message.ts";
import type { PacketHeader } from "./packet.ts";
import type { TopicPath } from "../topic.ts";
import type { UplinkBus } from "../broker/uplink.ts";
import type { NatsConnection } from "@nats-io/nats-core";

/** One of the two ways, with its connection. */
export interface Mode {
  /** How many topics are subscribed to. */
  readonly subscriptions: number;
  /** How many others may not know yet what is wanted here. */
  readonly unaware: number;
  /** How many bytes wait, or are not confirmed. */
  readonly queuedBytes: number;
  /** Since when the oldest of these has been waiting. */
  readonly waitingSince: number | undefined;
  /** How many messages of a stream were not read yet. */
  readonly behind: number;
  /** What it tells with each beat. */
  readonly beat: { readonly sent: number; readonly wants: number };
  /** Notes that a client wants a topic, or wants it no more. */
  wants(path: TopicPath, wants: boolean): void;
  /** Takes messages of our clients. */
  take(frames: Uint8Array, publisher: object): void;
  /** Takes what another broker says. */
  hear(control: Control): void;
  /** A broker has not been heard of for long, or said goodbye. */
  gone(id: string, saidGoodbye: boolean): void;
  /** A beat has passed. */
  tick(): void;
  /** Goes on over a connection, until that is closed or `signal` aborts. */
  serve(nc: NatsConnection, signal: AbortSignal): Promise<void>;
  /** The connection is lost, or about to be closed: nothing is published over it any more. */
  disconnected(): void;
  /** Resolves when nothing waits any more. */
  drained(signal: AbortSignal): Promise<void>;
}

/** What both ways of joining count. */
export interface ExchangeCounts {
  sent: number;
  received: number;
  dropped: number;
  lost: number;
  gaps: number;
  invalid: number;
}

/** What both ways of joining need. */
export interface ExchangeContext {
  /** The id of this broker. */
  readonly id: string;
  /** What the subjects of the bus begin with. */
  readonly prefix: string;
  /** How many bytes may wait, or be unconfirmed. */
  readonly queueBytes: number;
  readonly bus: UplinkBus;
  readonly counts: ExchangeCounts;
  /** Whether a broker was heard of lately. */
  isHere(id: string): boolean;
  /** Says something to all others, or to one. */
  say(control: Control, to?: string): void;
  /** Passes messages of others on to the clients. */
  deliver(frames: Uint8Array): void;
  /** Takes a packet, whose header is read, to `take`; what is none is counted. */
  read(bytes: Uint8Array, take: (header: PacketHeader, body: Uint8Array) => void): void;
  /** Calls `callback` once, after so many milliseconds, unless what is returned is disposed before. */
  later(callback: () => void, ms: number): Disposable;
  /** Tells whoever runs the broker. */
  warn(message: string): void;
}
