/**
 * Measurements of one system: each starts a server and clients, all processes of their own, and ends
 * them again.
 *
 * Who counts are the subscribers. A publisher keeps at most a window of messages on their way: each
 * subscriber tells this process how many it has, and this process tells each publisher the least. So
 * nobody can publish faster than all others take, whatever a system does with what it cannot
 * deliver; and it costs the systems nothing, since it does not pass through them.
 */
import { abortable } from "@std/async/abortable";
import { delay } from "@std/async/delay";
import { bundleFor } from "./client_runtimes.ts";
import { cpuSeconds, privateKib } from "./proc.ts";
import { type Command, type Job, type Payload, QUANTILES, type Report, type Task } from "./job.ts";
import { Process } from "../tools/harness/processes.ts";
import { Server } from "./server.ts";
import type { System } from "./systems.ts";
import type { Target } from "./target.ts";

/** What a measurement found, by name. */
export type Figures = Readonly<Record<string, number>>;

/** For how long to measure. */
export interface Span {
  /** Milliseconds before anything counts. */
  readonly warmMs: number;
  readonly ms: number;
  /** How many messages may be on their way. */
  readonly window: number;
  /** Ends it early. */
  readonly signal: AbortSignal;
}

/** How many bytes may be on their way. */
const WINDOW_BYTES = 16 * 1024 * 1024;
/** A subscriber tells its count so often within a window. */
const STEPS = 4;
/** A publisher drains after so many messages or bytes. */
const BATCH_MESSAGES = 1000;
const BATCH_BYTES = 1024 * 1024;
/** Many processes share few cores, and each has code to compile before it is as fast as it gets. */
const WARM_PER_SUBSCRIBER = 0.3;
/** What a row takes, about. */
const ROW_BYTES = 100;
/**
 * A measurement goes on until each subscriber has taken so many windows: within one, a slow server may
 * only take messages, or only deliver what it took.
 */
const WINDOWS_MIN = 2;
/** But it takes at most so many times as long as it was to take. */
export const LONGER_MAX = 10;
/** What has not come after so long without anything coming is lost. */
const ARRIVE_MS = 3000;

const DATA = ["data"];
/** The processes of a crowd. */
const CROWDS = ["one", "two"];
/** How many topics come and go. */
const CHANGING_TOPICS = 100;
/** Who makes fewer changes than this part of what it should has not disturbed as it should. */
const CHANGES_MIN = 0.9;
/** In less time that is a question of when exactly one looks. */
const JUDGED_MS_MIN = 1000;

/** What client processes run, and the command that runs it where it is not Deno. */
interface Program {
  readonly module: string;
  readonly command?: readonly string[];
}

/** A client process. */
class Worker implements AsyncDisposable {
  readonly #process: Process<Report>;
  readonly #ended: Promise<never>;
  readonly #early: Report[] = [];
  #waiting: ((report: Report) => void) | undefined;

