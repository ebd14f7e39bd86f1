/**
 * Measures operations in a process of its own; prints what it measured, a line of JSON each. It imports
 * nothing of the library before V8 counts.
 */
import process from "node:process";
import { parseArgs } from "@std/cli/parse-args";
import { stillClock } from "../harness/still_clock.ts";
import { Builtins } from "./builtins.ts";
import { type Costs, FACTORS, type Measured } from "./judging.ts";
import type { Operation, Trial } from "./operation.ts";
import { Steps } from "./steps.ts";

const ROOT = new URL("../../", import.meta.url).href;
/** No part of the library. */
const OTHERS = /^(bench|examples|links|lint|tests|tools)\//;
/** How long the time of one operation may be measured. */
const OPERATION_MS_MAX = 10_000;
/** What is shorter is done again, up to so many times, because the clock and V8 have their moods. */
const TRY_MS_MIN = 20;
const TRIES_MAX = 16;

function isOfLibrary(url: string): boolean {
  return url.startsWith(ROOT) && !OTHERS.test(url.slice(ROOT.length));
}

type Cost = Partial<Record<"steps" | "touched" | "own" | "cpu", number>>;

/** What one trial found. */
interface Found {
  readonly cost: Cost;
  readonly units: number;
  readonly isRefused: boolean;
}

/** What something costs. */
type Meter = (
  act: () => void | number | Promise<void | number>,
  operation: Operation,
) => Promise<Cost>;

async function counter(): Promise<Meter> {
  const steps = await Steps.begin(isOfLibrary);
  const builtins = new Builtins();
  return async (act, { isClockStill = false }) => {
    await steps.take();
    builtins.touched = 0;
    let own: void | number;
    {
      using _clock = isClockStill ? stillClock() : undefined;
      using _builtins = builtins.install();
      own = await act();
    }
    const cost = { steps: await steps.take(), touched: builtins.touched };
    return own === undefined ? cost : { own };
  };
}

/** Milliseconds that this process computes. */
async function clocked(act: Parameters<Meter>[0]): Promise<Cost> {
  const before = process.cpuUsage();
  await act();
  const { user, system } = process.cpuUsage(before);
  return { cpu: (user + system) / 1000 };
}

async function tryOnce(operation: Operation, n: number, meter: Meter): Promise<Found> {
  const trial: Trial = await operation.prepare(n);
  try {
    const base = trial.base === undefined ? {} : await meter(() => trial.base!(), operation);
    const found = await meter(() => trial.run(), operation);
    const cost = Object.fromEntries(
      Object.entries(found).map(([metric, value]) => [
        metric,
        operation.isBeside
          ? value / base[metric as keyof Cost]!
          : Math.max(0, value - (base[metric as keyof Cost] ?? 0)),
      ]),
    );
    const units = operation.isBeside ? 1 : trial.units;
    return { cost, units, isRefused: trial.isRefused?.() ?? false };
  } finally {
    await trial.end?.();
  }
}

/** Tries each size once; the first time is not counted, because what comes once comes in it. */
async function count(operation: Operation, meter: Meter, isFew: boolean): Promise<Measured> {
  const n = isFew && operation.few || operation.from;
  await tryOnce(operation, n, meter);
  const found: Found[] = [];
  for (const factor of FACTORS) found.push(await tryOnce(operation, n * factor, meter));
  const costs: Record<string, Costs> = {};
  for (const metric of Object.keys(found[0]!.cost) as (keyof Cost)[]) {
    costs[metric] = found.map(({ cost, units }) => cost[metric]! / units) as unknown as Costs;
  }
  return { name: operation.name, n, costs };
}

/** Tries a size until that took long enough to be measured. */
async function tryLong(operation: Operation, n: number): Promise<Found> {
  let found: Found | undefined;
  let [tries, cpu] = [0, 0];
  do {
    (globalThis as { gc?: () => void }).gc?.(); // What was left is not this one's to clear away.
    found = await tryOnce(operation, n, clocked);
    cpu += found.cost.cpu!;
    tries++;
  } while (cpu < TRY_MS_MIN && tries < TRIES_MAX);
  return { ...found, cost: { cpu: cpu / tries } };
}

/** Tries each size several times, there and back; takes the lower quartiles. */
async function time(operation: Operation, rounds: number): Promise<Measured> {
  const n = operation.from;
  await tryOnce(operation, n, clocked);
  const found = FACTORS.map((): Found[] => []);
  const end = performance.now() + OPERATION_MS_MAX;
  for (let round = 0; round < rounds && (round === 0 || performance.now() < end); round++) {
    const order = FACTORS.map((_, i) => i);
    for (const i of round % 2 === 0 ? order : order.toReversed()) {
      found[i]!.push(await tryLong(operation, n * FACTORS[i]!));
    }
  }
  const usual = found.map((tries) => {
    const sorted = tries.map(({ cost }) => cost.cpu!).sort((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) / 4)]!;
  });
  const cpu = usual.map((ms, i) => ms * 1000 / found[i]![0]!.units) as unknown as Costs;
  const isRefused = found.at(-1)!.every(({ isRefused }) => isRefused);
  return {
    name: operation.name,
    n,
    costs: { cpu },
    ...(isRefused && { refusedAfter: usual.at(-1)! }),
  };
}

if (import.meta.main) {
  const flags = parseArgs(Deno.args, {
    string: ["what", "operation", "rounds"],
    boolean: ["few"],
    default: { operation: "", rounds: "5" },
  });
  const isCounted = flags.what === "counts";
  const meter = isCounted ? await counter() : undefined;
  const { OPERATIONS } = await import("./operations.ts");
  const { endWithParent, tell } = await import("../harness/processes.ts");
  endWithParent();
  for (const operation of OPERATIONS) {
    if (!operation.name.includes(String(flags.operation))) continue;
    if (operation.without === (isCounted ? "counts" : "time")) continue;
    try {
      tell(
        meter === undefined
          ? await time(operation, Number(flags.rounds))
          : await count(operation, meter, flags.few === true),
      );
    } catch (error) { // Whatever it is, the others can be measured.
      tell({ name: operation.name, n: operation.from, costs: {}, failed: String(error) });
    }
  }
  Deno.exit();
}
