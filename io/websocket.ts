/**
 * WebSockets as streams of bytes, at either end: the framing of RFC 6455, over a connection on which the
 * upgrade is done.
 *
 * ```
 *  read()   header │ payload │ header │ payl…    what was read is decoded where it stands:
 *           └─▶ payload payl…                    payloads move to the front, headers go
 *  write()  one binary message for each call; boundaries mean nothing to whoever reads
 * ```
 *
 * - No frame is ever held as a whole, nor are fragments: a payload passes as it comes.
 * - A ping is answered between two writes, the latest of several only. A peer that sends them without end
 *   takes the place of one.
 * - There are no extensions and no texts.
 */
import type { Account } from "../base/account.ts";
import { NO_BYTES, writeAll } from "../base/bytes.ts";
import { ProtocolError } from "../errors.ts";
import type { Conn } from "./conn.ts";
import {
  CloseCode,
  type Closing,
  type Farewell,
  FAREWELLS,
  NO_CODE,
  Violation,
} from "./websocket_close.ts";
import {
  bigEndian,
  CONTROL_BYTES_MAX,
  FrameDecoder,
  HEADER_BYTES_MAX,
  Opcode,
  writeHeader,
  xor,
} from "./websocket_frames.ts";

/** A connection, or what is like one. */
export type Carrier = Pick<Conn, "read" | "write" | "closeWrite">;

/** As much goes out in one message of a client, so that the copy that is masked stays small. */
const MASKED_BYTES_MAX = 64 * 1024;
/**
 * The same of a broker: a page gets nothing of a message before all of it has come, so over a slow
 * connection it would seem silent meanwhile, and over one that breaks often it would not get on.
 */
const MESSAGE_BYTES_MAX = 16 * 1024;
/** So many masks are made at a time. */
const MASKS = 16;
/** One end of a WebSocket. */
export class WebSocketStream {
  readonly #carrier: Carrier;
  readonly #isClient: boolean;
  /** What was read behind the head of the upgrade, until it is decoded. */
  #first: Uint8Array;
  /** What comes. */
  readonly #incoming: FrameDecoder;
  /** How many bytes were read, with those of the frames. */
  #carriedBytes = 0;
  /** A buffer in which what goes out is masked, or put behind its header. */
  #out: Uint8Array = NO_BYTES;
  /** Where that counts. */
  #account: Account | undefined;
  /** Masks for frames to come, of a client. */
  readonly #masks: Masks | undefined;
  /** What is being written. */
  #writing: Promise<unknown> | undefined;
  #hasSentClose = false;

  /**
   * Begins behind the head of the upgrade.
   *
   * @param first What was read behind it.
   */
  constructor(carrier: Carrier, isClient: boolean, first: Uint8Array = NO_BYTES) {
    this.#carrier = carrier;
    this.#isClient = isClient;
    this.#incoming = new FrameDecoder(isClient);
    this.#masks = isClient ? new Masks() : undefined;
    this.#first = first.length === 0 ? NO_BYTES : first; // Else it keeps what it is a part of.
  }

  /** How the other side closed, once it has. */
  get closing(): Closing | undefined {
    return this.#incoming.closing;
  }

  /** How many bytes were read for what {@linkcode WebSocketStream.read} has returned. */
  get carriedBytes(): number {
    return this.#carriedBytes;
  }

