/**
 * Clients that do no harm while others attack: a publisher of numbered messages, subscribers that check
 * that all of them arrive, once and in order, and clients that connect and go. They use the library as
 * any program does; all but the last are processes of their own, which answer what they are asked.
 */
import { delay } from "@std/async/delay";
import { NetPubSub } from "../../mod.ts";
import { isBrokerReport } from "../harness/broker_reports.ts";
import {
  clock,
  endWithParent,
  Latencies,
  type LatencyCounts,
  Process,
  processorTimes,
  stretchBetween,
  tell,
  told,
} from "../harness/processes.ts";
import { type Seen, within } from "./attack.ts";
import type { Credentials, Endpoint } from "./raw_client.ts";

/** How many messages a second the publisher publishes. */
const STEADY_RATE = 300;
/** Where the steady messages go. */
const STEADY_TOPIC = "pair";
/** How long a subscriber waits for what was published, and the parent for an answer. */
const PATIENCE_MS = 20_000;
const ANSWER_MS = 2 * PATIENCE_MS;
const NEWCOMER_PAUSE_MS = 100;
/** How long a newcomer goes on trying. */
export const NEWCOMER_PATIENCE_MS = 15_000;

/** What a bystander does. */
export type Role = "publisher" | "subscriber" | "witness";

/** What a bystander is asked. */
type Question =
  /** Anybody: to connect, and begin. */
  | { readonly ask: "connect" }
  /** The publisher: how many messages it has published. */
  | { readonly ask: "published" }
  /** A subscriber: what it saw since it was asked last, once it has the message with this number. */
  | { readonly ask: "seen"; readonly until: number };

/** What a publisher answers. */
export interface Published {
  readonly published: number;
}

/** What a subscriber answers. */
export interface Watched {
  readonly seen: Seen;
  readonly latencies: LatencyCounts;
  readonly rss: number;
  /** How often as much time as it computed it wanted to. */
  readonly stretch: number;
}

type Answer = { readonly connected: true } | Published | Watched;

/** Where and how somebody who does no harm connects. */
export interface Entrance {
  readonly endpoint: Endpoint;
  readonly credentials: Credentials;
  /** The path of a WebSocket; none for TCP. */
  readonly path?: string;
}

/** A bystander, as the process that started it sees it. */
export class Bystander implements AsyncDisposable {
  readonly #process: Process<Answer>;
  #answer = Promise.withResolvers<Answer>();

