/**
 * Runs scenarios with systems in rounds, so that what disturbs the machine for a while disturbs all
 * of them: round 1 of everything, then round 2. Each run starts its processes anew and ends them.
 */
import { parseArgs } from "@std/cli/parse-args";
import { type Environment, environment } from "./environment.ts";
import { type Figures, LONGER_MAX, probe, type Span } from "./measure.ts";
import { HAS_PROC } from "./proc.ts";
import { formatFigure, printTables } from "./report.ts";
import type { System } from "./systems.ts";

/** What the figures of a scenario are. */
export type Kind = "throughput" | "cost" | "clients" | "latency" | "memory" | "start-up" | "time";

/** What is told of a scenario. */
export interface ScenarioFacts {
  /** The name on the command line. */
  readonly name: string;
  /** The name for readers. */
  readonly title: string;
  readonly kind: Kind;
  /** The system that others are compared with; by default the suite's. */
  readonly baseline?: string;
  /** The scenario with which each system's figures are compared instead. */
  readonly comparedWith?: string;
}

/** Something to measure with each system. */
export interface Scenario extends ScenarioFacts {
  /** With `--quick`, all systems run it, not just the first that can. */
  readonly essential?: boolean;
  /** Whether this system can run it. */
  fits?(system: System): boolean;
  run(system: System, span: SuiteSpan): Promise<Figures>;
}

/** For how long, and with how much, a scenario runs. */
export interface SuiteSpan extends Span {
  /** How many subscribers a fan-out has. */
  readonly fan: number;
  /** How many clients are many. */
  readonly crowd: number;
}

/** What one system's rounds of one scenario found. */
export interface Result {
  readonly scenario: string;
  readonly system: string;
  readonly rounds: readonly Figures[];
}

/** What a run found; this is what `--json` writes. */
export interface Findings extends Environment {
  readonly suite: string;
  readonly seconds: number;
  readonly rounds: number;
  /** The system that others are compared with, where a scenario does not name another. */
  readonly baseline: string;
  readonly scenarios: readonly ScenarioFacts[];
  readonly systems: readonly { name: string; title: string }[];
  readonly skipped: readonly string[];
  readonly results: readonly Result[];
}

interface Suite {
  readonly name: string;
  readonly scenarios: readonly Scenario[];
  readonly systems: readonly System[];
  /** The name of the system that others are compared with. */
  readonly baseline: string;
  /** Prints what is to be said of all that was found; whether it is as it should be. */
  judge?(results: readonly Result[]): boolean;
}

/** The exit status of who was told to stop. */
const INTERRUPTED = 130;
/** What a process takes to compile its code as well as it can. */
const WARM_MS = 600;
/** So many messages may be on their way. */
const WINDOW_MESSAGES = 50_000;
/** How long starting, warming up and ending may take, beside what is measured. */
const RUN_MS_MAX = 60_000;

/** What the command line says. */
interface Options {
  readonly quick: boolean;
  readonly seconds: number;
  readonly rounds: number;
  readonly scenarios: readonly Scenario[];
  readonly systems: readonly System[];
  readonly json: unknown;
}

