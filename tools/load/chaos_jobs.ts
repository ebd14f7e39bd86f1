/**
 * Breaks things on purpose while the members of a group do jobs, and checks that each job is done, and
 * none twice without need.
 *
 * ```sh
 * deno task chaos:jobs                                     # with a fresh seed
 * deno task chaos:jobs --seed 7 --jobs 20000 --cuts 30 --members 10 --brokers 2
 * ```
 *
 * ```
 *  P1, P2 ── proxies that cut ──▶ broker ──▶ proxies that cut ── M1 … M4, each one of the group
 *                                  SIGKILL, and again             SIGKILL, and another takes its place
 * ```
 *
 * - A job is done when its member has printed that: what it has printed is not lost with it.
 * - A job may be done twice when a member that has done it was killed, or the broker since it was published.
 * - A job need not be done when somebody was told: its publisher by an error with its topic, or that there
 *   is a new broker; or a member was told that, for which what was published before went to nobody.
 *
 * The exit status is 0 when all is well.
 */
import { delay } from "@std/async/delay";
import { parseArgs } from "@std/cli/parse-args";
import { Broker, MessageError, NetPubSub } from "../../mod.ts";
import { Proxy, randomPlan } from "../../testing.ts";
import { freePorts } from "../harness/free_ports.ts";
import { endWithParent, Process, tell } from "../harness/processes.ts";
import { randomOf } from "../harness/random.ts";
import { until } from "../harness/until.ts";

const PUBLISHERS = 2;
const MEMBERS = 4;
const CONCURRENCY = 16;
/** How many jobs a publisher sends before it waits for the broker. */
const BATCH = 200;
/** Longer than a client takes to come back, also on a busy machine. */
const RESUME_WINDOW_MS = 4000;
/** How long nothing may come. */
const PATIENCE_MS = 60_000;
/** About as many bytes as one job takes on a connection. */
const BYTES_PER_JOB = 40;
const KEY = "the key of a chaos";

type Report =
  | { readonly ready: true }
  /** A publisher has published, and the broker has, so many of its jobs. */
  | { readonly published: number }
  /** It was told that this one was given up. */
  | { readonly told: number }
  /** It was told that there is a new broker, when it had published so many. */
  | { readonly toldAll: number }
  /** A member was told that there is a new broker. */
  | { readonly isBack: true }
  /** A member has done these. */
  | { readonly done: readonly string[] };

/** A bus on whose other side things break. */
function busOf(
  address: string,
  told: (error: MessageError) => void,
  toldAll: () => void,
): NetPubSub {
  return new NetPubSub(address, KEY, {
    onState() {},
    onGap: toldAll,
    onError(error) {
      if (error instanceof MessageError) told(error);
      else console.error(error);
    },
  });
}

async function serve(address: string): Promise<void> {
  endWithParent();
  const broker = new Broker({ address, authkey: KEY, resumeWindow: RESUME_WINDOW_MS });
  await broker.start();
  tell({ ready: true });
  await broker.finished;
}

async function publish(address: string, name: string, jobs: number): Promise<void> {
  endWithParent();
  let published = 0;
  const told = ({ topic }: MessageError) => tell({ told: Number(topic.at(-1)) });
  const bus = busOf(address, told, () => tell({ toldAll: published }));
  await bus.connect({ wait: true });
  tell({ ready: true });
  while (published < jobs) {
    for (const end = Math.min(jobs, published + BATCH); published < end; published++) {
      bus.publish(["jobs", name, String(published)], { from: name, id: published });
    }
    await bus.flush();
    tell({ published });
    await delay(1);
  }
  await new Promise(() => {}); // It is still told of some.
}

async function work(address: string): Promise<void> {
  endWithParent();
  const bus = busOf(address, () => {}, () => tell({ isBack: true }));
  let done: string[] = [];
  let printed = Promise.withResolvers<void>();
  const print = () => {
    tell({ done });
    done = [];
    printed.resolve();
    printed = Promise.withResolvers();
  };
  bus.addSubscriber("jobs", (_topic, { from, id }) => {
    if (done.push(`${from} ${id}`) === 1) setTimeout(print);
    return printed.promise;
  }, { group: "workers", concurrency: CONCURRENCY });
  await bus.connect({ wait: true });
  tell({ ready: true });
  await new Promise(() => {});
}

