/** The broker that is attacked, and those who do no harm. */
import { delay } from "@std/async/delay";
import type { BrokerKey, BrokerOptions } from "../../broker.ts";
import { NatsServer } from "../harness/nats_server.ts";
import { type BrokerFigures, MeasuredBroker } from "../harness/processes.ts";
import {
  type BrokerSetup,
  GRANTS,
  type Keys,
  METERED_RATE,
  type Target,
  within,
} from "./attack.ts";
import { Bystander, type Entrance, type Watched } from "./bystanders.ts";
import type { Endpoint } from "./raw_client.ts";
import { PATH } from "./raw_web.ts";

/** The pair and the witness; whoever else is connected is an attacker or a newcomer. */
export const HONEST = 3;
/** How long a client may hold others back whose key has that right. */
const MAX_PATIENCE_MS = 1000;
/** How long what an attacker leaves may come back: not for all of the attacks that follow. */
export const RESUME_WINDOW_MS = 5000;
/** How long the broker may say nothing. */
const SILENT_MS = 20_000;
const SETTLE_MS = 10_000;
/** One collection leaves what only finalizers let go of. */
const COLLECTIONS = 3;
const COLLECT_MS = 500;

const GRANTED = Array.from({ length: GRANTS }, (_, i) => ["granted", `t${i}`]);
/** The rights of the attackers' keys. */
const RIGHTS = {
  insider: { publish: [null], subscribe: [null], serve: [null] },
  restricted: { publish: ["mine"], subscribe: ["mine"] },
  metered: { publish: ["metered"], messagesPerSecond: METERED_RATE },
  holder: { publish: ["held"], subscribe: ["held"], wait: true },
  nobody: {},
  many: { publish: GRANTED, subscribe: GRANTED },
};

/** What a broker's process is told, in arguments, which may not be long. */
export interface Served {
  readonly options: BrokerOptions;
  /** The secrets of the attackers' keys, by name. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** What joins it to others. */
  readonly uplink?: { readonly servers: string; readonly stream?: string };
}

/** The attackers' keys with their rights. */
export function keysOf(secrets: Readonly<Record<string, string>>): BrokerKey[] {
  return Object.entries(RIGHTS).map(([name, rights]) => ({ name, key: secrets[name]!, ...rights }));
}

/** The most that a broker held. */
export interface Most {
  readonly rss: number;
  readonly halfOpen: number;
  readonly queuedBytes: number;
  readonly memoryBytes: number;
}

/** What the broker tells about itself. */
export class Watch {
  #told = Promise.withResolvers<BrokerFigures>();
  #most: Most = { rss: 0, halfOpen: 0, queuedBytes: 0, memoryBytes: 0 };
  /** The largest `rssMax` of the time before: it only counts when it grows. */
  #peak = 0;

  /** Takes what it tells. */
  take(figures: BrokerFigures): void {
    const { stats, rss, rssMax } = figures;
    const most = this.#most;
    this.#most = {
      rss: Math.max(most.rss, rssMax > this.#peak ? rssMax : rss),
      halfOpen: Math.max(most.halfOpen, stats.connections - stats.sessions + stats.detached),
      queuedBytes: Math.max(most.queuedBytes, stats.queuedBytes),
      memoryBytes: Math.max(most.memoryBytes, stats.memoryBytes),
    };
    this.#told.resolve(figures);
    this.#told = Promise.withResolvers();
  }

  /**
   * What it tells next.
   *
   * @throws {Error} If it tells nothing for long.
   */
  async next(): Promise<BrokerFigures> {
    const figures = await within(SILENT_MS, this.#told.promise);
    if (figures === undefined) throw new Error(`The broker told nothing for ${SILENT_MS} ms`);
    return figures;
  }

  /** The most from now on. */
  begin({ rssMax, rss }: BrokerFigures): void {
    this.#peak = rssMax;
    this.#most = { rss, halfOpen: 0, queuedBytes: 0, memoryBytes: 0 };
  }

  /** The most since then. */
  get most(): Most {
    return this.#most;
  }
}

function endpointOf(address: string): Endpoint {
  const { hostname, port } = new URL(address.replace(/^\w+:/, "http:"));
  return { hostname, port: Number(port) };
}

/** A publisher and its subscriber; where there are WebSockets, another subscriber, and both have one. */
export class Pair implements AsyncDisposable {
  readonly publisher: Bystander;
  readonly #subscribers: readonly Bystander[];

