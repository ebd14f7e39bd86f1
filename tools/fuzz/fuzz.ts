/**
 * Feeds everything that reads what others send with whatever comes to mind, and checks that it refuses
 * that as it should.
 *
 * ```sh
 * deno task fuzz                                      # all targets for 20 s, with a fresh seed
 * deno task fuzz --seconds 600 --seed 7
 * deno task fuzz --target payloads --seed 7 --run 12  # that run only
 * deno task fuzz --outcomes                           # tells what came of the runs, too
 * ```
 *
 * It runs with `Object.prototype.__proto__`, which Deno else leaves out, so that it is seen who sets it.
 * Each target has its share of the time. What each run does follows from the seed and its number, as
 * far as it does not depend on what comes back from a socket and when. On a finding it prints how to
 * have it again, the input and the error, and the exit status is 1.
 */
import { delay } from "@std/async/delay";
import { parseArgs } from "@std/cli/parse-args";
import { randomOf } from "../harness/random.ts";
import { bodies } from "./bodies.ts";
import { clients } from "./clients.ts";
import { files } from "./files.ts";
import { frames } from "./frames.ts";
import { handshakes } from "./handshakes.ts";
import { packets } from "./packets.ts";
import { payloads } from "./payloads.ts";
import { sessions } from "./sessions.ts";
import { inTime, Notes, type Target } from "./target.ts";
import { tickets } from "./tickets.ts";
import { Watchdog } from "./watchdog.ts";
import { websockets } from "./websockets.ts";

const TARGETS: readonly Target[] = [
  frames,
  bodies,
  payloads,
  handshakes,
  tickets,
  sessions,
  clients,
  files,
  packets,
  websockets,
];
/** A run that waits for longer than this hangs; one that keeps the process busy, a little later. */
const RUN_MS = 60_000;
const BUSY_MS = 70_000;
/** So many kinds of outcomes are told apart. */
const OUTCOMES_MAX = 10_000;
/** The numbers of runs and seeds are below this. */
const NUMBERS = 2 ** 31;

/** What was found, and where. */
class Finding extends Error {
  constructor(command: string, notes: Notes, cause: unknown) {
    super(`FOUND: ${command}\n${notes.shown()}`, { cause });
  }
}

/** Errors that nobody awaited or caught. */
class Strays {
  readonly #errors: unknown[] = [];

