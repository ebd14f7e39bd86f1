/**
 * Shows whether a change costs anything: runs two folders of this project in one process, by turns.
 *
 * ```sh
 * deno task bench:path ../base                # this folder against another, in about two minutes
 * deno task bench:path ../base ../change --scenario 1-1-16 --scenario request --runs 60
 * ```
 *
 * ```
 *  publish ─▶ NetPubSub ─▶ session ─▶ memory ─▶ Broker ─▶ memory ─▶ session ─▶ NetPubSub ─▶ subscriber
 * ```
 *
 * - The whole path runs, but no socket and no second process disturbs it: `Deno.connect` and
 *   `Deno.listen` give streams in memory. Of a folder only `mod.ts` is known here, so what lies
 *   behind it may differ in each.
 * - The base is there twice. Its two copies differ by what this machine cannot measure; where that is
 *   more than the bound, nothing is said about the change.
 * - V8 does not compile the same code in the same way each time. So all sides are loaded several
 *   times, as modules of their own; and `--single-threaded`, which the task sets, lets V8 compile and
 *   collect garbage in the turn of the side that caused it.
 * - Each load is judged twice. The _usual_ time of a message is a lower quartile, so a small change
 *   shows though the machine is busy; but what is slow in bursts does not show there. The _mean_ of
 *   all messages has it, and has what else the machine does, too; so its bound is wider.
 * - The status is 1 when the change is slower somewhere, else 2 when a line says "noise", else 0.
 */
import { parseArgs } from "@std/cli/parse-args";
import { type Library, type Load, LOADS, type Running } from "./path_loads.ts";
import { quantile, summarize } from "./statistics.ts";

/** A ratio of usual times up to this one counts as equal. */
const BOUND = 1.05;
/** The same for means. */
const MEAN_BOUND = 1.15;
/**
 * Which part of the batches a mean leaves out: the slowest, which are those that other processes
 * interrupt. So a cost that comes in fewer batches than that is not seen.
 */
const INTERRUPTED = 0.01;
/** How often all sides are loaded. */
const LOADINGS = 4;
/** How often more, for loads where the copies of the base differ. */
const LOADINGS_MORE = 4;
/** How often a run goes through all sides, there and back. */
const PAIRS = 4;
/**
 * How long a batch takes. On a busy machine other processes interrupt it, for longer than it takes:
 * of batches so short enough are not interrupted at all.
 */
const BATCH_MS = 2.5;
const WARM_MS = 400;
/** The size of the first batch; those after it are as large as it takes for `BATCH_MS`. */
const FIRST_BATCH = 64;
/** With `--quick`. */
const QUICK: Span = { runs: 2, warmMs: 0, batchMs: 1 };

const SIDES = ["base", "again", "change"] as const;
type SideName = typeof SIDES[number];
type PerSide<T> = Readonly<Record<SideName, T>>;

/** One folder's code, and what drives it, shared with no other. */
interface Side {
  readonly library: Library;
  readonly loads: readonly Load[];
  install(): Disposable;
}

/** What a message took in two batches, there and back, in µs. */
export type Pair = readonly [number, number];

/** What was measured with one loading of all sides. */
export type Loading = PerSide<readonly Pair[]>;

/** How a change compares with its base. */
export interface Comparison {
  /** The change to the base. */
  readonly ratio: number;
  /** The two copies of the base, the larger to the smaller. */
  readonly noise: number;
  readonly says: "PASS" | "FAIL" | "noise";
}

/** What is said of a load. */
export interface Verdict {
  /** By lower quartiles: the median of what the loadings say. */
  readonly usual: Comparison;
  /** By means of all batches of all loadings. */
  readonly mean: Comparison;
  readonly says: Comparison["says"];
}

/** Judges by what was measured on the base, the base once more, and the change. */
export function judge(loadings: readonly Loading[]): Verdict {
  const usual = compare(BOUND, (a, b) => {
    return median(loadings.map((loading) => usualTime(loading, a) / usualTime(loading, b)));
  });
  const mean = compare(MEAN_BOUND, (a, b) => meanTime(loadings, a) / meanTime(loadings, b));
  const all = [usual.says, mean.says];
  return { usual, mean, says: (["FAIL", "noise"] as const).find((s) => all.includes(s)) ?? "PASS" };
}

function median(figures: readonly number[]): number {
  return summarize(figures).median;
}

