/**
 * What `mpubsub bench` shows: the progress of a run, and its result as a table or as JSON.
 */
import type { Counts, Load, Published, Received } from "./bench_worker.ts";
import { formatBytes, formatCount, formatMs } from "./format.ts";
import type { Histogram, Row } from "./histogram.ts";
import { draw, drawFrame } from "./output.ts";

/** What was measured, as `--json` prints it on one line. Times are in milliseconds. */
export interface Result {
  readonly publishers: number;
  readonly subscribers: number;
  /** The bytes of a message's `data`. */
  readonly size: number;
  /** The messages per second that were asked for; `null` for as many as possible. */
  readonly rate: number | null;
  /** Messages of all publishers. */
  readonly published: number;
  /** Messages of all subscribers, each of which gets all that is published. */
  readonly received: number;
  /** Messages that the broker reported as dropped, as it does when a subscriber is too slow. */
  readonly missed: number;
  /** Messages that are missing besides those. */
  readonly lost: number;
  /** From the first message until the broker had them all. */
  readonly publishing: Flow;
  /** From the first message that was published to the last that arrived. */
  readonly receiving: Flow;
  /** From `publish` to the subscriber; `null` when nothing arrived. */
  readonly latency: Latency | null;
}

/** How fast messages went. */
export interface Flow {
  readonly ms: number;
  readonly messagesPerSecond: number;
  /** Bytes of `data`. */
  readonly bytesPerSecond: number;
  /** Messages per second of each client. */
  readonly each: readonly number[];
}

/** How long messages took; all but `min` and `max` are up to 3 % too long. */
export interface Latency {
  readonly min: number;
  readonly median: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  /** How many took from `from` to below `to`. */
  readonly buckets: readonly Row[];
}

/** Sums up what the clients did. */
export function resultOf(
  load: Load,
  publishers: readonly Published[],
  subscribers: readonly Received[],
  times: Histogram,
): Result {
  const published = sum(publishers, "messages");
  const received = sum(subscribers, "messages");
  const missed = sum(subscribers, "missed");
  const from = Math.min(...publishers.map((publisher) => publisher.from));
  const { size, rate } = load;
  return {
    publishers: load.publishers,
    subscribers: load.subscribers,
    size,
    rate: rate ?? null,
    published,
    received,
    missed,
    lost: published * load.subscribers - received - missed,
    publishing: flowOf(from, publishers, published * size),
    receiving: flowOf(
      from,
      subscribers.map((one) => ({ ...one, from })),
      sum(subscribers, "bytes"),
    ),
    latency: received === 0 ? null : latencyOf(times),
  };
}

function sum<K extends string>(items: readonly Record<K, number>[], key: K): number {
  return items.reduce((all, item) => all + item[key], 0);
}

function flowOf(from: number, clients: readonly Published[], bytes: number): Flow {
  const ms = Math.max(0, ...clients.map(({ to }) => to - from));
  return {
    ms,
    messagesPerSecond: perSecond(sum(clients, "messages"), ms),
    bytesPerSecond: perSecond(bytes, ms),
    each: clients.map((client) => perSecond(client.messages, client.to - client.from)),
  };
}

function perSecond(count: number, ms: number): number {
  return count > 0 ? count * 1000 / ms : 0;
}

function latencyOf(times: Histogram): Latency {
  return {
    min: times.min,
    median: times.quantile(0.5),
    p90: times.quantile(0.9),
    p99: times.quantile(0.99),
    p999: times.quantile(0.999),
    max: times.max,
    buckets: times.buckets(),
  };
}

/** How many rows the histogram has at most, and how many cells its longest bar. */
const ROWS = 10;
const BAR_CELLS = 50;

/** The result for people. */
export function tableOf(result: Result, times: Histogram): string {
  const { published, received, missed, lost, publishing, receiving, latency } = result;
  return [
    cells("", "messages", "messages/s", "bytes/s", "seconds"),
    flowRow("Published", published, publishing),
    ...result.rate === null ? [] : [cells("  asked for", "", formatCount(result.rate))],
    ...result.subscribers > 0 ? [flowRow("Received", received, receiving)] : [],
    cells("Missed", missed.toLocaleString("en")),
    ...lost > 0 ? [cells("Lost", lost.toLocaleString("en"))] : [],
    ...spread("publishers", publishing.each, "subscribers", receiving.each),
    ...latency === null ? [] : ["", ...latencyTable(latency), "", ...chart(times)],
  ].join("\n");
}

