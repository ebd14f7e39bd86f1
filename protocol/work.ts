/**
 * How much work it is to take frames, as `TimeSlice` counts it: one for each further message of a run.
 */
import { FrameType } from "./frame.ts";
import type { FrameReader } from "./frame_reader.ts";

/** What a message costs that is not part of a run: it takes its way to those who get it by itself. */
const MESSAGE_WORK = 32;
/** So many bytes, as a power of two, cost as much as one message more. */
const BYTES_SHIFT = 6;

/** The work of so many messages, one behind the other, of so many bytes together. */
export function messageWork(messages: number, bytes: number): number {
  return MESSAGE_WORK + furtherWork(messages, bytes);
}

/** The same where others of the run are counted already. */
export function furtherWork(messages: number, bytes: number): number {
  return messages + (bytes >> BYTES_SHIFT);
}

/** What is counted of the current run. */
export interface Counted {
  frames: number;
  bytes: number;
}

/** What a frame costs that is not a message, and so many bytes of it, as a power of two. */
const FRAME_WORK = 64;
const FRAME_BYTES_SHIFT = 3;

/** The work of the frames that were just taken, of which some are counted already. */
export function workOf(reader: FrameReader, counted: Counted): number {
  const { type, frames, start, end, spent } = reader;
  reader.spent = 0;
  const bytes = end - start;
  const work = type === FrameType.PUBLISH
    ? messageWork(frames - counted.frames, bytes - counted.bytes)
    : FRAME_WORK + (bytes >> FRAME_BYTES_SHIFT);
  return work + spent;
}
