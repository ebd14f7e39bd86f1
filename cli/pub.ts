/**
 * `mpubsub pub`: publishes a message, or messages from standard input.
 */
import { delay } from "@std/async/delay";
import { TextLineStream } from "@std/streams/text-line-stream";
import { CONNECTION, withBroker } from "./client.ts";
import { type Arguments, type Command, messageOf, PROGRAM, UsageError } from "./command.ts";
import { hasInput } from "./files.ts";
import { complain } from "./output.ts";
import { type Line, parseLine, parseMessage, parsePairs, topicText } from "./syntax.ts";
import { checkLeaves, topicOf } from "./topics.ts";
import type { TopicPath } from "../topic.ts";

/** Publishes. */
export const pub: Command = {
  usage: ["pub TOPIC [KEY=VALUE …]", "pub [TOPIC] - [--lines KEY]"],
  about: `
Publishes a message, and ends when the broker has it. TOPIC is a path: a/b, or
["a","b"]; / is a broadcast. A VALUE is JSON if it parses as JSON, else a text.
With - it reads messages from standard input, one JSON object per line; without
TOPIC it reads lines as sub prints them.`,
  options: [
    ...CONNECTION,
    { name: "json", value: "JSON", about: "The message as one object, instead of KEY=VALUE" },
    { name: "lines", value: "KEY", about: "Lines are plain text, each the value of KEY" },
    { name: "count", value: "N", about: "Publish N messages [1; with -, all]" },
    { name: "interval", value: "TIME", about: "Time between messages: 250ms, 5s, 2m" },
  ],
  examples: [
    ["pub sensors/kitchen celsius=21.5 unit=C", ""],
    ["pub log - --lines text < messages.log", "a log"],
    [`sub -c a.json | ${PROGRAM} pub -c b.json -`, "a bridge"],
  ],
  run,
};

/** The longest line; the largest message takes a few times its 1 MiB as JSON. */
const LINE_UNITS_MAX = 16 * 1024 * 1024;
/** What a decoder makes of bytes that are not UTF-8. */
const REPLACEMENT = "\ufffd";
/** How much is published before it waits until the broker has it. */
const PENDING_BYTES_MAX = 4 * 1024 * 1024;

async function run(args: Arguments): Promise<number> {
  const { lines, count } = await sourceOf(args);
  const interval = args.time("interval") ?? 0;
  return await withBroker(args, async ({ bus, signal, problems }) => {
    let published = 0;
    for await (const { line, number } of lines(signal)) {
      try {
        const { topic, message } = line();
        checkLeaves("publish", topic);
        bus.publish(topic, message);
      } catch (error) { // What is wrong with it; the others are published all the same.
        if (number === undefined) throw error;
        problems.count++;
        complain(`${messageOf(error)} (line ${number})`);
        continue;
      }
      if (++published >= count || signal.aborted) break;
      if (bus.pending > PENDING_BYTES_MAX) await bus.flush({ signal });
      if (interval > 0) await delay(interval, { signal });
    }
    await bus.flush({ signal });
    return problems.count > 0 ? 1 : 0;
  });
}

/** Something to publish. */
interface Item {
  /** Makes it; throws what is wrong with it. */
  readonly line: () => Line;
  /** The number of its line, if it was read from one. */
  readonly number?: number;
}

/** What is to be published, and how much of it at most. */
interface Source {
  readonly lines: (signal: AbortSignal) => AsyncIterable<Item>;
  readonly count: number;
}

/** What the arguments say is to be published. */
async function sourceOf(args: Arguments): Promise<Source> {
  const key = args.text("lines");
  const json = args.text("json");
  const [topicWord, ...pairs] = args.operands.filter((word) => word !== "-");
  const topic = topicWord === undefined ? undefined : topicOf(topicWord);
  if (topic !== undefined) checkLeaves("publish", topic);
  const count = args.whole("count", 1);
  if (key !== undefined || args.operands.includes("-")) {
    if (pairs.length > 0 || json !== undefined) {
      throw new UsageError("Cannot use both - (standard input) and values");
    }
    const read = readerOf(topic, key);
    return { lines: (signal) => readLines(read, signal), count: count ?? Infinity };
  }
  if (topic === undefined) throw new UsageError("Cannot publish: give a TOPIC");
  if (pairs.length > 0 && json !== undefined) {
    throw new UsageError("Cannot use both --json and KEY=VALUE");
  }
  const message = json === undefined ? parsePairs(pairs) : messageOfOption(json);
  if (json === undefined && pairs.length === 0 && await hasInput()) {
    complain(
      `Publishes {} to ${topicText(topic)}: standard input is read only with - (JSON lines) or ` +
        "--lines KEY (text)",
    );
  }
  return { lines: () => endlessly({ topic, message }), count: count ?? 1 };
}

function messageOfOption(json: string): Record<string, unknown> {
  try {
    return parseMessage(json);
  } catch (error) { // What is wrong with it.
    throw new UsageError(messageOf(error), { cause: error });
  }
}

async function* endlessly(line: Line): AsyncGenerator<Item> {
  for (;;) yield { line: () => line };
}

/** Makes messages of lines. */
interface Reader {
  readonly read: (text: string) => Line;
  /** Whether empty lines are skipped. */
  readonly skipsEmpty: boolean;
}

function readerOf(topic: TopicPath | undefined, key: string | undefined): Reader {
  if (key !== undefined) {
    if (topic === undefined) throw new UsageError("Cannot use --lines: give a TOPIC");
    return { read: (text) => ({ topic, message: { [key]: text } }), skipsEmpty: false };
  }
  if (topic === undefined) return { read: parseLine, skipsEmpty: true };
  return { read: (text) => ({ topic, message: parseMessage(text) }), skipsEmpty: true };
}

/** Reads standard input line by line, no faster than they are taken. */
async function* readLines(
  { read, skipsEmpty }: Reader,
  signal: AbortSignal,
): AsyncGenerator<Item> {
  const texts = Deno.stdin.readable.pipeThrough(new TextDecoderStream(), { signal })
    .pipeThrough(boundedLines(LINE_UNITS_MAX)).pipeThrough(new TextLineStream());
  let number = 0;
  let isTold = false;
  for await (const text of texts) {
    number++;
    if (text.includes(REPLACEMENT) && !isTold) {
      complain(`The input is not all UTF-8: ${REPLACEMENT} replaces what is not (line ${number})`);
      isTold = true;
    }
    if (!skipsEmpty || text.trim() !== "") yield { line: () => read(text), number };
  }
}

/** Passes text on; throws when a line has more than `limit` UTF-16 units. */
function boundedLines(limit: number): TransformStream<string, string> {
  let length = 0;
  return new TransformStream({
    transform(text, controller) {
      const end = text.lastIndexOf("\n");
      length = end < 0 ? length + text.length : text.length - end;
      if (length > limit) throw new RangeError(`Cannot read a line of more than ${limit} letters`);
      controller.enqueue(text);
    },
  });
}
