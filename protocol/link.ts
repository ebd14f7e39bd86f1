/**
 * One connection: frames in both directions over a stream of bytes, signs of life, and an end with a
 * reason. Knows nothing of what the frames are for.
 *
 * ```
 *  stream ◀── link_writer.ts ◀── send(): frames that are not counted; handler.next(): counted ones
 *  stream ──▶ frame_reader.ts ──▶ handler.frame(), …, handler.batch()    one read, many frames
 * ```
 *
 * - It never stops reading until it ends. But what takes long, a flood of small frames say, takes turns
 *   with everything else that there is to do.
 * - Time is counted in ticks, {@linkcode TICKS} per heartbeat, which come from the owner. After some in
 *   which nothing came it asks for a sign of life, and after some more it is lost. However long an event
 *   loop was busy, or a machine slept, the first tick after that only asks, and the reads that have
 *   completed come before the last: so neither is taken for a dead peer.
 * - A side that ends says GOODBYE and then only reads, so that the reason arrives even when the other
 *   side is in the middle of sending.
 */
import { Account } from "../base/account.ts";
import { printable } from "../base/printable.ts";
import type { Rounds } from "../base/rounds.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { later, type Timer } from "../base/timers.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import { encodeFrame, FrameError, type FrameLimits, FrameType, Reason } from "./frame.ts";
import { decodeGoodbye, encodeGoodbye } from "./frame_bodies.ts";
import { FrameReader } from "./frame_reader.ts";
import { LinkWriter } from "./link_writer.ts";
import { type Counted, furtherWork, workOf } from "./work.ts";

/**
 * Why a side ends: it is done, goes away, has no place for now, or refuses to go on; or it answers the other
 * side's end, and closes.
 */
export type Farewell = "done" | "away" | "busy" | "refused" | "answer";

/** A connection, as everything but the transport sees it: a stream of bytes. */
export interface ByteStream {
  /** Reads into `into`; returns how many bytes, 0 if what came brings none, or `null` at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes`; returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  /**
   * Ends the direction out: the other side reads what was written, then the end, with `why` if the
   * transport has words for that.
   */
  closeWrite(why?: Farewell): Promise<void>;
  /** Ends both directions; reads and writes under way reject or end. */
  close(): void;
  /** Drops what it keeps for speed: nothing was written for a heartbeat. */
  trim?(): void;
  /** Counts what it keeps there from now on, until it is closed. */
  count?(account: Account): void;
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
  /** Nothing was heard for so long that the other side is to give a sign of life. */
  ask(): void;
}

/** What takes the frames of each type, as {@linkcode LinkHandler.frame} does. */
export type Takers = Readonly<Record<number, LinkHandler["frame"]>>;

/** What a {@linkcode Link} has in common with others. */
export interface LinkOptions {
  /** In which it takes its turns, with all that have the same. */
  readonly rounds?: Rounds;
  /** Where what it keeps in memory counts. */
  readonly account?: Account;
}

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
/** After so many silent ticks the other side is asked for a sign of life. */
const ASK_TICKS = 6;
/** How long a side that said GOODBYE waits for the other to close. */
const LINGER_MS = 1000;

/** Sends and receives the frames of one connection. */
export class Link {
  /** Resolves when the connection is closed; never rejects. */
  readonly finished: Promise<LinkEnd>;
  /** What is done with the frames; may be replaced between frames. */
  handler: LinkHandler;
  readonly #stream: ByteStream;
  readonly #reader: FrameReader;
  readonly #slice: TimeSlice;
  /** What of the current run was counted as work. */
  readonly #counted: Counted = { frames: 0, bytes: 0 };
  /** What the next read fills. */
  #space: Uint8Array;
  readonly #writer: LinkWriter;
  #end: LinkEnd | undefined;
  #linger: Timer | undefined;
  #silentTicks = 0;
  /** Whether frames are being taken, which stand in the reader's buffer. */
  #isTaking = false;
  /** How much came with the latest read, until that is taken. */
  #cameBytes = 0;

  /**
   * Begins to read from `stream`, which is this link's from now on.
   *
   * @param handler What is done with the frames; until there is one, none is expected.
   */
  constructor(
    stream: ByteStream,
    limits: FrameLimits,
    handler: LinkHandler = expecting({}),
    { rounds, account = new Account() }: LinkOptions = {},
  ) {
    this.#stream = stream;
    stream.count?.(account);
    this.#slice = new TimeSlice(rounds);
    this.#reader = new FrameReader(limits, () => this.#longerRun(), account);
    this.#space = this.#reader.space();
    this.handler = handler;
    this.#writer = new LinkWriter(stream, this, account);
    this.finished = this.#run();
  }

