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

/** A connection, or what is like one. */
export type Carrier = Pick<Conn, "read" | "write" | "closeWrite">;

/** Why a WebSocket is closed; section 7.4.1. */
export const CloseCode = {
  NORMAL: 1000,
  GOING_AWAY: 1001,
  PROTOCOL: 1002,
  UNSUPPORTED: 1003,
  INVALID: 1007,
  REFUSED: 1008,
  TOO_BIG: 1009,
  TRY_AGAIN_LATER: 1013,
} as const;

/** What is closed with; see `Farewell` in `protocol/link.ts`. */
const FAREWELLS = {
  done: CloseCode.NORMAL,
  away: CloseCode.GOING_AWAY,
  busy: CloseCode.TRY_AGAIN_LATER,
  refused: CloseCode.REFUSED,
  answer: CloseCode.NORMAL,
} as const;

/** Why a side closes. */
export type Farewell = keyof typeof FAREWELLS;

const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;
const FIN = 0x80;
const RESERVED = 0x70;
const MASKED = 0x80;
/** From this opcode on, frames are not of a message. */
const CONTROL = 8;
const CONTROL_BYTES_MAX = 125;
const HEADER_BYTES_MAX = 14;
/** As much goes out in one message of a client, so that the copy that is masked stays small. */
const MASKED_BYTES_MAX = 64 * 1024;
/** The same of a broker, which copies little of it. */
const MESSAGE_BYTES_MAX = 256 * 1024;
/** From here on masking four bytes at a time is worth its preparation. */
const WORDS_BYTES_MIN = 256;
/** So many masks are made at a time. */
const MASKS = 16;
/**
 * As much of a broker's message is copied behind its header. The rest goes out from where it stands; so
 * no header goes by itself, for which the other side would have to wake up.
 */
const JOIN_BYTES_MAX = 16 * 1024;

/** How the other side closed. */
export interface Closing {
  /** Its code; 1005 if it gave none. */
  readonly code: number;
  readonly reason: string;
}

/** One end of a WebSocket. */
export class WebSocketStream {
  readonly #carrier: Carrier;
  readonly #isClient: boolean;
  /** What was read behind the head of the upgrade, until it is decoded. */
  #first: Uint8Array;
  /** A header that has begun to arrive; most are read where they stand. */
  #header: Uint8Array = NO_BYTES;
  #headerBytes = 0;
  /** How much of the current payload is still to come. */
  #left = 0;
  #mask = 0;
  /** How many bytes were read, with those of the frames. */
  #carriedBytes = 0;
  /** The opcode of the current frame. */
  #opcode: number = Opcode.CONTINUATION;
  /** Whether a message has begun, of which more frames follow. */
  #isFragmented = false;
  /** The payload of a control frame, as far as it has come. */
  #control = new ControlPayload();
  /** A buffer in which what goes out is masked, or put behind its header. */
  #out: Uint8Array = NO_BYTES;
  /** Where that counts. */
  #account: Account | undefined;
  /** Masks for frames to come, of a client. */
  readonly #masks: Masks | undefined;
  /** What is being written. */
  #writing: Promise<unknown> | undefined;
  /** The payload of the latest ping, and whether it is still to be answered. */
  #ping = new ControlPayload();
  #owesPong = false;
  #hasSentClose = false;
  #closing: Closing | undefined;

  /**
   * Begins behind the head of the upgrade.
   *
   * @param first What was read behind it.
   */
  constructor(carrier: Carrier, isClient: boolean, first: Uint8Array = NO_BYTES) {
    this.#carrier = carrier;
    this.#isClient = isClient;
    this.#masks = isClient ? new Masks() : undefined;
    this.#first = first.length === 0 ? NO_BYTES : first; // Else it keeps what it is a part of.
  }

