/**
 * `mpubsub top`: what passes through the broker, live.
 */
import { bold, dim, yellow } from "@std/fmt/colors";
import { printable } from "../base/printable.ts";
import type { BrokerReport, ClientStats, TopicStats, UplinkStats } from "../broker/stats.ts";
import { type Client, CONNECTION, withBroker } from "./client.ts";
import type { Arguments, Command } from "./command.ts";
import { formatBytes, formatCount, formatMs, formatUptime } from "./format.ts";
import { complain, draw, printLine } from "./output.ts";
import { type Column, cut, tableOf } from "./table.ts";
import { clockTime, topicText } from "./syntax.ts";

/** Watches. */
export const top: Command = {
  usage: ["top [OPTIONS]"],
  about: `
Shows what passes through the broker, every second: clients, topics, rates,
queues, and what was dropped. q ends it. If the output is not a terminal, it
prints a line per second. The key must have the right to subscribe to *broker.`,
  options: [
    ...CONNECTION,
    { name: "count", value: "N", about: "End after N seconds" },
  ],
  examples: [
    ["top -c x.json", ""],
    ["top --count 60 > rates.log", "a line per second"],
  ],
  run,
};

/** What the broker publishes about one second. */
interface Moment {
  readonly stats: BrokerReport;
  readonly clients: readonly ClientStats[];
  readonly topics: readonly TopicStats[];
  /** The length of the time in which the topics were counted, in milliseconds. */
  readonly period: number;
}

async function run(args: Arguments): Promise<number> {
  args.atMost(0);
  const count = args.whole("count", 1) ?? Infinity;
  const isOnTerminal = Deno.stdout.isTerminal();
  const screen = isOnTerminal ? new Screen() : undefined;
  const moments = new Moments();
  return await withBroker(args, async ({ signal }) => {
    using _screen = screen?.open();
    const ending = AbortSignal.any([signal, keyPressed("q")]);
    await moments.each(ending, count, (now, before) => {
      if (screen !== undefined) screen.show(now, before);
      else if (before !== undefined) printLine(lineOf(now, before));
    });
  }, {
    prepare: (bus) => moments.subscribe(bus),
    tell: (text) => screen === undefined ? complain(text) : screen.tell(text),
  });
}

/** Collects what the broker publishes, second by second. */
class Moments {
  #now: Partial<Moment> = {};
  #before: Moment | undefined;
  #take: (now: Moment, before: Moment | undefined) => void = () => {};

  subscribe(bus: Client["bus"]): void {
    const on = (kind: string, take: (message: Record<string, unknown>) => void) =>
      bus.addSubscriber(["*broker", kind], (_topic, message) => take(message));
    on("stats", (message) => this.#now = { stats: message as unknown as BrokerReport });
    on("clients", (message) => this.#now = { ...this.#now, ...message });
    // The last of each second.
    on("topics", (message) => {
      this.#now = { ...this.#now, ...message };
      this.#finish();
    });
  }

  #finish(): void {
    const now = this.#now as Moment;
    if (now.stats === undefined || now.clients === undefined) return;
    this.#take(now, this.#before);
    this.#before = now;
  }

  /**
   * Calls `take` for each moment, until `signal` aborts or `count` calls had a moment before them.
   */
  async each(
    signal: AbortSignal,
    count: number,
    take: (now: Moment, before: Moment | undefined) => void,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => resolve());
    this.#take = (now, before) => {
      try {
        take(now, before);
      } catch (error) { // Nobody reads the output any more.
        reject(error);
      }
      if (before !== undefined && --count <= 0) resolve();
    };
    if (!signal.aborted) await promise;
  }
}

/** Aborts when a key is pressed, where there are keys. */
function keyPressed(wanted: string): AbortSignal {
  const controller = new AbortController();
  if (!Deno.stdin.isTerminal()) return controller.signal;
  Deno.stdin.setRaw(true, { cbreak: true });
  const byte = new Uint8Array(1);
  const read = async () => {
    while (await Deno.stdin.read(byte) !== null) {
      if (byte[0] === wanted.charCodeAt(0)) return controller.abort();
    }
  };
  read().catch(() => {}); // Without a keyboard, only a signal ends it.
  return controller.signal;
}

