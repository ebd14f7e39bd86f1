/**
 * What `mpubsub top` shows of a moment: one line, or a page with clients and topics.
 */
import { bold, dim } from "@std/fmt/colors";
import { printable } from "../base/printable.ts";
import type {
  BrokerReport,
  ClientStats,
  JobStats,
  TopicStats,
  UplinkStats,
} from "../broker/stats.ts";
import { formatBytes, formatCount, formatMs, formatUptime } from "./format.ts";
import { clockTime, topicText } from "./syntax.ts";
import { type Column, cut, tableOf } from "./table.ts";

/** What the broker publishes about one second. */
export interface Moment {
  readonly stats: BrokerReport;
  /** The busiest. */
  readonly clients: readonly ClientStats[];
  /** How many clients there are. */
  readonly total: number;
  /** This client itself, if it is known which of them it is: what it causes is not shown. */
  readonly own: ClientStats | undefined;
  /** The busiest. */
  readonly topics: readonly TopicStats[];
  /** What passed in other topics. */
  readonly other: { readonly messages: number };
  /** The length of the time in which the topics were counted, in milliseconds. */
  readonly period: number;
}

/** What happened in a second on one line. */
export function lineOf(now: Moment, before: Moment): string {
  const { stats } = now;
  const rates = ratesOf(now, before);
  return [
    clockTime(new Date()),
    `clients ${stats.sessions}`,
    `in ${rates.in} msg/s`,
    `out ${rates.out} msg/s`,
    `queued ${formatBytes(queuedIn(now))}`,
    `dropped ${stats.dropped}`,
    ...stats.jobs.groups === 0 ? [] : jobFigures(stats.jobs),
    ...stats.uplink === undefined ? [] : [
      `uplink ${stats.uplink.state}`,
      `lag ${lagOf(stats.uplink)}`,
      `lost ${lossesOf(stats.uplink)}`,
    ],
  ].join("  ");
}

function ratesOf(now: Moment, before: Moment | undefined): { in: string; out: string } {
  const { stats, own } = now;
  const seconds = before === undefined ? 0 : (stats.uptime - before.stats.uptime) / 1000;
  const isSame = own?.client === before?.own?.client;
  const toOwn = isSame ? (own?.delivered ?? 0) - (before?.own?.delivered ?? 0) : 0;
  return {
    in: rateOf(stats.received, before?.stats.received, seconds),
    out: rateOf(stats.delivered - toOwn, before?.stats.delivered, seconds),
  };
}

/** How many bytes are queued for others. */
function queuedIn({ stats, clients, total, own }: Moment): number {
  const others = clients.filter((client) => client !== own);
  const listed = others.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0);
  // The figures of the clients are a bit younger than the sum, which has those that are not listed.
  return total === clients.length ? listed : Math.max(listed, stats.queuedBytes);
}

/** The rate of growth per second; unknown for another broker, or a new client. */
function rateOf(now: number, before: number | undefined, seconds: number): string {
  if (before === undefined || now < before || seconds <= 0) return "–";
  return formatCount((now - before) / seconds);
}

export function pageOf(
  now: Moment,
  before: Moment | undefined,
  columns: number,
  rows: number,
): string[] {
  const head = figuresOf(now, before).flatMap((figures) => flowed(figures, columns));
  const topics = topicRows(now);
  const clients = clientRows(now, before);
  const isMore = now.other.messages > 0;
  // Between the three parts are two lines, and two of them have titles.
  const free = Math.max(0, rows - head.length - 4);
  const wanted = topics.length + (isMore ? 1 : 0);
  const forTopics = Math.min(wanted, Math.max(free >> 1, free - clients.length));
  const [first, ...rest] = [
    ...head,
    "",
    ...someOf(tableOf(TOPIC_COLUMNS, topics, columns), forTopics, topics.length, isMore),
    "",
    ...someOf(tableOf(CLIENT_COLUMNS, clients, columns), free - forTopics, now.total, false),
  ].slice(0, rows).map((line) => cut(printable(line), columns));
  return [
    bold(first!),
    ...rest.map((line) => /^((TOPIC|CLIENT) |(\d+\+? )?more$)/.test(line) ? dim(line) : line),
  ];
}

/**
 * As many rows of a table as there is room for, and how many there are besides.
 *
 * @param isMore Whether there are others, of which it is not known how many.
 */
function someOf(
  [title, ...all]: readonly string[],
  room: number,
  total: number,
  isMore: boolean,
): string[] {
  if (total <= room && !isMore || room === 0) return [title!, ...all.slice(0, room)];
  const shown = all.slice(0, room - 1);
  const left = total - shown.length;
  return [title!, ...shown, left === 0 ? "more" : `${left}${isMore ? "+" : ""} more`];
}

