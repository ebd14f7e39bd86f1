/**
 * What a case can have done in the test's own process, which is Deno: there are the broker, the proxy
 * before it, and clients that are the others. Each call is a POST to the test's server on loopback; so
 * a page can do it, too.
 */
import type { BrokerOptions } from "../../../broker.ts";
import type { BrokerStats } from "../../../mod.ts";
import type { ProxyStats, Sighting } from "../../../testing.ts";

/** The options of a broker that can be written in JSON. */
export type PlainBrokerOptions = Pick<
  BrokerOptions,
  "authkey" | "keys" | "limits" | "memory" | "resumeWindow" | "heartbeat" | "maxPatience"
>;

/** How a stage is set. */
export interface StageOptions {
  readonly broker?: PlainBrokerOptions;
  /**
   * Whether the case's clients connect through the proxy.
   *
   * @default {false}
   */
  readonly isFragile?: boolean;
  /** If it is given, the proxy cuts each connection at random bytes, until it is told to be calm. */
  readonly seed?: number;
}

/** Where a stage is. */
export interface StageInfo {
  readonly id: number;
  /** Where the case's clients connect. */
  readonly address: string;
  /** An address of the same kind at which nobody listens. */
  readonly deserted: string;
  /** An address of the same kind at which something else than a broker answers. */
  readonly foreign: string;
  readonly authkey: string;
}

/** A topic in JSON. */
export type PlainTopic = string | readonly string[] | null;

/** How a client is a member of a group. */
export interface PlainMemberOptions {
  readonly group: string;
  readonly concurrency?: number;
  /** How long a job takes, in milliseconds; by default it never ends. */
  readonly ms?: number;
}

/** The calls of a stage. */
export interface StageCalls {
  /** Cuts the connections that pass the proxy. */
  cut(): Promise<void>;
  freeze(ms: number): Promise<void>;
  refuse(ms: number): Promise<void>;
  /** Ends the random cuts. */
  calm(): Promise<void>;
  stats(): Promise<{ readonly broker: BrokerStats; readonly proxy: ProxyStats | null }>;
  setKeys(keys: NonNullable<BrokerOptions["keys"]>): Promise<void>;
  /** Shuts the broker down; `isAbrupt` waits for nobody. */
  stop(isAbrupt: boolean): Promise<void>;
  /** Starts another broker at the same address. */
  restart(options: PlainBrokerOptions): Promise<void>;
  /** Connects another client, of that name; `isFragile` through the proxy. */
  join(name: string, isFragile?: boolean): Promise<void>;
  /** Has it note what comes to a topic. */
  listen(name: string, topic: PlainTopic): Promise<void>;
  /** Has it join a group, and note what it gets; each job takes `ms`, or for ever. */
  work(name: string, topic: PlainTopic, options: PlainMemberOptions): Promise<void>;
  /** The jobs it noted: messages as texts, and how many members had each before. */
  worked(name: string): Promise<readonly (readonly [string, number])[]>;
  /** Disconnects it; `isAbrupt` waits for nothing. */
  leave(name: string, isAbrupt: boolean): Promise<void>;
  /** What it noted: topics, and messages as texts. */
  heard(name: string): Promise<readonly (readonly [readonly string[], string])[]>;
  /** Has it publish, one after the other, until the broker has them. */
  publish(name: string, topic: PlainTopic, messages: readonly object[]): Promise<void>;
  /** Has a client publish to the topic in so many milliseconds, without waiting for that. */
  publishLater(topic: PlainTopic, ms: number): Promise<void>;
  /** Has it publish `{ n, data }` with so many bytes, for n from 0, as fast as the broker takes them. */
  flood(name: string, topic: PlainTopic, count: number, bytes: number): Promise<void>;
  /** Has it publish each value that there is, and some random messages; these as texts. */
  publishValues(
    name: string,
    topic: PlainTopic,
    seed: number,
    without: string,
  ): Promise<readonly string[]>;
  /** Has it publish `{ id }` to `["chat", name]` for some time; resolves with how many, of which some may wait. */
  chat(name: string, ms: number): Promise<number>;
  /** Who published what it noted, with the id of each. */
  sightings(name: string): Promise<readonly Sighting[]>;
  /** Writes a connection file with that mode, or another text; returns its path. */
  writeFile(mode: number, options?: { suffix?: string; text?: string }): Promise<string>;
}
