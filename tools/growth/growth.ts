/**
 * Measures how the work of each operation grows that a peer or a program can cause: at n, at 2 n and
 * at 4 n, the cost of a unit of work. 1 is linear: twice as many take twice as long.
 *
 * ```sh
 * deno task growth                          # all of them, in about ten minutes
 * deno task growth --counted                # counts only, of few: the same on any machine
 * deno task growth --operation "one by one"
 * deno task growth --write                  # and puts the table into docs/guarantees.md
 * ```
 *
 * - Counts come first: what was run of the library's source, and what builtins touched. They do not
 *   depend on the machine, or on what else it does.
 * - Time is what the process computes, the lower quartile of several tries of each size by turns.
 *
 * The exit status is 0 when nothing grows faster than its work.
 */
import { parseArgs } from "@std/cli/parse-args";
import { fillPage } from "../harness/pages.ts";
import { isRight, Process } from "../harness/processes.ts";
import { faultsOf, HEADINGS, type Judged, type Measured, rowOf } from "./judging.ts";
import { OPERATIONS } from "./operations.ts";

const PAGE = new URL("../../docs/guarantees.md", import.meta.url);

/** Measures in a process of its own, and calls `onMeasured` with each operation. */
async function measure(
  what: "counts" | "time",
  args: readonly string[],
  onMeasured: (measured: Measured) => void,
): Promise<void> {
  const module = new URL("measure.ts", import.meta.url).href;
  // V8 counts what it compiles while it counts, and not all of what it optimizes.
  const flags = what === "counts"
    ? ["--no-code-cache", "--v8-flags=--no-opt,--no-maglev"]
    : ["--v8-flags=--expose-gc"];
  await using process = new Process<Measured>(module, [`--what=${what}`, ...args], onMeasured, {
    flags,
  });
  const status = await process.status();
  if (status !== 0) throw new Error(`What measures ${what} ended with status ${status}`);
}

/** Says how it goes, where somebody looks. */
function progress(what: string, name: string): void {
  if (!Deno.stderr.isTerminal()) return;
  Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${what}: ${name}`.slice(0, 100)));
}

/** For a page: without verdicts. */
function markdown(rows: readonly (readonly string[])[]): string {
  const all = [HEADINGS, HEADINGS.map(() => "---"), ...rows];
  return all.map((row) => `| ${row.slice(0, -1).join(" | ")} |`).join("\n");
}

/** For a terminal: without the column that says what the cost is divided by. */
function table(rows: readonly (readonly string[])[]): string {
  const all = [HEADINGS, ...rows].map((row) => row.toSpliced(2, 1));
  const widths = all[0]!.map((_, i) => Math.max(...all.map((row) => row[i]!.length)));
  return all.map((row) => row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ").trimEnd())
    .join("\n");
}

/** Puts the table into the page. */
async function write(rows: readonly (readonly string[])[]): Promise<void> {
  await fillPage(PAGE, { growth: markdown(rows) });
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", PAGE.pathname] }).output();
}

async function main(args: string[]): Promise<number> {
  const flags = parseArgs(args, {
    string: ["operation", "rounds"],
    boolean: ["counted", "write"],
    default: { operation: "", rounds: "5" },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  const operations = OPERATIONS.filter(({ name }) => name.includes(String(flags.operation)));
  if (operations.length === 0) {
    throw new TypeError(`No operation has "${flags.operation}" in its name`);
  }
  const found = new Map<string, Measured>();
  const own = [`--operation=${flags.operation}`, `--rounds=${flags.rounds}`];
  if (flags.counted) own.push("--few");
  for (const what of flags.counted ? ["counts"] as const : ["counts", "time"] as const) {
    await measure(what, own, (measured) => {
      progress(what, measured.name);
      const before = found.get(measured.name);
      found.set(measured.name, {
        ...before,
        ...measured,
        costs: { ...before?.costs, ...measured.costs },
      });
    });
  }
  const judged = operations.flatMap((operation): Judged[] => {
    const measured = found.get(operation.name);
    if (measured === undefined) return [];
    return [{ operation, measured, other: found.get(operation.comparedWith ?? "") }];
  });
  const rows = judged.map(rowOf);
  console.log(table(rows));
  if (flags.write) await write(rows);
  const faults = judged.flatMap((one) => {
    const { operation: { name }, measured: { failed } } = one;
    const metrics = faultsOf(one).join(" and ");
    return [
      ...(failed === undefined ? [] : [`${name}: ${failed}`]),
      ...(metrics === "" ? [] : [`${name}: ${metrics} grow faster than the work`]),
    ];
  });
  return isRight(faults) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
