/**
 * Measures groups: one publisher, four members in processes of their own, jobs of 16 bytes; beside NATS's
 * queue groups with its own client in the same runtime.
 *
 * ```sh
 * deno task bench:groups             # nine rounds by turns
 * deno task bench:groups --rounds 3
 * ```
 *
 * - What counts is the CPU time of all processes for one job. NATS does not know when a job is done, so
 *   it hands out whatever comes; the publisher of both waits after each thousand until the server has the
 *   thousand before.
 * - With a concurrency of 16 the round trips bound the rate: 16 for each member in the time from the
 *   handing out of a job to its end, at the broker. It is measured there.
 */
import { parseArgs } from "@std/cli/parse-args";
import { Broker, NetPubSub } from "../mod.ts";
import { GroupPeer } from "../broker/group_peer.ts";
import { hasNatsServer, NatsServer } from "../tools/harness/nats_server.ts";
import { tell, told } from "../tools/harness/lines.ts";
import { Process } from "../tools/harness/processes.ts";
import { OneBehind } from "./clients/client.ts";
import { connectNats } from "./clients/nats_connection.ts";
import { cpuSeconds } from "./proc.ts";
import { quantile, summarize } from "./statistics.ts";
import { AUTH } from "./target.ts";

const MEMBERS = 4;
const BATCH = 1000;
const PAYLOAD = new Uint8Array(16);
const [WARM_JOBS, FAST_JOBS, SLOW_JOBS] = [200_000, 2_000_000, 500_000];
/** Of so many jobs one is timed. */
const SAMPLE = 16;

/** What one of the processes is to do. */
interface Role {
  readonly role: "broker" | "publisher" | "member";
  readonly system: "mpubsub" | "nats";
  readonly address: string;
  readonly concurrency: number;
}

type Command = { readonly publish: number } | { readonly report: true } | { readonly end: true };

interface Report {
  readonly address?: string;
  readonly ready?: true;
  readonly published?: number;
  readonly count?: number;
  readonly p50?: number;
}

async function serve(): Promise<void> {
  const times: number[] = [];
  let seen = 0;
  const { finished } = GroupPeer.prototype;
  GroupPeer.prototype.finished = function (job) {
    if (++seen % SAMPLE === 0) times.push(performance.now() - job.handedAt);
    finished.call(this, job);
  };
  // A publisher that is faster than the members is held back, instead of being refused something.
  const options = { address: "tcp://127.0.0.1:0", authkey: AUTH, maxPatience: 60_000 };
  const broker = new Broker(options);
  await broker.start();
  tell({ address: broker.address });
  for await (const command of told<Command>()) {
    if ("end" in command) break;
    times.sort((a, b) => a - b);
    tell({ p50: times.length === 0 ? 0 : quantile(times, 0.5) });
    times.length = 0;
  }
}

/** Something that publishes, or is a member. */
interface Client {
  publish(): void;
  flush(): Promise<void>;
  join(done: () => void): Promise<void>;
}

async function connect({ system, address, concurrency }: Role): Promise<Client> {
  if (system === "nats") {
    const connection = await connectNats({ ports: [Number(address)] });
    return {
      publish: () => connection.publish("job", PAYLOAD),
      flush: () => connection.flush(),
      async join(done) {
        connection.subscribe("job", { queue: "workers", callback: done });
        await connection.flush();
      },
    };
  }
  const bus = new NetPubSub(address, AUTH);
  await bus.connect();
  const message = { data: PAYLOAD };
  return {
    publish: () => bus.publish("job", message),
    flush: () => bus.flush(),
    async join(done) {
      bus.addSubscriber("job", done, { group: "workers", concurrency });
      await bus.flush();
    },
  };
}

async function play(role: Role): Promise<void> {
  const client = await connect(role);
  const flushes = new OneBehind();
  let count = 0;
  if (role.role === "member") await client.join(() => void count++);
  tell({ ready: true });
  for await (const command of told<Command>()) {
    if ("end" in command) break;
    if ("publish" in command) {
      for (let n = 0; n < command.publish; n += BATCH) {
        for (let i = 0; i < BATCH; i++) client.publish();
        await flushes.wait(client.flush());
      }
      tell({ published: command.publish });
    } else tell({ count });
  }
}

/** A process that plays a role. */
class Player implements AsyncDisposable {
  readonly #process: Process<Report>;
  readonly #reports: Report[] = [];
  #waiting: ((report: Report) => void) | undefined;

