/**
 * Counted frames on their way to one peer: they wait, get their numbers when they are first handed
 * to a connection, and are kept until they are acknowledged. Knows no connection.
 *
 * ```
 *  push ──▶ ┌ waiting ────────┐ ── next(): numbered ──▶ ┌ sent ────────────┐ ── acknowledge()
 *           │ may be dropped, │    at most a window     │ kept; rewind()   │
 *           │ a GAP for them  │    in here              │ sends them again │
 *           └─────────────────┘                         └──────────────────┘
 * ```
 *
 * - A number is a place in the order, from 1; it stands in no frame.
 * - Frames are held in chunks, as they are written: small ones are copied one behind the other into
 *   a buffer, a large slice that is most of its buffer is kept as it is and shared with whoever else
 *   holds it. So what is counted here is, within a factor, what is kept in memory.
 */
import type { Lease } from "../base/bytes.ts";
import { Fifo } from "../base/fifo.ts";
import { sizeLength, writeSize } from "../base/size.ts";
import { ProtocolError } from "../errors.ts";
import { encodeGap } from "./bodies.ts";
import { encodeFrame, FrameType } from "./frame.ts";
import { framesEnd } from "./run.ts";

/** Whole frames that stand side by side. */
interface Chunk {
  readonly buffer: Uint8Array;
  start: number;
  end: number;
  frames: number;
  /** Counts the chunks that are held in the buffer. */
  readonly lease?: Lease;
  /** For frames that are no messages, while they wait: how many messages each stands for. */
  readonly weight?: number | undefined;
}

/** Frames that are numbered and no messages; the number is that of the last. */
interface Notices {
  readonly number: number;
  readonly frames: number;
  readonly weight: number;
}

/** A new buffer has at least so many bytes; each one is twice the one before while it is busy. */
const BUFFER_BYTES_MIN = 1024;
const BUFFER_BYTES_MAX = 256 * 1024;
/** From this size on, keeping a slice is cheaper than copying it. */
const SLICE_BYTES_MIN = 16 * 1024;
/** A slice that is less than this part of its buffer is copied all the same. */
const SLICE_PART_MIN = 1 / 4;

/** How many buffers are kept for what comes next. */
const SPARES_MAX = 4;
/** Up to this size a topic is copied byte by byte, which costs less than the call. */
const TOPIC_LOOP_BYTES = 32;

/** Bytes of a GAP. */
const GAP_BYTES = 10;
const NO_BYTES = new Uint8Array(0);

/** Whether a slice is kept as it is by whoever takes it, and not copied. */
export function isKept({ length, buffer }: Uint8Array): boolean {
  return length > SLICE_BYTES_MIN && length >= SLICE_PART_MIN * buffer.byteLength;
}

/** The counted frames of one direction of a session; see the module. */
export class Outbox {
  /** How many bytes of frames may be numbered and not acknowledged. */
  window: number;
  readonly #onBytes: (change: number) => void;
  /** Numbered and not acknowledged; those before `#cursor` were handed to this connection. */
  readonly #sent = new Fifo<Chunk>();
  readonly #waiting = new Fifo<Chunk>();
  #cursor = 0;
  /** The chunk that was handed over last, and may not be written yet. */
  #writing: Chunk | undefined;
  /** How many frames of the chunk at the cursor the other side has. */
  #skip = 0;

  /** The open chunk: bytes of `#buffer` from `#open` to before `#used`. */
  #buffer: Uint8Array<ArrayBuffer> = NO_BYTES;
  #open = 0;
  #used = 0;
  #openFrames = 0;
  /** Whether those are no messages. */
  #openNotices = false;
  /** Of `#buffer`, beside the open chunk. */
  #lease: Lease = { buffer: NO_BYTES, holders: 0 };
  #bufferBytes = BUFFER_BYTES_MIN;
  /** Buffers that nothing is held in any more. */
  #spares: Uint8Array<ArrayBuffer>[] = [];

  /** Where a PUBLISH is being composed, from `#start` on. */
  bytes: Uint8Array<ArrayBuffer> = NO_BYTES;
  #start = 0;
  #composing = false;
  /** How many bytes are left free for its size: as many as that of the one before took. */
  #sizeBytes = 1;

