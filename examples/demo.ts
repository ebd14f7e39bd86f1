/**
 * A demonstration: a broker, publishers and subscribers, each in a process of its own.
 *
 * ```sh
 * deno task demo --help
 * ```
 *
 * With `--machines 3` it is what would be three machines, all of them this one:
 *
 * ```
 *  PUB1  SUB1      PUB2  SUB2      PUB3  SUB3      programs, each with the broker of its machine
 *     broker1         broker2         broker3
 *      nats1 ────────── nats2 ────────── nats3     one of them is killed half way
 * ```
 *
 * Publishers, and now and then subscribers, send numbered messages; subscribers check that none is
 * missing, doubled or late. In the end, and after Ctrl-C, too, all that was printed is counted:
 *
 * ```
 *  publishers ── all sent, or told to stop ─▶ subscribers say no more ── how many ─▶ all are counted
 * ```
 *
 * The exit status is 0 when all is well, 1 when it is not, 2 when the arguments are wrong, 130 after
 * Ctrl-C.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { TextLineStream } from "@std/streams/text-line-stream";
import { pause } from "../base/timers.ts";
import { main as runBroker } from "../cli.ts";
import { parseTime, timeText } from "../cli/command.ts";
import { StopSignals } from "../cli/signals.ts";
import type { NatsModule } from "../cli/uplink.ts";
import { addressBeside } from "../io/address.ts";
import { writeConnectionFile } from "../io/connection_file.ts";
import { Broker, ConnectionLostError, NetPubSub } from "../mod.ts";
import type { NatsCluster } from "../tools/harness/nats_server.ts";

const HELP = `Usage: deno task demo [OPTIONS]

Starts a broker, publishers and subscribers, each in a process of its own.
With --machines a broker for each, joined through a cluster of three NATS
nodes, of which one is killed half way; that needs nats-server.

Options:
  -p, --publishers N    How many publishers [default: 3]
  -s, --subscribers N   How many subscribers [default: 3]
  -m, --machines N      Over how many machines these are spread in turn; all of
                        them are this one [default: 1]
  --delay-min TIME      The shortest pause between two messages [default: 200ms]
  --delay-max TIME      The longest [default: 1s]
  --seconds N           How long the publishers publish [default: 9]
  -h, --help            Print this

Ctrl-C ends it early, and all that was sent until then is counted.`;

/** The chance that a message makes its subscriber publish something as well. */
const REMARK_CHANCE = 0.1;
/** How large the cluster is: the least that goes on when one node dies. */
const NATS_NODES = 3;
/** How often it is tried whether a message comes from each machine to each subscriber. */
const PROBE_MS = 50;
/** That takes a second or two. */
const JOIN_MS = 30_000;
/**
 * So long a message may be under way after the last was sent. Where the leader of a cluster died it
 * takes up to 9 s until there is another, and some more until all have noticed.
 */
const UNDER_WAY_MS = 20_000;

/** The messages of the demonstration. */
interface Topics {
  /** `["demo", NAME]`: numbered messages of NAME, from 1. */
  demo: { number: number };
  /** `["aside", NAME]`: what NAME says to itself. */
  aside: { text: string };
  /** Tells whether messages of a machine arrive. */
  probe: { machine: number };
  /** That the publishers are done: subscribers publish no more, and report how much they did. */
  close: object;
  /** That nothing more is published: how many each publisher and each subscriber sent. */
  end: { sent: Record<string, number> };
}

interface DemoOptions {
  readonly publishers: number;
  readonly subscribers: number;
  readonly machines: number;
  /** In milliseconds. */
  readonly delayMin: number;
  /** In milliseconds. */
  readonly delayMax: number;
  readonly seconds: number;
}

/** What one process does. */
interface Part {
  readonly role: "broker" | "publisher" | "subscriber";
  readonly name: string;
  /** The broker's connection file. */
  readonly file: string;
  /** The machine, counted from 1. */
  readonly machine: number;
  /** Where a broker finds NATS, its own node first, with commas; empty without NATS. */
  readonly servers: string;
}

