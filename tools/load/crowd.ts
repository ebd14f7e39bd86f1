/**
 * Lets a crowd of clients connect, fill their queues and vanish, over and over, and checks that the
 * broker holds no more than it may, and that a healthy pair of clients does not notice.
 *
 * ```sh
 * deno task crowd                          # for 15 s, after a quiet time of 5 s
 * deno task crowd --seconds 60
 * ```
 *
 * Of the crowd some read nothing and close, some lose their process. The exit status is 0 when all is
 * well.
 */
import { delay } from "@std/async/delay";
import { parseArgs } from "@std/cli/parse-args";
import type { Broker } from "../../broker.ts";
import { type Gap, NetPubSub } from "../../mod.ts";
import { Peer } from "../harness/peer.ts";
import {
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
import { until } from "../harness/until.ts";
import { duePer } from "./pace.ts";

const MEMORY_BYTES = 64 * 1024 * 1024;
const CONNECTIONS = 100;
const HALF_OPEN = 20;
/** Those of the crowd that live in one process; more of them than there may be clients. */
const CROWD = 60;
const CROWDS = 2;
/** How long one of the crowd lives at most, and a process of them. */
const LIFE_MS = 1000;
const CROWD_LIFE_MS = 3000;
const FLOOD_BYTES = 8 * 1024;
/** How much the flood brings each second: the crowd's queues together fill in a moment. */
const FLOOD_RATE = 2000;
/** The pair's messages a second. */
const PAIR_RATE = 2000;
/** Publishers wait when so many bytes are not acknowledged. */
const PENDING_MAX = 1024 * 1024;
const QUIET_MS = 5000;
const PATIENCE_MS = 30_000;

type Phase = "quiet" | "crowded" | "over";

interface Topics {
  flood: { data: Uint8Array };
  pair: { n: number; at: number; phase: Phase };
  phase: { phase: Phase };
  end: object;
}

interface Received {
  readonly received: number;
  /** Messages that came twice, too late, or after one that did not come. */
  readonly disordered: number;
  readonly latencies: Readonly<Record<Phase, LatencyCounts>>;
}

type Report =
  | { ready: true }
  | { gap: Gap }
  | { state: string }
  | { published: number }
  | { came: number; refused: number }
  | Received;

/** Publishes at an even pace until it is over. */
async function publish(bus: NetPubSub<Topics>, rate: number, next: (phase: Phase) => void) {
  let phase: Phase = "quiet";
  bus.addSubscriber("phase", (_topic, message) => phase = message.phase);
  await bus.flush();
  tell({ ready: true });
  for await (const due of duePer(rate)) {
    for (let i = 0; i < due; i++) next(phase);
    if (bus.pending > PENDING_MAX) await bus.flush();
    if (phase as Phase === "over") break;
  }
  await bus.flush();
}

async function publishPair(bus: NetPubSub<Topics>): Promise<void> {
  let n = 0;
  await publish(bus, PAIR_RATE, (phase) => bus.publish("pair", { n: ++n, at: clock(), phase }));
  tell({ published: n });
}

async function flood(bus: NetPubSub<Topics>): Promise<void> {
  const data = new Uint8Array(FLOOD_BYTES);
  await publish(bus, FLOOD_RATE, (phase) => {
    if (phase === "crowded") bus.publish("flood", { data });
  });
}

async function subscribePair(bus: NetPubSub<Topics>): Promise<void> {
  const latencies = { quiet: new Latencies(), crowded: new Latencies(), over: new Latencies() };
  const end = Promise.withResolvers<void>();
  let received = 0;
  let disordered = 0;
  let latest = 0;
  bus.addSubscriber("pair", (_topic, { n, at, phase }) => {
    received++;
    if (n !== latest + 1) disordered++;
    latest = n;
    latencies[phase].add(clock() - at);
  });
  bus.addSubscriber("end", () => end.resolve());
  await bus.flush();
  tell({ ready: true });
  await end.promise;
  const counts = Object.entries(latencies).map(([phase, some]) => [phase, some.counts()]);
  tell({ received, disordered, latencies: Object.fromEntries(counts) });
}

/** Members of the crowd, each again and again, until the process is killed. */
async function crowd(address: string, key: string): Promise<void> {
  const broker = { address, authkey: new TextEncoder().encode(key) } as Broker;
  const counts = { came: 0, refused: 0 };
  setInterval(() => {
    tell(counts);
    counts.came = counts.refused = 0;
  }, 100);
  const live = async () => {
    for (;;) {
      try {
        await using _peer = await Peer.open(broker, [["flood"]]);
        counts.came++;
        await delay(LIFE_MS * (1 + Math.random()) / 2);
      } catch (_error) { // There is no room; whatever the connection or the handshake then throws.
        counts.refused++;
        await delay(LIFE_MS * Math.random() / 10);
      }
    }
  };
  await Promise.all(Array.from({ length: CROWD }, live));
}

async function client({ role, address, key }: Record<string, unknown>): Promise<void> {
  endWithParent();
  if (role === "crowd") return await crowd(String(address), String(key));
  await using bus = new NetPubSub<Topics>(String(address), String(key), {
    onGap: (gap) => tell({ gap }),
    onState: (state) => tell({ state }),
  });
  await bus.connect();
  const roles = { publisher: publishPair, subscriber: subscribePair, flood };
  await roles[role as keyof typeof roles](bus);
}

/** What the clients told. */
class Outcome {
  readonly gaps: Gap[] = [];
  ready = 0;
  reconnected = 0;
  came = 0;
  refused = 0;
  killed = 0;
  published: number | undefined;
  received: Received | undefined;

  take(report: Report): void {
    if ("ready" in report) this.ready++;
    else if ("gap" in report) this.gaps.push(report.gap);
    else if ("state" in report) this.reconnected += report.state === "reconnecting" ? 1 : 0;
    else if ("published" in report) this.published = report.published;
    else if ("received" in report) this.received = report;
    else if ("came" in report) {
      this.came += report.came;
      this.refused += report.refused;
    }
  }
}

async function run(seconds: number): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  const { broker, address, authkey } = await MeasuredBroker.start(import.meta.url, {
    memory: MEMORY_BYTES,
    limits: { connections: CONNECTIONS, halfOpen: HALF_OPEN },
  });
  stack.use(broker);
  const outcome = new Outcome();
  const start = (role: string) => {
    const args = [`--role=${role}`, `--address=${address}`, `--key=${authkey}`];
    return new Process<Report>(import.meta.url, args, (report) => outcome.take(report));
  };
  for (const [i, role] of ["subscriber", "publisher", "flood"].entries()) {
    stack.use(start(role));
    await until(() => outcome.ready > i, PATIENCE_MS, `the ${role}`);
  }
  await using bus = new NetPubSub<Topics>(address, authkey);
  await bus.connect();

  await delay(QUIET_MS);
  bus.publish("phase", { phase: "crowded" });
  const end = performance.now() + seconds * 1000;
  const keepCrowd = async (first: number) => {
    for (let life = first; performance.now() < end; life = CROWD_LIFE_MS) {
      await using _crowd = start("crowd"); // Disposing kills it.
      await delay(Math.min(life, end - performance.now()));
      outcome.killed++;
    }
  };
  await Promise.all(
    Array.from({ length: CROWDS }, (_, i) => keepCrowd(CROWD_LIFE_MS * (i + 1) / CROWDS)),
  );
  bus.publish("phase", { phase: "over" });
  await until(
    () => outcome.published !== undefined,
    PATIENCE_MS,
    "acknowledgements of the pair's messages",
  );
  bus.publish("end");
  await until(
    () => outcome.received !== undefined,
    PATIENCE_MS,
    "messages of the pair",
  );
  return judge(outcome, broker);
}

