/**
 * The contract of a mode: one of the two ways to join brokers, with its connection.
 */
import type { NatsConnection } from "@nats-io/nats-core";
import type { TopicPath } from "../topic.ts";
import type { ControlMessage } from "./control_message.ts";

/** The part of a mode that passes messages on; knows no connection of NATS's client. */
export interface Exchange {
  /** How many topics are subscribed to. */
  readonly subscriptions: number;
  /** How many bytes wait, or are not confirmed. */
  readonly queuedBytes: number;
  /** Since when the oldest of these has been waiting. */
  readonly waitingSince: number | undefined;
  /** Takes messages of our clients. */
  take(frames: Uint8Array, publisher: object): void;
  /** Gives up so many bytes of what it holds, what it has held longest first. */
  free(bytes: number): void;
  /** The connection is lost, or about to be closed: nothing is published over it any more. */
  disconnected(): void;
  /** Resolves when nothing waits any more, or `signal` aborts. */
  drained(signal: AbortSignal): Promise<void>;
}

/** One of the two ways to join brokers, with its connection. */
export interface Mode {
  /** Passes messages on between our clients and other brokers. */
  readonly exchange: Exchange;
  /** How many others may not know yet what is wanted here. */
  readonly unaware: number;
  /** How many messages of a stream were not read yet. */
  readonly behind: number;
  /** What each beat tells. */
  readonly beat: { readonly sent: number; readonly wants: number };
  /** Notes that a client wants a topic, or no longer wants it. */
  wants(path: TopicPath, wants: boolean): void;
  /** Takes what another broker says. */
  hear(message: ControlMessage): void;
  /** A broker was not heard for long, or said goodbye. */
  gone(id: string, saidGoodbye: boolean): void;
  /** A beat has passed. */
  tick(): void;
  /** Works over a connection, until that is closed or `signal` aborts. */
  serve(nc: NatsConnection, signal: AbortSignal): Promise<void>;
}
