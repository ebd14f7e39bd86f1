/**
 * One connection: frames in both directions over a stream of bytes, signs of life, and an end with a
 * reason. Knows nothing of what the frames are for.
 *
 * ```
 *            ┌ send(): frames that are not counted ┐
 *  stream ◀──┤                                     │ one write in flight
 *            └ handler.next(): counted frames      ┘
 *  stream ──▶ handler.frame(), …, handler.batch()    one read, many frames
 * ```
 *
 * - One write is in flight; what gathers meanwhile goes out in the next. So a busy connection writes
 *   large pieces, an idle one writes at once, and there is no timer.
 * - It never stops reading until it ends. But what takes long, a flood of small frames say, takes turns
 *   with everything else that there is to do.
 * - Time is counted in ticks, {@linkcode TICKS} per heartbeat, which come from the owner. However long an
 *   event loop is busy, it then fires one tick, and the reads that have completed: so a busy loop is not
 *   taken for a dead peer.
 * - A side that ends says GOODBYE and then only reads, so that the reason arrives even when the other
 *   side is in the middle of sending.
 */
import { NO_BYTES } from "../base/bytes.ts";
import { printable } from "../base/printable.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { later } from "../base/timers.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import { encodeFrame, FrameError, type FrameLimits, FrameType, Reason } from "./frame.ts";
import { decodeGoodbye, encodeGoodbye } from "./frame_bodies.ts";
import { FrameReader } from "./frame_reader.ts";

/** A connection, as everything but the transport sees it: a stream of bytes. */
export interface ByteStream {
  /** Reads into `into`; returns how many bytes, or `null` at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes`; returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends the direction out: the other side reads what was written, then the end. */
  closeWrite(): Promise<void>;
  /** Ends both directions; reads and writes under way reject or end. */
  close(): void;
}

/** What is done with the frames of a link. */
export interface LinkHandler {
  /**
   * Takes the reader's current frame. A `ProtocolError` ends the link.
   *
   * @returns The next frame is taken only when this has resolved, if it is a promise.
   */
  frame(reader: FrameReader): void | Promise<void>;
  /** All frames of one read were given to `frame`. */
  batch(): void;
  /** The next counted frames to write, if any. */
  next(): Uint8Array | undefined;
  /** Nothing was sent for a heartbeat. */
  idle(): void;
}

/** What takes the frames of each type, as {@linkcode LinkHandler.frame} does. */
export type Takers = Readonly<Record<number, LinkHandler["frame"]>>;

/** How a link ended. */
export interface LinkEnd {
  /** The reason that one of the sides gave; absent if the connection was lost. */
  readonly reason?: number;
  /** Whether the reason is the other side's. */
  readonly isTheirs?: boolean;
  /** What went wrong. */
  readonly error?: Error;
}

/** How many ticks make a heartbeat. */
export const TICKS = 4;
/** How many heartbeats of silence mean that the other side is gone. */
const SILENT_HEARTBEATS = 2;
/** How long a side that said GOODBYE waits for the other to close. */
const LINGER_MS = 1000;
/** Up to this size, counted frames and others go out in one write. */
const JOIN_BYTES_MAX = 64 * 1024;
/** After how many frames, or runs of frames, the clock is read. */
const FRAMES_PER_LOOK = 32;
const NO_PARTS: readonly Uint8Array[] = [];

/** Sends and receives the frames of one connection. */
export class Link {
  /** Resolves when the connection is closed; never rejects. */
  readonly finished: Promise<LinkEnd>;
  /** What is done with the frames; may be replaced between frames. */
  handler: LinkHandler;
  readonly #stream: ByteStream;
  readonly #reader: FrameReader;
  readonly #slice = new TimeSlice();
  /** What the next read fills. */
  #space: Uint8Array;
  #control: Uint8Array[] = [];
  /** Where in `#control` an ACK waits; -1 when none does. */
  #ackAt = -1;
  /** The next counted frames, if they are too large to go out with frames that are not counted. */
  #counted: Uint8Array | undefined;
  /** A buffer in which frames are put side by side. */
  #joint = NO_BYTES;
  #writing: Promise<void> | undefined;
  #end: LinkEnd | undefined;
  #linger: Disposable | undefined;
  #quietTicks = 0;
  #silentTicks = 0;

