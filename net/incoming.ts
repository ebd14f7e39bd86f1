/**
 * What comes in from a broker: messages for the subscribers here, and notices of messages that were lost
 * or refused.
 *
 * - A topic is looked up by its bytes, and decoded the first time only.
 * - A message is mostly followed by others for the same topic: these are taken as one run.
 */
import { BytesCache } from "../base/bytes_cache.ts";
import { printable } from "../base/printable.ts";
import { DecodedSize, Decoder } from "../codec/codec.ts";
import { ForbiddenError, MessageError, ProtocolError } from "../errors.ts";
import { type Frame, FrameType, type Limits, Reason } from "../protocol/frame.ts";
import { decodeGap, decodeRefused } from "../protocol/frame_bodies.ts";
import { decodeJob } from "../protocol/job_bodies.ts";
import type { HeldFrame } from "../protocol/inbox.ts";
import { decodeTopic, topicEnd } from "../protocol/topic_block.ts";
import type { Dispatcher } from "../pubsub/dispatcher.ts";
import type { LocalRoute } from "../pubsub/local_route.ts";
import { NO_INFO } from "../pubsub/subscriber.ts";
import type { Jobs } from "./jobs.ts";
import type { Gap } from "./options.ts";
import type { TopicPath } from "../topic.ts";
import type { Owner } from "./owner.ts";

const ROUTES_MAX = 32_768;

/** Where frames come from. */
export interface FrameSource {
  /** What its broker allows. */
  readonly limits: Limits;
  /** Whether further frames are still to be taken. */
  readonly takes: boolean;
  /** The jobs of its session. */
  readonly jobs: Jobs;
  /** Whether the members here have left its session. */
  readonly isLeft: boolean;
}

/** What was, or may have been, missed or sent twice. */
export type Loss = Omit<Gap, "direction">;

/** Takes frames from a broker, and delivers their messages to the subscribers here. */
export class Incoming {
  readonly #dispatcher: Dispatcher;
  readonly #owner: Owner;
  readonly #decoder = new Decoder();
  readonly #size = new DecodedSize();
  readonly #routes = new BytesCache<LocalRoute>(ROUTES_MAX);

  /** Makes one for these subscribers; the owner is told of messages that were lost. */
  constructor(dispatcher: Dispatcher, owner: Owner) {
    this.#dispatcher = dispatcher;
    this.#owner = owner;
  }

  /** Whether no message can be taken now. */
  get full(): boolean {
    return this.#dispatcher.full;
  }

  /** Takes what the members here have not begun away from them. */
  recallJobs(): void {
    this.#dispatcher.recallJobs();
  }

  /** Takes a PUBLISH with those behind it, a JOB, a GAP, a LOST, a REFUSED or a DENIED. */
  take(frame: Frame, origin: FrameSource): void {
    const { buffer, type, body, end } = frame;
    if (type === FrameType.PUBLISH) this.#takeMessages(frame, origin);
    else if (type === FrameType.JOB) this.#takeJob(frame, origin);
    else this.#takeNotice(type, buffer.subarray(body, end), origin.limits);
  }

  /** Takes a frame of these types that was held while the subscribers were full. */
  takeHeld({ type, bytes, body }: HeldFrame, { limits }: FrameSource): void {
    if (type !== FrameType.PUBLISH) return this.#takeNotice(type, bytes.subarray(body), limits);
    const payload = topicEnd(bytes, body, bytes.length);
    const route = this.#routeOf(bytes, body, payload, limits);
    this.#takeMessage(route, bytes, payload, bytes.length, limits);
  }