  #numbered = 0;
  #acknowledged = 0;
  /** The number of the last frame before the chunks of `#sent`. */
  #base = 0;
  #handed = 0;
  #waitingFrames = 0;
  #total = 0;
  #bytes = 0;
  #sentBytes = 0;
  #missed = 0;
  /** Those that are not acknowledged, in their order. */
  readonly #notices = new Fifo<Notices>();

  /** Makes an empty one; `onBytes` is told each change of `heldBytes`. */
  constructor(window: number, onBytes: (change: number) => void = () => {}) {
    this.window = window;
    this.#onBytes = onBytes;
  }

  /** How many bytes of frames it holds. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /** How many frames wait or are not acknowledged. */
  get unacknowledged(): number {
    return this.#numbered - this.#acknowledged + this.#waitingFrames;
  }

  /** How many frames were not handed to this connection yet. */
  get ahead(): number {
    return this.#numbered - this.#handed + this.#waitingFrames + (this.#missed > 0 ? 1 : 0);
  }

  /** How many frames were ever added, notices apart; it goes on from session to session. */
  get total(): number {
    return this.#total;
  }

  /** How many bytes are numbered and not acknowledged. */
  get inFlight(): number {
    return this.#sentBytes;
  }

  /** The number of the last frame that has one. */
  get numbered(): number {
    return this.#numbered;
  }

  /** How many frames have no number yet, or were dropped since the latest notice. */
  get unnumbered(): number {
    return this.#waitingFrames + this.#missed;
  }