/** Figures on as few lines as have room for them. */
function flowed([first = "", ...rest]: readonly string[], columns: number): string[] {
  const lines = [first];
  for (const figure of rest) {
    const line = `${lines.at(-1)}  ${figure}`;
    if (line.length <= columns) lines[lines.length - 1] = line;
    else lines.push(figure);
  }
  return lines;
}

/** The figures of the whole broker, those on a line together. */
function figuresOf(now: Moment, before: Moment | undefined): string[][] {
  const { stats } = now;
  const { sessions, detached, connections, refused, refusedMessages, cutOff, waiting } = stats;
  const rates = ratesOf(now, before);
  return [
    [stats.address ?? "no address", `up ${formatUptime(stats.uptime)}`, "(q ends)"],
    [
      `clients ${sessions} (${detached} away)`,
      `connections ${connections}`,
      `in ${rates.in} msg/s`,
      `out ${rates.out} msg/s`,
    ],
    [
      `queued ${formatBytes(queuedIn(now))}`,
      `dropped ${stats.dropped}`,
      `cut off ${cutOff}`,
      `holding back ${waiting}`,
      `refused ${refused} connections, ${refusedMessages} messages`,
    ],
    ...stats.jobs.groups === 0 ? [] : [jobFigures(stats.jobs)],
    ...stats.uplink === undefined ? [] : uplinkFigures(stats.uplink, stats, before),
  ];
}

/** The figures of groups, whose members may be slow, or lost. */
function jobFigures(jobs: JobStats): string[] {
  const { groups, members, waiting, unfinished, oldest, redelivered, abandoned, refused } = jobs;
  return [
    `groups ${groups} (${members} members)`,
    `waiting ${waiting}`,
    `unfinished ${unfinished}`,
    `oldest ${oldest < 1 ? "0 ms" : formatMs(oldest)}`,
    `redelivered ${redelivered}`,
    `abandoned ${abandoned}`,
    `refused ${refused}`,
  ];
}

function uplinkFigures(
  uplink: UplinkStats,
  { uptime }: BrokerReport,
  before: Moment | undefined,
): string[][] {
  const { bus, state, server, brokers, queuedBytes, behind, dropped } = uplink;
  const seconds = before === undefined ? 0 : (uptime - before.stats.uptime) / 1000;
  const where = server === null ? "" : ` ${state === "connected" ? "to" : "after"} ${server}`;
  return [
    [
      `uplink ${bus} ${state}${where}`,
      `brokers ${brokers}`,
      `in ${rateOf(uplink.received, before?.stats.uplink?.received, seconds)} msg/s`,
      `out ${rateOf(uplink.sent, before?.stats.uplink?.sent, seconds)} msg/s`,
    ],
    [
      `uplink queued ${formatBytes(queuedBytes)}`,
      `lag ${lagOf(uplink)}`,
      `behind ${behind}`,
      `dropped ${dropped}`,
      `lost ${lossesOf(uplink)}`,
    ],
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
  { title: "TOPIC", text: ({ topic }) => topicText(topic), isLeft: true, keepsEnd: true },
  { title: "MSG/S", text: ({ messages, seconds }) => formatCount(messages / seconds) },
  { title: "BYTES/S", text: ({ bytes, seconds }) => formatBytes(Math.round(bytes / seconds)) },
  { title: "CLIENTS", text: ({ subscribers }) => String(subscribers) },
];

function topicRows({ topics, period }: Moment): TopicRow[] {
  const seconds = Math.max(period, 1) / 1000;
  return topics.map((topic) => ({ ...topic, seconds }));
}

interface ClientRow extends ClientStats {
  /** Whether it is this client itself. */
  readonly isOwn: boolean;
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
  { title: "QUEUED", text: ({ queuedBytes, isOwn }) => isOwn ? "–" : formatBytes(queuedBytes) },
  { title: "DROPPED", text: ({ dropped }) => formatCount(dropped) },
  { title: "STATE", text: stateOf, isLeft: true },
];

function nameOf({ client, name, keyName, for: holder, address }: ClientRow): string {
  const parts = [
    `#${client} ${name}`.trimEnd(),
    ...keyName === "" ? [] : [`key ${keyName}`],
    ...holder === null ? [] : [`for ${holder}`],
    ...address === null ? [] : [address],
  ];
  return parts.join(", ");
}

function stateOf({ connected, waiting, isOwn }: ClientRow): string {
  if (isOwn) return "this top";
  if (!connected) return "away";
  return waiting ? "holds back" : "";
}

function clientRows({ stats, clients, own }: Moment, before: Moment | undefined): ClientRow[] {
  const known = new Map(before?.clients.map((client) => [client.client, client]));
  const seconds = before === undefined ? 0 : (stats.uptime - before.stats.uptime) / 1000;
  return clients.map((client) => ({
    ...client,
    isOwn: client === own,
    before: known.get(client.client),
    seconds,
  }));
}
