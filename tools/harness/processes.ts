/**
 * Child processes of this project's own scripts that tell what happens, a line of JSON each; among
 * them brokers that can be killed, and brokers that tell what they hold.
 */
import { TextLineStream } from "@std/streams/text-line-stream";
import { Broker, type BrokerOptions, type BrokerStats } from "../../broker.ts";
import { killIfAlive } from "./kill.ts";
import { tell } from "./lines.ts";

export { tell };

/** Options of a {@linkcode Process}. */
export interface ProcessOptions {
  /**
   * Flags of `deno run`.
   *
   * @default {[]}
   */
  readonly flags?: readonly string[];
  /**
   * The program that runs the module, with its first arguments, if it is not `deno run`.
   *
   * @default {undefined}
   */
  readonly command?: readonly string[] | undefined;
}

/** A script of this project in a process of its own. */
export class Process<Report> implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #commands: WritableStreamDefaultWriter<Uint8Array>;
  readonly #onReport: (report: Report) => void;
  readonly #reading: Promise<void>;

  /** Starts `module` with these arguments; `onReport` is given each line that it prints. */
  constructor(
    module: string,
    args: readonly string[],
    onReport: (report: Report) => void,
    { flags = [], command }: ProcessOptions = {},
  ) {
    const deno = [Deno.execPath(), "run", "--quiet", "--allow-all", ...flags];
    const [program, ...first] = command ?? deno;
    this.#onReport = onReport;
    this.#process = new Deno.Command(program!, {
      args: [...first, module, ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#commands = this.#process.stdin.getWriter();
    this.#reading = this.#read();
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  async #read(): Promise<void> {
    const lines = this.#process.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      this.#onReport(line.startsWith("{") ? JSON.parse(line) : { line });
    }
  }

  /**
   * Tells it something, which `told` of `lines.ts` gives it there.
   *
   * @throws {Deno.errors.BrokenPipe} If it has ended.
   */
  async send(command: unknown): Promise<void> {
    await this.#commands.write(new TextEncoder().encode(`${JSON.stringify(command)}\n`));
  }

  /** Sends it a signal. */
  kill(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Its exit status, once all that it printed was given to `onReport`. */
  async status(): Promise<number> {
    await this.#reading;
    const { code } = await this.#process.status;
    await this.#commands.abort(new Deno.errors.BrokenPipe("The process has ended"));
    return code;
  }

  /** Ends it, if it has not ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    killIfAlive(this.#process, "SIGKILL");
    await this.status();
  }
}

/** Ends this process when the one that started it has ended. */
export function endWithParent(): void {
  const parent = Deno.ppid;
  const timer = setInterval(() => {
    if (Deno.ppid !== parent) Deno.exit(1);
  }, 1000);
  Deno.unrefTimer(timer);
}

/** What a broker holds, and the most that it was seen to hold. */
export interface BrokerFigures {
  readonly stats: BrokerStats;
  /** Resident bytes; without garbage where that is collected often. */
  readonly rss: number;
  readonly rssMax: number;
  /** Bytes that its values take, garbage among them. */
  readonly heap: number;
  /** Open file descriptors, on Linux. */
  readonly files: number;
  /** Of its event loop. */
  readonly processor: ProcessorTimes;
  /** How many characters it has logged. */
  readonly logged: number;
  readonly queuedBytesMax: number;
  readonly memoryBytesMax: number;
  readonly sessionsMax: number;
  readonly connectionsMax: number;
  readonly waitingMax: number;
}

/** For how long a thread had a processor, and for how long it wanted one in vain, in milliseconds. */
export interface ProcessorTimes {
  readonly had: number;
  readonly wanted: number;
}

type BrokerReport = { address: string; authkey: string } | BrokerFigures;

const SAMPLE_MS = 10;
const TELL_MS = 100;
/** How long a broker may take to end in order; it sends what waits for 10 s. */
const END_MS = 15_000;
/** Collecting garbage takes a while. */
const COLLECT_MS = 1000;

/** How a {@linkcode MeasuredBroker} is measured. */
export interface MeasureOptions {
  /**
   * When a process with `--expose-gc` collects its garbage: before it tells its figures, which it then
   * does more seldom, or only for {@linkcode MeasuredBroker.collect}.
   *
   * @default {"often"}
   */
  readonly collects?: "often" | "when asked";
  /**
   * How many characters it has logged.
   *
   * @default {() => 0}
   */
  logged?(): number;
}

/** Runs a broker in this process until SIGTERM, for a {@linkcode MeasuredBroker}. */
export async function serveMeasured(
  options: BrokerOptions,
  { collects = "often", logged = () => 0 }: MeasureOptions = {},
): Promise<void> {
  endWithParent();
  const { gc } = globalThis as { gc?: () => void };
  const often = collects === "often" ? gc : undefined;
  const authkey = crypto.randomUUID();
  await using broker = new Broker({ ...options, authkey });
  await broker.start();
  tell({ address: broker.address, authkey });
  const most = {
    rssMax: 0,
    queuedBytesMax: 0,
    memoryBytesMax: 0,
    sessionsMax: 0,
    connectionsMax: 0,
    waitingMax: 0,
  };
  const look = () => {
    const stats = broker.stats();
    const { rss, heapUsed, external } = Deno.memoryUsage();
    most.rssMax = Math.max(most.rssMax, rss);
    most.queuedBytesMax = Math.max(most.queuedBytesMax, stats.queuedBytes);
    most.memoryBytesMax = Math.max(most.memoryBytesMax, stats.memoryBytes);
    most.sessionsMax = Math.max(most.sessionsMax, stats.sessions);
    most.connectionsMax = Math.max(most.connectionsMax, stats.connections);
    most.waitingMax = Math.max(most.waitingMax, stats.waiting);
    return { stats, rss, heap: heapUsed + external };
  };
  const looking = setInterval(look, SAMPLE_MS);
  const telling = setInterval(() => {
    often?.();
    const more = { files: openFiles(), processor: processorTimes(), logged: logged() };
    tell({ ...look(), ...more, ...most });
  }, often === undefined ? TELL_MS : COLLECT_MS);
  const { promise, resolve } = Promise.withResolvers<void>();
  const collect = () => gc?.();
  Deno.addSignalListener("SIGUSR2", collect);
  Deno.addSignalListener("SIGTERM", resolve);
  await promise;
  Deno.removeSignalListener("SIGTERM", resolve);
  Deno.removeSignalListener("SIGUSR2", collect);
  clearInterval(looking);
  clearInterval(telling);
}

function openFiles(): number {
  return Deno.build.os === "linux" ? [...Deno.readDirSync("/proc/self/fd")].length : 0;
}

/** How often as much time as somebody computed between these it wanted to; 1 if it had all of it. */
export function stretchBetween(before: ProcessorTimes, after: ProcessorTimes): number {
  const had = after.had - before.had;
  return had > 0 ? 1 + (after.wanted - before.wanted) / had : 1;
}

/** Of the main thread of this process; only Linux tells. */
export function processorTimes(): ProcessorTimes {
  try {
    const [had, wanted] = Deno.readTextFileSync("/proc/self/schedstat").split(" ");
    return { had: Number(had) / 1e6, wanted: Number(wanted) / 1e6 };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { had: 0, wanted: 0 };
    throw error;
  }
}

/** A broker in a process of its own that tells what it holds. */
export class MeasuredBroker implements AsyncDisposable {
  readonly #process: Process<BrokerReport>;
  readonly #listening = Promise.withResolvers<{ address: string; authkey: string }>();
  #figures: BrokerFigures | undefined;

  private constructor(
    module: string,
    options: object,
    onFigures: (figures: BrokerFigures) => void,
    flags: readonly string[],
  ) {
    const args = ["--role=broker", `--options=${JSON.stringify(options)}`];
    this.#process = new Process(module, args, (report) => {
      if ("address" in report) return this.#listening.resolve(report);
      this.#figures = report;
      onFigures(report);
    }, { flags });
  }

  /**
   * Starts `module` with `--role=broker` and `--options`, for which it calls `serveMeasured`.
   *
   * @typeParam Options What that module makes of `--options`.
   * @returns The broker once it listens, where, and with which key.
   */
  static async start<Options extends object = BrokerOptions>(
    module: string,
    options: Options,
    { onFigures = () => {}, flags = [] }: ProcessOptions & {
      /** Told what the broker holds, now and then. */
      onFigures?(figures: BrokerFigures): void;
    } = {},
  ): Promise<{ broker: MeasuredBroker; address: string; authkey: string }> {
    const broker = new MeasuredBroker(module, options, onFigures, flags);
    return { broker, ...await broker.#listening.promise };
  }

  /** The latest figures. */
  get figures(): BrokerFigures {
    if (this.#figures === undefined) throw new Error("Cannot tell the figures: none have come yet");
    return this.#figures;
  }

  /** Lets it collect its garbage; see {@linkcode MeasureOptions}. */
  collect(): void {
    this.#process.kill("SIGUSR2");
  }

  /** Ends it in order; kills it if it does not end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), END_MS);
    await this.#process.status();
    clearTimeout(timer);
  }
}

/** Milliseconds on a clock that the processes of one machine share. */
export function clock(): number {
  return performance.timeOrigin + performance.now();
}

/** How often each latency occurred, by its number of steps of 10 µs. */
export type LatencyCounts = readonly (readonly [step: number, count: number])[];

const STEPS_PER_MS = 100;

/** How long messages took, to within 10 µs. */
export class Latencies {
  readonly #counts = new Map<number, number>();
  #total = 0;

  /** How many messages were noted. */
  get size(): number {
    return this.#total;
  }

  /** Notes a message that took so many milliseconds. */
  add(ms: number): void {
    this.addCounts([[Math.max(0, Math.ceil(ms * STEPS_PER_MS)), 1]]);
  }

  /** Notes what another noted. */
  addCounts(counts: LatencyCounts): void {
    for (const [step, count] of counts) {
      this.#counts.set(step, (this.#counts.get(step) ?? 0) + count);
      this.#total += count;
    }
  }

  /** What was noted, for another process. */
  counts(): LatencyCounts {
    return [...this.#counts];
  }

  /** The latency that this part of the messages did not exceed, in milliseconds. */
  quantile(part: number): number {
    let left = part * this.#total;
    for (const [step, count] of [...this.#counts].sort(([a], [b]) => a - b)) {
      left -= count;
      if (left <= 0) return step / STEPS_PER_MS;
    }
    return NaN;
  }
}

/** A broker as a program of its own, which can be killed and started again on the same file. */
export class BrokerProcess implements AsyncDisposable {
  readonly file: string;
  readonly #args: readonly string[];
  #process: Process<{ line: string }> | undefined;

  /** Will use this connection file. */
  constructor(file: string, ...args: readonly string[]) {
    this.file = file;
    this.#args = args;
  }

  /** Starts it; resolves when it listens. */
  async start(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cli = new URL("../../cli.ts", import.meta.url).href;
    this.#process = new Process(cli, [...this.#args, this.file], ({ line }) => {
      if (line.startsWith("Listening")) resolve();
    });
    await promise;
  }

  /** The process id of the latest start. */
  get pid(): number {
    return this.#process!.pid;
  }

  /** Kills it, so that it can tell nobody. */
  async kill(): Promise<void> {
    this.#process!.kill("SIGKILL");
    await this.#process!.status();
  }

  /** Ends it in order. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#process?.kill("SIGTERM");
    await this.#process?.status();
  }
}

/** A number of bytes for people. */
export function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

/** Tells what is not as it should be; whether there was nothing. */
export function isRight(faults: readonly string[]): boolean {
  for (const fault of faults) console.log(`NOT AS IT SHOULD BE: ${fault}`);
  return faults.length === 0;
}
