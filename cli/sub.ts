/**
 * `mpubsub sub`: prints messages as they come.
 */
import { abortable } from "@std/async/abortable";
import { printable } from "../base/printable.ts";
import { Queue } from "../base/queue.ts";
import type { NetPubSub } from "../net.ts";
import { isAny } from "../routing/topic_tree.ts";
import { any, isBrokerPath, topicPath, type TopicPattern } from "../topic.ts";
import { CONNECTION, withBroker } from "./client.ts";
import { type Arguments, type Command, UsageError } from "./command.ts";
import { complain, Output, shown } from "./output.ts";
import { formatJson } from "./tagged_json.ts";
import { describeLine, formatLine, type Line, topicText } from "./syntax.ts";
import { checkLeaves, patternOf } from "./topics.ts";

/** Subscribes. */
export const sub: Command = {
  usage: ["sub [OPTIONS] [TOPIC …]"],
  about: `
Prints the messages of these topics and all below them, by default of all. A
TOPIC is a path: a/b, or ["a","b"]; + is any name. It prints for people to a
terminal, otherwise JSON, one object a line, which pub - reads as it was.`,
  options: [
    ...CONNECTION,
    { name: "count", value: "N", about: "End after N messages" },
    { name: "group", value: "NAME", about: "Be a member of a group: each message goes to one" },
    {
      name: "timeout",
      value: "TIME",
      about: "End after 250ms, 5s, 2m; status 1 if short of --count",
    },
    {
      name: "raw",
      value: "KEY",
      about: "Print only the value of KEY, as it is",
    },
    { name: "json", about: "Print JSON to a terminal, too" },
    {
      name: "time",
      about: "Add to JSON the time at which each message came",
      both: "Print JSON to a terminal, too; add the time to it",
    },
    { name: "strict", about: "Exit with 1 if messages were missed" },
  ],
  examples: [
    ["sub sensors/+/celsius", "of every room"],
    ["sub --json sensors | jq .message.celsius", "for other programs"],
    ["sub --count 1 --raw photo camera > a.jpg", "one value into a file"],
  ],
  run,
};

/**
 * How many messages of each topic may wait to be printed, before others wait at the broker; each may be
 * large.
 */
const WAITING_MAX = 64;
/** How many bytes are written together. */
const WRITE_BYTES = 64 * 1024;

/** What is printed of a message, which came at that time. */
type Format = (line: Line, time?: Date) => string | Uint8Array;

async function run(args: Arguments): Promise<number> {
  const topics = withoutCovered(args.operands.map(patternOf));
  for (const topic of topics) checkLeaves("subscribe", topic);
  const count = args.whole("count", 1);
  const timeout = args.time("timeout");
  const format = formatOf(args, Deno.stdout.isTerminal());
  let gaps = 0;
  const group = args.text("group");
  if (group !== undefined && topics.length > 1) {
    throw new UsageError("Cannot be a member of groups of several topics: give one TOPIC");
  }
  let messages: Source;
  return await withBroker(args, async ({ signal }) => {
    if (Deno.stderr.isTerminal()) complain(`Listening to ${listed(topics)}; Ctrl-C ends it`);
    const late = timeout === undefined ? undefined : AbortSignal.timeout(timeout);
    const ending = late === undefined ? signal : AbortSignal.any([signal, late]);
    try {
      await print(messages, format, count ?? Infinity, ending);
    } catch (error) { // What ended it.
      const isUnread = error instanceof Deno.errors.BrokenPipe && args.has("strict");
      if (isUnread) throw new Error("Nobody reads what is printed any more", { cause: error });
      if (!late?.aborted || error !== ending.reason) throw error;
    }
    if (count !== undefined && messages.taken < count) {
      complain(`Got ${messages.taken} of ${count} messages within ${args.text("timeout")}`);
      return 1;
    }
    return gaps > 0 && args.has("strict") ? 1 : 0;
  }, {
    onGap: () => void gaps++,
    prepare(bus) {
      messages = group === undefined ? new Messages(bus, topics) : new Jobs(bus, topics[0]!, group);
    },
  });
}

/** How many topics are listed. */
const LISTED_MAX = 5;

