/**
 * Sorts out frames of an outbox, one by one.
 */
import type { Chunk } from "./outbox_chunk.ts";
import { framesEnd } from "./topic_run.ts";

/** Whether a frame fits: the bytes from `start` to before `end`. */
export type Fits = (bytes: Uint8Array, start: number, end: number) => boolean;

/** Frames side by side that fit. */
export type Fitting = Pick<Chunk, "buffer" | "start" | "end" | "frames">;

/** The frames of a chunk that fit, with those side by side in one part. */
export function* fittingParts({ buffer, start, end }: Chunk, fits: Fits): Generator<Fitting> {
  let from = start;
  let frames = 0;
  for (let at = start; at < end;) {
    const next = framesEnd(buffer, at, 1);
    if (fits(buffer, at, next)) frames++;
    else {
      if (frames > 0) yield { buffer, start: from, end: at, frames };
      from = next;
      frames = 0;
    }
    at = next;
  }
  if (frames > 0) yield { buffer, start: from, end, frames };
}
