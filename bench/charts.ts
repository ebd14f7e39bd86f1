/**
 * Puts the figures of `bench/results/` into the documentation: pictures into `docs/benchmarks/`, what
 * sums them up into `docs/benchmarks.md`, and all tables into `docs/benchmarks/tables.md`, between the
 * lines `<!-- begin NAME -->` and `<!-- end NAME -->`.
 *
 * ```sh
 * deno task bench:record && deno task bench:charts
 * ```
 */
import { fillPage } from "../tools/harness/pages.ts";
import { type Bars, drawBars, drawLines, type Line } from "./drawing.ts";
import { environmentLines, fullTables, markdown, summaryOf, summaryTable } from "./report.ts";
import { goalRows } from "./goals.ts";
import type { Findings } from "./suite.ts";

const ROOT = new URL("../", import.meta.url);
const PAGE = new URL("docs/benchmarks.md", ROOT);
const TABLES = new URL("docs/benchmarks/tables.md", ROOT);
const PICTURES = new URL("docs/benchmarks/", ROOT);

/** Names of systems and the colours by which they are known. */
const STYLES: Readonly<Record<string, Pick<Line, "title" | "colour">>> = {
  "mpubsub-unix": { title: "mpubsub, Unix", colour: "violet" },
  "mpubsub-tcp": { title: "mpubsub, TCP", colour: "blue" },
  nats: { title: "NATS", colour: "orange" },
  redis: { title: "Redis (redis)", colour: "red" },
  ioredis: { title: "Redis (ioredis)", colour: "pink" },
  mosquitto: { title: "Mosquitto", colour: "green" },
  aedes: { title: "aedes", colour: "teal" },
  uplink: { title: "between brokers", colour: "violet" },
  joined: { title: "two brokers", colour: "blue" },
  zeromq: { title: "ZeroMQ", colour: "brown" },
  "relay-unix": { title: "bare relay, Unix", colour: "grey" },
  "relay-tcp": { title: "bare relay, TCP", colour: "dark" },
};

async function read(name: string): Promise<Findings> {
  return JSON.parse(await Deno.readTextFile(new URL(`results/${name}.json`, import.meta.url)));
}

/** The lines of all systems, each through the points that it has. */
function linesOf(
  findings: Findings,
  pointsOf: (system: string) => (readonly [number, number])[],
): Line[] {
  return Object.entries(STYLES)
    .filter(([name]) => findings.systems.some((system) => system.name === name))
    .map(([name, style]) => ({ ...style, points: pointsOf(name) }))
    .filter(({ points }) => points.length > 0);
}

/** A median, if it was measured. */
function medianOf(
  findings: Findings,
  scenario: string,
  system: string,
  figure = "rate",
): number | undefined {
  const result = findings.results.find((one) => one.scenario === scenario && one.system === system);
  return result && summaryOf(result, figure).median;
}

function throughputBySize(findings: Findings, title: string): string {
  const sizes = findings.scenarios.flatMap(({ name }) => /^1-1-(\d+)$/.exec(name)?.[1] ?? []);
  return drawLines({
    title,
    x: {
      title: "bytes in a message",
      place: Math.log2,
      ticks: sizes.map((size) => [Number(size), sizeText(Number(size))]),
    },
    y: { title: "messages a second", text: (value) => shortText(value) },
    lines: linesOf(findings, (system) =>
      sizes.flatMap((size) => {
        const rate = medianOf(findings, `1-1-${size}`, system);
        return rate === undefined ? [] : [[Number(size), rate] as const];
      })),
  });
}

const SHARES = [0, 50, 75, 90, 95, 99, 99.5, 99.9];

function latency(findings: Findings, title: string): string {
  return drawLines({
    title,
    x: {
      title: "part of the answers that came within, %",
      place: (share) => -Math.log10(1 - share / 100),
      ticks: [0, 50, 90, 99, 99.9].map((share) => [share, String(share)]),
    },
    y: { title: "µs from question to answer", text: (value) => value.toLocaleString("en") },
    lines: linesOf(findings, (system) =>
      SHARES.flatMap((share) => {
        const time = medianOf(findings, "request", system, `p${share}`);
        return time === undefined ? [] : [[share, time] as const];
      })),
  });
}

function fanOut(findings: Findings): string {
  const bars: Bars[] = Object.entries(STYLES).flatMap(([name, style]) => {
    const one = medianOf(findings, "1-1-16", name);
    const ten = medianOf(findings, "1-10-16", name);
    return one === undefined || ten === undefined ? [] : [{
      ...style,
      values: [[one, `${shortText(one)} to one`], [ten, `${shortText(ten)} to ten`]],
    }];
  });
  return drawBars({ title: "Deliveries a second, 16 B, to one subscriber and to ten", bars });
}

function sizeText(bytes: number): string {
  return bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`;
}

function shortText(value: number): string {
  return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
}

async function main(): Promise<void> {
  const [peers, remote, inProcess, uplink] = await Promise.all(
    ["peers", "remote", "in_process", "uplink"].map(read),
  );
  const pictures = {
    "peers.svg": throughputBySize(peers!, "One publisher, one subscriber: beside others"),
    "relay.svg": throughputBySize(remote!, "One publisher, one subscriber: beside bare relays"),
    "uplink.svg": throughputBySize(uplink!, "One publisher, one subscriber: through NATS"),
    "fan_out.svg": fanOut(peers!),
    "latency.svg": latency(peers!, "Question and answer, one at a time: beside others"),
    "latency_relay.svg": latency(remote!, "Question and answer, one at a time: beside bare relays"),
  };
  await Deno.mkdir(PICTURES, { recursive: true });
  for (const [name, picture] of Object.entries(pictures)) {
    await Deno.writeTextFile(new URL(name, PICTURES), picture);
  }
  await fillPage(PAGE, {
    environment: environmentLines([peers!, remote!, inProcess!, uplink!]),
    goals: markdown(
      goalRows({ peers: peers!, remote: remote!, inProcess: inProcess!, uplink: uplink! }),
    ),
    summary: summaryTable(peers!),
  });
  await fillPage(TABLES, {
    peers: fullTables(peers!),
    uplink: fullTables(uplink!),
    remote: fullTables(remote!),
    "in-process": fullTables(inProcess!),
  });
}

if (import.meta.main) await main();