  constructor(
    { module, command }: Program,
    job: Job,
    onTaken: (taken: readonly number[]) => void = () => {},
  ) {
    this.#process = new Process<Report>(module, [JSON.stringify(job)], (report) => {
      if ("taken" in report) return onTaken(report.taken);
      if (this.#waiting !== undefined) this.#waiting(report);
      else this.#early.push(report);
    }, { command });
    this.#ended = this.#process.status().then((code) => {
      throw new Error(`A ${job.role} ended with status ${code}`);
    });
    this.#ended.catch(() => {}); // Nobody may be waiting then.
  }

  get pid(): number {
    return this.#process.pid;
  }

  async tell(command: Command): Promise<void> {
    try {
      await this.#process.send(command);
    } catch (error) { // It has ended, which `next` tells.
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    }
  }

  /** The next that it tells. */
  async next<R extends Report>(): Promise<R> {
    const told = this.#early.shift() ??
      new Promise<Report>((resolve) => this.#waiting = resolve);
    const report = await Promise.race([told, this.#ended]);
    this.#waiting = undefined;
    if ("failed" in report) throw new Error(report.failed);
    return report as R;
  }

  /** Asks it for something. */
  async ask<R extends Report>(command: Command): Promise<R> {
    const answer = this.next<R>();
    await this.tell(command);
    return await answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

type Mark = { readonly at: number; readonly count: number };
type Ready = { readonly ready: true };

/** Runs something with a server that is started for it. */
async function withServer<T>(
  system: System,
  signal: AbortSignal,
  use: (server: Server, start: Starter) => Promise<T>,
): Promise<T> {
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-bench-" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const server = stack.use(await Server.start(await system.plan(folder)));
  signal.throwIfAborted();
  const start = starter(system, await programFor(system, folder), server.target, stack);
  return await abortable(use(server, start), signal);
}

async function programFor({ client, runtime }: System, folder: string): Promise<Program> {
  if (client === undefined || runtime === undefined) {
    return { module: new URL("program.ts", import.meta.url).href };
  }
  return { module: await bundleFor(client, `${folder}/bundle`), command: [runtime.command] };
}

/** Starts a client process. */
type Starter = (task: Task, onTaken?: (taken: readonly number[]) => void) => Worker;

/** What starts the client processes of a system; they end with `stack`. */
function starter(
  { name, client, isJoined }: System,
  program: Program,
  target: Target,
  stack: AsyncDisposableStack,
): Starter {
  const far = isJoined && "ports" in target ? { ports: target.ports.toReversed() } : target;
  return (task, onTaken) => {
    if (client === undefined) throw new TypeError(`There are no clients of ${name}`);
    const isFar = task.role === "subscriber" || task.role === "responder";
    const job = { client, target: isFar ? far : target, ...task };
    return stack.use(new Worker(program, job, onTaken));
  };
}

/** A load of messages. */
export interface Load {
  readonly payload: Payload;
  /** @default {1} */
  readonly publishers?: number;
  /** @default {1} */
  readonly subscribers?: number;
  /**
   * How many clients each subscribing process has.
   *
   * @default {1}
   */
  readonly clientsEach?: number;
  /** Whether the event loop turns after each message. */
  readonly byTurns?: boolean;
  /** Others who are connected. */
  readonly crowd?: Crowd;
  /** What is published to many topics, while interests in others change. */
  readonly changing?: Changing;
}

/** Topics in traffic, and interests elsewhere that come and go. */
export interface Changing {
  /** To how many topics is published in turn; the subscriber subscribes to all of them in one go. */
  readonly topics: number;
  /** How often a second somebody subscribes to another topic, or takes that back. */
  readonly changes: number;
}

/** Clients with topics of their own, none of which is published to. */
export interface Crowd {
  readonly clients: number;
  readonly topicsEach: number;
  /**
   * To how many topics below one is published in turn; the subscriber subscribes to each or, if they
   * are many, to the one above.
   *
   * @default {0} To that one.
   */
  readonly published?: number;
}

/**
 * Messages delivered a second (`rate`), the seconds that the processes compute for a million of them
 * (`serverCpu`, `publisherCpu`, `subscriberCpu`, the latter two together `clientCpu`), and how many never came (`lost`).
 */
export function throughput(
  system: System,
  load: Load,
  { warmMs, ms, signal, window: most }: Span,
): Promise<Figures> {
  const { payload, publishers = 1, subscribers = 1, clientsEach = 1 } = load;
  const { byTurns = false, crowd, changing } = load;
  const bytes = payload === "row" ? ROW_BYTES : payload;
  const window = Math.floor(Math.min(most, WINDOW_BYTES / bytes) / publishers);
  const { published: children = changing?.topics ?? 0, topicsEach = 0 } = crowd ?? {};
  const heard = children <= topicsEach ? children : 0;
  const batchMessages = system.holdsBack ? Infinity : BATCH_MESSAGES;
  // More than half, and all publishers could wait for what no subscriber has told yet.
  const batch = Math.floor(Math.min(batchMessages, BATCH_BYTES / bytes, window / 2));
  return withServer(system, signal, async (server, start) => {
    const counts = Array.from({ length: subscribers }, () => new Array<number>(publishers).fill(0));
    const takers = counts.map((_, i) =>
      start({
        role: "subscriber",
        topic: DATA,
        children: changing === undefined ? heard : "all",
        payload,
        publishers,
        clients: clientsEach,
        step: Math.ceil(window * publishers / STEPS),
      }, (taken) => {
        counts[i] = [...taken];
        for (const [id, giver] of givers.entries()) {
          void giver.tell({ taken: Math.min(...counts.map((of) => of[id]!)) });
        }
      })
    );
    const givers = Array.from({ length: publishers }, (_, id) =>
      start({
        role: "publisher",
        topic: DATA,
        children,
        payload,
        id,
        batch,
        window: system.holdsBack ? Number.MAX_SAFE_INTEGER : window,
        byTurns,
      }));
    const crowds = crowd === undefined ? [] : CROWDS.map((name) =>
      start({
        role: "idle",
        topic: ["crowd", name],
        clients: crowd.clients / CROWDS.length,
        children: topicsEach,
      })
    );
    const changers = changing === undefined || changing.changes === 0 ? [] : [start({
      role: "changer",
      topic: ["other"],
      children: CHANGING_TOPICS,
      rate: changing.changes,
    })];
    await allReady([...takers, ...givers, ...crowds, ...changers]);
    await Promise.all([...givers, ...changers].map((worker) => worker.tell({ go: true })));
    await delay(warmMs * Math.max(1, subscribers * WARM_PER_SUBSCRIBER));
    const pids = [server.pids, givers.map(({ pid }) => pid), takers.map(({ pid }) => pid)];
    const changedBefore = await marks(changers);
    const moment = async (): Promise<Moment> => {
      return { marks: await marks(takers), cpu: pids.map(cpuSeconds) };
    };
    const least = WINDOWS_MIN * window * publishers * subscribers * clientsEach;
    const before = await moment();
    await delay(ms);
    let after = await moment();
    for (let times = 1; times < LONGER_MAX && delivered(before, after) < least; times++) {
      await delay(ms);
      after = await moment();
    }
    const changedAfter = await marks(changers);
    if (ms >= JUDGED_MS_MIN) checkChanges(changing?.changes, changedBefore, changedAfter);
    const published = await Promise.all(
      givers.map((giver) => giver.ask<{ published: number }>({ stop: true })),
    );
    const total = published.reduce((sum, { published }) => sum + published, 0);
    return { ...figuresBetween(before, after), lost: await countLost(takers, total * clientsEach) };
  });
}

/** Fails when there were too few changes to say something of their cost. */
function checkChanges(wanted = 0, before: readonly Mark[], after: readonly Mark[]): void {
  for (const [i, { at, count }] of after.entries()) {
    const since = before[i]!;
    const rate = (count - since.count) / (at - since.at) * 1000;
    if (rate >= CHANGES_MIN * wanted) continue;
    throw new Error(`There were ${rate.toFixed(0)} changes a second, not ${wanted}`);
  }
}

/** What each subscriber has at a moment, and what the processes of each kind have computed. */
interface Moment {
  readonly marks: readonly Mark[];
  readonly cpu: readonly number[];
}

/** How many messages came in between. */
function delivered(before: Moment, after: Moment): number {
  return after.marks.reduce((sum, { count }, i) => sum + count - before.marks[i]!.count, 0);
}

function figuresBetween(before: Moment, after: Moment): Figures {
  let rate = 0;
  for (const [i, { at, count }] of after.marks.entries()) {
    const since = before.marks[i]!;
    rate += (count - since.count) / (at - since.at) * 1000;
  }
  const messages = delivered(before, after);
  const [serverCpu, publisherCpu, subscriberCpu] = after.cpu.map((seconds, i) =>
    (seconds - before.cpu[i]!) / messages * 1e6
  ) as [number, number, number];
  const clientCpu = publisherCpu + subscriberCpu;
  return { rate, serverCpu, publisherCpu, subscriberCpu, clientCpu };
}

async function allReady(workers: readonly Worker[]): Promise<void> {
  await Promise.all(workers.map((worker) => worker.next<Ready>()));
}

function marks(takers: readonly Worker[]): Promise<Mark[]> {
  return Promise.all(takers.map((taker) => taker.ask<Mark>({ mark: true })));
}

/** How many of the messages that each process should have do not come, however long one waits. */
async function countLost(takers: readonly Worker[], total: number): Promise<number> {
  let lost = Infinity;
  for (let since = performance.now(); performance.now() - since < ARRIVE_MS; await delay(20)) {
    const left = (await marks(takers)).reduce((sum, { count }) => sum + total - count, 0);
    if (left === 0) return 0;
    if (left < lost) since = performance.now();
    lost = left;
  }
  return lost;
}

/** The quantiles of the time from a question to its answer, in µs, by name: `p50`, `p99.9`. */
export function latency(system: System, payload: number, span: Span): Promise<Figures> {
  const { warmMs, ms, signal } = span;
  return withServer(system, signal, async (_server, start) => {
    const responder = start({ role: "responder", payload });
    await allReady([responder]);
    const requester = start({ role: "requester", payload, warmMs, ms });
    await allReady([requester]);
    const { quantiles } = await requester.ask<{ readonly quantiles: readonly number[] }>({
      go: true,
    });
    return Object.fromEntries(
      QUANTILES.map((part, i) => [`p${+(part * 100).toFixed(1)}`, quantiles[i]! * 1000]),
    );
  });
}

/** KiB of the server's memory for each client that is connected and does nothing (`kib`). */
export function memory(
  system: System,
  clients: number,
  { warmMs, ms, signal }: Span,
): Promise<Figures> {
  return withServer(system, signal, async (server, start) => {
    await delay(warmMs);
    const before = privateKib(server.pids);
    await allReady([start({ role: "idle", topic: ["crowd"], clients, children: 0 })]);
    await delay(warmMs + ms);
    return { kib: (privateKib(server.pids) - before) / clients };
  });
}

/** Milliseconds from a server's start until it accepts a connection (`ms`). */
export function startUp(system: System, signal: AbortSignal): Promise<Figures> {
  return withServer(system, signal, ({ startMs }) => Promise.resolve({ ms: startMs }));
}

/** Whether a system runs here: throws unless its server starts and a client can connect. */
export async function probe(system: System, signal: AbortSignal): Promise<void> {
  await withServer(system, signal, async (_server, start) => {
    if (system.client === undefined) return;
    await allReady([start({ role: "idle", topic: ["data"], clients: 1, children: 0 })]);
  });
}
