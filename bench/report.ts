/** Figures for readers: what a run prints, and Markdown for the documentation. */
import type { Figures } from "./measure.ts";
import { summarize, type Summary } from "./statistics.ts";
import type { Findings, Kind, Result } from "./suite.ts";

interface Column {
  readonly figure: string;
  readonly head: string;
  readonly digits: number;
}

/** How the figures of a kind of scenario are shown; the first column is what is compared. */
const COLUMNS: Record<Kind, readonly [Column, ...Column[]]> = {
  throughput: [
    { figure: "rate", head: "msg/s", digits: 0 },
    { figure: "serverCpu", head: "server CPU s/M", digits: 2 },
    { figure: "publisherCpu", head: "publisher CPU", digits: 2 },
    { figure: "subscriberCpu", head: "subscriber CPU", digits: 2 },
  ],
  cost: [
    { figure: "serverCpu", head: "server's CPU µs", digits: 3 },
    { figure: "rate", head: "msg/s", digits: 0 },
  ],
  clients: [
    { figure: "clientCpu", head: "clients' CPU µs", digits: 2 },
    { figure: "publisherCpu", head: "publisher's", digits: 2 },
    { figure: "subscriberCpu", head: "subscriber's", digits: 2 },
    { figure: "rate", head: "msg/s", digits: 0 },
  ],
  latency: [
    { figure: "p50", head: "p50 µs", digits: 0 },
    { figure: "p90", head: "p90 µs", digits: 0 },
    { figure: "p99", head: "p99 µs", digits: 0 },
    { figure: "p99.9", head: "p99.9 µs", digits: 0 },
  ],
  memory: [{ figure: "kib", head: "KiB", digits: 1 }],
  "start-up": [{ figure: "ms", head: "ms", digits: 0 }],
  time: [
    { figure: "avg", head: "ns", digits: 0 },
    { figure: "p75", head: "p75 ns", digits: 0 },
    { figure: "p99", head: "p99 ns", digits: 0 },
  ],
};

function format(value: number, digits: number): string {
  if (!Number.isFinite(value)) return "–";
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString("en", options);
}

/** The figure of one run that is compared. */
export function formatFigure(kind: Kind, figures: Figures): string {
  const [{ figure, head, digits }] = COLUMNS[kind];
  const lost = figures.lost ? `, ${format(figures.lost, 0)} LOST` : "";
  return `${format(figures[figure]!, digits)} ${head}${lost}`;
}

/** The rounds of a result, summed up. */
export function summaryOf(result: Result, figure: string): Summary {
  return summarize(result.rounds.map((figures) => figures[figure]!));
}

/** A table of each scenario: medians, spread, and the ratio to what it is compared with. */
function tables(findings: Findings): { title: string; rows: string[][] }[] {
  const titles = new Map(findings.systems.map(({ name, title }) => [name, title]));
  const find = (scenario: string, system: string) =>
    findings.results.find((result) => result.scenario === scenario && result.system === system);
  return findings.scenarios.map(({ name, title, kind, comparedWith, baseline }) => {
    const [{ figure, head, digits }, ...others] = COLUMNS[kind];
    const base = baseline ?? findings.baseline;
    const results = findings.results.filter(({ scenario }) => scenario === name);
    const lossy = results.some(({ rounds }) => rounds.some(({ lost }) => lost));
    const heads = ["", head, "min – max", `÷ ${comparedWith ?? titles.get(base) ?? base}`];
    heads.push(...others.map(({ head }) => head), ...(lossy ? ["lost"] : []));
    const rows = results.map((result) => {
      const { median, min, max } = summaryOf(result, figure);
      const other = comparedWith === undefined
        ? find(name, base)
        : find(comparedWith, result.system);
      return [
        titles.get(result.system)!,
        format(median, digits),
        `${format(min, digits)} – ${format(max, digits)}`,
        format(median / (other === undefined ? NaN : summaryOf(other, figure).median), 2),
        ...others.map(({ figure, digits }) => format(summaryOf(result, figure).median, digits)),
        ...(lossy ? [format(summaryOf(result, "lost").max, 0)] : []),
      ];
    });
    return { title, rows: [heads, ...rows] };
  });
}