  /** How the other side closed, once it has. */
  get closing(): Closing | undefined {
    return this.#closing;
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
    while (this.#closing === undefined) {
      const count = this.#first.length > 0 ? this.#readFirst(into) : await this.#carrier.read(into);
      if (count === null) return null;
      this.#carriedBytes += count;
      let length: number;
      try {
        length = this.#decode(into, count);
      } catch (error) {
        if (error instanceof Violation) await this.#close(error.code, error.message);
        throw error;
      }
      if (this.#closing !== undefined) await this.#answerClose();
      else if (this.#owesPong) this.#sendPong();
      if (length > 0 || this.#closing === undefined) return length;
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

  /** Decodes the first `count` bytes where they stand; returns how many bytes of messages they have. */
  #decode(bytes: Uint8Array, count: number): number {
    let end = 0;
    for (let at = 0; at < count && this.#closing === undefined;) {
      if (this.#left === 0) {
        at = this.#readHeader(bytes, at, count);
        if (this.#headerBytes === 0 && this.#left === 0) this.#finish();
        continue;
      }
      const part = Math.min(this.#left, count - at);
      if (!this.#isClient) this.#unmask(bytes, at, part);
      if (this.#opcode < CONTROL) {
        if (end < at) bytes.copyWithin(end, at, at + part);
        end += part;
      } else {
        this.#control.take(bytes, at, part);
      }
      at += part;
      this.#left -= part;
      if (this.#left === 0) this.#finish();
    }
    return end;
  }

  /** Reads a header from `at` on, as far as it is here; returns where that ends. */
  #readHeader(bytes: Uint8Array, at: number, count: number): number {
    if (this.#headerBytes === 0) {
      const length = count - at < 2 ? HEADER_BYTES_MAX : headerLength(bytes[at + 1]!);
      if (at + length <= count) {
        this.#begin(bytes, at, length);
        return at + length;
      }
      if (this.#header === NO_BYTES) this.#header = new Uint8Array(HEADER_BYTES_MAX);
    }
    const header = this.#header;
    while (at < count) {
      header[this.#headerBytes++] = bytes[at++]!;
      if (this.#headerBytes < 2 || this.#headerBytes < headerLength(header[1]!)) continue;
      this.#begin(header, 0, this.#headerBytes);
      this.#headerBytes = 0;
      break;
    }
    return at;
  }

  /** Takes a header that is complete: `length` bytes from `at` on. */
  #begin(header: Uint8Array, at: number, length: number): void {
    const flags = header[at]!;
    const second = header[at + 1]!;
    const opcode = this.#opcode = flags & 0x0f;
    const isFinal = (flags & FIN) !== 0;
    if ((flags & RESERVED) !== 0) throw new Violation("a reserved bit is set");
    if ((second & MASKED) !== 0 === this.#isClient) {
      throw new Violation(`a frame of a ${this.#isClient ? "server is" : "client is not"} masked`);
    }
    const left = payloadLength(header, at, second & 0x7f);
    if (opcode >= CONTROL) {
      if (opcode > Opcode.PONG) throw new Violation(`the opcode ${opcode} is not known`);
      if (!isFinal) throw new Violation("a control frame is a fragment");
      if (left > CONTROL_BYTES_MAX) throw new Violation(`a control frame has ${left} bytes`);
    } else {
      if (opcode > Opcode.BINARY) throw new Violation(`the opcode ${opcode} is not known`);
      if (opcode === Opcode.TEXT) throw new Violation("a text came", CloseCode.UNSUPPORTED);
      if ((opcode === Opcode.CONTINUATION) !== this.#isFragmented) {
        throw new Violation(
          this.#isFragmented ? "a message begins within another" : "no message is continued",
        );
      }
      this.#isFragmented = !isFinal;
    }
    this.#left = left;
    this.#mask = this.#isClient ? 0 : fourBytes(header, at + length - 4);
    if (opcode >= CONTROL) this.#control.clear();
  }

  /** Unmasks a part of the current payload; the mask goes on where it ends. */
  #unmask(bytes: Uint8Array, start: number, count: number): void {
    this.#mask = xor(bytes, start, start + count, this.#mask);
  }

  /** Takes a frame whose payload is complete. */
  #finish(): void {
    if (this.#opcode < CONTROL) return;
    if (this.#opcode === Opcode.PING) {
      // They change places, so that nothing is copied.
      [this.#ping, this.#control] = [this.#control, this.#ping];
      this.#owesPong = true;
    } else if (this.#opcode === Opcode.CLOSE) {
      this.#closing = closingOf(this.#control.bytes);
    }
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
    const send = async () => {
      const joined = this.#isClient ? payload.length : Math.min(payload.length, JOIN_BYTES_MAX);
      await writeAll(
        this.#carrier,
        this.#frame(opcode, payload.subarray(0, joined), payload.length),
      );
      if (joined < payload.length) await writeAll(this.#carrier, payload.subarray(joined));
    };
    const writing = this.#writing === undefined ? send() : this.#writing.then(send, send);
    this.#writing = writing;
    const done = () => {
      if (this.#writing !== writing) return;
      this.#writing = undefined;
      if (this.#owesPong) this.#sendPong();
    };
    writing.then(done, done);
    return writing;
  }

  /** Answers the latest ping, unless something is being written; then it is answered after that. */
  #sendPong(): void {
    if (this.#writing !== undefined || this.#hasSentClose) return;
    this.#owesPong = false;
    this.#send(Opcode.PONG, this.#ping.bytes).catch(() => {}); // Whoever reads or writes hears of it.
  }

  /** A frame of `length` bytes up to where this part of its payload ends; valid until the next call. */
  #frame(opcode: number, payload: Uint8Array, length: number): Uint8Array {
    const most = HEADER_BYTES_MAX + payload.length;
    if (this.#out.length < most) this.#keep(new Uint8Array(most));
    const out = this.#out;
    out[0] = FIN | opcode;
    let at = 2;
    if (length < 126) out[1] = length;
    else if (length < 2 ** 16) {
      out[1] = 126;
      at = bigEndian(out, at, length, 2);
    } else {
      out[1] = 127;
      at = bigEndian(out, at, length, 8);
    }
    let mask = 0;
    if (this.#isClient) {
      out[1]! |= MASKED;
      mask = this.#masks!.next();
      at = bigEndian(out, at, mask, 4);
    }
    out.set(payload, at);
    const end = at + payload.length;
    if (this.#isClient) xor(out, at, end, mask);
    return out.subarray(0, end);
  }

  /** Answers a close with the same code, once. */
  async #answerClose(): Promise<void> {
    const { code } = this.#closing!;
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
    if (this.#headerBytes === 0) this.#header = NO_BYTES;
    if (this.#left === 0) this.#control = new ControlPayload();
    if (!this.#owesPong) this.#ping = new ControlPayload();
  }
}

/** The payload of a control frame, for which room is made once: else a flood of them would be dear. */
class ControlPayload {
  #room: Uint8Array = NO_BYTES;
  #filled = 0;

  /** What has come of it; valid until more comes. */
  get bytes(): Uint8Array {
    return this.#room.subarray(0, this.#filled);
  }

  clear(): void {
    this.#filled = 0;
  }

  take(bytes: Uint8Array, at: number, count: number): void {
    if (this.#room.length === 0) this.#room = new Uint8Array(CONTROL_BYTES_MAX);
    for (let i = 0; i < count; i++) this.#room[this.#filled++] = bytes[at + i]!;
  }
}

/** Stands for a close without a code; section 7.1.5. */
const NO_CODE = 1005;

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

/** What the other side did against RFC 6455. */
class Violation extends ProtocolError {
  readonly code: number;

  constructor(what: string, code: number = CloseCode.PROTOCOL) {
    super(`Cannot read a WebSocket: ${what}`);
    this.code = code;
  }
}

/** How long a header is with this second byte. */
function headerLength(second: number): number {
  const length = second & 0x7f;
  return 2 + (second & MASKED ? 4 : 0) + (length === 127 ? 8 : length === 126 ? 2 : 0);
}

/** The length of a payload; `short` is the one in the second byte of the header at `at`. */
function payloadLength(header: Uint8Array, at: number, short: number): number {
  if (short < 126) return short;
  if (short === 126) {
    const length = header[at + 2]! << 8 | header[at + 3]!;
    if (length < 126) throw new Violation(`the length ${length} takes more bytes than it needs`);
    return length;
  }
  const length = BigInt(fourBytes(header, at + 2)) << 32n | BigInt(fourBytes(header, at + 6));
  if (length < 2n ** 16n) {
    throw new Violation(`the length ${length} takes more bytes than it needs`);
  }
  if (length >= 2n ** 63n) throw new Violation(`the length ${length} is negative`);
  if (length > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new Violation(`a frame has ${length} bytes`, CloseCode.TOO_BIG);
  }
  return Number(length);
}

/** What a close says. */
function closingOf(payload: Uint8Array): Closing {
  if (payload.length === 0) return { code: NO_CODE, reason: "" };
  if (payload.length === 1) throw new Violation("a close has half a code");
  const code = payload[0]! << 8 | payload[1]!;
  if (!isCloseCode(code)) throw new Violation(`the code ${code} must not be sent`);
  try {
    const reason = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(payload.subarray(2));
    return { code, reason };
  } catch (error) { // TypeError: it is not UTF-8.
    if (!(error instanceof TypeError)) throw error;
    throw new Violation("the reason of a close is not UTF-8", CloseCode.INVALID);
  }
}

/** Whether a peer may send this code: those that are registered, and those for programs. */
function isCloseCode(code: number): boolean {
  return code >= 1000 && code <= 1014 && code !== 1004 && code !== NO_CODE && code !== 1006 ||
    code >= 3000 && code <= 4999;
}

/** A number, the most significant byte first. */
function fourBytes(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
}

/** Masks or unmasks bytes; returns the mask as it goes on behind them. */
function xor(bytes: Uint8Array, start: number, end: number, mask: number): number {
  if (end - start < WORDS_BYTES_MIN) return xorBytes(bytes, start, end, mask);
  const aligned = start + (-(bytes.byteOffset + start) & 3);
  mask = xorBytes(bytes, start, aligned, mask);
  const [word] = new Uint32Array(
    Uint8Array.of(mask >>> 24, mask >>> 16, mask >>> 8, mask).buffer,
  );
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + aligned, end - aligned >>> 2);
  for (let i = 0; i < words.length; i++) words[i]! ^= word!;
  return xorBytes(bytes, aligned + 4 * words.length, end, mask);
}

/** The same, byte by byte. */
function xorBytes(bytes: Uint8Array, start: number, end: number, mask: number): number {
  const [a, b, c, d] = [mask >>> 24, mask >>> 16 & 255, mask >>> 8 & 255, mask & 255];
  let at = start;
  for (; at + 4 <= end; at += 4) {
    bytes[at]! ^= a;
    bytes[at + 1]! ^= b;
    bytes[at + 2]! ^= c;
    bytes[at + 3]! ^= d;
  }
  const rest = end - at;
  if (rest > 0) bytes[at]! ^= a;
  if (rest > 1) bytes[at + 1]! ^= b;
  if (rest > 2) bytes[at + 2]! ^= c;
  return rest === 0 ? mask : mask << 8 * rest | mask >>> 32 - 8 * rest;
}

/** Writes a number, the most significant byte first; returns where it ends. */
function bigEndian(bytes: Uint8Array, at: number, value: number, size: number): number {
  for (let i = size - 1; i >= 0; i--) {
    bytes[at + i] = value % 256;
    value = Math.floor(value / 256);
  }
  return at + size;
}
