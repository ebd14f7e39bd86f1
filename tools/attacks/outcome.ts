/** What is known after an attack: how it is printed, and what is wrong with it. */
import type { BrokerStats } from "../../broker.ts";
import { median } from "../harness/median.ts";
import { type BrokerFigures, mib } from "../harness/processes.ts";
import type { Rise } from "../harness/rise.ts";
import { type Attack, type Facts, MEMORY_BYTES } from "./attack.ts";
import { NEWCOMER_PATIENCE_MS } from "./bystanders.ts";
import type { Most } from "./scene.ts";

/** Counters that go up and down. */
const GAUGES = ["connections", "sessions", "detached", "waiting", "queuedBytes", "memoryBytes"];

/** What is known after an attack, to be printed and judged. */
export interface Outcome {
  readonly attack: Attack;
  readonly facts: Facts;
  readonly before: BrokerFigures;
  readonly after: BrokerFigures;
  readonly most: Most;
  readonly isSettled: boolean;
  /** How long messages took during the attack, and beside it. */
  readonly latencies: Rise;
  /** How often as much time as the broker computed it wanted to; or the subscriber, if that is more. */
  readonly stretch: number;
  readonly newcomers: { readonly times: readonly number[]; readonly refused: number };
  readonly faults: readonly string[];
}

/** By how much each counter moved. */
export function movedBetween(before: BrokerStats, after: BrokerStats): Record<string, number> {
  const [old, now] = [flat(before), flat(after)];
  return Object.fromEntries(Object.entries(now).map(([name, n]) => [name, n - old[name]!]));
}

function flat(stats: object, prefix = ""): Record<string, number> {
  const all: Record<string, number> = {};
  for (const [name, value] of Object.entries(stats)) {
    if (typeof value === "object" && value !== null) {
      Object.assign(all, flat(value, `${prefix}${name}.`));
    } else if (typeof value === "number" && !GAUGES.includes(name)) all[prefix + name] = value;
  }
  return all;
}

/** Prints what happened. */
export function show(outcome: Outcome, rise: Rise): void {
  const { attack, facts, before, after, most, newcomers, stretch } = outcome;
  const { counts, moved, logged, subscriber: { received, lost, duplicated, outOfOrder } } = facts;
  const { times, refused } = newcomers;
  const list = (numbers: Readonly<Record<string, number>>) =>
    Object.entries(numbers).filter(([, n]) => n !== 0).map(([name, n]) => `${name} ${round(n)}`)
      .join(", ") || "nothing";
  console.log(
    `${attack.name}: ${attack.what}\n` +
      `  attacker   ${list(counts)}\n` +
      `  pair       ${rise}; ${received} received, ` +
      `${lost} lost, ${duplicated} duplicated, ${outOfOrder} out of order\n` +
      `  newcomers  ${times.length} in ${median(times).toFixed(1)} ms (median), ` +
      `${Math.max(...times).toFixed(1)} ms at most; ${refused} refused\n` +
      `  broker     ${mib(before.rss)} resident before, ${mib(most.rss)} at most, ` +
      `${mib(after.rss)} after; at most ${mib(most.memoryBytes)} counted, ` +
      `${mib(most.queuedBytes)} queued; ` +
      `${after.stats.detached} detached; a processor for ${
        (100 / stretch).toFixed(0)
      } % of its work` +
      `${logged > 0 ? `; ${logged} characters logged` : ""}\n` +
      `  counters   ${list(moved)}`,
  );
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** What is not as it should be. */
export function faultsOf(outcome: Outcome): string[] {
  const { attack, facts, before, most, isSettled, newcomers, faults } = outcome;
  const { received, lost, duplicated, outOfOrder, gaps, faults: own } = facts.subscriber;
  const { memoryBytes = MEMORY_BYTES, feignsLosses = false } = attack;
  const criteria: Record<string, boolean> = {
    "the pair lost something": received > 0 && lost === 0 && (feignsLosses || gaps === 0),
    "the pair got something twice, or not in its order": duplicated + outOfOrder === 0,
    [`the broker grew by more than ${mib(memoryBytes)}`]: most.rss - before.rss <= memoryBytes,
    "the broker is not rid of the attackers": isSettled,
    "an honest client did not get in": Math.max(...newcomers.times) < NEWCOMER_PATIENCE_MS,
    ...attack.check?.(facts),
  };
  const failed = Object.keys(criteria).filter((fault) => !criteria[fault]);
  return [...faults, ...own, ...facts.witness.faults, ...failed];
}