  /** The number of the last frame that is acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /**
   * How many messages the other side misses of what is here now, by how many frames it has taken. That
   * throws a `ProtocolError` when it cannot have taken so many.
   */
  missing(): (taken: number) => number {
    this.#seal();
    const [first, last] = [this.#acknowledged, this.#numbered];
    let all = this.#numbered + this.#missed;
    for (let i = 0; i < this.#waiting.length; i++) all += messagesIn(this.#waiting.at(i)!);
    const notices = Array.from({ length: this.#notices.length }, (_, i) => this.#notices.at(i)!);
    return (taken) => {
      checkTaken(taken, first, last);
      return notices.reduce(
        (sum, { number, frames, weight }) =>
          sum + (weight - 1) * Math.max(0, Math.min(frames, number - taken)),
        all - taken,
      );
    };
  }

  /**
   * Begins to compose a PUBLISH in its place. Then its payload is written into `bytes`, for which
   * {@linkcode Outbox.room} makes room, and {@linkcode Outbox.commit} adds it, or
   * {@linkcode Outbox.abandon} does not.
   *
   * - Others may be pushed meanwhile; they go before it.
   *
   * @returns Where the payload begins.
   */
  compose(topic: Uint8Array): number {
    this.#composing = true;
    const header = this.#sizeBytes + 1;
    const { length } = topic;
    if (this.#buffer.length - this.#used < header + length) this.#nextBuffer(header + length);
    const bytes = this.bytes = this.#buffer;
    const start = this.#start = this.#used;
    let at = start + header;
    bytes[at - 1] = FrameType.PUBLISH;
    if (length > TOPIC_LOOP_BYTES) bytes.set(topic, at);
    else for (let i = 0; i < length; i++) bytes[at + i] = topic[i]!;
    at += length;
    return at;
  }

  /** Whether a PUBLISH is being composed. */
  get composing(): boolean {
    return this.#composing;
  }

  /** Makes room for `count` bytes from `at` on, if need be in another buffer; where `at` is there. */
  room(at: number, count: number): number {
    const before = this.bytes;
    if (before.length - at >= count) return at;
    const start = this.#start;
    const length = Math.max(2 * (at - start), at - start + count);
    if (before === this.#buffer) {
      this.#nextBuffer(length);
      this.bytes = this.#buffer;
    } else this.bytes = new Uint8Array(length);
    this.bytes.set(before.subarray(start, at));
    this.#start = 0;
    return at - start;
  }

  /** How many bytes the frame has that is being composed, when it ends at `end`. */
  composed(end: number): number {
    return end - this.#start;
  }

  /** Adds the PUBLISH that was composed and ends at `end`. */
  commit(end: number): void {
    const left = this.#sizeBytes;
    const size = end - this.#start - left;
    const needed = this.#sizeBytes = sizeLength(size);
    if (needed !== left) {
      if (needed > left) end = this.room(end, needed - left);
      this.bytes.copyWithin(this.#start + needed, this.#start + left, end);
      end += needed - left;
    }
    const { bytes } = this;
    const start = this.#start;
    writeSize(bytes, start, size);
    this.abandon();
    if (bytes === this.#buffer) {
      this.#openFor(false);
      this.#boundChunk(end - start);
      this.#used = end;
      this.#openFrames++;
      this.#grew(end - start, 1);
    } else this.push(bytes.slice(start, end), 1); // That buffer may be used again by others.
  }

  /** Lets go of what was composed. */
  abandon(): void {
    this.#composing = false;
    this.bytes = NO_BYTES;
  }

  /**
   * Adds whole frames. Bytes that {@linkcode isKept} are not copied: they must stay as they are, while
   * it holds the lease if there is one, else for ever.
   */
  push(bytes: Uint8Array, frames: number, lease?: Lease): void {
    const { length } = bytes;
    if (length > SLICE_BYTES_MIN) {
      const chunk = { buffer: bytes, start: 0, end: length, frames };
      if (!isKept(bytes)) this.#add({ ...chunk, buffer: bytes.slice() });
      else if (lease === undefined) this.#add(chunk);
      else {
        lease.holders++;
        this.#add({ ...chunk, lease });
      }
      return;
    }
    this.#openFor(false);
    this.#append(bytes, frames);
  }

  /** Adds a frame that is no message; it is copied. */
  notify(bytes: Uint8Array): void {
    this.#openFor(true);
    this.#append(bytes, 1);
  }

  /** Adds a frame that is no message, and tells of so many that others lost; it is kept. */
  tell(bytes: Uint8Array, messages: number): void {
    this.#add({ buffer: bytes, start: 0, end: bytes.length, frames: 1, weight: messages });
  }

  #append(bytes: Uint8Array, frames: number): void {
    const at = this.#room(bytes.length);
    this.#buffer.set(bytes, at);
    this.#openFrames += frames;
    this.#grew(bytes.length, frames);
  }

  /** Closes the open chunk if the frames in it are not of this kind. */
  #openFor(notices: boolean): void {
    if (notices === this.#openNotices) return;
    this.#seal();
    this.#openNotices = notices;
  }

  #add(chunk: Chunk): void {
    this.#seal();
    this.#waiting.push(chunk);
    this.#grew(chunk.end - chunk.start, chunk.frames);
  }

  #grew(bytes: number, frames: number): void {
    this.#waitingFrames += frames;
    this.#total += frames;
    this.#changeBytes(bytes);
  }

  #changeBytes(change: number): void {
    this.#bytes += change;
    this.#onBytes(change);
  }

  /** Makes room for `length` bytes in the open chunk, which are used from now on; where they begin. */
  #room(length: number): number {
    // What is being composed stays where it is, behind what this buffer holds.
    const isTaken = this.#composing && this.bytes === this.#buffer;
    if (isTaken || this.#buffer.length - this.#used < length) this.#nextBuffer(length);
    this.#boundChunk(length);
    const at = this.#used;
    this.#used = at + length;
    return at;
  }

  /** Closes the open chunk if `length` bytes more would make it too long, so that it fits a window. */
  #boundChunk(length: number): void {
    if (this.#used - this.#open + length > BUFFER_BYTES_MAX) this.#seal();
  }

  #nextBuffer(length: number): void {
    this.#seal();
    const spare = length > BUFFER_BYTES_MAX ? undefined : this.#spares.pop();
    this.#buffer = spare ?? new Uint8Array(Math.max(this.#bufferBytes, length));
    this.#lease = { buffer: this.#buffer, holders: 0 };
    this.#bufferBytes = Math.min(2 * this.#bufferBytes, BUFFER_BYTES_MAX);
    this.#open = this.#used = 0;
  }

  /** Puts the open chunk behind those that wait. */
  #seal(): void {
    const chunk = this.#takeOpen();
    if (chunk !== undefined) this.#waiting.push(chunk);
  }

