/**
 * Topics: paths of strings, and patterns of them. Only {@linkcode topicPath} and
 * {@linkcode topicPattern} make these, so whoever holds one need not check it again.
 */
import { printable } from "./base/printable.ts";

/**
 * One element of any name, where one subscribes or grants: `["sensors", any, "celsius"]`.
 *
 * - It stands for every name but a first `"*broker"`.
 * - A topic has at most three of them.
 * - All copies of this package have the same one; in JSON, where there are no symbols, it is `null`.
 *
 * @example The temperature of every room
 * ```ts
 * import { any, PubSub } from "@mpubsub/mpubsub/pubsub";
 * import { assertEquals } from "@std/assert";
 *
 * const bus = new PubSub();
 * const heard: string[] = [];
 * bus.addSubscriber(["sensors", any, "celsius"], ([, room]) => heard.push(room!));
 *
 * bus.publish(["sensors", "kitchen", "celsius"], { value: 21.5 });
 * bus.publish(["sensors", "kitchen", "humidity"], { value: 40 });
 *
 * assertEquals(heard, ["kitchen"]);
 * ```
 */
export const any: unique symbol = Symbol.for("mpubsub.any");

/**
 * A topic as callers give it: a path of strings, a plain string for a path of one, or `null` for the
 * root, above all topics. Where one subscribes or grants, an element may be {@linkcode any}.
 *
 * - A plain string is never split: `"a.b"` is `["a.b"]`.
 * - `[]` is the root, too.
 */
export type Topic = string | readonly (string | typeof any)[] | null;

/** A topic as subscribers get it: a frozen array of strings; empty for the root. */
export type TopicPath = readonly string[];

/** What somebody wants or grants: a path, of which elements may be {@linkcode any}. */
export type TopicPattern = readonly (string | typeof any)[];

/** One element of a {@linkcode TopicPattern}. */
export type PatternElement = TopicPattern[number];

/** How many elements of a topic may be {@linkcode any}; with more, few topics could make a large tree. */
export const ANY_MAX = 3;

/** How many elements a topic may have. */
export const TOPIC_ELEMENTS_MAX = 16;

/** How many bytes of UTF-8 an element of a topic may have. */
export const ELEMENT_BYTES_MAX = 255;

export const ROOT: TopicPath = Object.freeze([]);
/** The last element of a topic that never leaves the process. */
const LOCAL = "*local";
/** The first element of what the broker itself publishes. */
export const BROKER = "*broker";
const UTF8_BYTES_PER_UNIT_MAX = 3;
const SHOWN_UNITS_MAX = 80;

/**
 * Checks a topic that names one, and returns its path.
 *
 * - The root is always the same object.
 *
 * @param topic What a caller gave as a topic.
 * @returns A frozen copy.
 * @throws {TypeError} If `topic` is not a valid topic: an element is empty, say, or {@linkcode any}.
 * @throws {RangeError} If it has too many elements, or one of them is too long.
 */
export function topicPath(topic: Topic): TopicPath {
  const pattern = checked(topic, "a string");
  if (isPath(pattern)) return pattern;
  throw new TypeError(
    `Cannot use ${show(topic)} as a topic here: element ${pattern.indexOf(any)} is any, which ` +
      "stands for every name where one subscribes or grants; give it one",
  );
}

/** Whether a pattern is a path: no element is {@linkcode any}. */
export function isPath(pattern: TopicPattern): pattern is TopicPath {
  return !pattern.includes(any);
}

/**
 * Checks a topic, and returns its pattern.
 *
 * - The root is always the same object.
 *
 * @param topic What a caller gave as a topic.
 * @returns A frozen copy.
 * @throws {TypeError} If `topic` is not a valid topic: an element is empty, say, or a number.
 * @throws {RangeError} If it has too many elements, or one of them is too long, or more than
 * {@linkcode ANY_MAX} are {@linkcode any}.
 */
export function topicPattern(topic: Topic): TopicPattern {
  return checked(topic, "a string, or any");
}

/** The pattern of a topic; `wanted` is what its elements must be. */
function checked(topic: Topic, wanted: string): TopicPattern {
  if (typeof topic === "string") {
    if (!isPlain(topic)) checkElement(topic, topic, 0, wanted);
    return Object.freeze([topic]);
  }
  if (topic === null) return ROOT;
  if (!Array.isArray(topic)) {
    throw new TypeError(
      `Cannot use ${show(topic)} as a topic: it must be a string, an array of strings or null`,
    );
  }
  const { length } = topic;
  if (length === 0) return ROOT;
  if (length > TOPIC_ELEMENTS_MAX) {
    throw new RangeError(
      `Cannot use ${show(topic)} as a topic: ` +
        `it has ${length} elements; the limit is ${TOPIC_ELEMENTS_MAX}`,
    );
  }
  const path: PatternElement[] = [];
  let anys = 0;
  for (let index = 0; index < length; index++) {
    const element: unknown = topic[index];
    if (element === any) anys++;
    else if (!isPlain(element)) checkElement(topic, element, index, wanted);
    path.push(element as PatternElement);
  }
  if (anys > ANY_MAX) {
    throw new RangeError(
      `Cannot use ${show(topic)} as a topic: ${anys} elements are any; the limit is ${ANY_MAX}`,
    );
  }
  return Object.freeze(path);
}

