/**
 * Chunks: whole frames side by side, which an outbox holds and hands over as one.
 */
import type { Lease } from "../base/lease.ts";

/** What a chunk takes besides the bytes of its frames: the object, and its place in a list. */
export const CHUNK_BYTES = 128;

/** Whole frames side by side: the bytes from `start` to before `end` of `buffer`. */
export interface Chunk {
  readonly buffer: Uint8Array;
  start: number;
  end: number;
  frames: number;
  /** Counts the chunks that are held in the buffer. */
  readonly lease: Lease;
  /** For frames that are not messages: how many messages each stands for. */
  readonly weight: number | undefined;
}

/** All of `buffer` as a chunk, which is one more holder of the lease. */
export function wholeChunk(
  buffer: Uint8Array,
  frames: number,
  lease: Lease,
  weight?: number,
): Chunk {
  lease.holders++;
  return { buffer, start: 0, end: buffer.length, frames, lease, weight };
}

/** How many messages a chunk has, or stands for. */
export function messagesIn({ frames, weight = 1 }: Chunk): number {
  return frames * weight;
}

/** How many bytes a chunk keeps in memory, if all that hold its buffer keep the same of it. */
export function keptBy({ lease }: Chunk): number {
  return CHUNK_BYTES + lease.share;
}