  constructor() {
    addEventListener("unhandledrejection", (event) => this.#take(event, event.reason));
    addEventListener("error", (event) => this.#take(event, event.error));
  }

  #take(event: Event, cause: unknown): void {
    event.preventDefault();
    this.#errors.push(new Error("Nobody awaited or caught an error", { cause }));
  }

  /** Throws the first one. */
  throwFirst(): void {
    if (this.#errors.length > 0) throw this.#errors.shift();
  }
}

/** The random values of one run. */
function randomFor({ name }: Target, seed: number, run: number) {
  let mixed = seed;
  for (const number of [...new TextEncoder().encode(name), run]) {
    mixed = Math.imul(mixed ^ number, 0x9e3779b1);
    mixed ^= mixed >>> 15;
  }
  return randomOf(mixed);
}

/** The runs of one target. */
class Runs {
  readonly #target: Target;
  readonly #index: number;
  readonly #seed: number;
  readonly #strays: Strays;
  readonly #watchdog: Watchdog;
  readonly #outcomes = new Map<string, number>();
  #count = 0;
  #slowest = { ms: 0, run: 0 };

  constructor(target: Target, seed: number, strays: Strays, watchdog: Watchdog) {
    this.#target = target;
    this.#index = TARGETS.indexOf(target);
    this.#seed = seed;
    this.#strays = strays;
    this.#watchdog = watchdog;
  }

  /** Runs it again and again until `end`, from run 0 on. */
  async until(end: number): Promise<void> {
    for (let run = 0; performance.now() < end; run++) await this.one(run);
  }

  async one(run: number): Promise<void> {
    const { name } = this.#target;
    const began = performance.now();
    const notes = new Notes((outcome) => {
      const count = this.#outcomes.get(outcome);
      if (count !== undefined || this.#outcomes.size < OUTCOMES_MAX) {
        this.#outcomes.set(outcome, (count ?? 0) + 1);
      }
    });
    this.#watchdog.began(this.#index, run);
    try {
      const running = this.#target.run(randomFor(this.#target, this.#seed, run), notes);
      if (running !== undefined) {
        await inTime(RUN_MS, "the run", running);
        await delay(0); // For what it left to the event loop.
      }
      this.#strays.throwFirst();
    } catch (error) { // Whatever it is, it must not be.
      throw new Finding(`${commandOf(name, this.#seed)} --run ${run}`, notes, error);
    }
    this.#watchdog.ended();
    this.#count++;
    const ms = performance.now() - began;
    if (ms > this.#slowest.ms) this.#slowest = { ms, run };
  }

  /** How often each kind of outcome came, the most frequent first. */
  get outcomes(): readonly [outcome: string, count: number][] {
    return [...this.#outcomes].sort(([, a], [, b]) => b - a);
  }

  /** A line about all of them. */
  summary(): string {
    const { ms, run } = this.#slowest;
    return `${this.#target.name}: ${this.#count} runs, ${this.#outcomes.size} outcomes, ` +
      `the slowest ${ms.toFixed(ms < 10 ? 1 : 0)} ms (run ${run})`;
  }
}

function commandOf(name: string, seed: number): string {
  return `deno task fuzz --target ${name} --seed ${seed}`;
}

interface FuzzOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly targets: readonly Target[];
  /** The only run, if there is to be only one. */
  readonly run: number | undefined;
  /** Whether to print the outcomes. */
  readonly tellsOutcomes: boolean;
}

async function fuzz(
  { seed, seconds, targets, run, tellsOutcomes }: FuzzOptions,
): Promise<boolean> {
  const commands = TARGETS.map(({ name }) => commandOf(name, seed));
  using watchdog = new Watchdog({ limit: BUSY_MS, commands });
  const strays = new Strays();
  for (const target of targets) {
    const runs = new Runs(target, seed, strays, watchdog);
    try {
      if (run === undefined) await runs.until(performance.now() + seconds * 1000 / targets.length);
      else await runs.one(run);
    } catch (error) {
      if (!(error instanceof Finding)) throw error;
      console.log(runs.summary());
      console.error(error.message, "\n", error.cause);
      return false;
    }
    console.log(runs.summary());
    if (tellsOutcomes) {
      for (const [what, count] of runs.outcomes) console.log(`  ${count} × ${what}`);
    }
  }
  return true;
}

/** A number of a flag, from 0 on. */
function numberOf(flag: string, text: unknown): number {
  const number = Number(text);
  if (number >= 0 && number < NUMBERS) return number;
  throw new TypeError(`--${flag} is ${text}; it must be a number from 0 to ${NUMBERS - 1}`);
}

function targetsOf(name: unknown): readonly Target[] {
  const targets = TARGETS.filter((target) => name === undefined || target.name === name);
  if (targets.length > 0) return targets;
  throw new TypeError(
    `--target is ${name}: there are ${TARGETS.map(({ name }) => name).join(", ")}`,
  );
}

async function main(args: string[]): Promise<number> {
  const flags = parseArgs(args, {
    string: ["seconds", "seed", "target", "run"],
    boolean: ["outcomes"],
    default: { seconds: "20", seed: String(Date.now() % 100_000) },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  const seed = numberOf("seed", flags.seed);
  console.log(`seed ${seed}`);
  const isWell = await fuzz({
    seed,
    seconds: numberOf("seconds", flags.seconds),
    targets: targetsOf(flags.target),
    run: flags.run === undefined ? undefined : numberOf("run", flags.run),
    tellsOutcomes: flags.outcomes === true,
  });
  return isWell ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
