/**
 * Chunks: whole frames side by side, which an outbox holds and hands over as one.
 */
import type { Lease } from "../base/bytes.ts";

/** Whole frames side by side: the bytes from `start` to before `end` of `buffer`. */
export interface Chunk {
  readonly buffer: Uint8Array;
  start: number;
  end: number;
  frames: number;
  /** Counts the chunks that are held in the buffer, if somebody uses it again. */
  readonly lease: Lease | undefined;
  /** For frames that are not messages: how many messages each stands for. */
  readonly weight: number | undefined;
}

/** All of `buffer` as a chunk. */
export function wholeChunk(
  buffer: Uint8Array,
  frames: number,
  { lease, weight }: { lease?: Lease | undefined; weight?: number } = {},
): Chunk {
  return { buffer, start: 0, end: buffer.length, frames, lease, weight };
}

/** How many messages a chunk has, or stands for. */
export function messagesIn({ frames, weight = 1 }: Chunk): number {
  return frames * weight;
}