  /** Starts them, with this module. */
  constructor(module: string, target: Entrance, path?: string) {
    const web = path === undefined ? target : { ...target, path };
    this.#subscribers = (path === undefined ? [target] : [target, web])
      .map((entrance) => new Bystander(module, "subscriber", entrance));
    this.publisher = new Bystander(module, "publisher", web);
  }

  /** How many they are. */
  get size(): number {
    return 1 + this.#subscribers.length;
  }

  /** Lets all connect; who publishes comes last, so that the others miss nothing. */
  async connect(): Promise<void> {
    for (const subscriber of this.#subscribers) await subscriber.connect();
    await this.publisher.connect();
  }

  /** What the subscribers saw since the last call, once they have all that was published. */
  async seen(published?: number): Promise<Watched> {
    const until = published ?? await this.publisher.published();
    const all = await Promise.all(this.#subscribers.map((subscriber) => subscriber.seen(until)));
    return all.reduce(together);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.publisher[Symbol.asyncDispose]();
    for (const subscriber of this.#subscribers) await subscriber[Symbol.asyncDispose]();
  }
}

/** What two subscribers saw, as if they were one. */
function together(a: Watched, b: Watched): Watched {
  const [one, two] = [a.seen, b.seen];
  const names = [...Object.keys(one.others), ...Object.keys(two.others)];
  return {
    seen: {
      received: one.received + two.received,
      lost: one.lost + two.lost,
      duplicated: one.duplicated + two.duplicated,
      outOfOrder: one.outOfOrder + two.outOfOrder,
      forbidden: one.forbidden + two.forbidden,
      errors: one.errors + two.errors,
      gaps: one.gaps + two.gaps,
      others: Object.fromEntries(
        names.map((name) => [name, (one.others[name] ?? 0) + (two.others[name] ?? 0)]),
      ),
      faults: [...one.faults, ...two.faults],
    },
    latencies: [...a.latencies, ...b.latencies],
    rss: Math.max(a.rss, b.rss),
    stretch: Math.max(a.stretch, b.stretch),
  };
}

/** A pair at a broker that nobody attacks, on the same machine at the same time. */
export class Beside implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #pair: Pair;

  private constructor(stack: AsyncDisposableStack, pair: Pair) {
    this.#stack = stack;
    this.#pair = pair;
  }

  /** Starts both, with a module that plays all roles. */
  static async start(module: string): Promise<Beside> {
    await using stack = new AsyncDisposableStack();
    const { broker, address, authkey } = await startBroker(module, {
      options: { address: "tcp://127.0.0.1:0" },
    });
    stack.use(broker);
    const credentials = { name: "", key: authkey };
    const pair = stack.use(new Pair(module, { endpoint: endpointOf(address), credentials }));
    await pair.connect();
    return new Beside(stack.move(), pair);
  }

  /** What the subscriber saw since the last call. */
  seen(): Promise<Watched> {
    return this.#pair.seen();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function startBroker(
  module: string,
  served: Served,
  onFigures: (figures: BrokerFigures) => void = () => {},
): ReturnType<typeof MeasuredBroker.start> {
  return MeasuredBroker.start(module, served, {
    onFigures,
    // As the standalone broker is run.
    flags: ["--v8-flags=--max-semi-space-size=1,--expose-gc"],
  });
}

/** What a {@linkcode Scene} is made of. */
interface Parts {
  readonly target: Target;
  readonly watch: Watch;
  readonly broker: MeasuredBroker;
  readonly pair: Pair;
  readonly witness: Bystander;
  /** Ends all of them. */
  readonly stack: AsyncDisposableStack;
}

/** The broker, and those who do no harm, for as long as one attack follows the other. */
export class Scene implements AsyncDisposable {
  readonly target: Target;
  readonly watch: Watch;
  readonly #parts: Parts;
  readonly #beside: Beside;

  private constructor(parts: Parts, beside: Beside) {
    this.target = parts.target;
    this.watch = parts.watch;
    this.#parts = parts;
    this.#beside = beside;
  }

  /** Starts a broker that is set up like that, and all others; `module` plays all roles. */
  static async start(
    module: string,
    { uplink, web = false, ...setup }: BrokerSetup,
    seconds: number,
    beside: Beside,
  ): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const nats = uplink &&
      stack.use(await NatsServer.start(uplink === "stream" ? { jetstream: true } : {}));
    const watch = new Watch();
    const secrets = Object.fromEntries(
      Object.keys(RIGHTS).map((name) => [name, crypto.randomUUID()]),
    );
    const { broker, address, authkey } = await startBroker(module, {
      options: {
        address: ["tcp://127.0.0.1:0", ...web ? [`ws://127.0.0.1:0${PATH}`] : []],
        maxPatience: MAX_PATIENCE_MS,
        resumeWindow: RESUME_WINDOW_MS,
        ...setup,
      },
      secrets,
      ...(nats && {
        uplink: { servers: nats.url, ...(uplink === "stream" && { stream: "ABUSE" }) },
      }),
    }, (figures) => watch.take(figures));
    stack.use(broker);
    const named = Object.fromEntries(
      Object.entries(secrets).map(([name, key]) => [name, { name, key }]),
    );
    const single = { name: "", key: authkey };
    const target = {
      endpoint: endpointOf(address),
      ...(nats && { nats: endpointOf(nats.url) }),
      keys: { single, ...named } as unknown as Keys,
      seconds,
    };
    const honest = { endpoint: target.endpoint, credentials: single };
    const witness = stack.use(new Bystander(module, "witness", honest));
    const pair = stack.use(new Pair(module, honest, web ? PATH : undefined));
    await witness.connect();
    await pair.connect();
    return new Scene({ target, watch, broker, pair, witness, stack: stack.move() }, beside);
  }

  /** What the subscriber of the pair and the witness saw since the last call, and those beside. */
  async seen(): Promise<{ subscriber: Watched; witness: Watched; beside: Watched }> {
    const { pair, witness } = this.#parts;
    const published = await pair.publisher.published();
    const [subscriber, watched, beside] = await Promise.all([
      pair.seen(published),
      witness.seen(published),
      this.#beside.seen(),
    ]);
    return { subscriber, witness: watched, beside };
  }

  /**
   * Lets messages pass for so long while nobody attacks.
   *
   * @returns How long they took.
   * @throws {Error} If none came.
   */
  async quiet(ms: number): Promise<Watched> {
    await this.seen(); // What was before.
    await delay(ms);
    const { subscriber } = await this.seen();
    if (subscriber.seen.received > 0) return subscriber;
    throw new Error("The pair hears nothing any more, although nobody attacks");
  }

  /** The broker's figures, once it has no connections but those of who does no harm. */
  async settled(): Promise<{ figures: BrokerFigures; isSettled: boolean }> {
    for (const end = performance.now() + SETTLE_MS;;) {
      const figures = await this.watch.next();
      const isSettled = figures.stats.connections <= 1 + this.#parts.pair.size; // The witness is one.
      if (isSettled || performance.now() > end) return { figures, isSettled };
    }
  }

  /** The broker's figures without garbage. */
  async collected(): Promise<BrokerFigures> {
    for (let i = 0; i < COLLECTIONS; i++) {
      this.#parts.broker.collect();
      await delay(COLLECT_MS);
    }
    return await this.watch.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.stack.disposeAsync();
  }
}