/** Prints what happened; whether it is well. */
function judge(outcome: Outcome, broker: MeasuredBroker): boolean {
  const { came, refused, killed, reconnected, gaps } = outcome;
  const { received, disordered, latencies } = outcome.received!;
  const { stats, memoryBytesMax, sessionsMax, connectionsMax, rssMax } = broker.figures;
  const p99 = (phase: Phase) => {
    const some = new Latencies();
    some.addCounts(latencies[phase]);
    return `${some.quantile(0.99).toFixed(2)} ms`;
  };
  console.log(
    `the crowd: ${came} came, ${refused} were refused or lost at once, ` +
      `${killed} processes of up to ${CROWD} killed\n` +
      `the broker: at most ${mib(memoryBytesMax)} kept of ${mib(MEMORY_BYTES)}, ` +
      `${sessionsMax} sessions of ${CONNECTIONS}, ${connectionsMax} connections (with half-open ` +
      `ones), ${mib(rssMax)} resident; ` +
      `${stats.dropped} messages dropped, ${stats.cutOff} clients cut off\n` +
      `the pair: ${outcome.published} published, ${received} received, ${disordered} out of order; ` +
      `${gaps.length} gaps, ${reconnected} connections lost; ` +
      `p99 ${p99("quiet")} when quiet, ${p99("crowded")} in the crowd`,
  );
  const criteria: Record<string, boolean> = {
    "the crowd did not come": came > CONNECTIONS,
    "more was kept than `memory`": memoryBytesMax <= MEMORY_BYTES,
    "the memory was never full, the load is too low": stats.dropped + stats.cutOff > 0,
    "there were more clients than there may be": sessionsMax <= CONNECTIONS &&
      connectionsMax <= CONNECTIONS + 2 * HALF_OPEN,
    "the pair lost something": received === outcome.published && disordered === 0,
    "the pair was told of gaps, or lost its connection": gaps.length + reconnected === 0,
  };
  return isRight(Object.keys(criteria).filter((fault) => !criteria[fault]));
}

async function main(args: string[]): Promise<number> {
  const flags = parseArgs(args, {
    string: ["role", "options", "address", "key", "seconds"],
    default: { seconds: "15" },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  if (flags.role === undefined) return await run(Number(flags.seconds)) ? 0 : 1;
  await (flags.role === "broker"
    ? serveMeasured(JSON.parse(String(flags.options)))
    : client(flags));
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
