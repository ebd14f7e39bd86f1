/**
 * Makes the stream that keeps the messages of a bus, unless it is there.
 */
import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamInfo,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";

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

/**
 * Makes the stream, unless it is there.
 *
 * @throws {Error} If a stream of that name keeps something else, or NATS refuses.
 */
export async function setUpStream(
  nc: NatsConnection,
  stream: string,
  subjects: readonly string[],
): Promise<void> {
  const manager = await jetstreamManager(nc, { timeout: ANSWER_MS });
  const info = await infoOf(manager, stream) ?? await make(nc, manager, stream, subjects);
  const kept = new Set(info.config.subjects);
  const missing = subjects.filter((subject) => !kept.has(subject));
  if (missing.length === 0) return;
  throw new Error(
    `it does not keep ${missing.join(" and ")}; give the name of another stream, or of a new one`,
  );
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
