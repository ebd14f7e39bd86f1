/**
 * Freezes one of ten subscribers while messages pass, and checks that the others do not notice; or,
 * where it may hold them back, that nobody misses anything.
 *
 * ```sh
 * deno task freeze                         # "drop-oldest": three times, each between times without
 * deno task freeze --rounds 5
 * deno task freeze --wait                  # "wait", which the broker allows for 60 s
 * deno task freeze --rate 50000 --bytes 64 --seconds 10
 * ```
 *
 * - `--seconds` is for how long it is frozen each time; `--rate` is how many messages a second reach all
 *   ten together. Everybody is a process of their own.
 * - The others do not notice when their median and their p99 hardly rise over what they are between
 *   the times; the median of the rounds counts.
 *
 * The exit status is 0 when all is well.
 */
import { delay } from "@std/async/delay";
import { parseArgs } from "@std/cli/parse-args";
import { NetPubSub } from "../../mod.ts";
import { median } from "../harness/median.ts";
import {
  type BrokerFigures,
  clock,
  endWithParent,
  isRight,
  Latencies,
  type LatencyCounts,
  MeasuredBroker,
  mib,
  Process,
  serveMeasured,
  tell,
} from "../harness/processes.ts";
import { Rise } from "../harness/rise.ts";
import { until } from "../harness/until.ts";
import { duePer } from "./pace.ts";

const SUBSCRIBERS = 10;
const MEMORY_BYTES = 256 * 1024 * 1024;
/** What the broker's process may have besides `memory`. */
const RSS_ROOM_BYTES = 200 * 1024 * 1024;
const MAX_PATIENCE_MS = 60_000;
/** By how much the median and the p99 of the others may rise. */
const RISE_MS_MAX = 25;
/** For which part of the time that one is frozen messages pass before and after it, with none. */
const QUIET_PART = 1 / 4;
/** The publisher waits when so many bytes are not acknowledged. */
const PENDING_MAX = 2 * 1024 * 1024;
/** How long messages pass before and after what is measured, and at least after one was frozen. */
const MARGIN_MS = 3000;
/** Less is queued once the one that was frozen has taken what waited for it. */
const CAUGHT_UP_BYTES = 8 * 1024 * 1024;
/** How long all may take to come, or to get what is queued. */
const PATIENCE_MS = 60_000;
/** Below this part of the wanted rate a publisher is held back. */
const HELD_BACK = 1 / 2;

/** What the publisher marks its messages with: what is measured has a number. */
type Phase = "between" | `without ${number}` | `frozen ${number}` | "over";

interface Topics {
  data: { n: number; at: number; phase: Phase; data: Uint8Array };
  phase: { phase: Phase };
  end: object;
}

interface Received {
  readonly received: number;
  readonly missed: number;
  readonly gaps: number;
  /** Messages that came twice or too late. */
  readonly disordered: number;
  /** By phase. */
  readonly latencies: Readonly<Record<string, LatencyCounts>>;
}

type Report =
  | { ready: true }
  | { phase: Phase; rate: number }
  | { published: number }
  | Received;

interface Load {
  readonly rate: number;
  readonly bytes: number;
}

/** Publishes at an even pace until it is over. */
async function publish(bus: NetPubSub<Topics>, { rate, bytes }: Load): Promise<void> {
  let phase: Phase = "between";
  bus.addSubscriber("phase", (_topic, message) => phase = message.phase);
  await bus.flush();
  const data = new Uint8Array(bytes);
  let n = 0;
  let told = 0;
  const telling = setInterval(() => {
    tell({ phase, rate: n - told });
    told = n;
  }, 1000);
  tell({ ready: true });
  for await (const due of duePer(rate)) {
    for (let i = 0; i < due; i++) bus.publish("data", { n: ++n, at: clock(), phase, data });
    if (bus.pending > PENDING_MAX) await bus.flush();
    if (phase as Phase === "over") break;
  }
  await bus.flush();
  clearInterval(telling);
  tell({ published: n });
}

