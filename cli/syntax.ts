/**
 * Topics and messages as they are written on a command line, printed for people, and passed on as
 * JSON, one object a line: `{ "topic": ["sensors", "kitchen"], "message": { "celsius": 21.5 } }`.
 */
import { bold, cyan, dim } from "@std/fmt/colors";
import { printable } from "../base/printable.ts";
import {
  any,
  formatTopic,
  looksLikePattern,
  type Topic,
  topicFromJson,
  type TopicPath,
  topicPath,
  type TopicPattern,
  topicPattern,
} from "../topic.ts";
import { messageOf, UsageError } from "./command.ts";
import { formatJson, parseJson } from "./tagged_json.ts";

/** How much is shown of what cannot be used. */
const SHOWN_UNITS_MAX = 80;

/** A message as a shell has to be given it: without these quotes it takes those within away. */
export const JSON_EXAMPLE = `'{"a":1}'`;

/** A message and where it goes, or came from. */
export interface Line {
  readonly topic: TopicPath;
  readonly message: Record<string, unknown>;
}

/** An element of any name, in slash notation. */
const PLUS = "+";

/**
 * The topic that a text names: `sensors/kitchen`, or a JSON array of elements; `/` is the root.
 *
 * @throws {UsageError} If it is not a valid topic, or has what looks like a wildcard.
 */
export function parseTopic(text: string): TopicPath {
  return parsed(text, (topic) => {
    const path = topicPath(topic);
    if (text.startsWith("[") || !path.some(looksLikePattern)) return path;
    const why = path.includes(PLUS)
      ? "+ stands for any name, where one subscribes or grants; name one, or write"
      : "there are no wildcards to publish to; write";
    throw new TypeError(`${why} '${formatTopic(path)}' for this very name`);
  });
}

/**
 * The topic that a text names where one subscribes or grants: as for {@linkcode parseTopic}, and an
 * element of any name is `+`, or `null` in a JSON array.
 *
 * @throws {UsageError} If it is not a valid topic, or has what looks like another wildcard.
 */
export function parsePattern(text: string): TopicPattern {
  return parsed(text, (topic) => {
    if (text.startsWith("[")) return topicPattern(topicFromJson(topic));
    const path = topicPath(topic);
    if (path.every((element) => element === PLUS || !looksLikePattern(element))) {
      return topicPattern(path.map((element) => element === PLUS ? any : element));
    }
    throw new TypeError(
      "a topic includes all below it, and + is one element of any name; there are no other " +
        `wildcards. Write '${formatTopic(path)}' for this very name`,
    );
  });
}

function parsed<T>(text: string, check: (topic: Topic) => T): T {
  try {
    if (text === "/") return check(null);
    return check(text.startsWith("[") ? JSON.parse(text) : text.split("/"));
  } catch (cause) { // TypeError, RangeError or SyntaxError: what is wrong with it.
    const why = cause instanceof SyntaxError
      ? "it is not a JSON array"
      : messageOf(cause).replace(/^Cannot use .* as a topic: /, "").replace(
        "the root is null",
        "the root is /",
      );
    throw new UsageError(`Cannot use ${shown(text)} as a topic: ${why}`, { cause });
  }
}

/**
 * Says that a topic may not be what was meant: others write dots where we write slashes. Whoever writes
 * a slash or a JSON array knows.
 */
