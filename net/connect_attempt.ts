/**
 * An attempt to connect: dials, authenticates, and opens or resumes the session of a span.
 *
 * ```
 *  dial ─▶ authenticate ─▶ OPEN ┬─▶ OPENED: the link is the session's from now on
 *                               └─▶ DENIED …, or GOODBYE: the attempt has failed
 * ```
 */
import { later } from "../base/timers.ts";
import { AuthError, ConnectionLostError, ForbiddenError, ProtocolError } from "../errors.ts";
import { type Endpoint, formatEndpoint, isExposed } from "../io/address.ts";
import type { Connection } from "../io/connection.ts";
import { UnreachableError } from "../io/dial_errors.ts";
import type { Outside } from "../io/outside.ts";
import { authenticateToBroker } from "../protocol/authenticate.ts";
import { FrameType, Reason } from "../protocol/frame.ts";
import {
  brokerFrameLimits,
  decodeOpened,
  encodeOpening,
  type Opened,
} from "../protocol/frame_bodies.ts";
import { encodeNumber } from "../protocol/job_bodies.ts";
import { nameOfKey } from "../protocol/handshake.ts";
import { Link, type LinkEnd } from "../protocol/link.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import type { Member } from "../pubsub/group_members.ts";
import type { TopicPattern } from "../topic.ts";
import type { Target } from "./broker_finder.ts";
import { type ConnectSpan, DISCONNECTED } from "./connect_span.ts";
import { bodyOf } from "./members.ts";
import type { QueueOptions } from "./options.ts";

/** How long a broker may take to answer an attempt to connect. */
const CONNECT_MS = 10_000;

/** Who makes attempts. */
export interface Attempter {
  /** Ends the attempt; so does the end of the span. */
  readonly signal: AbortSignal;
  /** What the client calls itself. */
  readonly name: string;
  readonly queueOptions: QueueOptions;
  /** The topics that are wanted. */
  interests(): Iterable<TopicPattern>;
  /** The members of groups. */
  members(): Iterable<Member>;
  /** Others can read and change what is sent to this endpoint, which is tried now. */
  exposes(endpoint: Endpoint): void;
  readonly dial: Outside["dial"];
  /** There is a connection. */
  dialled(stream: Connection): void;
  /** The broker has opened the session; frames that follow are the session's. */
  opened(link: Link, brokerId: string, opened: Opened): void;
}

/**
 * Makes one attempt.
 *
 * @returns Resolves with the link of the session, which is open.
 * @throws {AuthError | ProtocolError | ForbiddenError | ConnectionLostError} If it has failed.
 */
export async function attempt(
  span: ConnectSpan,
  target: Target,
  attempter: Attempter,
): Promise<Link> {
  const { endpoints, skipped } = target;
  const ms = Math.round(CONNECT_MS / endpoints.length);
  const unreachable: UnreachableError[] = [];
  for (const endpoint of endpoints) {
    try {
      return await attemptAt(endpoint, ms, span, target, attempter);
    } catch (error) {
      // Only where nobody answers, another address may be better.
      if (!(error instanceof UnreachableError)) throw error;
      unreachable.push(error);
    }
  }
  if (endpoints.length + skipped.length === 1) throw unreachable[0];
  const lines = [
    ...endpoints.map((one, i) => `${formatEndpoint(one)}: ${unreachable[i]!.why}`),
    ...skipped,
  ];
  throw new ConnectionLostError(
    `Cannot connect to any of ${lines.length} addresses: ${lines.join("; ")}`,
    { cause: new AggregateError(unreachable) },
  );
}

/** Makes one attempt at an endpoint, which has `ms` to say anything at all, and then all the time there is. */
async function attemptAt(
  endpoint: Endpoint,
  ms: number,
  span: ConnectSpan,
  target: Target,
  attempter: Attempter,
): Promise<Link> {
  const tooLate = new AbortController();
  let timer = later(() => {
    tooLate.abort(new UnreachableError(endpoint, `no answer within ${ms} ms`));
  }, ms);
  // Whoever answers slowly is there: its refusal must not be taken to the next address.
  const heard = () => {
    timer.cancel();
    timer = later(() => tooLate.abort(tooSlow(endpoint)), CONNECT_MS);
  };
  try {
    const signal = AbortSignal.any([attempter.signal, tooLate.signal]);
    return await attemptUntil(signal, heard, span, endpoint, target, attempter);
  } finally {
    timer.cancel();
  }
}

