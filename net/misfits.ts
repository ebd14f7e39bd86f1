/**
 * Messages that wait for a broker, checked again once it has told its limits: before, they were checked
 * against those of another broker, or against what any broker may allow.
 */
import { decodedExcess, decodedLimit, mayTakeTooMuch } from "../codec/codec.ts";
import { MessageError } from "../errors.ts";
import type { Limits } from "../protocol/frame.ts";
import { LIMITS_MAX } from "../protocol/frame_bodies.ts";
import type { Session } from "../protocol/session.ts";
import { decodeTopic, longestElement } from "../protocol/topic_block.ts";
import { runAt } from "../protocol/topic_run.ts";
import { formatTopic, type TopicPattern } from "../topic.ts";

/** What was found among the messages of a session. */
export interface Sifted {
  /** An error for each message that is more than the broker allows; it was taken out. */
  readonly misfits: readonly MessageError[];
  /** How many of the others were sent before. */
  readonly resent: number;
}

/**
 * Takes out what a broker does not allow, before anything of a new session is sent to it.
 *
 * @param before The limits against which all messages were checked.
 * @param limits Those of the broker.
 * @param sent How many messages, the first ones, were sent before.
 */
export function siftMessages(
  session: Session,
  before: Limits,
  limits: Limits,
  sent: number,
): Sifted {
  if (!mayExceed(session.outbox.heldBytes, before, limits)) return { misfits: [], resent: sent };
  const misfits: MessageError[] = [];
  let resent = sent;
  let left = sent;
  session.sift((bytes, start, end) => {
    const misfit = misfitOf(bytes.subarray(start, end), limits);
    const isSent = left-- > 0;
    if (misfit === undefined) return true;
    misfits.push(misfit);
    if (isSent) resent--;
    return false;
  });
  return { misfits, resent };
}

/** Whether any of so many bytes of messages can be more than the limits, which others kept to. */
function mayExceed(bytes: number, before: Limits, limits: Limits): boolean {
  const isLower = before.messageBytes > limits.messageBytes;
  return isLower && mayTakeTooMuch(bytes, limits.messageBytes) ||
    bytes > 0 && before.topicElements > limits.topicElements ||
    bytes > 0 && before.elementBytes > limits.elementBytes;
}

/** Why a message, as a frame, is more than the limits; `undefined` if it is not. */
function misfitOf(frame: Uint8Array, limits: Limits): MessageError | undefined {
  const { topic: start, payload, end } = runAt(frame, 0);
  const topic = decodeTopic(frame, start, payload, LIMITS_MAX);
  const problem = payloadProblem(frame, payload, end, limits) ??
    topicProblem(topic, frame.subarray(start, payload), limits);
  if (problem === undefined) return undefined;
  return new MessageError(`Cannot publish to ${formatTopic(topic)}: ${problem}`, {
    topic,
    issues: [problem],
  });
}

/** Why a payload is more than the limits; `undefined` if it is not. */
function payloadProblem(
  bytes: Uint8Array,
  start: number,
  end: number,
  { messageBytes }: Limits,
): string | undefined {
  const size = end - start;
  if (size > messageBytes) {
    return `the message is ${size} bytes; the broker's limit is ${messageBytes}`;
  }
  const excess = decodedExcess(bytes, start, end, messageBytes);
  if (excess === 0) return undefined;
  return `the message takes at least ${excess} bytes of memory where it arrives; ` +
    `the broker's limit is ${decodedLimit(messageBytes)}`;
}

/** Why a topic, whose block of bytes is given, is more than the limits; `undefined` if it is not. */
export function topicProblem(
  path: TopicPattern,
  block: Uint8Array,
  limits: Limits,
): string | undefined {
  const { topicElements, elementBytes } = limits;
  if (path.length > topicElements) return `the broker's limit is ${topicElements} elements`;
  if (longestElement(block) <= elementBytes) return undefined;
  return `the broker's limit is ${elementBytes} bytes for an element`;
}