/**
 * A topic that was written as JSON, as callers give it: within an array, `null` is `any` there. Whatever
 * else it is stays for {@linkcode topicPattern} to check.
 */
export function topicFromJson(value: unknown): Topic {
  const topic = Array.isArray(value) ? value.map((element) => element ?? any) : value;
  return topic as Topic;
}

/** A topic as it is written in a file: in its shortest form. `JSON.stringify` makes `null` of `any`. */
export function shortestTopic(pattern: TopicPattern): Topic {
  const [first] = pattern;
  if (first === undefined) return null;
  return pattern.length === 1 && first !== any ? first : pattern;
}

/** The path that stands before the first `any` of a pattern. */
export function beforeAny(pattern: TopicPattern): TopicPath {
  return isPath(pattern)
    ? pattern
    : Object.freeze(pattern.slice(0, pattern.indexOf(any))) as TopicPath;
}

/** A pattern as error messages show it: JSON on one line, without control characters, and `any`. */
export function formatTopic(path: TopicPattern): string {
  return printable(written(path));
}

/** JSON, in which `any` is written as in code. */
function written(topic: readonly unknown[]): string {
  const text = (element: unknown) => JSON.stringify(element) ?? String(element);
  return `[${topic.map((element) => element === any ? "any" : text(element)).join(",")}]`;
}

/**
 * What is to be told of a topic that is a plain string with a slash: on the command line, and elsewhere,
 * that would be a path.
 */
export function slashNotice(topic: unknown): string | undefined {
  if (typeof topic !== "string" || !topic.includes("/")) return undefined;
  const path = topic.split("/").filter((element) => element !== "");
  return `${show(topic)} is one name with a slash in it, not a path: write ${show(path)} for the ` +
    `path, or ${show([topic])} for that name`;
}

/** Whether an element looks like a pattern for others: alone, or between dots. It is none here. */
export function looksLikePattern(element: string): boolean {
  return /(^|\.)(\*\*?|#|>|\+)(\.|$)/.test(element);
}

/** Whether messages for this path stay in the process: its last element is `"*local"`. */
export function isLocalPath(path: TopicPattern): boolean {
  return path.length > 0 && path[path.length - 1] === LOCAL;
}

/** Whether this path is one of the broker's own: its first element is `"*broker"`. */
export function isBrokerPath(path: TopicPattern): boolean {
  return path.length > 0 && path[0] === BROKER;
}

/** Whether an element is obviously valid; if not, {@linkcode checkElement} looks more closely. */
function isPlain(element: unknown): boolean {
  return typeof element === "string" && element.length > 0 &&
    element.length * UTF8_BYTES_PER_UNIT_MAX <= ELEMENT_BYTES_MAX && element.isWellFormed();
}

function checkElement(topic: Topic, element: unknown, index: number, wanted: string): void {
  const problem = (text: string) =>
    `Cannot use ${show(topic)} as a topic: element ${index} ${text}`;
  if (typeof element !== "string") {
    throw new TypeError(problem(`is ${show(element)}; it must be ${wanted}`));
  }
  if (element === "") {
    throw new TypeError(problem("is empty; it must have a character (the root is null)"));
  }
  if (element.length > ELEMENT_BYTES_MAX) {
    throw new RangeError(
      problem(`has ${element.length} characters; the limit is ${ELEMENT_BYTES_MAX} bytes of UTF-8`),
    );
  }
  if (!element.isWellFormed()) {
    throw new TypeError(problem("has a lone surrogate; it must be a well-formed string"));
  }
  const bytes = utf8Bytes(element);
  if (bytes > ELEMENT_BYTES_MAX) {
    throw new RangeError(problem(`is ${bytes} bytes of UTF-8; the limit is ${ELEMENT_BYTES_MAX}`));
  }
}

/** The length of a well-formed string in UTF-8. */
function utf8Bytes(text: string): number {
  let bytes = 0;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    const surrogate = unit >= 0xd800 && unit < 0xe000;
    bytes += unit < 0x80 ? 1 : unit < 0x800 || surrogate ? 2 : UTF8_BYTES_PER_UNIT_MAX;
  }
  return bytes;
}

/** A value that is not a valid topic, as an error message shows it: short, whatever it is. */
function show(value: unknown): string {
  let text: string;
  try {
    text = Array.isArray(value) ? written(value) : JSON.stringify(value) ?? String(value);
  } catch {
    // A bigint, a cycle, or a getter that throws: its kind says enough.
    text = `a value of type ${typeof value}`;
  }
  return printable(text, SHOWN_UNITS_MAX);
}