  #takeOpen(): Chunk | undefined {
    if (this.#openFrames === 0) return undefined;
    const chunk = {
      buffer: this.#buffer,
      start: this.#open,
      end: this.#used,
      frames: this.#openFrames,
      lease: this.#lease,
      weight: this.#openNotices ? 0 : undefined,
    };
    this.#lease.holders++;
    this.#open = this.#used;
    this.#openFrames = 0;
    return chunk;
  }

  /** The next bytes for the connection; none when there are none, or the window is full. */
  next(): Uint8Array | undefined {
    this.#writing = undefined;
    const again = this.#sent.at(this.#cursor);
    if (again !== undefined) return this.#again(again);
    const size = this.#nextSize();
    if (size === 0 || this.#sentBytes > 0 && this.#sentBytes + size > this.window) return undefined;
    const chunk = this.#missed > 0 ? this.#takeGap() : this.#waiting.shift() ?? this.#takeOpen()!;
    const { buffer, start, end } = chunk;
    this.#number(chunk);
    return buffer.subarray(start, end);
  }

  #again(chunk: Chunk): Uint8Array {
    const start = framesEnd(chunk.buffer, chunk.start, this.#skip);
    this.#handed += chunk.frames - this.#skip;
    this.#skip = 0;
    this.#cursor++;
    this.#writing = chunk;
    return chunk.buffer.subarray(start, chunk.end);
  }

  #nextSize(): number {
    if (this.#missed > 0) return GAP_BYTES;
    const chunk = this.#waiting.at(0);
    return chunk === undefined ? this.#used - this.#open : chunk.end - chunk.start;
  }

  /** The notice that takes the place of what was dropped; it goes before all that waits. */
  #takeGap(): Chunk {
    const weight = this.#missed;
    const buffer = encodeFrame(FrameType.GAP, encodeGap(weight));
    this.#missed = 0;
    this.#waitingFrames++;
    this.#changeBytes(buffer.length);
    return { buffer, start: 0, end: buffer.length, frames: 1, weight };
  }