  /**
   * Reads into `into`; returns how many bytes of messages, or `null` at the end. It is 0 when what came
   * has none: so whoever reads sees to it that a flood of those holds nobody else up.
   *
   * @throws {ProtocolError} If the other side does not keep to RFC 6455; it is told, as that demands.
   */
  async read(into: Uint8Array): Promise<number | null> {
    while (this.#incoming.closing === undefined) {
      const count = this.#first.length > 0 ? this.#readFirst(into) : await this.#carrier.read(into);
      if (count === null) return null;
      this.#carriedBytes += count;
      let length: number;
      try {
        length = this.#incoming.decode(into, count);
      } catch (error) {
        if (error instanceof Violation) await this.#close(error.code, error.message);
        throw error;
      }
      if (this.#incoming.closing !== undefined) await this.#answerClose();
      else if (this.#incoming.owesPong) this.#sendPong();
      if (length > 0 || this.#incoming.closing === undefined) return length;
    }
    return null;
  }

  #readFirst(into: Uint8Array): number {
    const first = this.#first;
    const count = Math.min(first.length, into.length);
    into.set(first.subarray(0, count));
    this.#first = count < first.length ? first.subarray(count) : NO_BYTES;
    return count;
  }

  /**
   * Writes some of `bytes` as one message; returns how many.
   *
   * @throws {ProtocolError} If it was closed.
   */
  async write(bytes: Uint8Array): Promise<number> {
    if (this.#hasSentClose) throw new ProtocolError("Cannot write: the WebSocket is closed");
    const count = Math.min(bytes.length, this.#isClient ? MASKED_BYTES_MAX : MESSAGE_BYTES_MAX);
    await this.#send(Opcode.BINARY, bytes.subarray(0, count));
    return count;
  }

  /** Writes one frame, behind what is being written. */
  #send(opcode: number, payload: Uint8Array): Promise<void> {
    // In one piece: for a header by itself the other side would have to wake up.
    const send = () => writeAll(this.#carrier, this.#frame(opcode, payload));
    const writing = this.#writing === undefined ? send() : this.#writing.then(send, send);
    this.#writing = writing;
    const done = () => {
      if (this.#writing !== writing) return;
      this.#writing = undefined;
      if (this.#incoming.owesPong) this.#sendPong();
    };
    writing.then(done, done);
    return writing;
  }

  /** Answers the latest ping, unless something is being written; then it is answered after that. */
  #sendPong(): void {
    if (this.#writing !== undefined || this.#hasSentClose) return;
    this.#incoming.owesPong = false;
    this.#send(Opcode.PONG, this.#incoming.ping).catch(() => {}); // Whoever reads or writes hears of it.
  }

  /** A frame with this payload; valid until the next call. */
  #frame(opcode: number, payload: Uint8Array): Uint8Array {
    const most = HEADER_BYTES_MAX + payload.length;
    if (this.#out.length < most) this.#keep(new Uint8Array(most));
    const out = this.#out;
    const mask = this.#masks?.next();
    const at = writeHeader(out, opcode, payload.length, mask);
    out.set(payload, at);
    const end = at + payload.length;
    if (mask !== undefined) xor(out, at, end, mask);
    return out.subarray(0, end);
  }

  /** Answers a close with the same code, once. */
  async #answerClose(): Promise<void> {
    const { code } = this.#incoming.closing!;
    await this.#close(code === NO_CODE ? CloseCode.NORMAL : code, "");
  }

  async #close(code: number, reason: string): Promise<void> {
    if (this.#hasSentClose) return;
    this.#hasSentClose = true;
    const text = new TextEncoder().encode(reason).subarray(0, CONTROL_BYTES_MAX - 2);
    const payload = new Uint8Array(2 + text.length);
    bigEndian(payload, 0, code, 2);
    payload.set(text, 2);
    await this.#send(Opcode.CLOSE, payload).catch(() => {}); // The other side is gone.
  }

  /**
   * Ends the direction out: a broker closes. A client goes on, because a close would end both directions,
   * unless it answers the broker's end.
   */
  async closeWrite(why: Farewell = "done"): Promise<void> {
    if (this.#isClient && why !== "answer") return;
    await this.#close(FAREWELLS[why], "");
    await this.#carrier.closeWrite();
  }

  /** Counts what it keeps there, until {@linkcode WebSocketStream.uncount}. */
  count(account: Account): void {
    this.#account = account;
    account.add(this.#out.length);
  }

  /** Counts it no longer: the connection is closed. */
  uncount(): void {
    this.#account?.add(-this.#out.length);
    this.#account = undefined;
  }

  #keep(out: Uint8Array): void {
    this.#account?.add(out.length - this.#out.length);
    this.#out = out;
  }

  /** Drops what it keeps for speed. */
  trim(): void {
    if (this.#writing === undefined) this.#keep(NO_BYTES);
    this.#incoming.trim();
  }
}

/** Masks that nobody can foresee. */
class Masks {
  readonly #masks = new Uint32Array(MASKS);
  #used = MASKS;

  next(): number {
    if (this.#used === MASKS) {
      crypto.getRandomValues(this.#masks);
      this.#used = 0;
    }
    return this.#masks[this.#used++]!;
  }
}
