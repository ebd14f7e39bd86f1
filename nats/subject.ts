/**
 * Topics as subjects of NATS, and back.
 *
 * ```
 * ["a", "b.c"]   mpubsub.BUS.m.a.b%2Ec._    published to
 *                mpubsub.BUS.m.a.b%2Ec.>    hears it, and all below it
 * []             mpubsub.BUS.b              a broadcast
 *                mpubsub.BUS.m.>            the catch-all, which hears no broadcast
 * ```
 *
 * - Each element is one token. The `_` at the end is not an element: because of it, the one pattern of a
 *   topic matches the topic itself, too.
 * - Each path has one subject, which no other path has. Brokers on different runtimes agree on it: which
 *   characters are escaped is fixed here, and does not depend on the Unicode version of the runtime.
 */
import { printable } from "../base/printable.ts";
import { type TopicPath, topicPath } from "../topic.ts";

/**
 * How many bytes of UTF-8 a subject may have: the server reads lines of at most 4096 bytes, which must
 * also hold a reply subject and sizes.
 */
export const SUBJECT_BYTES_MAX = 3072;

const BUS_CHARS_MAX = 64;
const STREAM_CHARS_MAX = 64;
const SHOWN_CHARS_MAX = 80;
const UTF8_BYTES_PER_UNIT_MAX = 3;

/** Matches elements without anything to escape; most are like that. */
const PLAIN = /^[\w-]+$/;

/**
 * What is escaped: what NATS does not allow, the escape character itself, and what is invisible or a
 * terminal may obey. That is \p{Cc}, \p{Cf}, \p{Co} and \p{Z} of Unicode 16, the non-characters, and
 * what is reserved for more invisible characters. It is spelled out because brokers must agree on it: a
 * change is a change of the protocol. Other unassigned code points are not escaped.
 */
const ESCAPED = new RegExp(
  String.raw`[\x00-\x20%*.>\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2` +
    String.raw`\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ue000-\uf8ff` +
    String.raw`\ufdd0-\ufdef\ufeff\ufff0-\ufffb\ufffe\uffff` +
    String.raw`\u{110bd}\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}` +
    String.raw`\u{1fffe}\u{1ffff}\u{2fffe}\u{2ffff}\u{3fffe}-\u{e00ff}\u{e01f0}-\u{10ffff}]`,
  "gu",
);

/**
 * The subject to which the messages of a topic are published.
 *
 * - Not checked against {@linkcode SUBJECT_BYTES_MAX}; {@linkcode subjectProblem} does that.
 */
export function subjectOf(prefix: string, path: TopicPath): string {
  return path.length === 0 ? `${prefix}.b` : `${above(prefix, path)}._`;
}

/** The subject to subscribe to for a topic and all below it, without broadcasts. */
export function patternOf(prefix: string, path: TopicPath): string {
  return `${above(prefix, path)}.>`;
}

/** The frozen path of a subject; `undefined` if {@linkcode subjectOf} never makes that. */
export function pathOf(prefix: string, subject: string): TopicPath | undefined {
  if (subject === `${prefix}.b`) return topicPath(null);
  const [start, end] = [`${prefix}.m.`, "._"];
  if (!subject.startsWith(start) || !subject.endsWith(end)) return undefined;
  const elements: string[] = [];
  try {
    for (const token of subject.slice(start.length, -end.length).split(".")) {
      const element = PLAIN.test(token) ? token : decodeURIComponent(token);
      // There are more ways to escape than ours: %2e, %41.
      if (tokenOf(element) !== token) return undefined;
      elements.push(element);
    }
    return topicPath(elements);
  } catch (error) {
    // Not UTF-8, or not a valid topic.
    if (error instanceof URIError || error instanceof TypeError || error instanceof RangeError) {
      return undefined;
    }
    throw error;
  }
}

/**
 * What is wrong with the subject of a topic, as part of a sentence; `undefined` if NATS takes it.
 *
 * - If NATS takes the subject of a topic, it takes its pattern, too.
 */
export function subjectProblem(prefix: string, path: TopicPath): string | undefined {
  const subject = subjectOf(prefix, path);
  if (subject.length * UTF8_BYTES_PER_UNIT_MAX <= SUBJECT_BYTES_MAX) return undefined;
  const { length } = new TextEncoder().encode(subject);
  return length <= SUBJECT_BYTES_MAX
    ? undefined
    : `its subject in NATS would have ${length} bytes; the limit is ${SUBJECT_BYTES_MAX}`;
}

/**
 * The prefix of the subjects of a bus.
 *
 * @param bus The name of the bus: 1 to 64 characters of `A-Z`, `a-z`, `0-9`, `_` and `-`.
 * @throws {TypeError} If it is not a string.
 * @throws {RangeError} If it is empty, too long, or has another character.
 */
export function busPrefix(bus: string): string {
  if (typeof bus !== "string") {
    throw new TypeError(`Cannot use a value of type ${typeof bus} as the name of a bus`);
  }
  if (bus.length <= BUS_CHARS_MAX && PLAIN.test(bus)) return `mpubsub.${bus}`;
  const shown = bus.length <= SHOWN_CHARS_MAX ? bus : `${bus.slice(0, SHOWN_CHARS_MAX)}…`;
  const other = bus.match(/[^\w-]/u)?.[0];
  const problem = bus === ""
    ? "it is empty"
    : bus.length > BUS_CHARS_MAX
    ? `it has ${bus.length} characters`
    : `it has a ${quote(other!)}`;
  throw new RangeError(
    `Cannot use ${quote(shown)} as the name of a bus: ${problem}; ` +
      `it must be 1 to ${BUS_CHARS_MAX} characters of A-Z, a-z, 0-9, _ and -`,
  );
}

/** Whether a value is a name that a stream may have: 1 to 64 letters, digits, `_` and `-`. */
export function isStreamName(value: unknown): value is string {
  return typeof value === "string" && value.length <= STREAM_CHARS_MAX && PLAIN.test(value);
}

/** The prefix of the subjects of a path and of all paths below it. */
function above(prefix: string, path: TopicPath): string {
  let subject = `${prefix}.m`;
  for (let index = 0; index < path.length; index++) subject += `.${tokenOf(path[index]!)}`;
  return subject;
}

/** The token of an element. */
function tokenOf(element: string): string {
  return PLAIN.test(element)
    ? element
    : element.replace(ESCAPED, (char) =>
      char < "\x80"
        ? `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`
        : encodeURIComponent(char));
}

function quote(text: string): string {
  return printable(JSON.stringify(text));
}
