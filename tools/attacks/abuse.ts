/**
 * Attacks a broker in every way that we can think of, one after the other, and checks that it stands:
 * each attack ends as the protocol says, a healthy pair of clients loses nothing, and the broker's
 * memory stays within bounds.
 *
 * ```sh
 * deno task abuse                          # all attacks, 5 s each
 * deno task abuse --seconds 1
 * deno task abuse --attack replay
 * ```
 *
 * ```
 *   attacker ───▶ ┌────────┐ ◀─── publisher, subscriber: the pair, which must not notice
 *   (a process    │ broker │ ◀─── witness: subscribes to everything, sees what nobody may see
 *   for each)     └────────┘ ◀─── newcomers: connect meanwhile, and go
 * ```
 *
 * Each is a process of its own, but for the newcomers, which are here. The attacker's client shares no
 * code with the library (`raw_client.ts`). The exit status is 0 when all is well.
 */
import { delay } from "@std/async/delay";
import { parseArgs } from "@std/cli/parse-args";
import type { BrokerOptions, BrokerStats } from "../../broker.ts";
import {
  Assault,
  type Attack,
  type AttackReport,
  type Facts,
  type Keys,
  MEMORY_BYTES,
  METERED_RATE,
  type Target,
  within,
} from "./attack.ts";
import { median } from "../harness/median.ts";
import { ATTACKS } from "./attacks.ts";
import {
  Bystander,
  NEWCOMER_PATIENCE_MS,
  Newcomers,
  type Role,
  standBy,
  type Watched,
} from "./bystanders.ts";
import {
  type BrokerFigures,
  endWithParent,
  isRight,
  Latencies,
  MeasuredBroker,
  mib,
  Process,
  serveMeasured,
  tell,
} from "../harness/processes.ts";

/** The pair and the witness; whoever else is connected is an attacker or a newcomer. */
const HONEST = 3;
/** By how much what the broker holds may have grown in the end, without garbage. */
const KEPT_BYTES = 16 * 2 ** 20;
/** The same of what is resident: the system's allocator gives little of it back. */
const RESIDENT_BYTES = 640 * 2 ** 20;
/** One collection leaves what only finalizers let go of. */
const COLLECTIONS = 3;
const COLLECT_MS = 500;
/** How long a client may hold others back whose key has that right. */
const MAX_PATIENCE_MS = 1000;
/** How long what an attacker leaves may come back: not for all of the attacks that follow. */
const RESUME_WINDOW_MS = 5000;
/**
 * Who floods the broker takes some time from the others, and may take no more than that at the median.
 * One in a hundred says little on a machine with fewer processors than there are processes here.
 */
const MEDIAN_MS = 1000;
/** How long an attack may take beyond its time, and the broker until it is rid of the attackers. */
const GRACE_MS = 20_000;
const SETTLE_MS = 10_000;
const GAUGES = ["connections", "sessions", "detached", "waiting", "queuedBytes"];

/** The rights of the attackers' keys. */
const RIGHTS = {
  insider: { publish: [null], subscribe: [null] },
  restricted: { publish: ["mine"], subscribe: ["mine"] },
  metered: { publish: ["metered"], messagesPerSecond: METERED_RATE },
  holder: { publish: ["held"], subscribe: ["held"], wait: true },
};

/** The most that a broker held. */
interface Most {
  readonly rss: number;
  readonly halfOpen: number;
  readonly queuedBytes: number;
}

/** What the broker tells about itself. */
class Watch {
  #told = Promise.withResolvers<BrokerFigures>();
  #most: Most = { rss: 0, halfOpen: 0, queuedBytes: 0 };
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
    };
    this.#told.resolve(figures);
    this.#told = Promise.withResolvers();
  }

  /** What it tells next. */
  async next(): Promise<BrokerFigures> {
    const figures = await within(GRACE_MS, this.#told.promise);
    if (figures === undefined) throw new Error(`The broker told nothing for ${GRACE_MS} ms`);
    return figures;
  }

  /** The most from now on. */
  begin({ rssMax, rss }: BrokerFigures): void {
    this.#peak = rssMax;
    this.#most = { rss, halfOpen: 0, queuedBytes: 0 };
  }

  /** The most since then. */
  get most(): Most {
    return this.#most;
  }
}

/** The broker, and those who do no harm, for as long as one attack follows the other. */
class Scene implements AsyncDisposable {
  readonly target: Target;
  readonly watch: Watch;
  readonly publisher: Bystander;
  readonly subscriber: Bystander;
  readonly witness: Bystander;
  readonly #broker: MeasuredBroker;

  private constructor(broker: MeasuredBroker, watch: Watch, target: Target) {
    this.#broker = broker;
    this.watch = watch;
    this.target = target;
    const { endpoint, keys: { single: credentials } } = target;
    const start = (role: Role) => new Bystander(import.meta.url, role, { endpoint, credentials });
    this.subscriber = start("subscriber");
    this.witness = start("witness");
    this.publisher = start("publisher");
  }

