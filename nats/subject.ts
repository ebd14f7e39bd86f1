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
 * - Each element is one token. The `_` at the end is none of them: with it, the one pattern of a
 *   topic hears the topic itself, too.
 * - Each path has one subject, and no other path has that. So brokers that meet in NATS agree on it
 *   whatever they run on: which characters are escaped is fixed here, and does not depend on the
 *   Unicode of the runtime, in which each version assigns some more.
 */
import { printable } from "../base/printable.ts";
import { type TopicPath, topicPath } from "../topic.ts";

/**
 * How many bytes of UTF-8 a subject may have: the server reads lines of at most 4096 bytes, in which
 * a reply subject and sizes have to fit, too.
 */
export const SUBJECT_BYTES_MAX = 3072;

const BUS_CHARS_MAX = 64;
const SHOWN_CHARS_MAX = 80;
const UTF8_BYTES_PER_UNIT_MAX = 3;

/** What stands for itself, at first sight; most elements are nothing else. */
const PLAIN = /^[\w-]+$/;

/**
 * What is escaped: what NATS does not allow, the escape itself, and what is invisible or a terminal
 * may obey. That is \p{Cc}, \p{Cf}, \p{Co} and \p{Z} of Unicode 16, the non-characters, and what is
 * reserved for more that is invisible. Spelled out, because brokers have to agree on it; and a
 * change is a change of the protocol. Other unassigned code points stand for themselves.
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

/** What to subscribe to for a topic and all below it; broadcasts are not among them. */
export function patternOf(prefix: string, path: TopicPath): string {
  return `${above(prefix, path)}.>`;
}

/** The frozen path of a subject; none for what {@linkcode subjectOf} never makes. */
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
    // No UTF-8; or no topic: an empty element, a lone surrogate, too many elements, too long a one.
    if (error instanceof URIError || error instanceof TypeError || error instanceof RangeError) {
      return undefined;
    }
    throw error;
  }
}

/**
 * What is wrong with the subject of a topic, as part of a sentence; none if NATS takes it.
 *
 * - What is good for {@linkcode subjectOf} is good for {@linkcode patternOf}.
 */
export function subjectProblem(prefix: string, path: TopicPath): string | undefined {
  const subject = subjectOf(prefix, path);
  if (subject.length * UTF8_BYTES_PER_UNIT_MAX <= SUBJECT_BYTES_MAX) return undefined;
  const { length } = new TextEncoder().encode(subject);
  return length <= SUBJECT_BYTES_MAX
    ? undefined
    : `its subject in NATS would have ${length} bytes, the limit is ${SUBJECT_BYTES_MAX}`;
}

/**
 * What the subjects of a bus begin with.
 *
 * @param bus The name of the bus: 1 to 64 characters of `A-Z`, `a-z`, `0-9`, `_` and `-`.
 * @throws {TypeError} If it is no string.
 * @throws {RangeError} If it has no character, too many, or another one.
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
    `Cannot use ${quote(shown)} as the name of a bus: ${problem}, ` +
      `it must be 1 to ${BUS_CHARS_MAX} characters of A-Z, a-z, 0-9, _ and -`,
  );
}

/** What the subject of a path and those of all below it begin with. */
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
