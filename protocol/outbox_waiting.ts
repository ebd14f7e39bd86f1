/**
 * Frames that have no number yet, in their order: closed chunks, then the open one, into which small
 * frames are copied.
 *
 * ```
 *                        #start         end
 *  chunk … chunk    ┌──────┬─────────────┬──────────────────────────────────┐
 *                   │ held │ open chunk  │ free; a PUBLISH is composed here │  buffer
 *                   └──────┴─────────────┴──────────────────────────────────┘
 * ```
 */
import { Fifo } from "../base/fifo.ts";
import { encodeFrame, FrameType } from "./frame.ts";
import { encodeGap } from "./frame_bodies.ts";
import { BUFFER_BYTES_MAX, type Buffers } from "./outbox_buffers.ts";
import { type Chunk, CHUNK_BYTES, keptBy, messagesIn, wholeChunk } from "./outbox_chunk.ts";

/** Bytes of a GAP. */
const GAP_BYTES = 10;

/** Keeps frames that have no number yet, of which the oldest may be dropped. */
export class Waiting {
  /** How many frames wait. */
  frames = 0;
  /** How many bytes they are. */
  bytes = 0;
  /** How many messages were dropped since the latest notice. */
  missed = 0;
  /** Where the open chunk ends. */
  end = 0;
  #start = 0;
  #openFrames = 0;
  /** Whether the frames of the open chunk are not messages. */
  #openNotices = false;
  readonly #closed = new Fifo<Chunk>();
  readonly #buffers: Buffers;

  /** Makes one without frames. */
  constructor(buffers: Buffers) {
    this.#buffers = buffers;
  }

  /** The buffer of the open chunk. */
  get buffer(): Uint8Array<ArrayBuffer> {
    return this.#buffers.current.buffer;
  }

  /** How many bytes are next; 0 if nothing waits. */
  get nextBytes(): number {
    if (this.missed > 0) return GAP_BYTES;
    const chunk = this.#closed.at(0);
    return chunk === undefined ? this.end - this.#start : chunk.end - chunk.start;
  }

  /** How many messages wait, or were dropped. */
  get messages(): number {
    let sum = this.missed + (this.#openNotices ? 0 : this.#openFrames);
    for (let i = 0; i < this.#closed.length; i++) sum += messagesIn(this.#closed.at(i)!);
    return sum;
  }

  /** How many bytes it keeps in memory. */
  get keptBytes(): number {
    let sum = this.#buffers.spareBytes;
    for (let i = 0; i < this.#closed.length; i++) sum += keptBy(this.#closed.at(i)!);
    return sum;
  }

  /** All that waits, in its order. */
  *chunks(): Generator<Chunk, void, undefined> {
    this.#close();
    for (let i = 0; i < this.#closed.length; i++) yield this.#closed.at(i)!;
  }

  /** Adds a chunk, which is kept as it is. */
  add(chunk: Chunk): void {
    this.#close();
    this.#pushClosed(chunk);
    this.#grew(chunk.end - chunk.start, chunk.frames);
  }

  /** Adds a copy of whole frames. */
  append(bytes: Uint8Array, frames: number, notices: boolean): void {
    const { length } = bytes;
    this.#openFor(notices);
    if (this.buffer.length - this.end < length) this.turn(length);
    this.#bound(length);
    this.buffer.set(bytes, this.end);
    this.end += length;
    this.#openFrames += frames;
    this.#grew(length, frames);
  }

  /** Adds a message of so many bytes that is already there, right after the open chunk. */
  extend(length: number): void {
    this.#openFor(false);
    this.#bound(length);
    this.end += length;
    this.#openFrames++;
    this.#grew(length, 1);
  }

  #grew(bytes: number, frames: number): void {
    this.frames += frames;
    this.bytes += bytes;
  }

  /** Closes the open chunk if its frames are of the other kind. */
  #openFor(notices: boolean): void {
    if (notices === this.#openNotices) return;
    this.#close();
    this.#openNotices = notices;
  }

  /** Closes the open chunk if `length` more bytes would make it too long for a window. */
  #bound(length: number): void {
    if (this.end - this.#start + length > BUFFER_BYTES_MAX) this.#close();
  }

  /** Continues in another buffer, of at least `length` bytes. */
  turn(length: number): void {
    this.#close();
    this.#buffers.next(length);
    this.#start = this.end = 0;
  }

  #close(): void {
    const chunk = this.#shiftOpen();
    if (chunk !== undefined) this.#pushClosed(chunk);
  }

  #pushClosed(chunk: Chunk): void {
    this.#closed.push(chunk);
    this.#buffers.account.add(CHUNK_BYTES);
  }

  #shiftClosed(): Chunk | undefined {
    const chunk = this.#closed.shift();
    if (chunk !== undefined) this.#buffers.account.add(-CHUNK_BYTES);
    return chunk;
  }

  #shiftOpen(): Chunk | undefined {
    if (this.#openFrames === 0) return undefined;
    const lease = this.#buffers.current;
    const chunk = {
      buffer: lease.buffer,
      start: this.#start,
      end: this.end,
      frames: this.#openFrames,
      lease,
      weight: this.#openNotices ? 0 : undefined,
    };
    lease.holders++;
    this.#start = this.end;
    this.#openFrames = 0;
    return chunk;
  }

  /** Takes the oldest frames that are side by side; `undefined` if none wait. */
  shift(): Chunk | undefined {
    const chunk = this.#shiftClosed() ?? this.#shiftOpen();
    if (chunk !== undefined) this.#grew(chunk.start - chunk.end, -chunk.frames);
    return chunk;
  }

  /** Takes the notice of what was dropped, which goes before all that waits. */
  shiftMissed(): Chunk {
    const weight = this.missed;
    this.missed = 0;
    const gap = encodeFrame(FrameType.GAP, encodeGap(weight));
    return wholeChunk(gap, 1, this.#buffers.own(gap), weight);
  }

  /** Drops the oldest frames until `bytes` are free; returns how many messages they were. */
  drop(bytes: number): number {
    let dropped = 0;
    for (let free = 0; free < bytes;) {
      const chunk = this.shift();
      if (chunk === undefined) break;
      free += chunk.end - chunk.start;
      dropped += messagesIn(chunk);
      this.#buffers.release(chunk);
    }
    this.missed += dropped;
    return dropped;
  }

  /** Fills the buffer from its start again, unless something is held in it; nothing waits. */
  refill(): void {
    if (this.#buffers.current.isFree) this.#start = this.end = 0;
  }

  /** Drops all buffers; nothing may wait. */
  trim(): void {
    this.#buffers.trim();
    this.refill();
  }

  /** Drops everything. */
  clear(): void {
    this.#buffers.account.add(-this.#closed.length * CHUNK_BYTES);
    for (let i = 0; i < this.#closed.length; i++) this.#buffers.release(this.#closed.at(i)!);
    this.#closed.clear();
    this.#openFrames =
      this.frames =
      this.bytes =
      this.missed =
        0;
  }
}