/** One of the machines. */
interface Machine extends Pick<Part, "machine" | "file" | "servers"> {
  /** Of its broker. */
  readonly name: string;
}

/** What a child process prints to its standard output, as a line of JSON each. */
type Report =
  | { readonly say: string }
  | { readonly ready: true }
  /** It is connected to this NATS server, or no more. */
  | { readonly server: string; readonly isConnected: boolean }
  | { readonly sent: number }
  | { readonly tally: Count };

/** What became of the numbered messages on their way to a subscriber. */
export interface Tally {
  /** How many came of those whose count is known. */
  readonly received: number;
  readonly missing: number;
  readonly doubled: number;
  /** How many came after a higher number. */
  readonly late: number;
}

/** What a subscriber has counted: also how many messages stayed in its process. */
export type Count = Tally & { readonly local: number };

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

  /** Whether so many messages came of each publisher. */
  hasAll(sent: Readonly<Record<string, number>>): boolean {
    return Object.entries(sent).every(([from, count]) =>
      (this.#sequences.get(from)?.received ?? 0) >= count
    );
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

/** A broker that NATS joins to those of the other machines; it runs until it is killed. */
async function joinedBroker(file: string, servers: readonly string[]): Promise<void> {
  // Imported by name: with one machine, NATS's library is neither downloaded nor loaded.
  const { NatsUplink }: NatsModule = await import(import.meta.resolve("../nats.ts"));
  const uplink = new NatsUplink({
    servers,
    bus: "demo",
    stream: "DEMO", // Keeps what a broker missed while its NATS node was dead.
    onEvent({ type, message }) {
      const { server } = uplink.stats();
      if (type === "unreachable" || type === "warning") report({ say: `warns: ${message}` });
      else if (server !== null && (type === "connected" || type === "disconnected")) {
        report({ server, isConnected: type === "connected" });
      }
    },
  });
  const address = addressBeside(file);
  const broker = new Broker({ uplink, ...(address !== undefined && { address }) });
  await broker.start();
  const { authkey } = broker;
  await writeConnectionFile(file, { address: broker.address, authkey, pid: Deno.pid }, {
    replace: false,
  });
  report({ say: `listens at ${broker.address}` });
  report({ ready: true });
  await broker.finished;
}

/** Publishes numbered messages until its time is over, or it is told to stop. */
async function publisher(
  { name, file }: Part,
  { delayMin, delayMax, seconds }: DemoOptions,
  stop: AbortSignal,
): Promise<void> {
  await using bus = await NetPubSub.fromFile<Topics>(file, { name });
  await bus.connect();
  const end = performance.now() + seconds * 1000;
  let number = 0;
  while (performance.now() < end && !stop.aborted) {
    report({ say: `publishes ${++number}` });
    bus.publish(["demo", name], { number });
    await pause(delayMin + Math.random() * (delayMax - delayMin), stop);
  }
  await bus.flush(); // The broker has them all: what is published from now on comes later.
  report({ sent: number });
}

/** Checks the numbers of all publishers, and says something itself now and then. */
async function subscriber({ name, file, machine }: Part, machines: number): Promise<void> {
  await using bus = await NetPubSub.fromFile<Topics>(file, { name });
  const checker = new SequenceChecker();
  const remarks = { public: 0, local: 0, heard: 0 };
  const { promise: joined, resolve: join } = Promise.withResolvers<void>();
  const { promise: closing, resolve: close } = Promise.withResolvers<void>();
  const { promise: ended, resolve: end } = Promise.withResolvers<Record<string, number>>();
  let isClosing = false;
  const complete = new AbortController();
  let expected: Record<string, number> | undefined;
  const look = () => {
    if (expected !== undefined && checker.hasAll(expected)) complete.abort();
  };
  const machinesHeard = new Set<number>();
  const hear = (machine: number) => {
    if (machinesHeard.add(machine).size === machines) join();
  };

  bus.addSubscriber("demo", ([, from = ""], { number }) => {
    const fault = checker.take(from, number);
    report({ say: `got ${number} from ${from}${fault === undefined ? "" : ` - WRONG: ${fault}`}` });
    look();
    if (from === name || isClosing) return;
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
  bus.addSubscriber("probe", (_topic, { machine }) => hear(machine));
  bus.addSubscriber("close", () => {
    isClosing = true;
    close();
  });
  bus.addSubscriber("end", (_topic, { sent }) => {
    end(expected = sent);
    look();
  });

  await bus.connect();
  hear(machine);
  await Promise.race([joined, bus.closed.then(() => joined)]);
  report({ ready: true });
  await Promise.race([closing, bus.closed.then(() => closing)]);
  await bus.flush();
  report({ sent: remarks.public });
  const sent = await Promise.race([ended, bus.closed.then(() => ended)]);
  // What other machines sent may come later.
  if (!complete.signal.aborted) await pause(UNDER_WAY_MS, complete.signal);
  const tally = checker.tally(sent);
  if (remarks.heard !== remarks.local) {
    throw new Error(`${name} heard ${remarks.heard} of ${remarks.local} local messages`);
  }
  report({ tally: { ...tally, local: remarks.local } });
}

/** Plays a part of the demonstration; returns the exit status. */
async function play(part: Part, options: DemoOptions): Promise<number> {
  const stop = new AbortController();
  try {
    return await Promise.race([perform(part, options, stop.signal), orphaned(part, stop)]);
  } catch (error) { // The broker is gone, for one.
    console.error(`demo: ${part.name}: ${error instanceof Error ? error.message : error}`);
    return 1;
  }
}

async function perform(part: Part, options: DemoOptions, stop: AbortSignal): Promise<number> {
  const { role, file, servers } = part;
  if (role === "broker" && servers === "") return await runBroker([file]);
  if (role === "broker") await joinedBroker(file, servers.split(","));
  else if (role === "publisher") await publisher(part, options, stop);
  else await subscriber(part, options.machines);
  return 0;
}

/**
 * Waits until the demonstration is gone, which holds the other end of the standard input; whatever it
 * writes there means to stop.
 */
async function orphaned({ role, file, machine }: Part, stop: AbortController): Promise<number> {
  for await (const _ of Deno.stdin.readable) stop.abort();
  // Nobody else removes the folder now.
  if (role === "broker" && machine === 1) await Deno.remove(folderOf(file), { recursive: true });
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
  /** How many messages it has sent, once it sends no more; rejects when it failed. */
  readonly sent: Promise<number>;
  /** What it reported at its end; rejects when it failed. */
  readonly result: Promise<Report>;
  /** The NATS server to which it is, or was last, connected. */
  server: string | undefined;
  readonly #nats: Nats | undefined;
  readonly #process: Deno.ChildProcess;
  #onReady: () => void = () => {};
  #onSent: (count: number) => void = () => {};

  constructor(part: Part, options: DemoOptions, end: AbortSignal, nats?: Nats) {
    this.name = part.name;
    this.#nats = nats;
    const folder = folderOf(part.file);
    const [delayMin, delayMax] = [options.delayMin, options.delayMax].map(timeText);
    const flags = Object.entries({ ...options, delayMin, delayMax, ...part });
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "--no-prompt", "--allow-net"],
        ...[`--allow-read=${folder},${import.meta.dirname}/..`, `--allow-write=${folder}`],
        import.meta.url,
        ...flags.map(([key, value]) => `--${dashed(key)}=${value}`),
      ],
      stdin: "piped", // It ends when this process does.
      stdout: "piped",
      detached: true, // Ctrl-C in a terminal is for this process only.
      signal: end,
    }).spawn();
    const ready = Promise.withResolvers<void>();
    const sent = Promise.withResolvers<number>();
    this.#onReady = ready.resolve;
    this.#onSent = sent.resolve;
    this.result = this.#follow(this.#process);
    // Who waits for it learns of its failure as well.
    this.ready = Promise.race([ready.promise, this.result]);
    this.sent = Promise.race([sent.promise, this.result.then(() => sent.promise)]);
    this.ready.catch(() => {});
    this.sent.catch(() => {});
  }

  /** Tells it to stop what it does. */
  async stop(): Promise<void> {
    const writer = this.#process.stdin.getWriter();
    try {
      await writer.write(Uint8Array.of(0x0a));
    } catch (error) { // It has ended.
      if (!(error instanceof Deno.errors.BrokenPipe || error instanceof TypeError)) throw error;
    } finally {
      writer.releaseLock();
    }
  }

  async #follow(process: Deno.ChildProcess): Promise<Report> {
    const lines = process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(
      new TextLineStream(),
    );
    let result: Report = { ready: true };
    for await (const line of lines) {
      const isReport = line.startsWith("{");
      const said: Report = isReport ? JSON.parse(line) : { say: line };
      if ("say" in said) print(this.name, said.say);
      else if ("server" in said) this.#hearOfServer(said.server, said.isConnected);
      else if ("ready" in said) this.#onReady();
      else if ("sent" in said) this.#onSent(said.sent);
      else result = said;
      if (!isReport) this.#onReady(); // The standalone broker prints its address when it listens.
    }
    const { code, signal } = await process.status;
    await process.stdin.close();
    if (code !== 0) throw new Error(`${this.name} ended with ${signal ?? `status ${code}`}`);
    return result;
  }

  #hearOfServer(server: string, isConnected: boolean): void {
    const does = !isConnected
      ? "has lost its connection to"
      : this.server === undefined
      ? "is connected to"
      : "goes on with";
    print(this.name, `${does} ${this.#nats?.nameOf(server)}`);
    this.server = server;
  }
}