/** Prints a table of each scenario. */
export function printTables(findings: Findings): void {
  for (const { title, rows } of tables(findings)) {
    if (rows.length === 1) continue;
    const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
    const lines = rows.map((row) =>
      row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ")
    );
    console.log(`\n${title}\n${lines.join("\n")}`);
  }
}

/** The tables of all scenarios as Markdown, one below the other. */
export function fullTables(findings: Findings): string {
  return tables(findings).filter(({ rows }) => rows.length > 1)
    .map(({ title, rows }) => `**${title}**\n\n${markdown(rows)}`).join("\n\n");
}

/** A table as Markdown; its first row is the head. */
export function markdown([head, ...rows]: readonly string[][]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = head!.map((_, i) => i === 0 ? "---" : "---:");
  return [head!, rule, ...rows].map(line).join("\n");
}

/** A row of the summary: one figure of one scenario. */
interface Row {
  readonly title: string;
  readonly scenario: string;
  readonly column: Column;
}

/** What is compared, in one table: this project, NATS, and the best of the others. */
export function summaryTable(findings: Findings): string {
  const rows = findings.scenarios.flatMap(({ name, title, kind }): Row[] => {
    const [first, ...others] = COLUMNS[kind];
    const row = (column: Column): Row => ({
      title: `${title}: ${column.head}`,
      scenario: name,
      column,
    });
    const more = others.filter(({ figure }) => SUMMED_UP[name]?.includes(figure));
    return kind === "start-up" || kind === "clients" ? [] : [row(first), ...more.map(row)];
  });
  const ours = ["mpubsub-tcp", "mpubsub-unix"];
  const titleOf = (name: string) =>
    findings.systems.find((system) => system.name === name)?.title ?? name;
  const head = ["", ...ours.map(titleOf), "NATS", "the best other", "TCP ÷ NATS", "Unix ÷ NATS"];
  return markdown([
    [...head, "TCP ÷ other"],
    ...rows.map(({ title, scenario, column: { figure, digits } }) => {
      const medians = new Map(
        findings.results.filter((result) => result.scenario === scenario)
          .map((result) => [result.system, summaryOf(result, figure).median]),
      );
      const of = (system: string) => medians.get(system) ?? NaN;
      const sign = figure === "rate" ? -1 : 1;
      const best = [...medians].filter(([name]) => ![...ours, "nats"].includes(name))
        .sort(([, a], [, b]) => (a - b) * sign)[0];
      const [tcp, unix, nats] = [of(ours[0]!), of(ours[1]!), of("nats")];
      return [
        title,
        format(tcp, digits),
        format(unix, digits),
        format(nats, digits),
        best === undefined ? "–" : `${format(best[1], digits)} (${titleOf(best[0])})`,
        format(tcp / nats, 2),
        format(unix / nats, 2),
        format(tcp / (best?.[1] ?? NaN), 2),
      ];
    }),
  ]);
}

/** Further figures of scenarios that stand in the summary. */
const SUMMED_UP: Readonly<Record<string, readonly string[]>> = {
  "1-1-16": ["serverCpu"],
  "1-10-16": ["serverCpu"],
  request: ["p99"],
};

/** When, where and with what these were measured. */
export function environmentLines(all: readonly Findings[]): string {
  const [{ machine }] = all as [Findings];
  const versions = Object.assign({}, ...all.map(({ versions }) => versions));
  const runs = all.map(({ suite, date, commit, seconds, rounds }) =>
    `${suite} on ${date} at ${commit}, ${rounds} round${rounds === 1 ? "" : "s"}${
      seconds > 0 ? ` of ${seconds} s` : ""
    }`
  );
  const skipped = all.flatMap(({ skipped }) => skipped);
  return [
    `- Machine: ${machine}.`,
    `- Runs: ${runs.join("; ")}.`,
    `- Versions: ${Object.entries(versions).map((pair) => pair.join(" ")).join(", ")}.`,
    ...skipped.map((line) => `- Skipped: ${line}.`),
  ].join("\n");
}