  /**
   * Begins to read from `stream`, which is this link's from now on.
   *
   * @param handler What is done with the frames; until there is one, none is expected.
   */
  constructor(stream: ByteStream, limits: FrameLimits, handler: LinkHandler = expecting({})) {
    this.#stream = stream;
    this.#reader = new FrameReader(limits);
    this.#space = this.#reader.space();
    this.handler = handler;
    this.finished = this.#run();
  }

  /** Whether it has ended, or said GOODBYE. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  /** How many frames that are not counted wait to be written. */
  get waiting(): number {
    return this.#control.length;
  }

  /** Replaces what this side takes, as of the next frame. */
  set limits(limits: FrameLimits) {
    this.#reader.limits = limits;
  }

  /**
   * Takes frames of these types only, until it has another handler: the first of a connection.
   *
   * @param takers What is done with each, by type. A `ProtocolError` ends the link.
   */
  expect(takers: Takers): void {
    this.handler = expecting(takers);
  }

  /** Sends a frame that is not counted. */
  send(type: FrameType, ...parts: readonly Uint8Array[]): void {
    if (this.#end !== undefined) return;
    this.#control.push(encodeFrame(type, ...parts));
    this.pump();
  }

  /** Sends an ACK after all that waits; it replaces one that still waits. */
  acknowledge(body: Uint8Array): void {
    if (this.#end !== undefined) return;
    const ack = encodeFrame(FrameType.ACK, body);
    if (this.#ackAt >= 0) this.#control.splice(this.#ackAt, 1);
    this.#ackAt = this.#control.push(ack) - 1;
    this.pump();
  }

  /** Writes what there is to write. */
  pump(): void {
    if (this.#end === undefined) this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    await undefined; // Whatever is sent in the same turn gathers for the first write.
    try {
      for (let bytes = this.#nextBytes(); bytes !== undefined; bytes = this.#nextBytes()) {
        this.#quietTicks = 0;
        let at = await this.#stream.write(bytes);
        while (at < bytes.length) at += await this.#stream.write(bytes.subarray(at));
      }
    } catch (error) { // Whatever the stream throws: the connection is gone.
      this.#lose(error);
    } finally {
      this.#writing = undefined;
    }
  }

  #nextBytes(): Uint8Array | undefined {
    const large = this.#counted;
    this.#counted = undefined;
    if (large !== undefined && this.#end === undefined) return large;
    const before = this.#drainControl();
    const counted = this.#end === undefined ? this.handler.next() : undefined;
    if (counted !== undefined && counted.length > JOIN_BYTES_MAX) {
      if (before.length === 0) return counted;
      this.#counted = counted;
      return this.#join(before);
    }
    // What the handler has just sent goes after what it hands over.
    const behind = this.#drainControl();
    if (counted === undefined) {
      return before.length + behind.length === 0 ? undefined : this.#join([...before, ...behind]);
    }
    if (before.length + behind.length === 0) return counted;
    return this.#join([...before, counted, ...behind]);
  }

  #drainControl(): readonly Uint8Array[] {
    const control = this.#control;
    if (control.length === 0) return NO_PARTS;
    this.#control = [];
    this.#ackAt = -1;
    return control;
  }

  /** All parts in one piece; valid until the next call, so until it is written. */
  #join(parts: readonly Uint8Array[]): Uint8Array {
    let length = 0;
    for (const part of parts) length += part.length;
    if (this.#joint.length < length) {
      this.#joint = new Uint8Array(Math.max(length, Math.min(2 * length, JOIN_BYTES_MAX)));
    }
    let at = 0;
    for (const part of parts) {
      this.#joint.set(part, at);
      at += part.length;
    }
    return this.#joint.subarray(0, length);
  }

  /**
   * Says GOODBYE after what is being written, and ends. A second call changes nothing.
   *
   * @param reason The reason that the other side gets.
   * @param text The same, for people.
   * @param error The error in `finished`, if the end is an error here.
   */
  end(reason: Reason, text: string, error?: Error): void {
    if (this.#end !== undefined) return;
    this.send(FrameType.GOODBYE, encodeGoodbye(reason, text));
    this.#end = error === undefined ? { reason } : { reason, error };
    this.#linger = later(() => this.#stream.close(), LINGER_MS, true);
    (this.#writing ?? Promise.resolve()).then(() => this.#stream.closeWrite()).catch(() => {
      // The other side closed first: nobody is left to read the reason.
      this.#stream.close();
    });
  }

  /** Closes the connection at once, without a GOODBYE. */
  close(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#control = [];
    this.#stream.close();
  }

  #lose(cause: unknown): void {
    this.close(lostError(cause));
  }

  /** Counts time: called {@linkcode TICKS} times in each heartbeat. */
  tick(): void {
    if (this.#end !== undefined) return;
    if (++this.#silentTicks > TICKS * SILENT_HEARTBEATS) {
      this.#lose(new Error(`nothing was heard for ${SILENT_HEARTBEATS} heartbeats`));
    } else if (++this.#quietTicks >= TICKS) {
      this.#quietTicks = 0;
      this.#reader.trim();
      if (this.#writing === undefined) this.#joint = NO_BYTES;
      this.handler.idle();
    }
  }

  async #run(): Promise<LinkEnd> {
    try {
      for (;;) {
        const count = await this.#stream.read(this.#space);
        if (count === null) break;
        this.#silentTicks = 0;
        if (this.#end !== undefined) continue;
        this.#reader.wrote(count);
        for (let wait = this.#takeFrames(); wait !== undefined; wait = this.#takeFrames()) {
          await wait;
        }
      }
      this.#end ??= { error: lostError(undefined) };
    } catch (error) { // Whatever the stream throws: the connection is gone.
      this.#end ??= { error: lostError(error) };
    }
    this.#linger?.[Symbol.dispose]();
    this.#slice.end();
    this.close();
    return this.#end;
  }

  /** Takes the frames that are here; returns what to wait for before it takes more. */
  #takeFrames(): Promise<void> | undefined {
    this.#slice.begin();
    try {
      for (let n = 1; this.#end === undefined && this.#reader.next(); n++) {
        const work = this.#takeFrame();
        if (work === undefined && (n % FRAMES_PER_LOOK !== 0 || !this.#slice.isOver())) continue;
        this.handler.batch();
        return work ?? this.#slice.next();
      }
      this.handler.batch();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.handler.batch();
      this.fail(error);
    }
    // Also after the end: what is read then must not overwrite frames that somebody holds.
    this.#space = this.#reader.space();
    return this.#end === undefined && this.#slice.isOver() ? this.#slice.next() : undefined;
  }

  #takeFrame(): Promise<void> | undefined {
    if (this.#reader.type === FrameType.GOODBYE) this.#takeGoodbye();
    else return this.handler.frame(this.#reader) ?? undefined;
  }

  /** Ends because the other side broke the protocol. */
  fail(error: ProtocolError): void {
    this.end(error instanceof FrameError ? error.reason : Reason.PROTOCOL, error.message, error);
  }

  #takeGoodbye(): void {
    const { buffer, body, end } = this.#reader;
    const { reason, text } = decodeGoodbye(buffer.subarray(body, end));
    this.#end = { ...goodbyeEnd(reason, text), isTheirs: true };
    this.#stream.close();
  }
}

function expecting(takers: Takers): LinkHandler {
  return {
    frame(reader) {
      const take = takers[reader.type];
      if (take !== undefined) return take(reader);
      throw new ProtocolError(
        `Cannot take a frame of type ${reader.type}: the session is not open yet`,
      );
    },
    batch() {},
    next: () => undefined,
    idle() {},
  };
}

function goodbyeEnd(reason: number, text: string): LinkEnd {
  const said = `The other side ended the session: ${printable(text)}`;
  switch (reason) {
    case Reason.DONE:
      return { reason };
    case Reason.SHUTDOWN:
    case Reason.CUT_OFF:
    case Reason.REPLACED:
      return { reason, error: new ConnectionLostError(said) };
    case Reason.KEY_REVOKED:
      return { reason, error: new AuthError(said) };
    default:
      return { reason, error: new ProtocolError(said) };
  }
}

function lostError(cause: unknown): ConnectionLostError {
  const how = cause instanceof Error ? cause.message : "the other side closed it";
  return new ConnectionLostError(`The connection was lost: ${how}`, { cause });
}