/** What happened in a second on one line. */
function lineOf({ stats }: Moment, before: Moment): string {
  const rates = ratesOf(stats, before);
  return [
    clockTime(new Date()),
    `clients ${stats.sessions}`,
    `in ${rates.in} msg/s`,
    `out ${rates.out} msg/s`,
    `queued ${formatBytes(stats.queuedBytes)}`,
    `dropped ${stats.dropped}`,
    ...stats.uplink === undefined ? [] : [
      `uplink ${stats.uplink.state}`,
      `lag ${lagOf(stats.uplink)}`,
      `lost ${lossesOf(stats.uplink)}`,
    ],
  ].join("  ");
}

function ratesOf(stats: BrokerReport, before: Moment | undefined): { in: string; out: string } {
  const seconds = before === undefined ? 0 : (stats.uptime - before.stats.uptime) / 1000;
  return {
    in: rateOf(stats.received, before?.stats.received, seconds),
    out: rateOf(stats.delivered, before?.stats.delivered, seconds),
  };
}

/** The rate of growth per second; unknown for another broker, or a new client. */
function rateOf(now: number, before: number | undefined, seconds: number): string {
  if (before === undefined || now < before || seconds <= 0) return "–";
  return formatCount((now - before) / seconds);
}

const USUAL_SIZE = { columns: 80, rows: 24 };
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";

/** The whole terminal, redrawn in place. */
class Screen implements Disposable {
  #isOpen = false;
  #note = "";

  /** Takes over the terminal; disposing of this brings back what it showed before. */
  open(): this {
    this.#isOpen = true;
    draw(ENTER);
    return this;
  }