function tooSlow(endpoint: Endpoint): ConnectionLostError {
  return new ConnectionLostError(
    `Cannot connect to ${
      formatEndpoint(endpoint)
    }: the broker did not go on within ${CONNECT_MS} ms`,
  );
}

async function attemptUntil(
  signal: AbortSignal,
  heard: () => void,
  span: ConnectSpan,
  endpoint: Endpoint,
  { key, keyName, caCerts }: Target,
  attempter: Attempter,
): Promise<Link> {
  if (isExposed(endpoint)) attempter.exposes(endpoint);
  const stream = await attempter.dial(endpoint, signal, caCerts);
  attempter.dialled(stream);
  const close = () => stream.close();
  signal.addEventListener("abort", close);
  try {
    signal.throwIfAborted(); // It may have been aborted since.
    const brokerId = await authenticateToBroker(stream, key, keyName, heard);
    stream.trust();
    const link = new Link(stream, brokerFrameLimits(), undefined, { keyName: nameOfKey(keyName) });
    span.remote.begin(link);
    return await openSession(span, link, brokerId.toString(), attempter);
  } catch (error) { // Whatever the stream throws, unless we closed it.
    stream.close();
    span.remote.dropLink();
    signal.throwIfAborted();
    throw asConnectionError(error);
  } finally {
    signal.removeEventListener("abort", close);
  }
}

async function openSession(
  span: ConnectSpan,
  link: Link,
  brokerId: string,
  attempter: Attempter,
): Promise<Link> {
  const { remote } = span;
  const { promise, resolve } = Promise.withResolvers<void>();
  link.expect({
    [FrameType.DENIED]: (frame) => remote.takeDenied(frame),
    [FrameType.OPENED]: ({ buffer, body, end }) => {
      const opened = decodeOpened(buffer.subarray(body, end));
      if (remote.denied === undefined || remote.id !== undefined) {
        link.limits = brokerFrameLimits(opened.limits);
        attempter.opened(link, brokerId, opened);
        resolve();
      } else link.end(Reason.DONE, ""); // connect() rejects, and leaves nothing behind.
    },
  });
  const { name, queueOptions: { wait, patience } } = attempter;
  const { id: session, session: { taken, takenCalls: calls } } = remote;
  const head = encodeOpening({ session, taken, calls, wait, patience, name });
  const topics = [...attempter.interests()].map(encodeTopic);
  const members = [...attempter.members()].map(bodyOf);
  link.send(FrameType.OPEN, head, encodeNumber(topics.length), ...topics, ...members);
  const lost = link.finished.then((end) => {
    const text = span.leaving === undefined ? "The broker ended the session" : DISCONNECTED;
    const refused = remote.id === undefined ? remote.denied : undefined;
    const error = end.error ?? refused ?? new ConnectionLostError(text);
    if (isFinal(end)) span.end({ error });
    throw error;
  });
  await Promise.race([promise, lost]);
  return link;
}

/** Whether the session is over, and must not be tried again. */
function isFinal({ reason, error }: LinkEnd): boolean {
  return error instanceof ProtocolError || reason === Reason.DONE || reason === Reason.REPLACED;
}

/** The errors that connect() documents; whatever else a socket throws becomes a lost connection. */
function asConnectionError(error: unknown): unknown {
  const known = [AuthError, ProtocolError, ForbiddenError, ConnectionLostError];
  if (known.some((kind) => error instanceof kind)) return error;
  const what = error instanceof Error ? error.message : error;
  return new ConnectionLostError(`Cannot connect: the connection was lost (${what})`, {
    cause: error,
  });
}