  constructor(role: Role) {
    this.#process = new Process<Report>(MODULE, [JSON.stringify(role)], (report) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting === undefined) this.#reports.push(report);
      else waiting(report);
    }, { flags: ["--config", CONFIG] });
  }

  get pid(): number {
    return this.#process.pid;
  }

  next(): Promise<Report> {
    const report = this.#reports.shift();
    if (report !== undefined) return Promise.resolve(report);
    return new Promise((resolve) => this.#waiting = resolve);
  }

  async ask(command: Command): Promise<Report> {
    await this.#process.send(command);
    return await this.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

/** What a round found. */
interface Found {
  /** CPU time of all processes for one job, in microseconds. */
  readonly cpu: number;
  /** Jobs a second. */
  readonly rate: number;
  /** From the handing out of a job to its end, in milliseconds; 0 for NATS. */
  readonly p50: number;
}

async function round(
  system: Role["system"],
  server: Server,
  concurrency: number,
  jobs: number,
): Promise<Found> {
  const { address } = server;
  const role = { system, address, concurrency };
  await using stack = new AsyncDisposableStack();
  const players = [new Player({ ...role, role: "publisher" })];
  for (let n = 0; n < MEMBERS; n++) players.push(new Player({ ...role, role: "member" }));
  for (const player of players) stack.use(player);
  await Promise.all(players.map((player) => player.next()));
  const [publisher, ...members] = players as [Player, ...Player[]];
  const all = async () => {
    const counts = await Promise.all(members.map((member) => member.ask({ report: true })));
    return counts.reduce((sum, { count }) => sum + count!, 0);
  };
  const work = async (more: number) => {
    const before = await all();
    const published = publisher.ask({ publish: more });
    while (await all() < before + more) await new Promise((resolve) => setTimeout(resolve, 20));
    await published;
  };
  await work(WARM_JOBS);
  await server.p50();
  const pids = [server.pid, ...players.map(({ pid }) => pid)];
  const [began, before] = [performance.now(), cpuSeconds(pids)];
  await work(jobs);
  const seconds = (performance.now() - began) / 1000;
  const cpu = (cpuSeconds(pids) - before) / jobs * 1e6;
  return { cpu, rate: jobs / seconds, p50: await server.p50() };
}

/** What hands out jobs. */
interface Server extends AsyncDisposable {
  readonly address: string;
  readonly pid: number;
  /** The median time from the handing out of a job to its end, since it was asked last. */
  p50(): Promise<number>;
}

async function brokerServer(): Promise<Server> {
  const player = new Player({ role: "broker", system: "mpubsub", address: "", concurrency: 0 });
  const { address } = await player.next();
  return {
    address: address!,
    pid: player.pid,
    p50: async () => (await player.ask({ report: true })).p50!,
    [Symbol.asyncDispose]: () => player[Symbol.asyncDispose](),
  };
}

async function natsServer(): Promise<Server> {
  const config = `authorization { user: ${AUTH}, password: ${AUTH} }`;
  const server = await NatsServer.start({ config });
  return {
    address: String(server.port),
    pid: server.pid,
    p50: () => Promise.resolve(0),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const MODULE = new URL(import.meta.url).pathname;
const CONFIG = new URL("./deno.json", import.meta.url).pathname;

function median(founds: readonly Found[], figure: keyof Found): number {
  return summarize(founds.map((found) => found[figure])).median;
}

async function measure(rounds: number): Promise<void> {
  const [fast, slow, nats]: [Found[], Found[], Found[]] = [[], [], []];
  await using ours = await brokerServer();
  await using theirs = hasNatsServer ? await natsServer() : undefined;
  for (let n = 0; n < rounds; n++) {
    fast.push(await round("mpubsub", ours, 4096, FAST_JOBS));
    slow.push(await round("mpubsub", ours, 16, SLOW_JOBS));
    if (theirs !== undefined) nats.push(await round("nats", theirs, 0, FAST_JOBS));
    console.log(`round ${n + 1} of ${rounds}`);
  }
  const shown = (founds: readonly Found[]) =>
    `${median(founds, "cpu").toFixed(2)} µs of CPU for a job, ` +
    `${Math.round(median(founds, "rate"))} jobs/s`;
  console.log(`mpubsub, concurrency 4096: ${shown(fast)}`);
  console.log(`mpubsub, concurrency 16: ${shown(slow)}`);
  const bound = slow.map(({ rate, p50 }) => rate / (16 * MEMBERS / (p50 / 1000)));
  const share = summarize(bound).median.toFixed(2);
  const p50 = median(slow, "p50").toFixed(2);
  console.log(`  p50 at the broker ${p50} ms: ${share} of 16 × ${MEMBERS} ÷ p50`);
  if (nats.length === 0) return console.log("NATS is skipped: there is no nats-server");
  console.log(`NATS queue group: ${shown(nats)}`);
  console.log(`  ${(median(nats, "cpu") / median(fast, "cpu")).toFixed(2)} × the CPU of ours`);
}

if (import.meta.main) {
  const [first] = Deno.args;
  if (first?.startsWith("{")) {
    const role = JSON.parse(first) as Role;
    await (role.role === "broker" ? serve() : play(role));
    Deno.exit();
  }
  await measure(Number(parseArgs(Deno.args, { string: ["rounds"] }).rounds ?? 9));
}
