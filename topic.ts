/**
 * Topics: paths of strings. Only {@linkcode topicPath} makes a path, so whoever holds one need not check
 * it again.
 */
import { printable } from "./base/printable.ts";

/**
 * A topic as callers give it: a path of strings, a plain string for a path of one, or `null` for the
 * root, above all topics.
 *
 * - A plain string is never split: `"a.b"` is `["a.b"]`.
 * - `[]` is the root, too.
 */
export type Topic = string | readonly string[] | null;

/** A topic as subscribers get it: a frozen array of strings; empty for the root. */
export type TopicPath = readonly string[];

/** How many elements a topic may have. */
export const TOPIC_ELEMENTS_MAX = 16;

/** How many bytes of UTF-8 an element of a topic may have. */
export const ELEMENT_BYTES_MAX = 255;

export const ROOT: TopicPath = Object.freeze([]);
/** The last element of a topic that never leaves the process. */
const LOCAL = "*local";
/** The first element of what the broker itself publishes. */
const BROKER = "*broker";
const UTF8_BYTES_PER_UNIT_MAX = 3;
const SHOWN_UNITS_MAX = 80;

/**
 * Checks a topic, and returns its path.
 *
 * - The root is always the same object.
 *
 * @param topic What a caller gave as a topic.
 * @returns A frozen copy.
 * @throws {TypeError} If `topic` is not a valid topic: an element is empty, say, or not a string.
 * @throws {RangeError} If it has too many elements, or one of them is too long.
 */
export function topicPath(topic: Topic): TopicPath {
  if (typeof topic === "string") {
    if (!isPlain(topic)) checkElement(topic, topic, 0);
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
  const path: string[] = [];
  for (let index = 0; index < length; index++) {
    const element: unknown = topic[index];
    if (!isPlain(element)) checkElement(topic, element, index);
    path.push(element as string);
  }
  return Object.freeze(path);
}

/** A path as error messages show it: JSON on one line, without control characters. */
export function formatTopic(path: TopicPath): string {
  return printable(JSON.stringify(path));
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

/** Whether an element looks like a pattern for others: alone, or between dots. There are no patterns. */
export function looksLikePattern(element: string): boolean {
  return /(^|\.)(\*\*?|#|>|\+)(\.|$)/.test(element);
}

/** Whether messages for this path stay in the process: its last element is `"*local"`. */
export function isLocalPath(path: TopicPath): boolean {
  return path.length > 0 && path[path.length - 1] === LOCAL;
}

/** Whether this path is one of the broker's own: its first element is `"*broker"`. */
export function isBrokerPath(path: TopicPath): boolean {
  return path.length > 0 && path[0] === BROKER;
}

/** Whether an element is obviously valid; if not, {@linkcode checkElement} looks more closely. */
function isPlain(element: unknown): boolean {
  return typeof element === "string" && element.length > 0 &&
    element.length * UTF8_BYTES_PER_UNIT_MAX <= ELEMENT_BYTES_MAX && element.isWellFormed();
}

function checkElement(topic: Topic, element: unknown, index: number): void {
  const problem = (text: string) =>
    `Cannot use ${show(topic)} as a topic: element ${index} ${text}`;
  if (typeof element !== "string") {
    throw new TypeError(problem(`is ${show(element)}; it must be a string`));
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
    text = JSON.stringify(value) ?? String(value);
  } catch {
    // A bigint, a cycle, or a getter that throws: its kind says enough.
    text = `a value of type ${typeof value}`;
  }
  return printable(text, SHOWN_UNITS_MAX);
}
