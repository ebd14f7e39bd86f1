/**
 * `mpubsub pub`: publishes a message, or messages from standard input.
 */
import { delay } from "@std/async/delay";
import { TextLineStream } from "@std/streams/text-line-stream";
import { CONNECTION, withBroker } from "./client.ts";
import { type Arguments, type Command, messageOf, PROGRAM, UsageError } from "./command.ts";
import { hasInput, readValue } from "./files.ts";
import { complain } from "./output.ts";
import {
  JSON_EXAMPLE,
  type Line,
  parseLine,
  parseMessage,
  parsePairs,
  topicText,
} from "./syntax.ts";
import { checkLeaves, topicOf } from "./topics.ts";
import type { TopicPath } from "../topic.ts";

/** Publishes. */
export const pub: Command = {
  usage: ["pub TOPIC [KEY=VALUE …]", "pub [TOPIC] - [--lines KEY | --raw KEY]"],
  about: `
Publishes a message, and ends when the broker has it. TOPIC is a path: a/b, or
["a","b"]; / is a broadcast. A VALUE is JSON, a text, or @PATH: a file's bytes.
With - it reads messages from standard input, one JSON object per line; without
TOPIC it reads lines as sub prints them.`,
  options: [
    ...CONNECTION,
    { name: "json", value: "JSON", about: "The message as one object, instead of KEY=VALUE" },
    { name: "lines", value: "KEY", about: "Lines are plain text, each the value of KEY" },
    {
      name: "raw",
      value: "KEY",
      about: "All of the input is one value, as bytes",
      both: "Each line is a text, or all of it bytes",
    },
    { name: "count", value: "N", about: "Publish N messages [1; with -, all]" },
    {
      name: "interval",
      value: "TIME",
      about: "Time between messages: 250ms, 5s, 2m",
      both: "How many [1; with -: all], how far apart",
    },
  ],
  examples: [
    ["pub sensors/kitchen celsius=21.5 unit=C", ""],
    ["pub camera/door photo=@a.jpg", "a file"],
    ["pub log - --lines text < messages.log", "a log"],
    [`sub -c a.json | ${PROGRAM} pub -c b.json -`, "a bridge"],
  ],
  run,
};

/** The longest line; the largest message takes a few times its 1 MiB as JSON. */
const LINE_UNITS_MAX = 16 * 1024 * 1024;
/** What a decoder makes of bytes that are not UTF-8. */
const REPLACEMENT = "\ufffd";
/** The most bytes that are read as one value. */
const RAW_BYTES_MAX = 16 * 1024 * 1024;
/** After so long without an end of what is one value, it says that it waits for it. */
const RAW_NOTICE_MS = 2000;
/** How much is published before it waits until the broker has it. */
const PENDING_BYTES_MAX = 4 * 1024 * 1024;

