/** What is measured of an operation, how it is judged, and how that is shown. */
import type { Operation } from "./operation.ts";

/** The smallest `n` is multiplied by these. */
export const FACTORS = [1, 2, 4] as const;

/**
 * What the cost of a unit is measured in.
 *
 * - `steps`: what was run of the library's source.
 * - `touched`: the elements and bytes that builtins moved, compared or visited.
 * - `own`: what the operation counts itself.
 * - `cpu`: processor time, in µs.
 */
const METRICS = ["steps", "touched", "own", "cpu"] as const;

/** One of them. */
export type Metric = typeof METRICS[number];

/** What a unit costs at each size. */
export type Costs = readonly [number, number, number];

/** What was measured of an operation. */
export interface Measured {
  readonly name: string;
  /** The smallest `n`. */
  readonly n: number;
  readonly costs: Partial<Readonly<Record<Metric, Costs>>>;
  /** Why it could not be measured, if so. */
  readonly failed?: string;
  /** Whether the largest was refused, and how long that took, in milliseconds. */
  readonly refusedAfter?: number;
}

/**
 * How often as much a unit may cost at four times the size: sorting grows a little. In time so do
 * caches and garbage; what is quadratic there, and not seen in the counts, comes to four.
 */
const GROWTH_MAX: Readonly<Record<Metric, number>> = {
  steps: 1.5,
  touched: 1.5,
  own: 1.5,
  cpu: 3.5,
};
/** Fewer of a unit are not worth judging: they are made of what comes once in a while. */
const LEAST: Readonly<Record<Metric, number>> = { steps: 20, touched: 16, own: 100, cpu: 0.05 };

/** How often as much a unit may cost as one of the operation that it is compared with. */
const COMPARED_MAX = 8;

/** How often as much something may cost as its base, without what happens beside it. */
const BESIDE_MAX = 1.5;

/**
 * How often as much a unit costs at twice and at four times the size, or as one of another operation at
 * the same size; `undefined` where there is too little to say.
 */
export function growthOf(
  costs: Costs,
  metric: Metric,
  others: Costs = [costs[0], costs[0], costs[0]],
): readonly [number, number] | undefined {
  const least = LEAST[metric];
  if (Math.max(...costs) < least) return undefined;
  return [costs[1] / Math.max(others[1], least), costs[2] / Math.max(others[2], least)];
}

/** What was measured of an operation, and what it is judged by. */
export interface Judged {
  readonly operation: Operation;
  readonly measured: Measured;
  /** What was measured of the operation that it is compared with. */
  readonly other: Measured | undefined;
}

/** How an operation grows in a metric, and whether that is too much. */
function growthIn(
  { measured: { costs, refusedAfter }, operation, other }: Judged,
  metric: Metric,
): { readonly ratios: readonly [number, number]; readonly isTooMuch: boolean } | undefined {
  const { refusedWithin = 0, isBeside = false } = operation;
  if (isBeside) {
    const [, ...ratios] = costs[metric] ?? [];
    if (ratios.length < 2) return undefined;
    return { ratios: ratios as [number, number], isTooMuch: Math.max(...ratios) > BESIDE_MAX };
  }
  const ratios = costs[metric] && growthOf(costs[metric], metric, other?.costs[metric]);
  if (ratios === undefined) return undefined;
  const isNoticed = refusedAfter !== undefined && refusedAfter <= refusedWithin;
  const most = other === undefined ? GROWTH_MAX[metric] : COMPARED_MAX;
  return { ratios, isTooMuch: !isNoticed && ratios[1] > most };
}

/** The metrics in which an operation grows faster than its work. */
export function faultsOf(judged: Judged): Metric[] {
  return METRICS.filter((metric) => growthIn(judged, metric)?.isTooMuch);
}

/** What stands above the columns of the table. */
export const HEADINGS = ["operation", "n", "of each", "steps", "touched", "processor", ""] as const;

/** A row of the table; the last column is the verdict. */
export function rowOf(judged: Judged): string[] {
  const { operation: { name, of, per }, measured: { n, costs, refusedAfter, failed } } = judged;
  const growth = (["steps", "touched", "cpu"] as const).map((metric) => {
    const shown = metric === "steps" && costs.own !== undefined ? "own" : metric;
    return growthIn(judged, shown)?.ratios.map((ratio) => ratio.toFixed(2)).join(" ") ?? "–";
  });
  const verdict = failed !== undefined || faultsOf(judged).length > 0
    ? "FAIL"
    : refusedAfter === undefined
    ? "PASS"
    : `PASS, refused after ${refusedAfter.toFixed(0)} ms`;
  return [name, `${n.toLocaleString("en")} ${of}`, per, ...growth, verdict];
}
