/**
 * What a message costs a broker, in processor time, while interests change that have nothing to do with
 * it: this project and NATS, by turns.
 *
 * ```sh
 * deno run --allow-all bench/interests.ts                    # nine rounds, in about three minutes
 * deno run --allow-all bench/interests.ts --rounds 3 --seconds 1 --system mpubsub-tcp
 * ```
 *
 * Each round runs all of them, so that a round is a pair of each with and without changes. The lower
 * quartiles of the rounds are compared. The same follows for a `PubSub` in one process. The status is 1
 * when changes cost this project more than the bound.
 */
import { localCosts } from "./local_changes.ts";
import { CHANGES, INTERESTS, TRAFFIC_TOPICS } from "./scenarios.ts";
import { quantile } from "./statistics.ts";
import { type Result, runSuite } from "./suite.ts";
import { MPUBSUB, NATS } from "./systems.ts";

/** How often as much a message may cost while most changes are made. */
const BOUND = 1.5;
const OURS = MPUBSUB[0]!;
const LOCAL_ROUNDS = 9;

/** The lower quartile of some costs. */
function usual(costs: readonly number[]): number {
  return costs.length === 0 ? NaN : quantile(costs.toSorted((a, b) => a - b), 0.25);
}

/** What a message costs a system's server, in µs, with each number of changes a second. */
function costsOf(results: readonly Result[], system: string): number[] {
  return CHANGES.map((changes) => {
    const result = results.find((one) =>
      one.system === system && one.scenario === `interests-${changes}`
    );
    return usual(result?.rounds.map(({ serverCpu }) => serverCpu!) ?? []);
  });
}

function show(title: string, costs: readonly number[]): void {
  const cells = costs.map((cost) => `${cost.toFixed(3)} (${(cost / costs[0]!).toFixed(2)})`);
  console.log(title.padEnd(24), ...cells.map((cell) => cell.padStart(18)));
}

function judge(results: readonly Result[]): boolean {
  const local = localCosts(TRAFFIC_TOPICS, [...CHANGES, Infinity], LOCAL_ROUNDS).map(usual);
  const ours = costsOf(results, OURS.name);
  console.log("\nA message's processor time in µs, the lower quartile; how often as much as alone");
  const heads = CHANGES.map((changes) => `${changes.toLocaleString("en")} a second`.padStart(18));
  console.log("changes".padEnd(24), ...heads, "one a message".padStart(18));
  show(`${OURS.title}: broker`, ours);
  show(`${NATS.title}: server`, costsOf(results, NATS.name));
  show("PubSub in one process", local);
  // Where something else was asked for there is no ratio.
  const ratios = [ours, local].map((costs) => costs[CHANGES.length - 1]! / costs[0]!);
  const isRight = ratios.every((ratio) => !(ratio > BOUND));
  console.log(`${isRight ? "PASS" : "FAIL"}: at most ${BOUND} at most changes a second`);
  return isRight;
}

if (import.meta.main) {
  const suite = {
    name: "interests",
    scenarios: INTERESTS,
    systems: [OURS, NATS],
    baseline: NATS.name,
    judge,
  };
  Deno.exit(await runSuite(suite, ["--rounds", "9", "--seconds", "2", ...Deno.args]));
}