function print(name: string, line: string): void {
  console.log(`${(performance.now() / 1000).toFixed(3).padStart(7)}  ${name.padEnd(7)}  ${line}`);
}

/** What joins the machines: a cluster of NATS, of which each node has a name. */
class Nats implements AsyncDisposable {
  readonly #cluster: NatsCluster;

  private constructor(cluster: NatsCluster) {
    this.#cluster = cluster;
  }

  static async start(): Promise<Nats> {
    const { hasNatsServer, NatsCluster } = await import("../tools/harness/nats_server.ts");
    if (!hasNatsServer) {
      throw new Error(
        "Cannot run more than one machine: nats-server is not installed " +
          "(apt install nats-server, brew install nats-server, or https://nats.io/download)",
      );
    }
    print("nats", `starts a cluster of ${NATS_NODES} nodes`);
    const nats = new Nats(await NatsCluster.start(NATS_NODES, { jetstream: true }));
    for (const { url } of nats.#cluster.nodes) print(nats.nameOf(url), `listens at ${url}`);
    return nats;
  }

  /** Where a machine finds it: first at its own node. */
  serversOf(machine: number): string[] {
    const { urls } = this.#cluster;
    return urls.map((_, i) => urls[(machine - 1 + i) % urls.length]!);
  }

  /** The name of the node at an address. */
  nameOf(server: string): string {
    return `nats${this.#cluster.urls.findIndex((url) => url.endsWith(server)) + 1}`;
  }

  /** Kills the node to which a broker is connected. */
  async killNodeOf(broker: Child): Promise<void> {
    const { nodes } = this.#cluster;
    const name = this.nameOf(broker.server ?? nodes[0]!.url);
    print(name, `is killed, to which ${broker.name} is connected`);
    await nodes.find(({ url }) => this.nameOf(url) === name)!.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster[Symbol.asyncDispose]();
  }
}

/** What a demonstration found out. */
export interface Outcome {
  /** How many messages each publisher sent. */
  readonly sent: Record<string, number>;
  /** How many messages each subscriber sent. */
  readonly remarks: Record<string, number>;
  readonly counts: Count[];
}

/**
 * Runs the demonstration; rejects when one of its processes fails.
 *
 * @param stop Ends it early; before anything is published, at once.
 * @param abort Ends it at once.
 */
async function demo(
  options: DemoOptions,
  stop: AbortSignal,
  abort: AbortSignal,
): Promise<Outcome> {
  await using nats = options.machines > 1 ? await Nats.start() : undefined;
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-demo-" });
  const children = new AbortController();
  const kill = () => children.abort();
  abort.addEventListener("abort", kill);
  const all: Child[] = [];
  const start = (role: Part["role"], name: string, { machine, file, servers }: Machine) => {
    const child = new Child({ role, name, file, machine, servers }, options, children.signal, nats);
    all.push(child);
    return child;
  };
  const machines = Array.from({ length: options.machines }, (_, i): Machine => {
    const name = options.machines === 1 ? "broker" : `broker${i + 1}`;
    const servers = nats?.serversOf(i + 1).join(",") ?? "";
    return { machine: i + 1, name, file: `${folder}/${name}.json`, servers };
  });
  try {
    stop.throwIfAborted(); // It was interrupted while NATS started.
    stop.addEventListener("abort", kill);
    return await direct(options, machines, start, {
      begin: () => stop.removeEventListener("abort", kill),
      stop,
      async disturb(broker) {
        await pause(options.seconds * 1000 / 2, stop);
        if (!stop.aborted && !abort.aborted) await nats?.killNodeOf(broker);
      },
    });
  } finally {
    children.abort();
    await Promise.allSettled(all.map(({ result }) => result));
    await Deno.remove(folder, { recursive: true });
  }
}

/** What happens while a demonstration is under way. */
interface Events {
  /** Called when the publishers begin. */
  begin(): void;
  /** Ends them early. */
  readonly stop: AbortSignal;
  /** Makes things harder for a broker. */
  disturb(broker: Child): Promise<void>;
}

/** Starts everything in its turn, and waits for what comes of it. */
async function direct(
  { publishers, subscribers }: DemoOptions,
  machines: readonly Machine[],
  start: (role: Part["role"], name: string, machine: Machine) => Child,
  { begin, stop, disturb }: Events,
): Promise<Outcome> {
  const spread = (role: Part["role"], names: readonly string[]) =>
    names.map((name, i) => start(role, name, machines[i % machines.length]!));
  const brokers = spread("broker", machines.map(({ name }) => name));
  await Promise.all(brokers.map(({ ready }) => ready));
  await using stack = new AsyncDisposableStack();
  const buses = await Promise.all(machines.map(async ({ file }) => {
    const bus = await NetPubSub.fromFile<Topics>(file, { name: "demo", onError: complain });
    stack.defer(() => leave(bus));
    await bus.connect();
    return bus;
  }));
  const listening = spread("subscriber", names("SUB", subscribers));
  await probe(buses, listening);
  begin();
  const publishing = spread("publisher", names("PUB", publishers));
  stop.addEventListener("abort", () => publishing.forEach((publisher) => publisher.stop()));
  const others = [...brokers, ...listening].map(async ({ name, result }) => {
    await result;
    throw new Error(`${name} ended too early`);
  });
  for (const other of others) other.catch(() => {});
  const whatComes = async <T>(work: Promise<T>) => await Promise.race([work, ...others]) as T;
  const [sent] = await whatComes(Promise.all([
    sentBy(publishing),
    disturb(brokers[0]!),
    ...publishing.map(({ result }) => result),
  ]));
  for (const bus of buses) bus.publish("close");
  const remarks = await whatComes(sentBy(listening));
  for (const bus of buses) bus.publish("end", { sent: { ...sent, ...remarks } });
  const results = await Promise.all(listening.map(({ result }) => result));
  const counts = results.flatMap((said) => "tally" in said ? [said.tally] : []);
  return { sent, remarks, counts };
}

/** How many messages each of these has sent, once all of them send no more. */
async function sentBy(children: readonly Child[]): Promise<Record<string, number>> {
  const counts = children.map(async ({ name, sent }) => [name, await sent] as const);
  return Object.fromEntries(await Promise.all(counts));
}

/** Says what went wrong; that the broker had not everything when a bus left is no news. */
function complain(error: unknown): void {
  if (!(error instanceof ConnectionLostError)) console.error(`demo: ${error}`);
}

/** Disconnects at once: everything has come of it that can, or the broker is dead. */
async function leave(bus: NetPubSub<Topics>): Promise<void> {
  const signal = AbortSignal.abort();
  try {
    await bus.disconnect({ signal });
  } catch (error) { // Something is not acknowledged.
    if (error !== signal.reason && !(error instanceof ConnectionLostError)) throw error;
  }
}

/** Publishes at each machine until each subscriber has heard all of them. */
async function probe(
  buses: readonly NetPubSub<Topics>[],
  subscribers: readonly Child[],
): Promise<void> {
  const heard = new AbortController();
  const ready = Promise.all(subscribers.map(({ ready }) => ready)).finally(() => heard.abort());
  ready.catch(() => {}); // It is awaited below, if that is reached.
  const end = performance.now() + JOIN_MS;
  while (!heard.signal.aborted) {
    if (performance.now() > end) {
      throw new Error(`Not every subscriber hears every machine after ${JOIN_MS / 1000} s`);
    }
    for (const [i, bus] of buses.entries()) bus.publish("probe", { machine: i + 1 });
    await pause(PROBE_MS, heard.signal);
  }
  await ready;
}

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
}