  /** Starts `module` with this role, for which it calls {@linkcode standBy}. */
  constructor(
    module: string,
    role: Role,
    target: Entrance,
  ) {
    const args = [`--role=${role}`, `--target=${JSON.stringify(target)}`];
    this.#process = new Process<Answer>(module, args, (answer) => this.#answer.resolve(answer), {
      flags: ["--unstable-unsafe-proto"], // With the setter that other runtimes have.
    });
  }

  /** Connects, and begins. */
  async connect(): Promise<void> {
    await this.#ask({ ask: "connect" });
  }

  /** How many messages it has published. */
  async published(): Promise<number> {
    return (await this.#ask<Published>({ ask: "published" })).published;
  }

  /** What it saw since the last call, once it has the message with this number. */
  seen(until: number): Promise<Watched> {
    return this.#ask<Watched>({ ask: "seen", until });
  }

  async #ask<A extends Answer>(question: Question): Promise<A> {
    this.#answer = Promise.withResolvers();
    await this.#process.send(question);
    const answer = await within(ANSWER_MS, this.#answer.promise);
    if (answer === undefined) throw new Error(`A bystander did not answer for ${ANSWER_MS} ms`);
    return answer as A;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

/** Plays a role in this process, and answers what the parent asks, until that ends. */
export async function standBy(
  role: Role,
  { endpoint, credentials: { key }, path }: Entrance,
): Promise<void> {
  endWithParent();
  const address = addressOf(endpoint, path);
  const player = role === "publisher"
    ? new Publisher(address, key)
    : new Watcher(address, key, role === "witness" ? null : STEADY_TOPIC);
  for await (const question of told<Question>()) {
    if (question.ask === "connect") await player.connect();
    tell(question.ask === "connect" ? { connected: true } : await player.answer(question));
  }
}

function addressOf({ hostname, port }: Endpoint, path?: string): string {
  return path === undefined ? `tcp://${hostname}:${port}` : `ws://${hostname}:${port}${path}`;
}

/** Publishes numbered messages at a steady rate. */
class Publisher {
  readonly #bus: NetPubSub;
  #published = 0;

  constructor(address: string, key: string) {
    this.#bus = new NetPubSub(address, key);
  }

  async connect(): Promise<void> {
    await this.#bus.connect();
    let last = performance.now();
    let owed = 0;
    setInterval(() => {
      const now = performance.now();
      owed += (now - last) * STEADY_RATE / 1000;
      last = now;
      for (; owed >= 1; owed--) {
        this.#bus.publish(STEADY_TOPIC, { n: ++this.#published, at: clock() });
      }
    }, 1);
  }

  answer(): Published {
    return { published: this.#published };
  }
}

/** Checks what arrives. */
class Watcher {
  readonly #bus: NetPubSub;
  readonly #missing = new Set<number>();
  #latest = 0;
  #counts = noCounts();
  #latencies = new Latencies();
  #others: Record<string, number> = {};
  #faults: string[] = [];
  #processor = processorTimes();

  constructor(address: string, key: string, topic: string | null) {
    this.#bus = new NetPubSub(address, key, {
      onError: () => this.#counts.errors++,
      onGap: ({ missed = 1 }) => this.#counts.gaps += missed,
      onState: (state) => {
        if (state === "reconnecting") this.#faults.push("a client lost its connection");
      },
    });
    this.#bus.addSubscriber(topic, (path, message) => this.#take(path, message));
    if (topic !== null) return;
    // Not for the catch-all.
    this.#bus.addSubscriber("*broker", (path, message) => this.#takeReport(path, message));
  }

  connect(): Promise<void> {
    return this.#bus.connect();
  }

  #take(path: readonly string[], message: Record<string, unknown>): void {
    if (message.forbidden === true || path[0] === "*broker") this.#counts.forbidden++;
    this.#checkPrototypes(message);
    if (path.length === 1 && path[0] === STEADY_TOPIC) return this.#takeSteady(message);
    this.#count(path[0] ?? "");
  }

  /** Takes what comes to the topics of the broker, which no client may publish. */
  #takeReport(path: readonly string[], message: Record<string, unknown>): void {
    if (isBrokerReport(path, message)) this.#count("*broker");
    else this.#counts.forbidden++;
  }

  #count(first: string): void {
    this.#others[first] = (this.#others[first] ?? 0) + 1;
  }

  #takeSteady({ n, at }: Record<string, unknown>): void {
    const number = Number(n);
    this.#counts.received++;
    this.#latencies.add(clock() - Number(at));
    if (number > this.#latest) {
      for (let skipped = this.#latest + 1; skipped < number; skipped++) this.#missing.add(skipped);
      this.#latest = number;
    } else if (this.#missing.delete(number)) this.#counts.outOfOrder++;
    else this.#counts.duplicated++;
  }

  /** A hostile name must not reach what all objects have in common. */
  #checkPrototypes(message: object): void {
    const isClean = Object.keys(Object.prototype).length === 0 &&
      !("polluted" in Object.prototype) && Object.getPrototypeOf(message) === Object.prototype;
    if (!isClean) this.#faults.push("a message changed a prototype");
  }

  async answer(question: Question): Promise<Watched> {
    const until = question.ask === "seen" ? question.until : 0;
    for (const end = performance.now() + PATIENCE_MS; this.#latest < until; await delay(10)) {
      if (performance.now() > end) break;
    }
    const lost = this.#missing.size + Math.max(0, until - this.#latest);
    const faults = [...new Set(this.#faults)];
    const seen = { ...this.#counts, lost, others: this.#others, faults };
    const latencies = this.#latencies.counts();
    this.#missing.clear();
    this.#counts = noCounts();
    this.#latencies = new Latencies();
    this.#others = {};
    this.#faults = [];
    const processor = processorTimes();
    const stretch = stretchBetween(this.#processor, processor);
    this.#processor = processor;
    return { seen, latencies, rss: Deno.memoryUsage().rss, stretch };
  }
}

function noCounts() {
  return { received: 0, duplicated: 0, outOfOrder: 0, forbidden: 0, errors: 0, gaps: 0 };
}

/** Clients that connect and go, one after the other, in this process; and how long each took. */
export class Newcomers {
  readonly #address: string;
  readonly #key: string;
  readonly #coming: Promise<void>;
  readonly #times: number[] = [];
  #refused = 0;
  #isOver = false;

  /** The first one comes at once. */
  constructor(endpoint: Endpoint, { key }: Credentials) {
    this.#address = addressOf(endpoint);
    this.#key = key;
    this.#coming = this.#come();
  }

  async #come(): Promise<void> {
    while (!this.#isOver) {
      const began = performance.now();
      while (!await this.#connects() && performance.now() - began < NEWCOMER_PATIENCE_MS) {
        this.#refused++;
      }
      this.#times.push(performance.now() - began);
      await delay(NEWCOMER_PAUSE_MS);
    }
  }

  async #connects(): Promise<boolean> {
    const bus = new NetPubSub(this.#address, this.#key);
    try {
      await bus.connect();
      await bus.disconnect();
      return true;
    } catch (_error) { // ConnectionLostError: there were too many, and this was the oldest.
      return false;
    }
  }

  /**
   * Lets the last one through.
   *
   * @returns How many milliseconds each took, and how often one had to try again.
   */
  async end(): Promise<{ times: readonly number[]; refused: number }> {
    this.#isOver = true;
    await this.#coming;
    return { times: this.#times, refused: this.#refused };
  }
}