async function run(args: Arguments): Promise<number> {
  const { lines, count } = await sourceOf(args);
  const interval = args.time("interval") ?? 0;
  return await withBroker(args, async ({ bus, signal, problems }) => {
    let published = 0;
    let advice = "; pub TOPIC - --lines KEY takes each line as a text";
    for await (const { line, number } of lines(signal)) {
      try {
        const { topic, message } = line();
        checkLeaves("publish", topic);
        bus.publish(topic, message);
      } catch (error) { // What is wrong with it; the others are published all the same.
        if (number === undefined) throw error;
        problems.count++;
        complain(`${messageOf(error)} (line ${number})${isNotJson(error) ? advice : ""}`);
        if (isNotJson(error)) advice = "";
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
  const [key, rawKey, json] = ["lines", "raw", "json"].map((name) => args.text(name));
  const [topicWord, ...pairs] = args.operands.filter((word) => word !== "-");
  const topic = topicWord === undefined ? undefined : topicOf(topicWord);
  if (topic !== undefined) checkLeaves("publish", topic);
  const count = args.whole("count", 1);
  if (key !== undefined || rawKey !== undefined || args.operands.includes("-")) {
    if (pairs.length > 0 || json !== undefined) {
      throw new UsageError("Cannot use both - (standard input) and values");
    }
    if (rawKey === undefined) {
      const read = readerOf(topic, key);
      return { lines: (signal) => readLines(read, signal), count: count ?? Infinity };
    }
    if (key !== undefined) throw new UsageError("Cannot use both --lines and --raw");
    if (topic === undefined) throw new UsageError("Cannot use --raw: give a TOPIC");
    return { lines: (signal) => readRaw(topic, rawKey, signal), count: count ?? 1 };
  }
  if (topic === undefined) throw new UsageError("Cannot publish: give a TOPIC");
  if (pairs.length > 0 && json !== undefined) {
    throw new UsageError("Cannot use both --json and KEY=VALUE");
  }
  const message = json === undefined ? parsePairs(pairs, readValue) : messageOfOption(json);
  if (json === undefined && pairs.length === 0 && await hasInput()) {
    complain(
      `Publishes {} to ${topicText(topic)}: standard input is read only with - (JSON lines), ` +
        "--lines KEY (text) or --raw KEY (bytes)",
    );
  }
  return { lines: () => endlessly({ topic, message }), count: count ?? 1 };
}

function messageOfOption(json: string): Record<string, unknown> {
  try {
    return parseMessage(json);
  } catch (error) { // What is wrong with it.
    const advice = isNotJson(error) ? `; a shell needs quotes around it: ${JSON_EXAMPLE}` : "";
    throw new UsageError(`${messageOf(error)}${advice}`, { cause: error });
  }
}

/** Whether a text is not even JSON. */
function isNotJson(error: unknown): boolean {
  return error instanceof TypeError && error.cause instanceof SyntaxError;
}

async function* endlessly(line: Line): AsyncGenerator<Item> {
  for (;;) yield { line: () => line };
}

/** Makes messages of lines. */
interface Reader {
  readonly read: (text: string) => Line;
  /** What a person has to write. */
  readonly what: string;
  /** Whether empty lines are skipped. */
  readonly skipsEmpty: boolean;
}

function readerOf(topic: TopicPath | undefined, key: string | undefined): Reader {
  if (key !== undefined) {
    if (topic === undefined) throw new UsageError("Cannot use --lines: give a TOPIC");
    const read = (text: string) => ({ topic, message: { [key]: text } });
    return { read, what: "lines of text", skipsEmpty: false };
  }
  if (topic === undefined) {
    return { read: parseLine, what: "lines as sub prints them", skipsEmpty: true };
  }
  const read = (text: string) => ({ topic, message: parseMessage(text) });
  return { read, what: "JSON objects, one a line", skipsEmpty: true };
}

/** Reads standard input line by line, no faster than they are taken. */
async function* readLines(
  { read, what, skipsEmpty }: Reader,
  signal: AbortSignal,
): AsyncGenerator<Item> {
  if (Deno.stdin.isTerminal()) complain(`Reads ${what}, from this terminal; Ctrl-D ends it`);
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

/** Reads all of standard input as one message: what `sub --count 1 --raw` prints of bytes. */
async function* readRaw(
  topic: TopicPath,
  key: string,
  signal: AbortSignal,
): AsyncGenerator<Item> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const notice = setTimeout(() => {
    complain(
      "Waiting for the end of the input: --raw makes one message of it, --lines KEY of each line",
    );
  }, RAW_NOTICE_MS);
  try {
    for await (const part of Deno.stdin.readable.pipeThrough(new TransformStream(), { signal })) {
      parts.push(part);
      size += part.length;
      if (size > RAW_BYTES_MAX) {
        throw new RangeError(`Cannot read more than ${RAW_BYTES_MAX} bytes as one message`);
      }
    }
  } finally {
    clearTimeout(notice);
  }
  const value = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    value.set(part, at);
    at += part.length;
  }
  yield* endlessly({ topic, message: { [key]: value } });
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