function cells(name: string, ...others: readonly string[]): string {
  return `${name.padEnd(16)}${others.map((text) => text.padStart(16)).join("")}`.trimEnd();
}

function flowRow(name: string, messages: number, flow: Flow): string {
  return cells(
    name,
    messages.toLocaleString("en"),
    formatCount(flow.messagesPerSecond),
    formatBytes(flow.bytesPerSecond),
    (flow.ms / 1000).toFixed(2),
  );
}

/** How much clients of the same kind differ, if there are several. */
function spread(...kinds: (string | readonly number[])[]): string[] {
  const rows: string[] = [];
  for (let i = 0; i < kinds.length; i += 2) {
    const each = kinds[i + 1] as readonly number[];
    if (each.length < 2) continue;
    const average = each.reduce((all, rate) => all + rate, 0) / each.length;
    const figures = [Math.min(...each), average, Math.max(...each)].map(formatCount);
    rows.push(cells(`${each.length} ${kinds[i]}`, ...figures));
  }
  return rows.length === 0 ? [] : ["", cells("messages/s", "min", "average", "max"), ...rows];
}

function latencyTable({ min, median, p90, p99, p999, max }: Latency): string[] {
  const row = (name: string, texts: readonly string[]) =>
    `${name.padEnd(10)}${texts.map((text) => text.padStart(11)).join("")}`;
  return [
    row("", ["min", "median", "p90", "p99", "p99.9", "max"]),
    row("Latency", [min, median, p90, p99, p999, max].map(formatMs)),
  ];
}

/** The histogram: each row is the share that took less than its time, and more than that above it. */
function chart(times: Histogram): string[] {
  const rows = times.rows(ROWS);
  const most = Math.max(...rows.map(({ count }) => count));
  const all = times.count;
  return rows.map(({ to, count }) => {
    const share = (count / all * 100).toFixed(count > 0 && count * 1000 < all ? 3 : 1);
    const drawn = bar(count / most * BAR_CELLS).padEnd(BAR_CELLS);
    return `< ${formatMs(to).padStart(8)} ${`${share} %`.padStart(8)}  ${drawn}`.trimEnd();
  });
}

/** A bar so many cells long, to an eighth of one. */
function bar(length: number): string {
  const eighths = Math.round(length * 8);
  const part = eighths % 8;
  return "█".repeat((eighths - part) / 8) + (part === 0 ? "" : " ▏▎▍▌▋▊▉"[part]);
}

/** How often the progress is drawn. */
const DRAW_MS = 200;
const PROGRESS_CELLS = 30;

/** The progress of a run, in one line of standard error that is drawn again and again. */
export class Progress implements Disposable {
  readonly #load: Load;
  readonly #counts: Counts;
  readonly #since = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;
  #at = this.#since;
  #published = 0;
  #taken = 0;
  #all = 0;

  constructor(load: Load, counts: Counts) {
    this.#load = load;
    this.#counts = counts;
    this.#timer = setInterval(() => this.#draw(), DRAW_MS);
  }

  #draw(): void {
    const { published, taken } = this.#counts;
    const now = performance.now();
    const seconds = (now - this.#at) / 1000;
    // Counts start again at 2³².
    const more = (published - this.#published) >>> 0;
    const rates = [more, (taken - this.#taken) >>> 0].map((count) => formatCount(count / seconds));
    this.#all += more;
    [this.#published, this.#taken, this.#at] = [published, taken, now];
    const part = Math.min(1, this.#part(now));
    const drawn = bar(part * PROGRESS_CELLS).padEnd(PROGRESS_CELLS, "░");
    const percent = `${Math.floor(part * 100)} %`.padStart(5);
    drawFrame(
      `\r${drawn} ${percent}  published ${rates[0]}/s, received ${rates[1]}/s\x1b[K`,
      "stderr",
    );
  }

  #part(now: number): number {
    const { messages, seconds } = this.#load;
    return messages === undefined ? (now - this.#since) / 1000 / seconds : this.#all / messages;
  }

  /** Removes the line. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    draw("\r\x1b[K", "stderr");
  }
}