async function subscribe(bus: NetPubSub<Topics>, told: { missed: number; gaps: number }) {
  const latencies = new Map<Phase, Latencies>();
  const end = Promise.withResolvers<void>();
  let received = 0;
  let disordered = 0;
  let latest = 0;
  bus.addSubscriber("data", (_topic, { n, at, phase }) => {
    received++;
    if (n <= latest) disordered++;
    latest = n;
    if (phase === "between") return;
    let own = latencies.get(phase);
    if (own === undefined) latencies.set(phase, own = new Latencies());
    own.add(clock() - at);
  });
  bus.addSubscriber("end", () => end.resolve());
  await bus.flush();
  tell({ ready: true });
  await end.promise;
  const counts = [...latencies].map(([phase, own]) => [phase, own.counts()]);
  tell({ received, ...told, disordered, latencies: Object.fromEntries(counts) });
}

async function client(flags: Record<string, unknown>): Promise<void> {
  endWithParent();
  const told = { missed: 0, gaps: 0 };
  await using bus = new NetPubSub<Topics>(String(flags.address), String(flags.key), {
    overflow: flags.wait ? "wait" : "drop-oldest",
    onGap: ({ missed = NaN }) => {
      told.gaps++;
      told.missed += missed;
    },
  });
  await bus.connect();
  await (flags.role === "publisher"
    ? publish(bus, { rate: Number(flags.rate), bytes: Number(flags.bytes) })
    : subscribe(bus, told));
}

interface RunOptions extends Load {
  readonly seconds: number;
  readonly wait: boolean;
  readonly rounds: number;
}

interface Outcome {
  readonly published: number;
  /** The one that may be frozen is the first. */
  readonly subscribers: readonly Received[];
  /** How long messages took to the others, in each round. */
  readonly rises: readonly Rise[];
  /** Published in each second, after the first. */
  readonly rates: readonly { readonly phase: Phase; readonly rate: number }[];
  readonly figures: BrokerFigures;
}

/** Lets messages pass, with the first subscriber frozen now and then. */
async function run(options: RunOptions): Promise<Outcome> {
  const { rate, bytes, seconds, wait, rounds } = options;
  await using stack = new AsyncDisposableStack();
  const { broker, address, authkey } = await MeasuredBroker.start(import.meta.url, {
    memory: MEMORY_BYTES,
    maxPatience: wait ? MAX_PATIENCE_MS : 0,
  });
  stack.use(broker);

  let ready = 0;
  let published: number | undefined;
  const subscribers: Received[] = [];
  const rates: { phase: Phase; rate: number }[] = [];
  const start = (role: string, index: number, ...args: string[]) => {
    const all = [`--role=${role}`, `--address=${address}`, `--key=${authkey}`, ...args];
    const process = new Process<Report>(import.meta.url, wait ? [...all, "--wait"] : all, take);
    return stack.use(process);
    function take(report: Report): void {
      if ("ready" in report) ready++;
      else if ("rate" in report) rates.push(report);
      else if ("published" in report) published = report.published;
      else subscribers[index] = report;
    }
  };
  const processes = Array.from({ length: SUBSCRIBERS }, (_, i) => start("subscriber", i));
  await until(() => ready === SUBSCRIBERS, PATIENCE_MS, "subscribers");
  const pace = Math.round(rate / SUBSCRIBERS);
  start("publisher", -1, `--rate=${pace}`, `--bytes=${bytes}`);
  await until(() => ready > SUBSCRIBERS, PATIENCE_MS, "the publisher");
  await using bus = new NetPubSub<Topics>(address, authkey);
  await bus.connect();

  /** Lets messages pass that are marked with this phase. */
  const pass = async (phase: Phase, ms: number) => {
    bus.publish("phase", { phase });
    await delay(ms);
    bus.publish("phase", { phase: "between" });
  };
  await delay(MARGIN_MS);
  for (let round = 0; round < rounds; round++) {
    await pass(`without ${round}`, seconds * 1000 * QUIET_PART);
    processes[0]!.kill("SIGSTOP");
    await pass(`frozen ${round}`, seconds * 1000);
    processes[0]!.kill("SIGCONT");
    await delay(MARGIN_MS);
    await until(
      () => broker.figures.stats.queuedBytes < CAUGHT_UP_BYTES,
      PATIENCE_MS,
      "the one that was frozen",
    );
  }
  await pass(`without ${rounds}`, seconds * 1000 * QUIET_PART);
  bus.publish("phase", { phase: "over" });
  await until(
    () => published !== undefined,
    PATIENCE_MS,
    "acknowledgements of the publisher's messages",
  );
  bus.publish("end");
  await until(
    () => Object.keys(subscribers).length === SUBSCRIBERS,
    PATIENCE_MS,
    "messages at some subscribers",
  );
  const rises = risesOf(subscribers.slice(1), rounds);
  return { published: published!, subscribers, rises, rates, figures: broker.figures };
}