  [Symbol.dispose](): void {
    this.#isOpen = false;
    if (Deno.stdin.isTerminal()) Deno.stdin.setRaw(false);
    draw(LEAVE);
    if (this.#note !== "") complain(this.#note);
  }

  /** Says something that is not a figure. */
  tell(text: string): void {
    this.#note = text;
    if (this.#isOpen) this.#draw([yellow(cut(printable(text), size().columns))]);
    else complain(text);
  }

  /** Shows a moment. */
  show(now: Moment, before: Moment | undefined): void {
    this.#note = "";
    const { columns, rows } = size();
    this.#draw(pageOf(now, before, columns, rows));
  }

  #draw(lines: readonly string[]): void {
    const drawn = lines.map((line) => line + CLEAR_LINE).join("\r\n");
    draw(HOME + drawn + CLEAR_BELOW);
  }
}

/** The size of the terminal, or the usual one if it does not say. */
function size(): { columns: number; rows: number } {
  const { columns, rows } = Deno.consoleSize();
  return { columns: columns || USUAL_SIZE.columns, rows: rows || USUAL_SIZE.rows };
}

function pageOf(
  now: Moment,
  before: Moment | undefined,
  columns: number,
  rows: number,
): string[] {
  const head = headOf(now, before);
  const topics = topicRows(now);
  const clients = clientRows(now, before);
  // Between the three parts are two lines, and two of them have titles.
  const free = Math.max(0, rows - head.length - 4);
  const forTopics = Math.min(topics.length, Math.max(free >> 1, free - clients.length));
  const [first, ...others] = [
    ...head,
    "",
    ...tableOf(TOPIC_COLUMNS, topics.slice(0, forTopics), columns),
    "",
    ...tableOf(CLIENT_COLUMNS, clients.slice(0, free - forTopics), columns),
  ].slice(0, rows).map((line) => cut(printable(line), columns));
  return [bold(first!), ...others.map((line) => /^(TOPIC|CLIENT) /.test(line) ? dim(line) : line)];
}

function headOf({ stats }: Moment, before: Moment | undefined): string[] {
  const { sessions, detached, connections, refused, refusedMessages, cutOff, waiting } = stats;
  const rates = ratesOf(stats, before);
  return [
    `${stats.address}  up ${formatUptime(stats.uptime)}  (q ends)`,
    `clients ${sessions} (${detached} away)  connections ${connections}  ` +
    `in ${rates.in} msg/s  out ${rates.out} msg/s`,
    `queued ${formatBytes(stats.queuedBytes)}  dropped ${stats.dropped}  cut off ${cutOff}  ` +
    `holding back ${waiting}  refused ${refused} connections, ${refusedMessages} messages`,
    ...stats.uplink === undefined ? [] : uplinkLines(stats.uplink, stats, before),
  ];
}

function uplinkLines(
  uplink: UplinkStats,
  { uptime }: BrokerReport,
  before: Moment | undefined,
): string[] {
  const { bus, state, server, brokers, queuedBytes, behind, dropped } = uplink;
  const seconds = before === undefined ? 0 : (uptime - before.stats.uptime) / 1000;
  const where = server === null ? "" : ` ${state === "connected" ? "to" : "after"} ${server}`;
  return [
    `uplink ${bus} ${state}${where}  brokers ${brokers}  ` +
    `in ${rateOf(uplink.received, before?.stats.uplink?.received, seconds)} msg/s  ` +
    `out ${rateOf(uplink.sent, before?.stats.uplink?.sent, seconds)} msg/s`,
    `uplink queued ${formatBytes(queuedBytes)}  lag ${lagOf(uplink)}  behind ${behind}  ` +
    `dropped ${dropped}  lost ${lossesOf(uplink)}`,
  ];
}

/** How long messages for other brokers have been waiting; usually none are. */
function lagOf({ lag }: UplinkStats): string {
  return lag < 1 ? "0 ms" : formatMs(lag);
}

/** How many messages of others were lost: `3`, or `3+` if some losses are of unknown size. */
function lossesOf({ lost, gaps }: UplinkStats): string {
  return `${lost}${gaps > 0 ? "+" : ""}`;
}

interface TopicRow extends TopicStats {
  readonly seconds: number;
}

const TOPIC_COLUMNS: readonly Column<TopicRow>[] = [
  { title: "TOPIC", text: ({ topic }) => topicText(topic), isLeft: true },
  { title: "MSG/S", text: ({ messages, seconds }) => formatCount(messages / seconds) },
  { title: "BYTES/S", text: ({ bytes, seconds }) => formatBytes(Math.round(bytes / seconds)) },
  { title: "CLIENTS", text: ({ subscribers }) => String(subscribers) },
];

function topicRows({ topics, period }: Moment): TopicRow[] {
  const seconds = Math.max(period, 1) / 1000;
  return topics.map((topic) => ({ ...topic, seconds }));
}

interface ClientRow extends ClientStats {
  readonly before: ClientStats | undefined;
  readonly seconds: number;
}

const CLIENT_COLUMNS: readonly Column<ClientRow>[] = [
  { title: "CLIENT", text: nameOf, isLeft: true },
  { title: "TOPICS", text: ({ subscriptions }) => String(subscriptions) },
  {
    title: "IN/S",
    text: ({ received, before, seconds }) => rateOf(received, before?.received, seconds),
  },
  {
    title: "OUT/S",
    text: ({ delivered, before, seconds }) => rateOf(delivered, before?.delivered, seconds),
  },
  { title: "QUEUED", text: ({ queuedBytes }) => formatBytes(queuedBytes) },
  { title: "DROPPED", text: ({ dropped }) => formatCount(dropped) },
  { title: "STATE", text: stateOf, isLeft: true },
];

function nameOf({ client, keyName, address }: ClientRow): string {
  const parts = [`#${client}`, keyName, address ?? "here"];
  return parts.filter((part) => part !== "").join(" ");
}

function stateOf({ connected, waiting }: ClientRow): string {
  if (!connected) return "away";
  return waiting ? "holds back" : "";
}

function clientRows({ stats, clients }: Moment, before: Moment | undefined): ClientRow[] {
  const known = new Map(before?.clients.map((client) => [client.client, client]));
  const seconds = before === undefined ? 0 : (stats.uptime - before.stats.uptime) / 1000;
  return clients.map((client) => ({ ...client, before: known.get(client.client), seconds }));
}
