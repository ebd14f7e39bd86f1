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

/**
 * The work of the frames that were just taken, of which some are `counted` already. Nothing bounds what one that is not a message may cause,
 * so the clock is looked at after each of them.
 */
export function workOf(reader: FrameReader, counted: number): number {
  const { type, frames, start, end, spent } = reader;
  reader.spent = 0;
  if (type !== FrameType.PUBLISH) return WORK_MAX;
  return Math.min(WORK_MAX, messageWork(frames - counted, end - start) + spent);
}