/** What each round, with the times without before and after it, was for these. */
function risesOf(others: readonly Received[], rounds: number): Rise[] {
  return Array.from({ length: rounds }, (_, round) => {
    const rise = new Rise();
    for (const { latencies } of others) {
      rise.add("during", latencies[`frozen ${round}`] ?? []);
      for (const one of [round, round + 1]) rise.add("without", latencies[`without ${one}`] ?? []);
    }
    return rise;
  });
}

/** How many were published in the seconds while one was frozen. */
function ratesWhileFrozen({ rates }: Pick<Outcome, "rates">): number[] {
  return rates.filter(({ phase }) => phase.startsWith("frozen")).map(({ rate }) => rate);
}

/** Prints what happened; what is wrong with it. */
function judge(name: string, { published, subscribers, ...outcome }: Outcome): string[] {
  const { rises, figures } = outcome;
  const frozen = ratesWhileFrozen(outcome);
  const [first, ...others] = subscribers;
  const { received, missed, gaps } = first!;
  const othersMissed = others.reduce((sum, other) => sum + other.missed, 0);
  console.log(
    `${name}: ${published} published (a second: median ${median(frozen).toFixed(0)}, ` +
      `least ${Math.min(...frozen)}); the nine: ${Rise.of(rises)}, ${othersMissed} missed\n` +
      `  the first: ${received} received + ${missed} missed = ${received + missed}, ` +
      `${gaps} gaps; broker: ${figures.stats.dropped} dropped, ${figures.stats.waits} waits, ` +
      `at most ${mib(figures.memoryBytesMax)} kept, ${mib(figures.rssMax)} resident`,
  );
  const faults: string[] = [];
  const check = (isRight: boolean, fault: string) => {
    if (!isRight) faults.push(`${name}: ${fault}`);
  };
  check(received + missed === published, "missed by the first is not published - received");
  for (const { disordered, received, missed, gaps } of others) {
    check(disordered === 0, "messages came twice or too late");
    check(received === published && missed + gaps === 0, "one of the nine missed something");
  }
  check(first!.disordered === 0, "messages came twice or too late to the first");
  check(figures.memoryBytesMax <= MEMORY_BYTES, "more was kept than `memory`");
  check(
    figures.rssMax <= MEMORY_BYTES + RSS_ROOM_BYTES,
    `more than ${mib(MEMORY_BYTES + RSS_ROOM_BYTES)} were resident`,
  );
  return faults;
}

async function dropOldest(options: RunOptions): Promise<string[]> {
  const outcome = await run(options);
  const faults = judge("drop-oldest", outcome);
  for (const rise of outcome.rises) console.log(`  a round: ${rise}`);
  const tooSlow = Rise.faults(outcome.rises, RISE_MS_MAX);
  faults.push(...tooSlow.map((fault) => `the nine's ${fault}`));
  if (outcome.subscribers[0]!.missed === 0) {
    faults.push("the queue was never full, the load is too low");
  }
  return faults;
}

async function wait(options: RunOptions): Promise<string[]> {
  const outcome = await run(options);
  const faults = judge("wait", outcome);
  const { subscribers, figures } = outcome;
  if (subscribers.some(({ missed, gaps }) => missed + gaps > 0)) {
    faults.push("somebody missed something");
  }
  const least = Math.min(...ratesWhileFrozen(outcome));
  if (figures.stats.waits === 0 || least > HELD_BACK * options.rate / SUBSCRIBERS) {
    faults.push("the publisher was not held back");
  }
  return faults;
}

async function main(args: string[]): Promise<number> {
  const flags = parseArgs(args, {
    string: ["role", "options", "address", "key", "rate", "bytes", "seconds", "rounds"],
    boolean: ["wait"],
    default: { rate: "100000", bytes: "512", seconds: "20", rounds: "3" },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  if (flags.role !== undefined) {
    await (flags.role === "broker"
      ? serveMeasured(JSON.parse(String(flags.options)))
      : client(flags));
    return 0;
  }
  const options = {
    rate: Number(flags.rate),
    bytes: Number(flags.bytes),
    seconds: Number(flags.seconds),
    wait: flags.wait === true,
    rounds: flags.wait === true ? 1 : Number(flags.rounds),
  };
  const faults = options.wait ? await wait(options) : await dropOldest(options);
  return isRight(faults) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
