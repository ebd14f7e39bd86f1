/** What the benchmark and its client processes say to each other. */
import type { Topic } from "./clients/client.ts";
import type { Target } from "./target.ts";

/** What is in a message: so many bytes, or a row. */
export type Payload = number | "row";

/** What a client process is to do. */
export type Task =
  | PublishTask
  | SubscribeTask
  | RequestTask
  | AnswerTask
  | IdleTask
  | ChangeTask;

/** A task, the module of `clients/` to do it with, and where the server listens. */
export type Job = Task & { readonly client: string; readonly target: Target };

/** Publishes from `{ go }` to `{ stop }`, then tells `{ published }`. */
export interface PublishTask {
  readonly role: "publisher";
  readonly topic: Topic;
  /** Publishes to so many topics right below `topic` in turn; 0: to `topic` itself. */
  readonly children: number;
  readonly payload: Payload;
  /** Which of the publishers it is: the first byte of its messages. */
  readonly id: number;
  /** How many messages it publishes before it lets its client drain. */
  readonly batch: number;
  /** How many may be on their way to the slowest subscriber. */
  readonly window: number;
  /** Lets the event loop turn after each message instead. */
  readonly byTurns: boolean;
}

/** Counts; tells `{ taken }` now and then, and `{ at, count }` when asked with `{ mark }`. */
export interface SubscribeTask {
  readonly role: "subscriber";
  readonly topic: Topic;
  /** Subscribes to so many topics right below `topic`; 0: to `topic` itself; all: in one go. */
  readonly children: number | "all";
  readonly payload: Payload;
  readonly publishers: number;
  /** So many clients subscribe, each for itself. */
  readonly clients: number;
  /** After how many messages it tells what it has. */
  readonly step: number;
}

/** From `{ go }` on asks again as soon as it is answered, then tells `{ quantiles }`. */
export interface RequestTask {
  readonly role: "requester";
  readonly payload: number;
  readonly warmMs: number;
  readonly ms: number;
}

/** Answers those. */
export interface AnswerTask {
  readonly role: "responder";
  readonly payload: number;
}

/** Connects clients, each of which subscribes to so many topics of its own below `topic`. */
export interface IdleTask {
  readonly role: "idle";
  readonly topic: Topic;
  readonly clients: number;
  readonly children: number;
}

/**
 * From `{ go }` on subscribes to topics right below `topic`, and takes that back, `rate` times a second
 * in all; tells `{ at, count }` when asked with `{ mark }`.
 */
export interface ChangeTask {
  readonly role: "changer";
  readonly topic: Topic;
  readonly children: number;
  readonly rate: number;
}

/** What the benchmark tells a client process. */
export type Command =
  | { readonly go: true }
  | { readonly stop: true }
  | { readonly mark: true }
  | { readonly taken: number };

/** What a client process tells the benchmark. */
export type Report =
  | { readonly ready: true }
  | { readonly failed: string }
  | { readonly published: number }
  | { readonly taken: readonly number[] }
  | { readonly at: number; readonly count: number }
  | { readonly quantiles: readonly number[] };

/** The quantiles that are told. */
export const QUANTILES = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1];
