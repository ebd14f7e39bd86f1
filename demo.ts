/**
 * A demonstration: a broker, publishers and subscribers, each in a process of its own.
 *
 * ```sh
 * deno task demo --help
 * ```
 *
 * Publishers send numbered messages; subscribers check that none is missing, doubled or late. The
 * exit status is 0 when all is well, 1 when it is not, 2 when the arguments are wrong.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { TextLineStream } from "@std/streams/text-line-stream";
import { main as runBroker } from "./cli.ts";
import { NetPubSub } from "./mod.ts";

const HELP = `Usage: deno task demo [OPTIONS]

Starts a broker, publishers and subscribers, each in a process of its own.

Options:
  -p, --publishers N    How many publishers [default: 3]
  -s, --subscribers N   How many subscribers [default: 3]
  --delay-min SECONDS   The shortest pause between two messages [default: 0.2]
  --delay-max SECONDS   The longest [default: 1]
  --seconds SECONDS     How long the publishers publish [default: 9]
  -h, --help            Print this`;

/** The chance that a message makes its subscriber publish something as well. */
const REMARK_CHANCE = 0.1;

/** The messages of the demonstration. */
interface Topics {
  /** `["demo", NAME]`: numbered messages of NAME, from 1. */
  demo: { number: number };
  /** `["aside", NAME]`: what NAME says to itself. */
  aside: { text: string };
  /** The last message: how many each publisher sent. */
  end: { sent: Record<string, number> };
}

interface DemoOptions {
  readonly publishers: number;
  readonly subscribers: number;
  readonly delayMin: number;
  readonly delayMax: number;
  readonly seconds: number;
}

/** What one process does. */
interface Part {
  readonly role: "broker" | "publisher" | "subscriber";
  readonly name: string;
  /** The broker's connection file. */
  readonly file: string;
}

/** What a child process tells on its standard output, a line of JSON each. */
type Report =
  | { readonly say: string }
  | { readonly ready: true }
  | { readonly sent: number }
  | { readonly tally: Tally };

/** What became of the numbered messages on their way to a subscriber. */
export interface Tally {
  /** How many came of the publishers whose count is known. */
  readonly received: number;
  readonly missing: number;
  readonly doubled: number;
  /** How many came after a higher number. */
  readonly late: number;
}

/** Follows the numbers of each publisher. */
export class SequenceChecker {
  readonly #sequences = new Map<string, { last: number; received: number; missing: Set<number> }>();
  #doubled = 0;
  #late = 0;

  /**
   * Takes a message.
   *
   * @returns What is wrong with its number, if anything.
   */
  take(from: string, number: number): string | undefined {
    const sequence = this.#sequences.get(from) ?? { last: 0, received: 0, missing: new Set() };
    this.#sequences.set(from, sequence);
    const { last, missing } = sequence;
    sequence.received++;
    if (number > last) {
      for (let n = last + 1; n < number; n++) missing.add(n);
      sequence.last = number;
      return number === last + 1 ? undefined : `expected ${last + 1}`;
    }
    if (missing.delete(number)) {
      this.#late++;
      return `came after ${last}`;
    }
    this.#doubled++;
    return "came twice";
  }