/** Compares by the ratio of the times of some sides to those of others. */
function compare(
  bound: number,
  ratioOf: (a: readonly SideName[], b: readonly SideName[]) => number,
): Comparison {
  const ratio = ratioOf(["change"], ["base", "again"]);
  const copies = ratioOf(["again"], ["base"]);
  const noise = Math.max(copies, 1 / copies);
  if (noise > bound) return { ratio, noise, says: "noise" };
  return { ratio, noise, says: ratio > bound ? "FAIL" : "PASS" };
}

/** The lower quartile of the better batch of each pair. */
function usualTime(loading: Loading, sides: readonly SideName[]): number {
  const better = sides.flatMap((side) => loading[side].map((pair) => Math.min(...pair)));
  return quantile(better.toSorted((a, b) => a - b), 0.25);
}

/** The mean of all batches but the slowest. */
function meanTime(loadings: readonly Loading[], sides: readonly SideName[]): number {
  const all = sides.flatMap((side) => loadings.flatMap((loading) => loading[side].flat()))
    .toSorted((a, b) => a - b);
  const kept = all.slice(0, all.length - Math.floor(all.length * INTERRUPTED));
  return kept.reduce((sum, time) => sum + time, 0) / kept.length;
}

/** The modules that `mod.ts` of a folder consists of, as paths within the folder. */
async function modulesOf(folder: string): Promise<string[]> {
  await Deno.stat(`${folder}/mod.ts`); // Of a file that is missing `deno info` says nothing.
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--no-config", "--no-lock", "mod.ts"],
    cwd: folder,
  }).output();
  if (!success) throw new Error(`${folder}: ${new TextDecoder().decode(stderr)}`);
  const { roots: [root], modules } = JSON.parse(new TextDecoder().decode(stdout));
  const inside = new URL(".", root).href;
  const specifiers: string[] = modules.map((module: { specifier: string }) => module.specifier);
  return specifiers.filter((specifier) => !specifier.startsWith("node:")).map((specifier) => {
    if (specifier.startsWith(inside)) return decodeURIComponent(specifier.slice(inside.length));
    throw new TypeError(`${folder}: mod.ts imports ${specifier}, which all sides would share`);
  });
}

/** Copies the modules of a folder, so that they are other modules each time. */
async function copyModules(folder: string, copies: readonly string[]): Promise<void> {
  const paths = await modulesOf(folder);
  for (const copy of copies) {
    for (const path of paths) {
      const target = `${copy}/${path}`;
      await Deno.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true });
      await Deno.copyFile(`${folder}/${path}`, target);
    }
  }
}

async function loadSides(copies: PerSide<string>): Promise<PerSide<Side>> {
  const sides = {
    base: await loadSide(copies.base),
    again: await loadSide(copies.again),
    change: await loadSide(copies.change),
  };
  if (new Set(SIDES.map((name) => sides[name].library.PubSub)).size < SIDES.length) {
    throw new Error("Two sides share their code");
  }
  return sides;
}

async function loadSide(copy: string): Promise<Side> {
  const own = `?${crypto.randomUUID()}`;
  const { MemoryNet }: typeof import("../tools/harness/memory_net.ts") = await import(
    new URL(`../tools/harness/memory_net.ts${own}`, import.meta.url).href
  );
  const { LOADS: loads }: typeof import("./path_loads.ts") = await import(
    new URL(`path_loads.ts${own}`, import.meta.url).href
  );
  const net = new MemoryNet();
  using _installed = net.install();
  const library: Library = await import(`file://${copy}/mod.ts`);
  return { library, loads, install: () => net.install() };
}

/** How long to measure a load. */
interface Span {
  readonly runs: number;
  /** How long each side runs before. */
  readonly warmMs: number;
  readonly batchMs: number;
}

