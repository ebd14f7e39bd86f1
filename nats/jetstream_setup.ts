/**
 * Makes the stream that keeps the messages of a bus, if nobody has made it.
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

/** What a stream keeps that is made here. */
export const STREAM_LIMITS = {
  /** A day. */
  ageMs: 24 * 60 * 60 * 1000,
  bytes: 1024 * 1024 * 1024,
  /** In a cluster; a server alone keeps one. */
  replicas: 3,
} as const;

/** For how long the stream knows what it has got, so that it drops what is sent again. */
const DUPLICATE_WINDOW_MS = 2 * 60 * 1000;
const NANOSECONDS_PER_MS = 1_000_000;
/** What is asked of a cluster without a leader, or of a node that is dead, is not answered. */
export const ANSWER_MS = 2000;

/**
 * Makes the stream, if it is not there.
 *
 * @throws {Error} When one with that name keeps something else; or whatever NATS says.
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
    `it does not keep ${missing.join(" and ")}; give another name, and it is made`,
  );
}

/** What the stream is; nothing when there is none. */
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
    // Of two brokers that make it at the same moment, one is told that the subjects are taken.
    const info = error instanceof JetStreamApiError ? await infoOf(manager, stream) : undefined;
    if (info === undefined) throw error;
    return info;
  }
}