/** Which members have done a job, and under which of the brokers. */
interface Done {
  readonly by: string;
  readonly broker: number;
}

/** All that happened. */
class History {
  readonly #done = new Map<string, Done[]>();
  readonly #told = new Set<string>();
  /** How many of each publisher's jobs the broker had at the time of the latest death of a broker. */
  readonly #before = new Map<string, number>();
  readonly published = new Map<string, number>();
  readonly killed = new Set<string>();
  brokers = 0;
  /** At which of the brokers a member is back. */
  #backAt = 0;
  doubled = 0;
  abandoned = 0;
  /** When something was reported last. */
  latest = performance.now();

  take(name: string, report: Report): void {
    this.latest = performance.now();
    if ("published" in report) this.published.set(name, report.published);
    else if ("told" in report) {
      this.abandoned++;
      this.#told.add(`${name} ${report.told}`);
    } else if ("toldAll" in report) this.#toldUntil(name, report.toldAll);
    else if ("isBack" in report) this.#isBack();
    else if ("done" in report) {
      for (const job of report.done) this.#doneBy(job, { by: name, broker: this.brokers });
    }
  }

  #toldUntil(name: string, count: number): void {
    this.#before.set(name, Math.max(count, this.#before.get(name) ?? 0));
  }

  /** The first member is back at a new broker: what was published before went to nobody. */
  #isBack(): void {
    if (this.#backAt === this.brokers) return;
    this.#backAt = this.brokers;
    // A batch may be there that its publisher has not reported, and another on its way.
    for (const [name, count] of this.published) this.#toldUntil(name, count + 2 * BATCH);
  }

  #doneBy(job: string, done: Done): void {
    const all = this.#done.get(job);
    if (all === undefined) this.#done.set(job, [done]);
    else all.push(done);
  }

  /** The jobs that nobody has done, and of which nobody was told. */
  missing(jobs: number): string[] {
    const missing = [];
    for (const name of this.published.keys()) {
      const before = this.#before.get(name) ?? 0;
      for (let id = 0; id < jobs; id++) {
        const job = `${name} ${id}`;
        if (id >= before && !this.#done.has(job) && !this.#told.has(job)) missing.push(job);
      }
    }
    return missing;
  }

  /** The jobs that were done twice though the members that did them, and the broker, lived. */
  doubledInVain(): string[] {
    const found = [];
    for (const [job, all] of this.#done) {
      if (all.length === 1) continue;
      this.doubled++;
      const isExcused = all.some(({ by }) => this.killed.has(by)) ||
        all.some(({ broker }) => broker !== all[0]!.broker);
      if (!isExcused) found.push(`${job} by ${all.map(({ by }) => by).join(", ")}`);
    }
    return found;
  }

  get size(): number {
    return this.#done.size;
  }
}

interface Options {
  readonly seed: number;
  readonly jobs: number;
  readonly cuts: number;
  readonly members: number;
  readonly brokers: number;
}

