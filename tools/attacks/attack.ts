/**
 * What an attack is, and what its two sides know: it runs in the attacker's process, and is judged in
 * the one that watches the broker and the clients that do no harm.
 */
import { delay } from "@std/async/delay";
import type { BrokerOptions } from "../../broker.ts";
import {
  type Credentials,
  type Endpoint,
  payload,
  RawClient,
  type RawCredentials,
  TRUE,
} from "./raw_client.ts";
import { RawWeb } from "./raw_web.ts";

/** The keys that attackers have, by the name under which the broker knows them. */
export interface Keys {
  /** The key without a name. */
  readonly single: Credentials;
  /** May publish and subscribe to everything, but hold nobody back. */
  readonly insider: Credentials;
  /** May publish and subscribe to `["mine"]`. */
  readonly restricted: Credentials;
  /** May publish to `["metered"]`, {@linkcode METERED_RATE} messages a second. */
  readonly metered: Credentials;
  /** May publish and subscribe to `["held"]`, and hold others back. */
  readonly holder: Credentials;
  /** May do nothing. */
  readonly nobody: Credentials;
  /** May publish and subscribe to {@linkcode GRANTS} topics below `["granted"]`. */
  readonly many: Credentials;
}

/** How many topics a key may grant at most, as `docs/program.md` has it. */
export const GRANTS = 4096;

/** In less time, attacks that take up a position take up a smaller one. */
const WHOLE_SECONDS = 5;

/** What the key `metered` may publish in a second. */
export const METERED_RATE = 100;

/**
 * By how much the broker may grow in an attack that gives it nothing to keep: what V8 and the allocator
 * take while it is busy.
 */
export const MEMORY_BYTES = 96 * 2 ** 20;

/**
 * What the broker keeps for a client at most, as `docs/limits.md` has it. Attacks take what they know
 * of limits from the pages: so one that changes in the code alone is found.
 */
export const QUEUE_BYTES = 64 * 2 ** 20;
/** How long the broker may take to answer. */
export const ANSWER_MS = 5000;
/** A message that nobody may ever see. */
export const FORBIDDEN = payload({ forbidden: TRUE });

/** What an attack is told. */
export interface Target {
  readonly endpoint: Endpoint;
  /** Where the NATS server is that joins the broker to others, if there is one. */
  readonly nats?: Endpoint;
  readonly keys: Keys;
  readonly seconds: number;
}

/** What an attacker did and found, for the process that started it. */
export interface AttackReport {
  readonly counts: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
}

/** What the clients saw that do no harm, since the attack began. */
export interface Seen {
  /** Messages of the steady stream. */
  readonly received: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly outOfOrder: number;
  /** Messages that nobody may see. */
  readonly forbidden: number;
  /** Other messages, by the first element of their topic; "" is the root. */
  readonly others: Readonly<Record<string, number>>;
  /** Errors that were told: payloads that are none. */
  readonly errors: number;
  /** Messages that were dropped on the way, as far as was told. */
  readonly gaps: number;
  /** What is not as it should be in its process. */
  readonly faults: readonly string[];
}

/** What is known after an attack. */
export interface Facts {
  readonly seconds: number;
  /** What the attacker did. */
  readonly counts: Readonly<Record<string, number>>;
  /** By how much the broker's counters moved, those within others as `refusals.key`. */
  readonly moved: Readonly<Record<string, number>>;
  /** The most connections that were not authenticated, or ending, at a time. */
  readonly halfOpenMax: number;
  readonly queuedBytesMax: number;
  readonly memoryBytesMax: number;
  /** How many characters the broker logged. */
  readonly logged: number;
  /** What the subscriber of the pair saw. */
  readonly subscriber: Seen;
  /** What the witness saw, which subscribes to everything. */
  readonly witness: Seen;
}

/** The broker that is attacked. */
export interface BrokerSetup extends Pick<BrokerOptions, "limits" | "memory" | "resumeWindow"> {
  /** Whether NATS joins it to others, and how. */
  readonly uplink?: "core" | "stream";
  /** Whether it takes WebSockets, too, at the same port; then one of those who watch has one. */
  readonly web?: boolean;
}

/** One way to do harm. */
export interface Attack {
  readonly name: string;
  /** What it does, in a line. */
  readonly what: string;
  /**
   * What is special about the broker; those with the same object, one after the other, share it. By
   * default nothing is.
   */
  readonly broker?: BrokerSetup;
  /**
   * By how much the broker's memory may grow meanwhile.
   *
   * @default {MEMORY_BYTES}
   */
  readonly memoryBytes?: number;
  /**
   * By how much the median and the p99 of the pair may rise, in milliseconds; more where the subscriber
   * itself has to read what is sent.
   *
   * @default {50}
   */
  readonly riseMs?: number;
  /** Whether clients may be told of losses that there were none of. */
  readonly feignsLosses?: boolean;
  /** Takes up its position, in the attacker's process; what the pair sees then is not judged. */
  prepare?(assault: Assault): Promise<void>;
  /** Does it, for `seconds`; in the attacker's process. */
  run(assault: Assault): Promise<void>;
  /** What is not as it should be then, in a line each. */
  check?(facts: Facts): Record<string, boolean>;
}