  /** Lets all of them connect; who publishes comes last, so that the others miss nothing. */
  async #connect(): Promise<void> {
    for (const bystander of [this.subscriber, this.witness, this.publisher]) {
      await bystander.connect();
    }
  }

  static async start(seconds: number): Promise<Scene> {
    const watch = new Watch();
    const keys = Object.entries(RIGHTS).map(([name, rights]) => ({
      name,
      key: crypto.randomUUID(),
      ...rights,
    }));
    const options: BrokerOptions = {
      address: "tcp://127.0.0.1:0",
      maxPatience: MAX_PATIENCE_MS,
      resumeWindow: RESUME_WINDOW_MS,
      keys,
    };
    const { broker, address, authkey } = await MeasuredBroker.start(import.meta.url, options, {
      onFigures: (figures) => watch.take(figures),
      // As the standalone broker is run.
      flags: ["--v8-flags=--max-semi-space-size=1,--expose-gc"],
    });
    const { hostname, port } = new URL(address.replace("tcp:", "http:"));
    const named = Object.fromEntries(keys.map(({ name, key }) => [name, { name, key }]));
    const scene = new Scene(broker, watch, {
      endpoint: { hostname, port: Number(port) },
      keys: { single: { name: "", key: authkey }, ...named } as unknown as Keys,
      seconds,
    });
    await scene.#connect();
    return scene;
  }

  /** The broker's figures, once it has no connections but those of who does no harm. */
  async settled(): Promise<{ figures: BrokerFigures; isSettled: boolean }> {
    for (const end = performance.now() + SETTLE_MS;;) {
      const figures = await this.watch.next();
      const isSettled = figures.stats.connections <= HONEST;
      if (isSettled || performance.now() > end) return { figures, isSettled };
    }
  }

  /** The broker's figures without garbage. */
  async collected(): Promise<BrokerFigures> {
    for (let i = 0; i < COLLECTIONS; i++) {
      this.#broker.collect();
      await delay(COLLECT_MS);
    }
    return await this.watch.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const bystander of [this.publisher, this.subscriber, this.witness]) {
      await bystander[Symbol.asyncDispose]();
    }
    await this.#broker[Symbol.asyncDispose]();
  }
}

/** What is known after an attack, to be printed and judged. */
interface Outcome {
  readonly attack: Attack;
  readonly facts: Facts;
  readonly before: BrokerFigures;
  readonly after: BrokerFigures;
  readonly most: Most;
  readonly isSettled: boolean;
  readonly subscriber: Watched;
  readonly newcomers: { readonly times: readonly number[]; readonly refused: number };
  readonly faults: readonly string[];
}

/** Makes one attack. */
async function make(attack: Attack, scene: Scene): Promise<Outcome> {
  const { target, watch } = scene;
  const before = await watch.next();
  watch.begin(before);
  const joining = new Newcomers(target.endpoint, target.keys.single);
  const { counts, faults } = await attackWith(attack, target);
  const newcomers = await joining.end();
  const published = await scene.publisher.published();
  const [subscriber, witness] = await Promise.all([
    scene.subscriber.seen(published),
    scene.witness.seen(published),
  ]);
  const { figures: after, isSettled } = await scene.settled();
  const { most } = watch;
  const facts = {
    seconds: target.seconds,
    counts,
    moved: movedBetween(before.stats, after.stats),
    halfOpenMax: most.halfOpen,
    queuedBytesMax: most.queuedBytes,
    subscriber: subscriber.seen,
    witness: witness.seen,
  };
  return { attack, facts, before, after, most, isSettled, subscriber, newcomers, faults };
}

/** Attacks from a process of its own. */
async function attackWith({ name }: Attack, target: Target): Promise<AttackReport> {
  const reported = Promise.withResolvers<AttackReport>();
  const args = ["--role=attacker", `--attack=${name}`, `--target=${JSON.stringify(target)}`];
  await using process = new Process<AttackReport>(import.meta.url, args, reported.resolve);
  const died = process.status().then((code) => ({ faults: [`the attacker ended with ${code}`] }));
  const late = { faults: [`the attack did not end within ${GRACE_MS} ms after its time`] };
  const ended = Promise.race([reported.promise, died]);
  return { counts: {}, ...await within(target.seconds * 1000 + GRACE_MS, ended) ?? late };
}

/** By how much each counter moved. */
function movedBetween(before: BrokerStats, after: BrokerStats): Record<string, number> {
  const [old, now] = [flat(before), flat(after)];
  return Object.fromEntries(Object.entries(now).map(([name, n]) => [name, n - old[name]!]));
}

function flat(stats: object, prefix = ""): Record<string, number> {
  const all: Record<string, number> = {};
  for (const [name, value] of Object.entries(stats)) {
    if (typeof value === "object") Object.assign(all, flat(value, `${prefix}${name}.`));
    else if (!GAUGES.includes(name)) all[prefix + name] = value;
  }
  return all;
}

