/**
 * How much work it is to take frames, as `TimeSlice` counts it: one for each further message of a run.
 */
import { WORK_MAX } from "../base/time_slice.ts";
import { FrameType } from "./frame.ts";
import type { FrameReader } from "./frame_reader.ts";

/** What a message costs that is not part of a run: it takes its way to those who get it by itself. */
const MESSAGE_WORK = 32;
/** So many bytes, as a power of two, cost as much as one message more. */
const BYTES_SHIFT = 6;

/** The work of so many messages, one behind the other, of so many bytes together. */
export function messageWork(messages: number, bytes: number): number {
  return Math.min(WORK_MAX, MESSAGE_WORK + messages + (bytes >> BYTES_SHIFT));
}

/** What a frame costs that is not a message, and so many bytes of it, as a power of two. */
const FRAME_WORK = 64;
const FRAME_BYTES_SHIFT = 3;

/** The work of the frames that were just taken, of which some are `counted` already. */
export function workOf(reader: FrameReader, counted: number): number {
  const { type, frames, start, end, spent } = reader;
  reader.spent = 0;
  const bytes = end - start;
  const work = type === FrameType.PUBLISH
    ? messageWork(frames - counted, bytes)
    : FRAME_WORK + (bytes >> FRAME_BYTES_SHIFT);
  return Math.min(WORK_MAX, work + spent);
}