function parseOptions(suite: Suite, args: readonly string[]): Options {
  const flags = parseArgs(args, {
    boolean: ["quick"],
    string: ["seconds", "rounds", "json"],
    collect: ["scenario", "system"],
    default: { seconds: "1", rounds: "3" },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  const quick = flags.quick === true;
  return {
    quick,
    seconds: quick ? 0.1 : Number(flags.seconds),
    rounds: quick ? 1 : Number(flags.rounds),
    scenarios: select("scenario", suite.scenarios, flags.scenario as string[] | undefined),
    systems: select("system", suite.systems, flags.system as string[] | undefined),
    json: flags.json,
  };
}

/** Runs a suite as a program; returns its exit status. */
export async function runSuite(suite: Suite, args: readonly string[]): Promise<number> {
  const { json, ...options } = parseOptions(suite, args);
  const { seconds, rounds, scenarios } = options;
  const interrupt = new AbortController();
  const stop = () => interrupt.abort(new DOMException("Interrupted", "AbortError"));
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, stop);

  if (!HAS_PROC) console.log("CPU and memory are not measured: there is no /proc here");
  const { systems, skipped } = await findSystems(options.systems, interrupt.signal);
  const { results, failures } = await runAll({ ...options, systems }, interrupt.signal);
  if (results.length === 0) return interrupt.signal.aborted ? INTERRUPTED : 1;
  const findings: Findings = {
    suite: suite.name,
    ...await environment(systems),
    seconds,
    rounds,
    baseline: suite.baseline,
    scenarios: scenarios.map(({ essential: _e, fits: _f, run: _r, ...facts }) => facts),
    systems: systems.map(({ name, title }) => ({ name, title })),
    skipped,
    results,
  };
  if (!options.quick) printTables(findings);
  await writeFindings(json, findings);
  if (interrupt.signal.aborted) return INTERRUPTED;
  const isRight = options.quick || (suite.judge?.(results) ?? true);
  return failures > 0 || !isRight ? 1 : 0;
}

/** Which of these systems can be measured here, and why the others cannot. */
async function findSystems(
  wanted: readonly System[],
  interrupt: AbortSignal,
): Promise<{ systems: System[]; skipped: string[] }> {
  const systems: System[] = [];
  const skipped: string[] = [];
  for (const system of wanted) {
    const reason = await whyNot(system, interrupt);
    if (interrupt.aborted) break;
    if (reason === undefined) systems.push(system);
    else {
      skipped.push(`${system.title}: ${reason}`);
      console.log(`Skipped ${system.title}: ${reason}`);
    }
  }
  return { systems, skipped };
}

/** Why a system cannot be measured here, if so. */
async function whyNot(system: System, interrupt: AbortSignal): Promise<string | undefined> {
  try {
    await probe(system, limited(interrupt, 0));
    return undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `${system.program} is not installed`;
    return (error as Error).message.split("\n", 1)[0]!;
  }
}

/** The runs of one round. */
function runsOf(
  { scenarios, systems, quick }: Pick<Options, "scenarios" | "systems" | "quick">,
): { scenario: Scenario; system: System }[] {
  return scenarios.flatMap((scenario) =>
    systems.filter((system) => scenario.fits?.(system) ?? true)
      .slice(0, quick && !scenario.essential ? 1 : undefined)
      .map((system) => ({ scenario, system }))
  );
}

/** Measures, round by round, and says how it goes. */
async function runAll(
  options: Omit<Options, "json">,
  interrupt: AbortSignal,
): Promise<{ results: Result[]; failures: number }> {
  const { quick, seconds, rounds } = options;
  const runs = Array.from({ length: rounds }, () => runsOf(options)).flat();
  const found = new Map<string, Result & { rounds: Figures[] }>();
  const progress = new Progress(runs.length);
  let failures = 0;
  for (const { scenario, system } of runs) {
    progress.start(`${scenario.title} · ${system.title}`);
    const span = {
      warmMs: quick ? 50 : WARM_MS,
      ms: seconds * 1000,
      fan: quick ? 2 : 10,
      window: quick ? 5000 : WINDOW_MESSAGES,
      crowd: quick ? 20 : 1000,
      signal: limited(interrupt, seconds * 1000),
    };
    try {
      const figures = await scenario.run(system, span);
      const key = `${scenario.name} ${system.name}`;
      const result = found.get(key) ?? { scenario: scenario.name, system: system.name, rounds: [] };
      result.rounds.push(figures);
      found.set(key, result);
      progress.end(formatFigure(scenario.kind, figures));
    } catch (error) { // Whatever it is, the others can still be measured.
      if (interrupt.aborted) break;
      failures++;
      progress.end(`FAILED: ${(error as Error).message}`);
    }
  }
  return { results: [...found.values()], failures };
}

/** Aborts on an interrupt, or after longer than a run of so many milliseconds takes. */
function limited(interrupt: AbortSignal, ms: number): AbortSignal {
  return AbortSignal.any([interrupt, AbortSignal.timeout(RUN_MS_MAX + ms * LONGER_MAX)]);
}

/** Writes what was found to the file that `--json` names, if it does. */
export async function writeFindings(file: unknown, findings: Findings): Promise<void> {
  if (file === undefined) return;
  const path = String(file);
  if (path.includes("/")) await Deno.mkdir(path.replace(/\/[^/]*$/, ""), { recursive: true });
  await Deno.writeTextFile(path, `${JSON.stringify(findings, null, 1)}\n`);
}

function select<T extends { name: string }>(
  what: string,
  all: readonly T[],
  names: readonly string[] = [],
): readonly T[] {
  for (const name of names) {
    if (!all.some((one) => one.name === name)) {
      const known = all.map(({ name }) => name).join(", ");
      throw new TypeError(`There is no ${what} ${name}; there are ${known}`);
    }
  }
  return names.length === 0 ? all : all.filter(({ name }) => names.includes(name));
}

/** Says what is running: on a terminal in one line, else in a line for each run. */
export class Progress {
  readonly #total: number;
  readonly #start = performance.now();
  #done = 0;
  #now = "";

  constructor(total: number) {
    this.#total = total;
  }

  start(what: string): void {
    this.#now = `[${this.#done + 1}/${this.#total}] ${what}`;
    if (!Deno.stdout.isTerminal()) return;
    const each = (performance.now() - this.#start) / Math.max(1, this.#done);
    const left = Math.ceil(each * (this.#total - this.#done) / 60_000);
    const time = this.#done === 0 ? "" : ` · about ${left} min left`;
    write(`\r\x1b[K${this.#now}${time}`);
  }

  end(how: string): void {
    this.#done++;
    write(Deno.stdout.isTerminal() ? `\r\x1b[K` : `${this.#now}: ${how}\n`);
  }
}

function write(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