function dashed(key: string): string {
  return key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** What happened, in a sentence, and whether every subscriber got every message once, in order. */
export function summarise({ sent, remarks, counts }: Outcome): {
  readonly text: string;
  readonly isComplete: boolean;
} {
  const sum = (numbers: readonly number[]) => numbers.reduce((sum, number) => sum + number, 0);
  const total = (key: keyof Count) => sum(counts.map((count) => count[key]));
  const [ofPublishers, ofSubscribers] = [sum(Object.values(sent)), sum(Object.values(remarks))];
  const all = ofPublishers + ofSubscribers;
  const [received, faults] = [
    total("received"),
    total("missing") + total("doubled") + total("late"),
  ];
  return {
    text: `${all} messages (${ofPublishers} of ${Object.keys(sent).length} publishers, ` +
      `${ofSubscribers} of subscribers) to ${counts.length} subscribers: ${received} received, ` +
      `${total("missing")} missing, ${total("doubled")} doubled, ${total("late")} late; ` +
      `${total("local")} more stayed in their processes`,
    isComplete: faults === 0 && received === all * counts.length,
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
  const time = (key: string) => {
    const ms = parseTime(String(flags[key]));
    if (ms !== undefined) return ms;
    throw new RangeError(`Cannot use --${key} ${flags[key]}: it must be a time like 250ms or 2s`);
  };
  const options = {
    publishers: number("publishers", true),
    subscribers: number("subscribers", true),
    machines: number("machines", true),
    delayMin: time("delay-min"),
    delayMax: time("delay-max"),
    seconds: number("seconds", false),
  };
  if (options.delayMin > options.delayMax) {
    throw new RangeError(
      `Cannot use --delay-min ${flags["delay-min"]}: it is more than --delay-max ${
        flags["delay-max"]
      }`,
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
        ...["publishers", "subscribers", "machines", "delay-min", "delay-max", "seconds"],
        // How the demonstration starts its own processes.
        ...["role", "name", "file", "machine", "servers"],
      ],
      alias: { h: "help", p: "publishers", s: "subscribers", m: "machines" },
      default: {
        ...{ publishers: "3", subscribers: "3", machines: "1", seconds: "9" },
        ...{ "delay-min": "200ms", "delay-max": "1s" },
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
  if (flags.role !== undefined) {
    return await play({ ...flags, machine: Number(flags.machine) } as Part, options);
  }
  if (flags.help !== true) return await supervise(options);
  console.log(HELP);
  return 0;
}

async function supervise(options: DemoOptions): Promise<number> {
  using stop = new StopSignals();
  const abort = new AbortController();
  stop.onAgain = () => abort.abort();
  try {
    const outcome = await demo(options, stop.signal, abort.signal);
    const { text, isComplete } = summarise(outcome);
    console.log(`\n${text}`);
    if (stop.signal.aborted) return 130;
    return isComplete && outcome.counts.length === options.subscribers ? 0 : 1;
  } catch (error) { // A process failed: it has said why.
    if (stop.signal.aborted) return 130;
    console.error(`demo: ${error instanceof Error ? error.message : error}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