/** One attack under way: the target, and what is found. */
export class Assault {
  readonly endpoint: Endpoint;
  readonly nats: Endpoint | undefined;
  readonly keys: Keys;
  readonly seconds: number;
  readonly #counts: Record<string, number> = {};
  readonly #faults = new Set<string>();
  #end = Infinity;
  #over: Promise<void> = Promise.resolve();
  readonly #clients = new Set<RawClient | RawWeb>();

  constructor({ endpoint, nats, keys, seconds }: Target) {
    this.endpoint = endpoint;
    this.nats = nats;
    this.keys = keys;
    this.seconds = seconds;
  }

  /** Its time begins. */
  begin(): void {
    this.#end = performance.now() + this.seconds * 1000;
    this.#over = delay(this.seconds * 1000);
  }

  /** How much of something there is: less where there is little time. */
  size(whole: number, few: number): number {
    return this.seconds >= WHOLE_SECONDS ? whole : few;
  }

  /** Whether its time is over. */
  get isOver(): boolean {
    return performance.now() >= this.#end;
  }

  /** What it tells. */
  get report(): AttackReport {
    return { counts: this.#counts, faults: [...this.#faults] };
  }

  /** Resolves when its time is over. */
  get over(): Promise<void> {
    return this.#over;
  }

  /** Counts something that was done. */
  count(what: string, times = 1): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + times;
  }

  /** Whether something was done and counted. */
  has(what: string): boolean {
    return this.#counts[what] !== undefined;
  }

  /** Notes the largest of some numbers. */
  most(what: string, value: number): void {
    this.#counts[what] = Math.max(this.#counts[what] ?? 0, value);
  }

  /** Notes a number. */
  note(what: string, value: number): void {
    this.#counts[what] = value;
  }

  /** Notes a fault when something is not right. */
  expect(fault: string, isRight: boolean): void {
    if (!isRight) this.#faults.add(fault);
  }

  /** Notes a fault when the broker does not end a connection for this reason. */
  async expectGoodbye(client: RawClient, what: string, reason: number): Promise<void> {
    const given = await within(ANSWER_MS, client.goodbye());
    this.expect(`${what}: it ended for ${given}, not for ${reason}`, given === reason);
    this.count(what);
    this.drop(client);
  }

  /** A new connection, without a word; none when there can be none now. */
  async dial(): Promise<RawClient | undefined> {
    try {
      return this.#keep(await RawClient.dial(this.endpoint));
    } catch (_error) { // Refused or reset: the broker is busy.
      this.count("connections that failed");
      return undefined;
    }
  }

  /** A new connection that is authenticated. */
  async authenticated(credentials: RawCredentials): Promise<RawClient> {
    return this.#keep(await RawClient.authenticated(this.endpoint, credentials));
  }

  /** A new connection with a session. */
  async opened(
    credentials: RawCredentials,
    opening: Parameters<RawClient["open"]>[0] = {},
  ): Promise<RawClient> {
    return this.#keep(await RawClient.opened(this.endpoint, credentials, opening));
  }

  /** A new connection for HTTP, without a word; none when there can be none now. */
  async dialWeb(): Promise<RawWeb | undefined> {
    try {
      return this.#keep(await RawWeb.dial(this.endpoint));
    } catch (_error) { // Refused or reset: the broker is busy.
      this.count("connections that failed");
      return undefined;
    }
  }

  /** A new WebSocket that is not authenticated; none when there can be none now. */
  async upgraded(): Promise<RawWeb | undefined> {
    try {
      return this.#keep(await RawWeb.upgraded(this.endpoint));
    } catch (_error) { // Refused or reset: the broker is busy.
      this.count("connections that failed");
      return undefined;
    }
  }

  #keep<C extends RawClient | RawWeb>(client: C): C {
    this.#clients.add(client);
    return client;
  }

  /** Closes a connection. */
  drop(client: RawClient | RawWeb): void {
    this.#clients.delete(client);
    client.close();
  }

  /** Closes all its connections. */
  close(): void {
    for (const client of this.#clients) this.drop(client);
  }

  /** Does something again and again, so many times at once, until its time is over. */
  async keepOn(times: number, action: () => Promise<void>): Promise<void> {
    await inParallel(times, async () => {
      while (!this.isOver) await action();
    });
  }

  /**
   * Sends the same bytes again and again until its time is over or the connection is lost; never waits
   * beyond its time.
   *
   * @returns How many times all of them were sent.
   */
  async flood(client: RawClient | RawWeb, bytes: Uint8Array): Promise<number> {
    let times = 0;
    while (!this.isOver && await Promise.race([client.send(bytes), this.over])) times++;
    return times;
  }
}

/** Does something so many times at once. */
export async function inParallel(
  times: number,
  action: (i: number) => Promise<void>,
): Promise<void> {
  await Promise.all(Array.from({ length: times }, (_, i) => action(i)));
}

/** What a promise resolves to, or `undefined` when that takes longer. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => timer = setTimeout(resolve, ms, undefined));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
