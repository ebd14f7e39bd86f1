/**
 * Runs what `deno bench` finds in this folder, in rounds, and reports it as the other benchmarks do.
 *
 * ```sh
 * deno run --allow-all bench/in_process.ts --rounds 3 --json in_process.json
 * deno bench --config bench/deno.json --allow-all bench/local_bench.ts    # one of them, by itself
 * ```
 *
 * `--quick` sets MPUBSUB_BENCH_QUICK=1, with which they run only to see that they run.
 */
import { parseArgs } from "@std/cli/parse-args";
import { environment } from "./environment.ts";
import { printTables } from "./report.ts";
import { Progress, type Result, type ScenarioFacts, writeFindings } from "./suite.ts";

/** What `deno bench --json` prints of one function. */
interface Bench {
  readonly group: string | null;
  readonly name: string;
  readonly baseline: boolean;
  readonly results: readonly { ok?: { avg: number; p75: number; p99: number }; failed?: unknown }[];
}

async function benchesOf(file: string, quick: boolean): Promise<readonly Bench[]> {
  const config = new URL("deno.json", import.meta.url).pathname;
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["bench", "--config", config, "--allow-all", "--json", file],
    env: quick ? { MPUBSUB_BENCH_QUICK: "1" } : {},
  }).output();
  if (!success) throw new Error(`${file}: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout)).benches;
}

async function main(args: readonly string[]): Promise<void> {
  const flags = parseArgs(args, {
    boolean: ["quick"],
    string: ["rounds", "json"],
    default: { rounds: "3" },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  const quick = flags.quick === true;
  const rounds = quick ? 1 : Number(flags.rounds);
  const folder = new URL("./", import.meta.url).pathname;
  const files = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name.endsWith("_bench.ts")).sort();
  const scenarios = new Map<string, ScenarioFacts>();
  const results = new Map<string, Result & { rounds: Record<string, number>[] }>();
  const progress = new Progress(rounds * files.length);
  for (let round = 0; round < rounds; round++) {
    for (const file of files) {
      progress.start(file);
      const benches = await benchesOf(folder + file, quick);
      for (const { group, name, baseline, results: [result] } of benches) {
        const title = group ?? name;
        const scenario = scenarios.get(title) ?? { name: title, title, kind: "time" };
        scenarios.set(title, baseline ? { ...scenario, baseline: name } : scenario);
        if (result?.ok === undefined) throw new Error(`${file}: ${title}, ${name} failed`);
        const { avg, p75, p99 } = result.ok;
        const key = JSON.stringify([title, name]);
        const found = results.get(key) ?? { scenario: title, system: name, rounds: [] };
        found.rounds.push({ avg, p75, p99 });
        results.set(key, found);
      }
      progress.end(`${benches.length} functions`);
    }
  }
  const names = new Set([...results.values()].map(({ system }) => system));
  const findings = {
    suite: "in-process",
    ...await environment([]),
    seconds: 0,
    rounds,
    baseline: "mpubsub",
    scenarios: [...scenarios.values()],
    systems: [...names].map((name) => ({ name, title: name })),
    skipped: [],
    results: [...results.values()],
  };
  if (!quick) printTables(findings);
  await writeFindings(flags.json, findings);
}

if (import.meta.main) await main(Deno.args);