  /** Whether it has ended, or said GOODBYE. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  /** How many bytes it keeps in memory: what is half read, and what waits without being counted. */
  get keptBytes(): number {
    return this.#reader.keptBytes + this.#writer.keptBytes;
  }

  /** When it began to take what was read last, as its `rounds` tell the time. */
  get readAt(): number {
    return this.#slice.began;
  }

  /** Whether it has asked for a sign of life, and nothing came since. */
  get isDoubted(): boolean {
    return this.#silentTicks >= ASK_TICKS;
  }

  /** How many frames that are not counted wait to be written. */
  get waiting(): number {
    return this.#writer.waiting;
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
    if (this.#end === undefined) this.#writer.send(encodeFrame(type, ...parts));
  }

  /** Sends an ACK after all that waits; it replaces one that still waits. */
  acknowledge(body: Uint8Array): void {
    if (this.#end === undefined) this.#writer.acknowledge(encodeFrame(FrameType.ACK, body));
  }

  /** Writes what there is to write. */
  pump(): void {
    if (this.#end === undefined) this.#writer.pump();
  }

  /**
   * Says GOODBYE after what is being written, and ends. A second call changes nothing.
   *
   * @param reason The reason that the other side gets.
   * @param text The same, for people.
   * @param error The error in `finished`, if the end is an error here.
   */
  end(reason: Reason, text: string, error?: Error): void {
    this.#sayGoodbye(reason, text, error === undefined ? { reason } : { reason, error }, false);
  }

  /**
   * Says GOODBYE as {@linkcode Link.end} does, but after all that the other side may be sent now. All of
   * it is handed to the stream before anything else has its turn, unless a write is under way. For this
   * side the connection is lost.
   */
  leave(error: Error): void {
    this.#sayGoodbye(Reason.DONE, "", { error }, true);
  }

  #sayGoodbye(reason: Reason, text: string, end: LinkEnd, isLast: boolean): void {
    if (this.#end !== undefined) return;
    this.#writer.end(encodeFrame(FrameType.GOODBYE, encodeGoodbye(reason, text)), isLast);
    this.#end = end;
    this.#letGo();
    this.#linger = later(() => this.#stream.close(), LINGER_MS, true);
    this.#writer.written().then(() => this.#stream.closeWrite(farewellOf(reason))).catch(() => {
      // The other side closed first: nobody is left to read the reason.
      this.#stream.close();
    });
  }

  /**
   * Closes the connection as soon as GOODBYE is written, after {@linkcode Link.end}: a read that waits for the
   * other side to close would keep its buffer in memory.
   */
  hurry(): void {
    this.#writer.written().then(() => this.#stream.close());
  }

  /** Closes the connection at once, without a GOODBYE. */
  close(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#writer.close();
    this.#letGo();
    this.#stream.close();
  }

  /** Nothing that comes is of use any more: what is half read goes, unless frames are being taken. */
  #letGo(): void {
    if (this.#isTaking) return;
    this.#reader.close();
    this.#space = this.#reader.space();
  }

  /** Ends because the connection is gone, or nothing is heard over it. */
  lose(cause: unknown): void {
    this.close(lostError(cause));
  }

  /**
   * Counts time: called {@linkcode TICKS} times in each heartbeat.
   *
   * @param passed For how many calls this one stands: those before it did not come.
   */
  tick(passed = 1): void {
    if (this.#end !== undefined) return;
    const before = this.#silentTicks;
    // What came meanwhile may not have been read yet: a tick that is late goes no further than to ask.
    this.#silentTicks = Math.max(before + 1, Math.min(before + passed, ASK_TICKS));
    if (this.#silentTicks > TICKS * SILENT_HEARTBEATS) {
      this.lose(new Error(`nothing was heard for ${SILENT_HEARTBEATS} heartbeats`));
      return;
    }
    if (before < ASK_TICKS && this.isDoubted) this.handler.ask();
    this.#writer.quietTicks += passed;
    if (this.#writer.quietTicks < TICKS) return;
    this.#writer.quietTicks = 0;
    this.trim();
    this.handler.idle();
  }

  /** Asks for a sign of life now, as after some silence; see {@linkcode Link.isDoubted}. */
  ask(): void {
    if (this.#end !== undefined || this.#silentTicks < 0) return;
    this.#silentTicks = Math.max(this.#silentTicks, ASK_TICKS);
    this.handler.ask();
  }

  /** Drops what it keeps for speed. */
  trim(): void {
    this.#reader.trim();
    this.#writer.trim();
    this.#stream.trim?.();
  }

  async #run(): Promise<LinkEnd> {
    try {
      for (;;) {
        const count = await this.#stream.read(this.#space);
        if (count === null) break;
        this.#silentTicks = 0;
        if (this.#end !== undefined) continue;
        this.#reader.wrote(count);
        this.#isTaking = true;
        this.#cameBytes = count;
        for (let wait = this.#takeFrames(); wait !== undefined; wait = this.#takeFrames()) {
          this.#silentTicks = -Infinity; // What has come waits here.
          await wait;
          this.#silentTicks = 0;
        }
        this.#isTaking = false;
        if (this.#end !== undefined) this.#letGo();
      }
      this.#end ??= { error: lostError(undefined) };
    } catch (error) { // Whatever the stream throws: the connection is gone.
      this.#end ??= { error: lostError(error) };
    }
    this.#linger?.cancel();
    this.#slice.end();
    this.#isTaking = false;
    this.close();
    return this.#end;
  }

  /** Takes the frames that are here; returns what to wait for before it takes more. */
  #takeFrames(): Promise<void> | undefined {
    if (this.#slice.mustWait) return this.#slice.next();
    this.#slice.begin();
    let isInVain = true;
    const came = this.#cameBytes;
    this.#cameBytes = Infinity; // What is left after a wait is no read of its own.
    try {
      while (this.#end === undefined && this.#reader.next()) {
        isInVain = false;
        this.#counted.frames = this.#counted.bytes = 0;
        this.#reader.runMax = this.#longestRun();
        const work = this.#takeFrame();
        if (!this.#slice.did(workOf(this.#reader, this.#counted)) && work === undefined) continue;
        this.handler.batch();
        if (work === undefined) return this.#slice.next();
        this.#slice.rest();
        return work;
      }
      this.handler.batch();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.handler.batch();
      this.fail(error);
    }
    // Also after the end: what is read then must not overwrite frames that somebody holds.
    this.#space = this.#reader.space();
    if (isInVain) this.#slice.readInVain(came);
    if (this.#end === undefined && this.#slice.finish()) return this.#slice.next();
    this.#slice.rest();
    return undefined;
  }

  #takeFrame(): Promise<void> | undefined {
    if (this.#reader.type === FrameType.GOODBYE) this.#takeGoodbye();
    else return this.handler.frame(this.#reader) ?? undefined;
  }

  /** Looks at the clock within a run; returns how many frames it may have. */
  #longerRun(): number {
    const { frames, start, end } = this.#reader;
    const counted = this.#counted;
    const isOver = this.#slice.did(
      furtherWork(frames - counted.frames, end - start - counted.bytes),
    );
    counted.frames = frames;
    counted.bytes = end - start;
    return isOver ? frames : this.#longestRun();
  }

  /** How many frames a run may have until the clock is looked at, if they are about as long. */
  #longestRun(): number {
    const { frames, start, end } = this.#reader;
    return frames + this.#slice.left / furtherWork(1, (end - start) / frames);
  }

  /** Ends because the other side broke the protocol. */
  fail(error: ProtocolError): void {
    this.end(error instanceof FrameError ? error.reason : Reason.PROTOCOL, error.message, error);
  }

  #takeGoodbye(): void {
    const { buffer, body, end } = this.#reader;
    const { reason, text } = decodeGoodbye(buffer.subarray(body, end));
    this.#end = { ...goodbyeEnd(reason, text), isTheirs: true };
    const close = () => this.#stream.close();
    this.#writer.close();
    this.#linger = later(close, LINGER_MS, true);
    // A WebSocket says that it closes; whoever is gone already needs not to hear it.
    this.#stream.closeWrite("answer").then(close, close);
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
    ask() {},
  };
}

function farewellOf(reason: Reason): Farewell {
  switch (reason) {
    case Reason.DONE:
    case Reason.REPLACED:
      return "done";
    case Reason.SHUTDOWN:
      return "away";
    case Reason.BUSY:
      return "busy";
    default:
      return "refused";
  }
}

function goodbyeEnd(reason: number, text: string): LinkEnd {
  const said = `The other side ended the session: ${printable(text)}`;
  switch (reason) {
    case Reason.DONE:
      return { reason };
    case Reason.SHUTDOWN:
    case Reason.CUT_OFF:
    case Reason.REPLACED:
    case Reason.BUSY:
      return { reason, error: new ConnectionLostError(said) };
    case Reason.KEY_REVOKED:
      return { reason, error: new AuthError(said) };
    case Reason.EXPIRED:
      return {
        reason,
        error: new AuthError(`The other side ended the connection: ${printable(text)}`, {
          expired: true,
        }),
      };
    default:
      return { reason, error: new ProtocolError(said) };
  }
}

function lostError(cause: unknown): ConnectionLostError {
  const how = cause instanceof Error ? cause.message : "the other side closed it";
  return new ConnectionLostError(`The connection was lost: ${how}`, { cause });
}