  #number(chunk: Chunk): void {
    const { buffer, start, end, frames } = chunk;
    this.#waitingFrames -= frames;
    this.#numbered += frames;
    if (chunk.weight !== undefined) {
      this.#notices.push({ number: this.#numbered, frames, weight: chunk.weight });
    }
    this.#handed = this.#numbered;
    this.#sentBytes += end - start;
    const last = this.#sent.at(this.#sent.length - 1);
    if (last?.buffer === buffer && last.end === start && end - last.start <= SLICE_BYTES_MIN) {
      last.end = end;
      last.frames += frames;
      if (chunk.lease !== undefined) chunk.lease.holders--;
    } else this.#sent.push(chunk);
    this.#cursor = this.#sent.length;
    this.#writing = this.#sent.at(this.#cursor - 1);
  }

  /**
   * Lets go of what the other side has acknowledged.
   *
   * @param count The number of the last frame that is acknowledged.
   * @returns Whether that is more than before.
   * @throws {ProtocolError} When it goes back, or past what was sent.
   */
  acknowledge(count: number): boolean {
    if (count < this.#acknowledged || count > this.#handed) {
      throw new ProtocolError(
        `Cannot take an acknowledgement of ${count}: ${this.#handed} frames were sent, ` +
          `${this.#acknowledged} are acknowledged`,
      );
    }
    if (count === this.#acknowledged) return false;
    this.#acknowledged = count;
    while (this.#notices.length > 0 && this.#notices.at(0)!.number <= count) this.#notices.shift();
    let first = this.#sent.at(0);
    while (first !== undefined && this.#base + first.frames <= count) {
      this.#sent.shift();
      this.#base += first.frames;
      this.#cursor--;
      this.#sentBytes -= first.end - first.start;
      this.#changeBytes(first.start - first.end);
      this.#release(first);
      first = this.#sent.at(0);
    }
    if (this.#bytes === 0 && this.#writing === undefined) this.#open = this.#used = 0;
    return true;
  }

  /** Keeps the buffer of a chunk that is gone for the next one, if nothing else is held in it. */
  #release(chunk: Chunk): void {
    const { buffer, lease } = chunk;
    // Whoever acknowledges what was not written yet must not see what comes into the buffer next.
    if (lease === undefined || chunk === this.#writing) return;
    lease.holders--;
    if (lease.holders > 0 || lease.buffer !== buffer || buffer === this.#buffer) return;
    if (buffer.length === BUFFER_BYTES_MAX && this.#spares.length < SPARES_MAX) {
      this.#spares.push(buffer as Uint8Array<ArrayBuffer>);
    }
  }

  /** Gives back what it keeps for speed, when it holds nothing. */
  rest(): void {
    if (this.#bytes > 0) return;
    this.#buffer = NO_BYTES;
    this.#spares = [];
    this.#open = this.#used = 0;
    this.#bufferBytes = BUFFER_BYTES_MIN;
  }

  /**
   * Begins again behind a frame, for a connection that takes the place of the one before.
   *
   * @param count The number of the last frame that the other side has.
   * @throws {ProtocolError} When there is no such number, or what follows it is gone.
   */
  rewind(count: number): void {
    checkTaken(count, this.#acknowledged, this.#numbered);
    this.#leaveWriting();
    this.#handed = count;
    this.#cursor = 0;
    this.#skip = count - this.#base;
    let chunk = this.#sent.at(0);
    while (chunk !== undefined && chunk.frames <= this.#skip) {
      this.#skip -= chunk.frames;
      chunk = this.#sent.at(++this.#cursor);
    }
  }

  /** The connection before may still write what it was handed last: that buffer is never used again. */
  #leaveWriting(): void {
    if (this.#writing?.lease !== undefined) this.#writing.lease.holders++;
    this.#writing = undefined;
  }

  /**
   * Begins a new session: what is not acknowledged gets new numbers, from 1.
   *
   * @returns How many frames the other side of the session before may have had already.
   */
  restart(): number {
    this.#leaveWriting();
    const again = this.#numbered - this.#acknowledged;
    const first = this.#sent.at(0);
    if (first !== undefined) {
      const gone = this.#acknowledged - this.#base;
      const end = framesEnd(first.buffer, first.start, gone);
      this.#sentBytes -= end - first.start;
      this.#changeBytes(first.start - end);
      first.start = end;
      first.frames -= gone;
    }
    this.#numbered = again;
    this.#base = this.#acknowledged = this.#handed = 0;
    this.#cursor = this.#skip = 0;
    return again;
  }

  /**
   * Drops the oldest frames that have no number yet, until so many bytes are free or there are no
   * more. A notice takes their place.
   *
   * @returns How many messages were dropped.
   */
  drop(bytes: number): number {
    let dropped = 0;
    for (let free = 0; free < bytes;) {
      const chunk = this.#waiting.shift() ?? this.#takeOpen();
      if (chunk === undefined) break;
      free += chunk.end - chunk.start;
      dropped += messagesIn(chunk);
      this.#waitingFrames -= chunk.frames;
      this.#changeBytes(chunk.start - chunk.end);
      this.#release(chunk);
    }
    this.#missed += dropped;
    return dropped;
  }

  /** Notes frames that were dropped before they came here. */
  miss(frames: number): void {
    this.#missed += frames;
  }

  /** Lets go of everything. */
  clear(): void {
    for (const chunks of [this.#sent, this.#waiting]) {
      for (let i = 0; i < chunks.length; i++) this.#release(chunks.at(i)!);
      chunks.clear();
    }
    this.#writing = undefined;
    this.#notices.clear();
    this.#openFrames = this.#waitingFrames = this.#missed = 0;
    this.#numbered =
      this.#acknowledged =
      this.#handed =
      this.#base =
        0;
    this.#cursor = this.#skip = this.#sentBytes = 0;
    this.#changeBytes(-this.#bytes);
    this.rest();
  }
}

/** How many messages the frames of a chunk that waits are, or stand for. */
function messagesIn({ frames, weight = 1 }: Chunk): number {
  return frames * weight;
}

/** Refuses to go on behind a frame that the other side cannot have taken as the last one. */
function checkTaken(taken: number, acknowledged: number, numbered: number): void {
  if (taken >= acknowledged && taken <= numbered) return;
  throw new ProtocolError(
    `Cannot resume after ${taken} frames: ${numbered} were sent, ${acknowledged} are acknowledged`,
  );
}
