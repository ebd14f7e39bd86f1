/**
 * A client as a publisher: each message that comes from it is checked against the limits of the
 * broker and the rights of its key, and goes to the peers that the router names.
 *
 * ```
 *  PUBLISH ──▶ size, rights, rate ──▶ route ──▶ run of frames ──▶ Peer.take of each peer of the route
 *                    │
 *                    └──▶ REFUSED, back to the client
 * ```
 *
 * Frames of one read that are side by side and go to the same peers are passed on as one run.
 */
import { ProtocolError } from "../errors.ts";
import { encodeFrame, type Frame, FrameType, type Limits, Reason } from "../protocol/frame.ts";
import { encodeRefused } from "../protocol/frame_bodies.ts";
import { isKept } from "../protocol/outbox.ts";
import { encodeTopic, topicEnd } from "../protocol/topic_block.ts";
import type { Origin, Peer } from "../routing/peer.ts";
import type { DecodeTopic, Route, Router } from "../routing/router.ts";
import { formatTopic, type TopicPath } from "../topic.ts";
import { type Access, ticketOf } from "./access.ts";
import type { ClientCounters, MessageRefusal } from "./counters.ts";
import type { TopicCounts } from "./topic_counts.ts";

/** What a publisher needs from its broker. */
export interface PublisherContext {
  readonly router: Router<Peer>;
  readonly limits: Limits;
  readonly topicCounts: TopicCounts;
  /** Decodes a topic block, within the limits. */
  readonly decodeTopic: DecodeTopic;
  /** A monotonic time, in milliseconds. */
  readonly now: () => number;
}

/** The client that publishes. */
export interface PublishingClient {
  /** What it has proved to have when it connects first. */
  readonly access: Access;
  readonly counters: ClientCounters;
  /** The client itself, which never gets its own messages. */
  readonly peer: Peer;
  /** What is held back when those who get its messages are slow. */
  readonly origin: Origin;
  /** Takes the frame that tells the client of a refused message. */
  readonly onRefused: (frame: Uint8Array) => void;
}

/** Frames that are side by side and go to the same peers. */
interface Run {
  readonly peers: readonly Peer[];
  readonly frame: Frame;
  readonly start: number;
  end: number;
  messages: number;
}

const REASONS: Readonly<Record<MessageRefusal, Reason>> = {
  tooBig: Reason.TOO_BIG,
  tooFast: Reason.TOO_FAST,
  forbidden: Reason.FORBIDDEN,
};
/** Longer runs of frames are passed on in parts, so that a window holds several. */
const RUN_BYTES_MAX = 256 * 1024;
/** How much work it is to add messages to the queue of a peer. */
const PEER_WORK = 8;
/** And to look at a node that a topic leads to across an `any`. */
const NODE_WORK = 8;
/** Stands for the topic of a message whose topic cannot be read. */
const NO_TOPIC = encodeTopic([]);
const SHOWN_CHARS_MAX = 80;

/** Checks and passes on what one client publishes. */
export class Publisher {
  /** What the client has proved to have. */
  access: Access;
  readonly #client: PublishingClient;
  readonly #context: PublisherContext;
  /** Frames to pass on together with the next, if those go to the same peers. */
  #run: Run | undefined;

  /** Makes one that has published nothing. */
  constructor(client: PublishingClient, context: PublisherContext) {
    this.#client = client;
    this.access = client.access;
    this.#context = context;
  }

  /**
   * Takes a message of the client, or several of one topic; goes on to {@linkcode Publisher.passOn}.
   *
   * @throws {ProtocolError} If the frame cannot be read.
   */
  publish(frame: Frame): void {
    const { buffer, start, body, end, oversize } = frame;
    const { router, limits, topicCounts, decodeTopic, now } = this.#context;
    const { key, rights } = this.access;
    const isInTime = !key.isBounded || key.allow(now());
    if (oversize > 0) return this.#refuseSize(NO_TOPIC, oversize);
    const payload = topicEnd(buffer, body, end);
    if (end === payload) throw new ProtocolError("Cannot take a message: it has no payload");
    const route = router.route(buffer, body, payload, decodeTopic);
    if (end - payload > limits.messageBytes) {
      return this.#refuseSize(buffer.slice(body, payload), end - payload);
    }
    if (route.forbidden !== undefined || !isInTime || !rights.mayPublish(route.path)) {
      return this.#refuseTopic(route, buffer.slice(body, payload));
    }
    // With a limited rate, messages are taken one by one.
    if (!key.isBounded) {
      while (frame.extend(payload - body, limits.messageBytes, RUN_BYTES_MAX) > 0);
    }
    topicCounts.count(route.path, frame.frames, frame.end - start);
    const peers = router.peers(route);
    if (route.crossed > 0) {
      frame.spend(NODE_WORK * route.crossed);
      route.crossed = 0;
    }
    const run = this.#run;
    const isBehind = run?.frame === frame && run.end === start;
    if (isBehind && run.peers === peers && frame.end - run.start <= RUN_BYTES_MAX) {
      run.end = frame.end;
      run.messages += frame.frames;
    } else {
      this.passOn();
      this.#run = { peers, frame, start, end: frame.end, messages: frame.frames };
    }
  }

  /** Passes on what was published so far. */
  passOn(): void {
    const run = this.#run;
    if (run === undefined) return;
    this.#run = undefined;
    const { peers, frame, start, end, messages } = run;
    const { peer: self, origin, counters } = this.#client;
    counters.count("received", messages);
    const slice = frame.buffer.subarray(start, end);
    frame.spend(PEER_WORK * peers.length);
    const lease = peers.length > 0 && isKept(slice) ? frame.keep() : undefined;
    for (const peer of peers) if (peer !== self) peer.take(slice, messages, origin, lease);
  }

  /** Refuses a message whose topic is forbidden or not granted, or that came too fast. */
  #refuseTopic({ forbidden, path }: Route<Peer>, topic: Uint8Array): void {
    const { rights } = this.access;
    const refuse = (refusal: MessageRefusal, why: string) =>
      this.#refuse(refusal, topic, `Cannot publish to ${shown(path)}: ${why}`);
    if (forbidden !== undefined) refuse("forbidden", forbidden);
    else if (!rights.mayPublish(path)) refuse("forbidden", notGranted(this.access));
    else refuse("tooFast", `the key allows ${rights.messagesPerSecond} messages a second`);
  }

  #refuseSize(topic: Uint8Array, size: number): void {
    const { messageBytes } = this.#context.limits;
    this.#refuse(
      "tooBig",
      topic,
      `Cannot publish a message of ${size} bytes: the limit is ${messageBytes}`,
    );
  }

  #refuse(refusal: MessageRefusal, topic: Uint8Array, text: string): void {
    this.passOn();
    this.#client.counters.countRefusal(refusal);
    const body = encodeRefused(REASONS[refusal], topic, text);
    this.#client.onRefused(encodeFrame(FrameType.REFUSED, body));
  }
}

/** Why a client may not do what it has no right to, as the end of a sentence. */
export function notGranted({ key: { name }, ticket }: Access): string {
  const what = ticket === undefined ? `the key ${JSON.stringify(name)}` : `the ${ticketOf(name)}`;
  return `${what} does not grant that`;
}

/** A topic, shortened so that the reason after it is not cut off. */
function shown(path: TopicPath): string {
  const text = formatTopic(path);
  return text.length <= SHOWN_CHARS_MAX ? text : `${text.slice(0, SHOWN_CHARS_MAX)}…`;
}
