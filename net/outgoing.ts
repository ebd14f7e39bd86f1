/**
 * What goes out to a broker: messages are checked, encoded and added to the outbox of a session.
 */
import { encodeMessage, Encoder } from "../codec/codec.ts";
import { BacklogError } from "../errors.ts";
import { encodeFrame, FrameType, type Limits } from "../protocol/frame.ts";
import type { Session } from "../protocol/session.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { formatTopic, type TopicPath, type TopicPattern } from "../topic.ts";
import { topicProblem } from "./misfits.ts";

/** A session to which messages are added, and what its broker allows. */
export interface Destination {
  readonly session: Session;
  readonly limits: Limits;
}

/** Encodes messages, and sends them to a broker. */
export class Outgoing {
  readonly #backlog: number;
  readonly #encoder = new Encoder();
  /** The latest topic that was checked against these limits, as bytes. */
  #latest: { path: TopicPattern; limits: Limits; block: Uint8Array } | undefined;
  #asking = false;

  /** Makes one that leaves at most so many bytes unacknowledged. */
  constructor(backlog: number) {
    this.#backlog = backlog;
  }

  /**
   * Adds a message to the outbox of a session, and sends it, now or once there is a connection.
   *
   * @param elsewhere How many bytes are not acknowledged yet in other sessions.
   * @throws {BacklogError} If too much is not acknowledged.
   * @throws {TypeError} If a value cannot be sent.
   * @throws {RangeError} If the topic or the message is larger than the broker allows.
   */
  publish(path: TopicPath, message: object, destination: Destination, elsewhere: number): void {
    const { session, limits } = destination;
    const topic = this.topicBlock("publish", path, limits);
    const { outbox } = session;
    const { composer } = outbox;
    if (composer.isBusy) {
      return this.#publishApart(path, topic, message, destination, elsewhere);
    }
    try {
      const at = composer.begin(topic);
      const end = this.#encoder.encode(message, limits.messageBytes, composer, at);
      this.#checkBacklog(path, composer.lengthTo(end), outbox.heldBytes + elsewhere);
      outbox.commit(end);
    } catch (error) {
      composer.abandon();
      throw error;
    }
    session.pump();
    this.#askIfHalfFull(session);
  }

  /** Publishes a message from within a getter of another message that is being composed. */
  #publishApart(
    path: TopicPath,
    topic: Uint8Array,
    message: object,
    { session, limits }: Destination,
    elsewhere: number,
  ): void {
    const payload = encodeMessage(message, limits.messageBytes, this.#encoder);
    const frame = encodeFrame(FrameType.PUBLISH, topic, payload);
    this.#checkBacklog(path, frame.length, session.outbox.heldBytes + elsewhere);
    session.outbox.push(frame, 1);
    session.pump();
  }

  #checkBacklog(path: TopicPath, bytes: number, pending: number): void {
    const limit = this.#backlog;
    if (pending === 0 || pending + bytes <= limit) return;
    throw new BacklogError(
      `Cannot publish to ${formatTopic(path)}: ${pending} bytes are not acknowledged yet ` +
        `(the limit is ${limit}); await flush() now and then`,
      { limit },
    );
  }

  /** Asks for an acknowledgement: a small backlog would be full before one comes unasked. */
  #askIfHalfFull(session: Session): void {
    if (this.#asking || 2 * session.outbox.heldBytes <= this.#backlog) return;
    this.#asking = true;
    session.flush().then(() => {
      this.#asking = false;
      this.#askIfHalfFull(session); // More may have been published since it asked.
    }, () => {
      // The session has ended; those who wait for that get the error elsewhere.
      this.#asking = false;
    });
  }

  /**
   * A topic as a block of bytes.
   *
   * @throws {RangeError} If the broker does not allow it.
   */
  topicBlock(action: "publish" | "subscribe", path: TopicPattern, limits: Limits): Uint8Array {
    const latest = this.#latest;
    if (latest !== undefined && latest.limits === limits && isSame(latest.path, path)) {
      return latest.block;
    }
    const block = encodeTopic(path);
    const problem = topicProblem(path, block, limits);
    if (problem !== undefined) {
      throw new RangeError(`Cannot ${action} to ${formatTopic(path)}: ${problem}`);
    }
    this.#latest = { path, limits, block };
    return block;
  }
}

function isSame(a: TopicPattern, b: TopicPattern): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
