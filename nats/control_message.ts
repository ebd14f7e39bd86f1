/**
 * What brokers tell each other through NATS besides messages, as JSON: that they are there, what they
 * want, and how much they sent. `docs/scaling.md` says when.
 *
 * Whoever may publish to the bus can send what looks like that. {@linkcode decodeControlMessage} lets
 * nothing through that no broker says: no number that is not exact, no topic that nobody can publish to,
 * no name of a stream that is none.
 */
import { isCount } from "../base/count.ts";
import { ProtocolError } from "../errors.ts";
import { isBrokerPath, type TopicPath, topicPath } from "../topic.ts";
import { isStreamName } from "./subject.ts";
import type { Work } from "./turns.ts";

/** A topic that a broker wants, with all below it, and the broker's number for it; `null`: broadcasts. */
export type NumberedTopic = readonly [id: number, path: TopicPath | null];

/** How many messages a broker sent for a topic that the other wants, by the other's number for it. */
export type NumberedCount = readonly [id: number, count: number];

/** What a broker says. */
export type ControlMessage =
  /**
   * It is there.
   *
   * - `stream`: the stream that it reads, if it reads one.
   * - `sent`: the number of its latest packet.
   * - `wants`: how often its wants changed.
   */
  | {
    readonly type: "beat";
    readonly from: string;
    readonly stream: string | null;
    readonly sent: number;
    readonly wants: number;
  }
  /** It ends. */
  | { readonly type: "bye"; readonly from: string }
  /**
   * What it wants: all of it, or what changed since `base`.
   *
   * - If it is long, in several messages, numbered from 0; `more` is true in all but the last.
   */
  | {
    readonly type: "wants";
    readonly from: string;
    readonly version: number;
    readonly base: number | null;
    readonly add: readonly NumberedTopic[];
    readonly remove: readonly number[];
    readonly part: number;
    readonly more: boolean;
  }
  /** It asks for counts; `got` is the number of the latest answer that it has; 0: none. */
  | { readonly type: "ask"; readonly from: string; readonly got: number }
  /** It has this answer. */
  | { readonly type: "got"; readonly from: string; readonly got: number }
  /**
   * How much it sent of what the other wants: all counts that the other may not know, or only those of
   * topics that it newly wants.
   *
   * - `answer` numbers the answers to this broker, from 1.
   * - `version`: of the other's wants, as far as this broker knows them; 0: it knows none.
   * - `since` changes when this broker has forgotten its counts.
   */
  | {
    readonly type: "counts";
    readonly from: string;
    readonly version: number;
    readonly since: number;
    readonly answer: number;
    readonly sent: number;
    readonly counts: readonly NumberedCount[];
    readonly isFull: boolean;
    readonly part: number;
    readonly more: boolean;
  };

/** How many bytes of topics or counts one message has at most, unless a single one has more. */
const PART_BYTES_MAX = 64 * 1024;
/** How many bytes a message has at most: a part, one topic of escapes beyond that, and the rest. */
const MESSAGE_BYTES_MAX = 2 * PART_BYTES_MAX;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Splits entries into parts that each fit a message, at least one, and passes each of them on; a step
 * for each entry.
 *
 * @param entries What is split; `undefined` is left out.
 * @param emit Gets a part, its number, and whether more of them follow.
 */
export function* inParts<E>(
  entries: Iterable<E | undefined>,
  emit: (part: E[], number: number, more: boolean) => void,
): Work {
  let [part, bytes, number]: [E[], number, number] = [[], 0, 0];
  for (const entry of entries) {
    yield;
    if (entry === undefined) continue;
    const { length } = encoder.encode(JSON.stringify(entry));
    if (bytes > 0 && bytes + length > PART_BYTES_MAX) {
      emit(part, number++, true);
      [part, bytes] = [[], 0];
    }
    bytes += length + 1;
    part.push(entry);
  }
  emit(part, number, false);
}

/** The bytes of what a broker says. */
export function encodeControlMessage(control: ControlMessage): Uint8Array {
  return encoder.encode(JSON.stringify(control));
}

/**
 * Decodes what a broker says.
 *
 * @throws {ProtocolError} If it is not something that a broker says.
 */
export function decodeControlMessage(bytes: Uint8Array): ControlMessage {
  if (bytes.length > MESSAGE_BYTES_MAX) {
    throw new ProtocolError(`Cannot read what a broker says: it has ${bytes.length} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch (error) { // TypeError or SyntaxError: not UTF-8, or not JSON.
    throw new ProtocolError("Cannot read what a broker says: it is not JSON", { cause: error });
  }
  if (isControlMessage(value)) return value;
  throw new ProtocolError("Cannot read what a broker says: it is of an unknown kind");
}

function isControlMessage(value: unknown): value is ControlMessage {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  if (typeof fields.from !== "string" || !/^[0-9a-f]{16}$/.test(fields.from)) return false;
  switch (fields.type) {
    case "beat":
      return (fields.stream === null || isStreamName(fields.stream)) &&
        isCount(fields.sent) && isCount(fields.wants);
    case "bye":
      return true;
    case "ask":
    case "got":
      return isCount(fields.got);
    case "wants":
      return isCount(fields.version) && (fields.base === null || isCount(fields.base)) &&
        isListOf(fields.add, isNumberedTopic) && isListOf(fields.remove, isCount) &&
        isCount(fields.part) && typeof fields.more === "boolean";
    case "counts":
      return isCount(fields.version) && isCount(fields.since) && isCount(fields.answer) &&
        isCount(fields.sent) &&
        isListOf(fields.counts, isNumberedCount) && typeof fields.isFull === "boolean" &&
        isCount(fields.part) &&
        typeof fields.more === "boolean";
    default:
      return false;
  }
}

function isListOf(value: unknown, is: (entry: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(is);
}

function isNumberedTopic(value: unknown): boolean {
  return Array.isArray(value) && value.length === 2 && isCount(value[0]) &&
    (value[1] === null || isWantable(value[1]));
}

/** Whether a broker may want a topic: what a broker publishes of itself stays there. */
function isWantable(value: unknown): boolean {
  if (!Array.isArray(value)) return false;
  try {
    return !isBrokerPath(topicPath(value));
  } catch (error) { // It is not a topic.
    if (error instanceof TypeError || error instanceof RangeError) return false;
    throw error;
  }
}

function isNumberedCount(value: unknown): boolean {
  return Array.isArray(value) && value.length === 2 && value.every(isCount);
}