async function chaos({ seed, jobs, cuts, members, brokers }: Options): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  const random = randomOf(seed);
  const history = new History();
  const ready = new Set<string>();
  const processes = new Map<string, Process<Report>>();
  const run = async (name: string, args: readonly string[]) => {
    const process = new Process<Report>(import.meta.url, args, (report) => {
      if ("ready" in report) ready.add(name);
      else history.take(name, report);
    });
    stack.use(process);
    processes.set(name, process);
    await until(() => ready.has(name), PATIENCE_MS);
  };
  const [port] = freePorts(1);
  const address = `tcp://127.0.0.1:${port}`;
  const startBroker = () => run(`B${history.brokers}`, ["--role=broker", `--address=${address}`]);
  await startBroker();

  const proxies: Proxy[] = [];
  const throughProxy = async (share: number) => {
    const bytes = Math.ceil(jobs * BYTES_PER_JOB * share / cuts);
    const plan = randomPlan(seed * 100 + proxies.length, { bytes, kinds: ["cut"] });
    const proxy = stack.use(new Proxy({ target: address, plan }));
    proxies.push(proxy);
    await proxy.start();
    return `--address=${proxy.address}`;
  };
  const each = Math.ceil(jobs / PUBLISHERS);
  const living: string[] = [];
  let born = 0;
  const startMember = async () => {
    const name = `M${++born}`;
    await run(name, ["--role=member", await throughProxy(1)]);
    living.push(name);
  };
  await Promise.all(Array.from({ length: MEMBERS }, startMember));
  const began = performance.now();
  for (let n = 1; n <= PUBLISHERS; n++) {
    const args = ["--role=publisher", `--name=P${n}`, `--jobs=${each}`, await throughProxy(1)];
    history.published.set(`P${n}`, 0);
    await run(`P${n}`, args);
  }

  const published = () => [...history.published.values()].reduce((sum, count) => sum + count, 0);
  /** What is killed, when so many jobs are published. */
  const deaths = [
    ...Array.from(
      { length: members },
      (_, n) => ({ at: (n + 1) / (members + 1), isBroker: false }),
    ),
    ...Array.from({ length: brokers }, (_, n) => ({ at: (n + 0.7) / brokers, isBroker: true })),
  ].toSorted((a, b) => a.at - b.at);
  for (const { at, isBroker } of deaths) {
    await until(() => published() >= at * each * PUBLISHERS * 0.95, PATIENCE_MS);
    if (isBroker) {
      const broker = processes.get(`B${history.brokers}`)!;
      history.brokers++;
      broker.kill("SIGKILL");
      await broker.status();
      await startBroker();
    } else {
      const [name] = living.splice(random.int(living.length), 1);
      history.killed.add(name!);
      processes.get(name!)!.kill("SIGKILL");
      await startMember();
    }
  }
  await until(() => published() === each * PUBLISHERS, PATIENCE_MS);
  let missing = history.missing(each);
  while (missing.length > 0 && performance.now() < history.latest + PATIENCE_MS / 4) {
    await delay(200);
    missing = history.missing(each);
  }
  // Whatever comes twice comes soon.
  await delay(1000);
  const doubled = history.doubledInVain();
  const seconds = (performance.now() - began) / 1000;
  const cut = proxies.reduce((sum, proxy) => sum + proxy.stats().cut, 0);
  console.log(`${each * PUBLISHERS} jobs, ${history.size} done, in ${seconds.toFixed(1)} s`);
  console.log(`connections cut ${cut} times, ${members} members killed, ${brokers} brokers`);
  console.log(
    `${missing.length} neither done nor told, ${history.abandoned} given up and told; ` +
      `${history.doubled} done twice, ${doubled.length} of them in vain`,
  );
  for (const job of [...missing.slice(0, 5), ...doubled.slice(0, 5)]) console.log(job);
  return cut >= cuts && missing.length + doubled.length === 0;
}

async function main(args: string[]): Promise<number> {
  const flags = parseArgs(args, {
    string: ["role", "name", "address", "seed", "jobs", "cuts", "members", "brokers"],
    default: { jobs: "200000", cuts: "300", members: "50", brokers: "0" },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  const { role, name, address } = flags;
  if (role === "broker") await serve(String(address));
  else if (role === "publisher") await publish(String(address), String(name), Number(flags.jobs));
  else if (role === "member") await work(String(address));
  if (role !== undefined) return 0;
  const seed = flags.seed === undefined ? Date.now() % 100_000 : Number(flags.seed);
  console.log(`seed ${seed}`);
  const [jobs, cuts] = [Number(flags.jobs), Number(flags.cuts)];
  const [members, brokers] = [Number(flags.members), Number(flags.brokers)];
  return await chaos({ seed, jobs, cuts, members, brokers }) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
