/**
 * Makes the stream that keeps the messages of a bus, unless it is there; and what of a stream that
 * somebody else has made keeps it from serving.
 */
import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { PAYLOAD_BYTES_MIN } from "./packet.ts";

/** The limits of a stream that is made here. */
export const STREAM_LIMITS = {
  /** A day. */
  ageMs: 24 * 60 * 60 * 1000,
  bytes: 1024 * 1024 * 1024,
  /** In a cluster; a single server has one. */
  replicas: 3,
} as const;

/** How long the stream remembers what it has got, to drop what is sent again. */
const DUPLICATE_WINDOW_MS = 2 * 60 * 1000;
const NANOSECONDS_PER_MS = 1_000_000;
/** How long to wait for an answer: a cluster without a leader, or a dead node, does not answer. */
export const ANSWER_MS = 2000;

/** A stream keeps a message so long at least: after as long a silence a broker counts as gone. */
export const AGE_MIN_MS = 60_000;

/**
 * Makes the stream, unless it is there.
 *
 * @returns How it is set up.
 * @throws {Error} If a stream of that name keeps something else, or NATS refuses.
 */
export async function setUpStream(
  nc: NatsConnection,
  stream: string,
  subjects: readonly string[],
): Promise<StreamConfig> {
  const manager = await jetstreamManager(nc, { timeout: ANSWER_MS });
  const { config } = await infoOf(manager, stream) ?? await make(nc, manager, stream, subjects);
  if (config.mirror !== undefined) {
    throw new Error("it mirrors another stream; give that one's name");
  }
  const kept = new Set(config.subjects);
  const missing = subjects.filter((subject) => !kept.has(subject));
  if (missing.length === 0) return config;
  throw new Error(
    `it does not keep ${missing.join(" and ")}; give the name of another stream, or of a new one`,
  );
}

/**
 * Why a stream cannot serve, as a sentence that goes on after "it": it takes not all packets, does not
 * say that it has them, or removes some without a trace. `undefined` if it can.
 */
export function streamProblem(config: StreamConfig): string | undefined {
  const problems = [...problemsOf(config)];
  return problems.length === 0 ? undefined : `it cannot serve: ${problems.join("; ")}`;
}

/** A limit of 0 or less is none. */
function isBelow(limit: number | undefined, least: number): limit is number {
  return limit !== undefined && limit > 0 && limit < least;
}

function* problemsOf(config: StreamConfig): Generator<string, void> {
  const { max_msg_size, max_bytes, max_age, max_msgs_per_subject, retention, discard } = config;
  if (config.sealed) yield "it is sealed; make another one";
  if (config.no_ack) yield "it confirms nothing; set no_ack to false";
  if (retention !== RetentionPolicy.Limits) {
    yield `it removes what somebody has read; retention is ${retention}, and must be limits`;
  }
  if (discard !== DiscardPolicy.Old) {
    yield `when it is full it takes nothing more; set discard, which is ${discard}, to old`;
  }
  if (isBelow(max_msg_size, PAYLOAD_BYTES_MIN)) {
    yield `it takes no message of more than ${max_msg_size} bytes; set max_msg_size to ` +
      `${PAYLOAD_BYTES_MIN} or more, or to -1`;
  }
  if (isBelow(max_bytes, PAYLOAD_BYTES_MIN)) {
    yield `it keeps no more than ${max_bytes} bytes; set max_bytes to ${PAYLOAD_BYTES_MIN} or more, ` +
      `or to -1`;
  }
  if (isBelow(max_age, AGE_MIN_MS * NANOSECONDS_PER_MS)) {
    yield `it keeps messages for ${max_age / NANOSECONDS_PER_MS} ms only; set max_age to ` +
      `${AGE_MIN_MS / 1000} s or more, or to 0`;
  }
  if (isBelow(max_msgs_per_subject, Infinity)) {
    yield `it keeps only ${max_msgs_per_subject} messages of a subject; set max_msgs_per_subject to -1`;
  }
  if ("subject_transform" in config && config.subject_transform) {
    yield "it renames subjects; take subject_transform away";
  }
  if (config.allow_msg_counter) yield "it keeps counters, not messages; make another one";
}

/** What NATS knows about the stream; `undefined` if it is not there. */
async function infoOf(manager: JetStreamManager, stream: string): Promise<StreamInfo | undefined> {
  try {
    return await manager.streams.info(stream);
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.status !== 404) throw error;
  }
}

async function make(
  nc: NatsConnection,
  manager: JetStreamManager,
  stream: string,
  subjects: readonly string[],
): Promise<StreamInfo> {
  try {
    return await manager.streams.add({
      name: stream,
      subjects: [...subjects],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.Old,
      max_age: STREAM_LIMITS.ageMs * NANOSECONDS_PER_MS,
      max_bytes: STREAM_LIMITS.bytes,
      num_replicas: nc.info?.cluster === undefined ? 1 : STREAM_LIMITS.replicas,
      duplicate_window: DUPLICATE_WINDOW_MS * NANOSECONDS_PER_MS,
    });
  } catch (error) {
    // When two brokers make it at the same moment, one of them hears that the subjects are taken.
    const info = error instanceof JetStreamApiError ? await infoOf(manager, stream) : undefined;
    if (info === undefined) throw error;
    return info;
  }
}