  /**
   * Closes the books.
   *
   * @param sent How many messages each publisher sent.
   */
  tally(sent: Readonly<Record<string, number>>): Tally {
    let received = 0;
    let missing = 0;
    for (const sequence of this.#sequences.values()) missing += sequence.missing.size;
    for (const [from, count] of Object.entries(sent)) {
      const sequence = this.#sequences.get(from);
      received += sequence?.received ?? 0;
      missing += count - (sequence?.last ?? 0);
    }
    return { received, missing, doubled: this.#doubled, late: this.#late };
  }
}

/** Publishes numbered messages until its time is over. */
async function publisher(name: string, file: string, options: DemoOptions): Promise<void> {
  await using bus = await NetPubSub.fromFile<Topics>(file);
  await bus.connect();
  const end = performance.now() + options.seconds * 1000;
  let number = 0;
  while (performance.now() < end) {
    report({ say: `publishes ${++number}` });
    bus.publish(["demo", name], { number });
    const pause = options.delayMin + Math.random() * (options.delayMax - options.delayMin);
    await new Promise((resolve) => setTimeout(resolve, pause * 1000));
  }
  await bus.flush(); // The broker has them all: what is published from now on comes later.
  report({ sent: number });
}

/** Checks the numbers of all publishers, and says something itself now and then. */
async function subscriber(name: string, file: string): Promise<void> {
  await using bus = await NetPubSub.fromFile<Topics>(file);
  const checker = new SequenceChecker();
  const remarks = { public: 0, local: 0, heard: 0 };
  const { promise: ended, resolve: end } = Promise.withResolvers<Tally>();

  bus.addSubscriber("demo", ([, from = ""], { number }) => {
    const fault = checker.take(from, number);
    report({ say: `got ${number} from ${from}${fault === undefined ? "" : ` - WRONG: ${fault}`}` });
    if (from === name) return;
    if (Math.random() < REMARK_CHANCE) {
      report({ say: `decides to publish ${++remarks.public} of its own` });
      bus.publish(["demo", name], { number: remarks.public });
    }
    if (Math.random() < REMARK_CHANCE) {
      report({ say: "says something that stays in its process" });
      remarks.local++;
      bus.publish(["aside", name], { text: "only I hear this" }, { local: true });
    }
  });
  bus.addSubscriber("aside", ([, from]) => {
    if (from !== name) throw new Error(`${name} heard what ${from} said to itself`);
    remarks.heard++;
  });
  bus.addSubscriber("end", (_topic, { sent }) => end(checker.tally(sent)), { once: true });

  await bus.connect();
  report({ ready: true });
  const tally = await Promise.race([ended, bus.closed.then(() => ended)]);
  if (remarks.heard !== remarks.local) {
    throw new Error(`${name} heard ${remarks.heard} of ${remarks.local} local messages`);
  }
  report({ tally });
}

/** Plays a part of the demonstration; returns the exit status. */
async function play(part: Part, options: DemoOptions): Promise<number> {
  try {
    return await Promise.race([perform(part, options), orphaned(part)]);
  } catch (error) { // The broker is gone, for one.
    console.error(`demo: ${part.name}: ${error instanceof Error ? error.message : error}`);
    return 1;
  }
}

async function perform({ role, name, file }: Part, options: DemoOptions): Promise<number> {
  if (role === "broker") return await runBroker([file]);
  if (role === "publisher") await publisher(name, file, options);
  else await subscriber(name, file);
  return 0;
}

/** Waits until the demonstration is gone, which holds the other end of the standard input. */
async function orphaned({ role, file }: Part): Promise<number> {
  await Deno.stdin.readable.pipeTo(new WritableStream());
  // Nobody else removes the folder now.
  if (role === "broker") await Deno.remove(folderOf(file), { recursive: true });
  return 1;
}

function folderOf(file: string): string {
  return file.slice(0, file.lastIndexOf("/"));
}

function report(line: Report): void {
  console.log(JSON.stringify(line));
}

/** A process of the demonstration. */
class Child {
  readonly name: string;
  readonly ready: Promise<unknown>;
  /** What it reported at its end; rejects when it failed. */
  readonly result: Promise<Report>;
  #onReady: () => void = () => {};

  constructor({ role, name, file }: Part, options: DemoOptions, stop: AbortSignal) {
    this.name = name;
    const folder = folderOf(file);
    const flags = Object.entries({ ...options, role, name, file });
    const process = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "--no-prompt", "--allow-net"],
        ...[`--allow-read=${folder}`, `--allow-write=${folder}`, import.meta.url],
        ...flags.map(([key, value]) => `--${dashed(key)}=${value}`),
      ],
      stdin: "piped", // It ends when this process does.
      stdout: "piped",
      signal: stop,
    }).spawn();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onReady = resolve;
    this.result = this.#follow(process);
    // Who waits for it to be ready learns of its failure as well.
    this.ready = Promise.race([promise, this.result]);
    this.ready.catch(() => {});
  }

  async #follow(process: Deno.ChildProcess): Promise<Report> {
    const lines = process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(
      new TextLineStream(),
    );
    let result: Report = { ready: true };
    for await (const line of lines) {
      const said: Report = line.startsWith("{") ? JSON.parse(line) : { say: line };
      if ("say" in said) print(this.name, said.say);
      else if ("ready" in said) this.#onReady();
      else result = said;
      if (this.name === "broker") this.#onReady(); // It prints its address when it listens.
    }
    const { code, signal } = await process.status;
    await process.stdin.close();
    if (code !== 0) throw new Error(`${this.name} ended with ${signal ?? `status ${code}`}`);
    return result;
  }
}

function print(name: string, line: string): void {
  console.log(`${(performance.now() / 1000).toFixed(3).padStart(7)}  ${name.padEnd(6)}  ${line}`);
}