  /** Takes a message, and those for the same topic right after it. */
  #takeMessages(frame: Frame, origin: FrameSource): void {
    const { buffer, body } = frame;
    const payload = topicEnd(buffer, body, frame.end);
    const route = this.#routeOf(buffer, body, payload, origin.limits);
    this.#takeMessage(route, buffer, payload, frame.end, origin.limits);
    const next = this.#extend(frame, payload - body, origin);
    if (next > 0) this.#takeRun(route, frame, payload - body, next, origin);
  }

  /** Where the messages go whose topic block is from `start` to before `end`. */
  #routeOf(buffer: Uint8Array, start: number, end: number, limits: Limits): LocalRoute {
    let route = this.#routes.get(buffer, start, end);
    if (route === undefined) {
      route = this.#dispatcher.routeOf(decodeTopic(buffer, start, end, limits));
      this.#routes.set(buffer, start, end, route);
    }
    return route;
  }

  /** Where the payload of the next message for the same topic begins, if there is one to take now. */
  #extend(frame: Frame, topicBytes: number, { takes, limits }: FrameSource): number {
    if (!takes || this.#dispatcher.full) return 0;
    return frame.extend(topicBytes, limits.messageBytes);
  }

  /** Takes the messages behind the first; `next` is where the payload of the second begins. */
  #takeRun(
    route: LocalRoute,
    frame: Frame,
    topicBytes: number,
    next: number,
    origin: FrameSource,
  ): void {
    const { buffer, start, filled } = frame;
    this.#decoder.beginRun(buffer, start, filled);
    try {
      for (; next > 0; next = this.#extend(frame, topicBytes, origin)) {
        this.#takeMessage(route, buffer, next, frame.end, origin.limits);
      }
    } finally {
      this.#decoder.endRun();
    }
  }

  /** Gives a job to its member, which may have left meanwhile. */
  #takeJob({ buffer, body, end }: Frame, { jobs, isLeft, limits }: FrameSource): void {
    const { member: number, redelivered, topic } = decodeJob(buffer, body, end);
    const payload = topicEnd(buffer, topic, end);
    const route = this.#routeOf(buffer, topic, payload, limits);
    const job = jobs.next();
    const member = isLeft ? undefined : this.#dispatcher.member(number);
    if (member === undefined) return jobs.end(job, false);
    const message = this.#decode(route, buffer, payload, end, limits);
    if (message === undefined) return jobs.end(job, true);
    const info = redelivered > 0 ? { redelivered } : NO_INFO;
    member.work(route.path, message, info, jobs, job);
  }

  #takeMessage(
    route: LocalRoute,
    buffer: Uint8Array,
    start: number,
    end: number,
    limits: Limits,
  ): void {
    if (!this.#dispatcher.wants(route)) return;
    const message = this.#decode(route, buffer, start, end, limits);
    if (message === undefined) return;
    if (!this.#dispatcher.holds) return this.#dispatcher.deliverDecided(route, message);
    this.#size.begin(buffer, start, end);
    this.#dispatcher.deliverDecided(route, message, this.#size);
    this.#size.end();
  }

  /** The message of a payload; `undefined` if it cannot be read, which its owner is told. */
  #decode(
    { path }: LocalRoute,
    buffer: Uint8Array,
    start: number,
    end: number,
    { messageBytes }: Limits,
  ): Record<string, unknown> | undefined {
    try {
      return this.#decoder.decode(buffer, start, end, messageBytes);
    } catch (error) { // Another client's fault, not the broker's: only that message is lost.
      if (!(error instanceof ProtocolError)) throw error;
      this.#dispatcher.report(error, { topic: path });
    }
  }

  #takeNotice(type: number, body: Uint8Array, limits: Limits): void {
    switch (type) {
      case FrameType.GAP:
        return this.#takeGap(decodeGap(body));
      case FrameType.LOST:
        return this.#takeLost(decodeGap(body));
      case FrameType.REFUSED:
        return this.#takeRefused(body, limits);
      default:
        throw new ProtocolError(`Cannot take a frame of type ${type}`);
    }
  }

  /** The broker dropped so many messages; it may be an unknown number. */
  #takeGap(missed: number | undefined): void {
    this.#owner.gap({
      direction: "in",
      reason: "overflow",
      ...(missed !== undefined && { missed }),
    });
  }

  /** So many messages were lost between brokers; 0, too, means an unknown number. */
  #takeLost(missed = 0): void {
    this.lose({ reason: "cut off", ...(missed > 0 && { missed }) });
  }

  /** The broker did not take a message of ours. */
  #takeRefused(body: Uint8Array, limits: Limits): void {
    const { topic, reason, text } = decodeRefused(body, limits);
    const what = reason === Reason.ABANDONED ? "gave up" : "refused";
    const said = `The broker ${what} a message: ${printable(text)}`;
    const error = reason === Reason.FORBIDDEN
      ? new ForbiddenError(said, { topic })
      : new MessageError(said, { topic: topic as TopicPath, issues: [text] });
    this.#dispatcher.report(error, { topic });
  }

  /** The broker refused a subscription; returns the error that the owner gets. */
  takeDenied(body: Uint8Array, limits: Limits): ForbiddenError {
    const { topic, text } = decodeRefused(body, limits);
    const said = `The broker refused a subscription: ${printable(text)}`;
    const error = new ForbiddenError(said, { topic });
    this.#dispatcher.report(error, { topic });
    return error;
  }

  /** Tells the owner of messages that were or may have been missed, or were sent again. */
  lose(loss: Loss): void {
    this.#owner.gap({ direction: this.#dispatcher.interestCount > 0 ? "in" : "out", ...loss });
  }
}
