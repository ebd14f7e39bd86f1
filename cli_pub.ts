/**
 * `mpubsub-broker pub`: publishes a message, or those that stand on standard input.
 */
import { delay } from "@std/async/delay";
import { TextLineStream } from "@std/streams/text-line-stream";
import { CONNECTION, withBroker } from "./cli_client.ts";
import { type Arguments, type Command, messageOf, UsageError } from "./cli_command.ts";
import { type Line, parseLine, parseMessage, parsePairs, parseTopic } from "./cli_text.ts";
import type { TopicPath } from "./topic.ts";

/** Publishes. */
export const pub: Command = {
  usage: ["pub TOPIC [KEY=VALUE …]", "pub [TOPIC] - [--lines KEY]"],
  about: `
Publishes a message, and ends when the broker has it. TOPIC is a path, as a/b or
["a","b"]; / is everybody. A VALUE is JSON where it parses as such, else a text.
With - messages stand on standard input, one JSON object a line; without TOPIC
the lines are those that sub prints.`,
  options: [
    ...CONNECTION,
    { name: "json", value: "JSON", about: "The message as one object, instead of KEY=VALUE" },
    { name: "lines", value: "KEY", about: "Lines are plain text, each the value of KEY" },
    { name: "count", value: "N", about: "So many messages [1; with -, all]" },
    { name: "interval", value: "TIME", about: "Between two messages: 250ms, 5s, 2m" },
  ],
  examples: [
    ["pub sensors/kitchen celsius=21.5 unit=C", ""],
    ["pub log - --lines text < messages.log", "a log"],
    ["sub -c a.json | mpubsub-broker pub -c b.json -", "a bridge"],
  ],
  run,
};

/** How much is published before it waits until the broker has it. */
const PENDING_BYTES_MAX = 4 * 1024 * 1024;

async function run(args: Arguments): Promise<number> {
  const { lines, count } = sourceOf(args);
  const interval = args.duration("interval") ?? 0;
  return await withBroker(args, async ({ bus, signal, problems }) => {
    let published = 0;
    for await (const { topic, message } of lines(signal)) {
      bus.publish(topic, message);
      if (++published >= count || signal.aborted) break;
      if (bus.pending > PENDING_BYTES_MAX) await bus.flush({ signal });
      if (interval > 0) await delay(interval, { signal });
    }
    await bus.flush({ signal });
    return problems.count > 0 ? 1 : 0;
  });
}

/** What is to be published, and how much of it at most. */
interface Source {
  readonly lines: (signal: AbortSignal) => AsyncIterable<Line>;
  readonly count: number;
}

/** What the arguments say is to be published. */
function sourceOf(args: Arguments): Source {
  const key = args.text("lines");
  const json = args.text("json");
  const [topicWord, ...pairs] = args.operands.filter((word) => word !== "-");
  const topic = topicWord === undefined ? undefined : parseTopic(topicWord);
  const count = args.whole("count", 1);
  if (key !== undefined || args.operands.includes("-")) {
    if (pairs.length > 0 || json !== undefined) {
      throw new UsageError("Cannot use both standard input and values");
    }
    const read = readerOf(topic, key);
    return { lines: (signal) => readLines(read, signal), count: count ?? Infinity };
  }
  if (topic === undefined) throw new UsageError("Cannot publish: give a TOPIC");
  if (pairs.length > 0 && json !== undefined) {
    throw new UsageError("Cannot use both --json and KEY=VALUE");
  }
  const message = json === undefined ? parsePairs(pairs) : messageOfOption(json);
  return { lines: () => endlessly({ topic, message }), count: count ?? 1 };
}

function messageOfOption(json: string): Record<string, unknown> {
  try {
    return parseMessage(json);
  } catch (error) { // What is wrong with it.
    throw new UsageError(messageOf(error), { cause: error });
  }
}

async function* endlessly(line: Line): AsyncGenerator<Line> {
  for (;;) yield line;
}

/** What makes a message of a line; of an empty one none. */
function readerOf(
  topic: TopicPath | undefined,
  key: string | undefined,
): (text: string) => Line | undefined {
  if (key !== undefined) {
    if (topic === undefined) throw new UsageError("Cannot use --lines: give a TOPIC");
    return (text) => ({ topic, message: { [key]: text } });
  }
  return (text) => {
    if (text.trim() === "") return undefined;
    return topic === undefined ? parseLine(text) : { topic, message: parseMessage(text) };
  };
}

/** Reads standard input line by line, no faster than they are taken. */
async function* readLines(
  read: (text: string) => Line | undefined,
  signal: AbortSignal,
): AsyncGenerator<Line> {
  const texts = Deno.stdin.readable.pipeThrough(new TextDecoderStream(), { signal })
    .pipeThrough(new TextLineStream());
  let number = 0;
  for await (const text of texts) {
    number++;
    const line = numbered(number, () => read(text));
    if (line !== undefined) yield line;
  }
}

/** What is wrong with a line names its number. */
function numbered<T>(number: number, read: () => T): T {
  try {
    return read();
  } catch (error) { // Whatever it is, it is for a person to read.
    throw new Error(`${messageOf(error)} (line ${number})`, { cause: error });
  }
}