/** Runs the demonstration; rejects when one of its processes fails. */
async function demo(
  options: DemoOptions,
  stop: AbortSignal,
): Promise<{ sent: Record<string, number>; tallies: Tally[] }> {
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-demo-" });
  const children = new AbortController();
  const signal = AbortSignal.any([stop, children.signal]);
  const file = `${folder}/broker.json`;
  const all: Child[] = [];
  const start = (role: Part["role"], name: string) => {
    const child = new Child({ role, name, file }, options, signal);
    all.push(child);
    return child;
  };
  const broker = start("broker", "broker");
  try {
    await broker.ready;
    await using bus = await NetPubSub.fromFile<Topics>(file);
    await bus.connect();
    const subscribers = names("SUB", options.subscribers).map((name) => start("subscriber", name));
    await Promise.all(subscribers.map(({ ready }) => ready));
    const publishers = names("PUB", options.publishers).map((name) => start("publisher", name));
    const sent: Record<string, number> = {};
    const published = Promise.all(publishers.map(async ({ name, result }) => {
      const said = await result;
      sent[name] = "sent" in said ? said.sent : 0;
    }));
    const others = [broker, ...subscribers].map(async ({ name, result }) => {
      await result;
      throw new Error(`${name} ended too early`);
    });
    await Promise.race([published, ...others]);
    for (const other of others) other.catch(() => {});
    bus.publish("end", { sent });
    const results = await Promise.all(subscribers.map(({ result }) => result));
    return { sent, tallies: results.flatMap((said) => "tally" in said ? [said.tally] : []) };
  } finally {
    children.abort();
    await Promise.allSettled(all.map(({ result }) => result));
    await Deno.remove(folder, { recursive: true });
  }
}

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
}

function dashed(key: string): string {
  return key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** What happened, in a sentence, and whether every subscriber got every message once, in order. */
export function summarise(
  sent: Readonly<Record<string, number>>,
  tallies: readonly Tally[],
): { text: string; isComplete: boolean } {
  const total = { received: 0, missing: 0, doubled: 0, late: 0 };
  for (const tally of tallies) {
    for (const key of ["received", "missing", "doubled", "late"] as const) total[key] += tally[key];
  }
  const { received, missing, doubled, late } = total;
  const count = Object.values(sent).reduce((sum, n) => sum + n, 0);
  return {
    text: `${count} messages sent by ${Object.keys(sent).length} publishers to ${tallies.length} ` +
      `subscribers: ${received} received, ${missing} missing, ${doubled} doubled, ${late} late`,
    isComplete: missing + doubled + late === 0 && received === count * tallies.length,
  };
}

/** Reads the options; throws a `RangeError` or a `TypeError` for one that is wrong. */
function demoOptions(flags: Record<string, unknown>): DemoOptions {
  const number = (key: string, isCount: boolean) => {
    const value = flags[key] === "" ? NaN : Number(flags[key]);
    if (isCount ? Number.isInteger(value) && value > 0 : Number.isFinite(value) && value >= 0) {
      return value;
    }
    const wanted = isCount ? "a whole number from 1" : "a number of seconds";
    throw new RangeError(`Cannot use --${key} ${flags[key]}: it must be ${wanted}`);
  };
  const options = {
    publishers: number("publishers", true),
    subscribers: number("subscribers", true),
    delayMin: number("delay-min", false),
    delayMax: number("delay-max", false),
    seconds: number("seconds", false),
  };
  if (options.delayMin > options.delayMax) {
    throw new RangeError(
      `Cannot use --delay-min ${options.delayMin}: it is more than --delay-max ${options.delayMax}`,
    );
  }
  return options;
}

async function main(args: string[]): Promise<number> {
  let flags: Record<string, unknown>;
  let options: DemoOptions;
  try {
    flags = parseArgs(args, {
      boolean: ["help"],
      string: [
        ...["publishers", "subscribers", "delay-min", "delay-max", "seconds"],
        // How the demonstration starts its own processes.
        ...["role", "name", "file"],
      ],
      alias: { h: "help", p: "publishers", s: "subscribers" },
      default: {
        ...{ publishers: "3", subscribers: "3", seconds: "9" },
        ...{ "delay-min": "0.2", "delay-max": "1" },
      },
      unknown: (arg) => {
        throw new TypeError(`Unknown argument ${arg}`);
      },
    });
    options = demoOptions(flags);
  } catch (error) { // TypeError or RangeError: it is the user's.
    console.error(`demo: ${error instanceof Error ? error.message : error} (--help tells more)`);
    return 2;
  }
  if (flags.role !== undefined) return await play(flags as unknown as Part, options);
  if (flags.help !== true) return await supervise(options);
  console.log(HELP);
  return 0;
}

async function supervise(options: DemoOptions): Promise<number> {
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  for (const name of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(name, onSignal);
  try {
    const { sent, tallies } = await demo(options, stop.signal);
    const { text, isComplete } = summarise(sent, tallies);
    console.log(`\n${text}`);
    return isComplete && tallies.length === options.subscribers ? 0 : 1;
  } catch (error) { // A process failed: it has said why.
    if (stop.signal.aborted) return 130;
    console.error(`demo: ${error instanceof Error ? error.message : error}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