function listed(topics: readonly TopicPattern[]): string {
  const texts = topics.map((topic) => topic.length === 0 ? "all topics" : topicText(topic));
  const more = texts.length - LISTED_MAX;
  return texts.slice(0, LISTED_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** The topics without those of which another one has all messages. */
function withoutCovered(topics: readonly TopicPattern[]): readonly TopicPattern[] {
  if (topics.length === 0) return [topicPath(null)];
  return topics.filter((topic, at) =>
    !topics.some((other, place) => place !== at && covers(other, topic, place < at))
  );
}

function covers(above: TopicPattern, topic: TopicPattern, isEarlier: boolean): boolean {
  // What the broker itself publishes is not for the catch-all.
  if (above.length === 0 && isBrokerPath(topic)) return false;
  if (above.length > topic.length) return false;
  const isSame = above.length === topic.length && above.every((one, at) => one === topic[at]);
  return isSame
    ? isEarlier
    : above.every((element, at) =>
      element === topic[at] || element === any && isAny(at, topic[at]!)
    );
}

/** What has come to one of the subscriptions. */
interface Arrival {
  /** The number of the subscription. */
  readonly index: number;
  /** Whether another subscription has it, too. */
  readonly isCopy: boolean;
  readonly time: Date;
}

/** Messages that are printed one after the other. */
interface Source {
  /** How many were taken. */
  readonly taken: number;
  /** Whether one waits to be taken. */
  readonly isWaiting: boolean;
  /** Yields them until `signal` aborts; throws its reason then. */
  take(signal: AbortSignal): AsyncGenerator<{ line: Line; time: Date }>;
}

/** The messages that a member of a group gets; each is finished when the next is asked for. */
class Jobs implements Source {
  taken = 0;
  /** So each is printed before the next is asked for. */
  readonly isWaiting = false;
  readonly #jobs: AsyncIterator<Line>;

  constructor(bus: NetPubSub, topic: TopicPattern, group: string) {
    this.#jobs = bus.subscribe(topic, { group, limit: 1 })[Symbol.asyncIterator]();
  }

  async *take(signal: AbortSignal): AsyncGenerator<{ line: Line; time: Date }> {
    try {
      for (;;) {
        const { value } = await abortable(this.#jobs.next(), signal) as IteratorYieldResult<Line>;
        this.taken++;
        yield { line: value, time: new Date() };
      }
    } finally {
      await this.#jobs.return!();
    }
  }
}

/** The messages of several topics in the order of the bus, each once. */
class Messages implements Source {
  taken = 0;
  /** What waits in the subscriptions, in the order of the bus. */
  readonly #order = new Queue<Arrival>({ name: "the order", limit: 1, overflow: "wait" });
  readonly #subscriptions: readonly AsyncIterator<Line>[];
  /** How much of that is yet to be yielded: all but copies. */
  #waiting = 0;
  /** The latest message; of those who get it, each gets the same object. */
  #latest: unknown;

  constructor(bus: NetPubSub, topics: readonly TopicPattern[]) {
    this.#subscriptions = topics.map((topic, index) => {
      bus.addSubscriber(topic, (_topic, message) => this.#arrived(index, message));
      const options = { limit: WAITING_MAX, overflow: "wait" } as const;
      return bus.subscribe(topic, options)[Symbol.asyncIterator]();
    });
  }

  /** A message is about to be put into a subscription, and perhaps into others. */
  #arrived(index: number, message: object): void {
    const isCopy = message === this.#latest;
    this.#latest = message;
    if (!isCopy) this.#waiting++;
    this.#order.push({ index, isCopy, time: new Date() });
  }

  get isWaiting(): boolean {
    return this.#waiting > 0;
  }

  async *take(signal: AbortSignal): AsyncGenerator<{ line: Line; time: Date }> {
    const end = () => this.#order.close({ error: signal.reason });
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
    try {
      for await (const { index, isCopy, time } of this.#order) {
        const { value } = await this.#subscriptions[index]!.next() as IteratorYieldResult<Line>;
        if (isCopy) continue;
        this.#waiting--;
        this.taken++;
        yield { line: value, time };
      }
    } finally {
      signal.removeEventListener("abort", end);
    }
  }
}

/** Prints messages, several at a time when several wait. */
async function print(
  messages: Source,
  format: Format,
  count: number,
  signal: AbortSignal,
): Promise<void> {
  const output = new Output();
  for await (const { line, time } of messages.take(signal)) {
    output.add(format(line, time));
    const isLast = messages.taken >= count;
    if (isLast || !messages.isWaiting || output.size >= WRITE_BYTES) {
      // Who reads it may have stopped.
      await abortable(output.flush(), signal);
    }
    if (isLast) break;
  }
}

/** What is printed of a message: exactly what others sent, or, to a terminal, what is safe to show. */
export function formatOf(args: Arguments, isTerminal: boolean): Format {
  const key = args.text("raw");
  const isTimed = args.has("time");
  if (key !== undefined) {
    if (isTimed) throw new UsageError("Cannot use both --raw and --time");
    const raw = rawOf(key);
    return isTerminal ? (line) => shown(raw(line)) : raw;
  }
  const json: Format = (line, time) => formatLine(line, isTimed ? time : undefined);
  if (!isTerminal) return (line, time) => `${json(line, time)}\n`;
  // JSON stays equal.
  if (args.has("json")) return (line, time) => `${printable(json(line, time) as string)}\n`;
  return (line, time) => `${describeLine(line, time ?? new Date())}\n`;
}

function rawOf(key: string): Format {
  let isTold = false;
  return ({ topic, message }) => {
    if (!Object.hasOwn(message, key)) {
      if (!isTold) complain(`Cannot print a message for ${topicText(topic)}: it has no ${key}`);
      isTold = true;
      return "";
    }
    const value = message[key];
    if (value instanceof Uint8Array) return value;
    return `${typeof value === "string" ? value : formatJson(value)}\n`;
  };
}