/** Runs a load on all sides by turns. */
async function measure(
  sides: PerSide<Side>,
  { name }: Load,
  { runs, warmMs, batchMs }: Span,
): Promise<Loading> {
  await using stack = new AsyncDisposableStack();
  const start = async ({ library, loads, install }: Side): Promise<Running> => {
    using _installed = install();
    return stack.use(await loads.find((load) => load.name === name)!.start(library));
  };
  const running = {
    base: await start(sides.base),
    again: await start(sides.again),
    change: await start(sides.change),
  };
  let count = FIRST_BATCH;
  let each = Infinity;
  const end = performance.now() + warmMs * SIDES.length;
  do {
    for (const side of shuffled()) each = Math.min(each, await timed(running[side], count));
    count = Math.ceil(batchMs * 1000 / each);
  } while (performance.now() < end);
  const found: PerSide<Pair[]> = { base: [], again: [], change: [] };
  for (let pair = 0; pair < runs * PAIRS; pair++) {
    // There and back: whoever is first in one is last in the other.
    const order = shuffled();
    const there: Partial<Record<SideName, number>> = {};
    for (const side of order) there[side] = await timed(running[side], count);
    for (const side of order.toReversed()) {
      found[side].push([there[side]!, await timed(running[side], count)]);
    }
  }
  return found;
}

/** What a message of so many takes, in µs. */
async function timed(running: Running, count: number): Promise<number> {
  const start = performance.now();
  await running.publish(count);
  return (performance.now() - start) / count * 1000;
}

function shuffled(): SideName[] {
  return SIDES.map((side) => ({ side, at: Math.random() }))
    .toSorted((a, b) => a.at - b.at).map(({ side }) => side);
}

function select(wanted: readonly string[] = []): readonly Load[] {
  const names = LOADS.map(({ name }) => name);
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`There is no scenario ${unknown}; there are ${names.join(", ")}`);
  }
  return wanted.length === 0 ? LOADS : LOADS.filter(({ name }) => wanted.includes(name));
}

interface Options {
  readonly base: string;
  readonly change: string;
  readonly quick: boolean;
  readonly span: Span;
  readonly loads: readonly Load[];
}

function parseOptions(args: readonly string[]): Options {
  const flags = parseArgs([...args], {
    boolean: ["quick"],
    string: ["runs", "_"],
    collect: ["scenario"],
    default: { runs: "30" },
    unknown: (arg, key) => {
      if (key !== undefined) throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  const here = new URL("..", import.meta.url).pathname;
  const [base = here, change = here, ...more] = flags._ as string[];
  if (more.length > 0) throw new TypeError(`There is a base and a change, but also ${more}`);
  const runs = Number(flags.runs);
  if (!(runs >= 1)) throw new RangeError(`--runs is a number from 1, not ${flags.runs}`);
  const quick = flags.quick === true;
  const span = quick ? QUICK : { runs, warmMs: WARM_MS, batchMs: BATCH_MS };
  return { base, change, quick, span, loads: select(flags.scenario as string[] | undefined) };
}

async function main(args: readonly string[]): Promise<number> {
  const { base, change, quick, span, loads } = parseOptions(args);
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-path-" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const [least, most] = quick ? [1, 1] : [LOADINGS, LOADINGS + LOADINGS_MORE];
  // All at once, so that whoever goes on with the folders changes nothing here.
  const copies = Array.from({ length: most }, (_, i) => ({
    base: `${folder}/${i}/base`,
    again: `${folder}/${i}/again`,
    change: `${folder}/${i}/change`,
  }));
  await copyModules(base, copies.flatMap(({ base, again }) => [base, again]));
  await copyModules(change, copies.map(({ change }) => change));

  const found = loads.map((load) => ({ load, loadings: [] as Loading[] }));
  for (const [i, copy] of copies.entries()) {
    const open = found.filter(({ loadings }) => i < least || judge(loadings).says === "noise");
    if (open.length === 0) break;
    const sides = await loadSides(copy);
    for (const { load, loadings } of open) loadings.push(await measure(sides, load, span));
  }
  if (quick) return 0;
  const lines = found.map(({ load, loadings }) => ({ load, loadings, ...judge(loadings) }));
  console.log(
    `${"".padEnd(40)} usual, µs  change/base  base/base   mean, µs  change/base  base/base`,
  );
  for (const { load, loadings, usual, mean, says } of lines) {
    const name = `${load.name.padEnd(10)}${load.title}`.padEnd(40);
    const usualBase = median(loadings.map((loading) => usualTime(loading, ["base"])));
    const part = (time: number, { ratio, noise }: Comparison) =>
      time.toFixed(3).padStart(9) + ratio.toFixed(3).padStart(11) + noise.toFixed(3).padStart(12);
    console.log(name, part(usualBase, usual), part(meanTime(loadings, ["base"]), mean), "  ", says);
  }
  if (lines.some(({ says }) => says === "FAIL")) return 1;
  return lines.some(({ says }) => says === "noise") ? 2 : 0;
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