/** Prints what happened. */
function show(outcome: Outcome): void {
  const { attack, facts, before, after, most, newcomers } = outcome;
  const { counts, moved, subscriber: { received, lost, duplicated, outOfOrder } } = facts;
  const latencies = latenciesOf(outcome);
  const quantile = (part: number) => `${latencies.quantile(part).toFixed(2)} ms`;
  const { times, refused } = newcomers;
  const list = (numbers: Readonly<Record<string, number>>) =>
    Object.entries(numbers).filter(([, n]) => n !== 0).map(([name, n]) => `${name} ${round(n)}`)
      .join(", ") || "nothing";
  console.log(
    `${attack.name}: ${attack.what}\n` +
      `  attacker   ${list(counts)}\n` +
      `  pair       p50 ${quantile(0.5)}, p99 ${quantile(0.99)}; ${received} received, ` +
      `${lost} lost, ${duplicated} duplicated, ${outOfOrder} out of order\n` +
      `  newcomers  ${times.length} in ${median(times).toFixed(1)} ms (median), ` +
      `${Math.max(...times).toFixed(1)} ms at most; ${refused} refused\n` +
      `  broker     ${mib(before.rss)} resident before, ${mib(most.rss)} at most, ` +
      `${mib(after.rss)} after; at most ${mib(most.queuedBytes)} queued; ` +
      `${after.stats.detached} detached\n` +
      `  counters   ${list(moved)}`,
  );
}

function latenciesOf({ subscriber }: Outcome): Latencies {
  const latencies = new Latencies();
  latencies.addCounts(subscriber.latencies);
  return latencies;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** What is not as it should be. */
function faultsOf(outcome: Outcome): string[] {
  const { attack, facts, before, most, isSettled, newcomers, faults } = outcome;
  const { received, lost, duplicated, outOfOrder, gaps, faults: own } = facts.subscriber;
  const { memoryBytes = MEMORY_BYTES } = attack;
  const median = latenciesOf(outcome).quantile(0.5);
  const criteria: Record<string, boolean> = {
    "the pair lost something": received > 0 && lost + gaps === 0,
    "the pair got something twice, or not in its order": duplicated + outOfOrder === 0,
    [`the pair was held up for more than ${MEDIAN_MS} ms`]: median <= MEDIAN_MS,
    [`the broker grew by more than ${mib(memoryBytes)}`]: most.rss - before.rss <= memoryBytes,
    "the broker is not rid of the attackers": isSettled,
    "an honest client did not get in": Math.max(...newcomers.times) < NEWCOMER_PATIENCE_MS,
    ...attack.check?.(facts),
  };
  const failed = Object.keys(criteria).filter((fault) => !criteria[fault]);
  return [...faults, ...own, ...facts.witness.faults, ...failed];
}

async function run(attacks: readonly Attack[], seconds: number): Promise<boolean> {
  await using scene = await Scene.start(seconds);
  const faults: string[] = [];
  let reports = 0;
  const first = await scene.collected();
  for (const attack of attacks) {
    const outcome = await make(attack, scene);
    show(outcome);
    reports += outcome.facts.witness.others["*broker"] ?? 0;
    const own = faultsOf(outcome).map((fault) => `${attack.name}: ${fault}`);
    isRight(own);
    faults.push(...own);
  }
  await delay(RESUME_WINDOW_MS); // What the last ones left is forgotten.
  const last = await scene.collected();
  console.log(
    `the broker: ${mib(first.heap)} held at first, ${mib(last.heap)} in the end; ` +
      `${mib(first.rss)} resident at first, ${mib(last.rss)} in the end`,
  );
  if (reports === 0) faults.push("the witness did not hear what the broker says of itself");
  if (last.stats.sessions > HONEST) faults.push("the broker did not forget the attackers");
  if (last.heap - first.heap > KEPT_BYTES) {
    faults.push(`the broker holds ${mib(KEPT_BYTES)} more than at first`);
  }
  if (last.rss - first.rss > RESIDENT_BYTES) {
    faults.push(`the broker grew by more than ${mib(RESIDENT_BYTES)}`);
  }
  return isRight(faults);
}

/** Attacks, in this process. */
async function attack(name: string, target: Target): Promise<void> {
  endWithParent();
  const assault = new Assault(target);
  await attackNamed(name).run(assault);
  tell(assault.report);
}

function attackNamed(name: string): Attack {
  const attack = ATTACKS.find((attack) => attack.name === name);
  if (attack !== undefined) return attack;
  const names = ATTACKS.map(({ name }) => name).join(", ");
  throw new TypeError(`There is no attack "${name}": those are ${names}`);
}

async function main(args: string[]): Promise<number> {
  const flags = parseArgs(args, {
    string: ["role", "options", "target", "attack", "seconds"],
    default: { seconds: "5" },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  const { role, attack: name } = flags;
  if (role === undefined) {
    const attacks = name === undefined ? ATTACKS : [attackNamed(String(name))];
    return await run(attacks, Number(flags.seconds)) ? 0 : 1;
  }
  if (role === "broker") {
    await serveMeasured(JSON.parse(String(flags.options)), { collects: "when asked" });
  } else if (role === "attacker") await attack(String(name), JSON.parse(String(flags.target)));
  else await standBy(role as Role, JSON.parse(String(flags.target)));
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