export function dotNotice(text: string): string | undefined {
  if (!/^[^[/][^/]*$/.test(text) || !/[^.]\.[^.]/.test(text)) return undefined;
  return `${shown(text)} is one name with dots in it; a path is written ${
    shown(text.replaceAll(".", "/"))
  }, and '${shown(formatTopic([text]))}' says that the name is meant`;
}

/** A topic as {@linkcode parsePattern} reads it. */
export function topicText(path: TopicPattern): string {
  const text = path.map((element) => element === any ? PLUS : element).join("/") || "/";
  const isPlain = !text.startsWith("[") &&
    path.every((name) => name === any || !name.includes("/") && !looksLikePattern(name));
  return isPlain && isShownAsItIs(text) ? text : printable(JSON.stringify(path));
}

/** Whether a text is shown as it is, and is not taken for another one of which a part is escaped. */
function isShownAsItIs(text: string): boolean {
  return !text.includes("\\u") && printable(text) === text;
}

/**
 * The values that `key=value` words name.
 *
 * @param read Reads the file that a value `@path` names.
 */
export function parsePairs(
  words: readonly string[],
  read: (path: string) => Uint8Array,
): Record<string, unknown> {
  const values = new Map<string, unknown>();
  for (const word of words) {
    const at = word.indexOf("=");
    if (at < 1) {
      const isJson = word.startsWith("{");
      throw new UsageError(
        `Cannot use ${shown(word)} as a value: write key=value${
          isJson ? `, or the whole message as --json ${JSON_EXAMPLE}` : ""
        }`,
      );
    }
    const key = word.slice(0, at);
    if (values.has(key)) {
      throw new UsageError(`Cannot use ${shown(word)}: ${shown(key)} comes twice`);
    }
    const text = word.slice(at + 1);
    values.set(key, text.startsWith("@") ? read(text.slice(1)) : valueOf(text));
  }
  return Object.fromEntries(values);
}

/** A value: JSON if it parses as JSON, else a text. */
function valueOf(text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) { // SyntaxError: it is not JSON. Otherwise something would be lost.
    if (error instanceof SyntaxError) return text;
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/**
 * The message in a JSON text.
 *
 * @throws {TypeError} If it is not a message.
 */
export function parseMessage(text: string): Record<string, unknown> {
  return checkMessage(parse(text), text);
}

/**
 * The topic and the message in a line, as `sub` prints it.
 *
 * @throws {TypeError} If it is not such a line.
 */
export function parseLine(text: string): Line {
  const line = parse(text) as { topic?: unknown; message?: unknown } | null;
  if (line?.topic === undefined || line.message === undefined) {
    throw new TypeError(
      `Cannot use ${shown(text)}: write {"topic": ["a"], "message": {"n": 1}}, or name a TOPIC`,
    );
  }
  const { topic, message } = line;
  return { topic: topicPath(topic as TopicPath), message: checkMessage(message, text) };
}

function parse(text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) { // SyntaxError, or an error that already says what is wrong.
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot use ${shown(text)}: it is not JSON`, { cause: error });
  }
}

function checkMessage(message: unknown, text: string): Record<string, unknown> {
  const isPlain = typeof message === "object" && message !== null &&
    Object.getPrototypeOf(message) === Object.prototype;
  if (isPlain) return message as Record<string, unknown>;
  throw new TypeError(`Cannot use ${shown(text)} as a message: it must be an object`);
}

function shown(text: string): string {
  return text === "" ? '""' : printable(text, SHOWN_UNITS_MAX);
}

/** A message on one line of JSON, perhaps with the time at which it came. */
export function formatLine({ topic, message }: Line, time?: Date): string {
  return formatJson({ ...time && { time: time.toISOString() }, topic, message });
}

/** A message on one line for people: the time, the topic, and values as `pub` takes them. */
export function describeLine({ topic, message }: Line, time: Date): string {
  const values = Object.entries(message).map(([name, value]) =>
    `${dim(`${printable(name)}=`)}${printable(valueText(value))}`
  );
  return [dim(clockTime(time)), bold(cyan(topicText(topic))), ...values].join(" ");
}

/** A text as it is, unless it would be taken for something else; all other values as JSON. */
function valueText(value: unknown): string {
  const isPlain = typeof value === "string" && /^[^\s"@][^\s"]*$/.test(value) &&
    isShownAsItIs(value) &&
    valueOf(value) === value;
  return isPlain ? value : formatJson(value);
}

/** The time of day here, to the millisecond. */
export function clockTime(time: Date): string {
  const two = (number: number) => String(number).padStart(2, "0");
  const ms = String(time.getMilliseconds()).padStart(3, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${ms}`;
}
