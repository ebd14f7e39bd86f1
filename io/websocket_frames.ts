/**
 * The frames of WebSockets, without I/O; section 5 of RFC 6455.
 */
import { NO_BYTES } from "../base/bytes.ts";
import { CloseCode, type Closing, closingOf, Violation } from "./websocket_close.ts";

/** What a frame is. */
export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;
const FIN = 0x80;
const RESERVED = 0x70;
const MASKED = 0x80;
/** From this opcode on, frames are not of a message. */
const CONTROL = 8;
/** The most bytes of the payload of one that is not of a message. */
export const CONTROL_BYTES_MAX = 125;
/** The longest header. */
export const HEADER_BYTES_MAX = 14;
/** From here on masking four bytes at a time is worth its preparation. */
const WORDS_BYTES_MIN = 256;

/** Decodes what one side sends. */
export class FrameDecoder {
  /** How the other side closed, once it has. */
  closing: Closing | undefined;
  /** Whether the latest ping is still to be answered. */
  owesPong = false;
  readonly #isClient: boolean;
  /** A header that has begun to arrive; most are read where they stand. */
  #header: Uint8Array = NO_BYTES;
  #headerBytes = 0;
  /** How much of the current payload is still to come. */
  #left = 0;
  #mask = 0;
  /** The opcode of the current frame. */
  #opcode: number = Opcode.CONTINUATION;
  /** Whether a message has begun, of which more frames follow. */
  #isFragmented = false;
  /** The payload of a control frame, as far as it has come. */
  #control = new ControlPayload();
  /** The payload of the latest ping. */
  #ping = new ControlPayload();

  /** Decodes what comes to the client, or to the server. */
  constructor(isClient: boolean) {
    this.#isClient = isClient;
  }

  /** The payload of the latest ping; valid until more is decoded. */
  get ping(): Uint8Array {
    return this.#ping.bytes;
  }

  /**
   * Decodes the first `count` bytes where they stand; returns how many bytes of messages they have, which
   * are at the front then.
   *
   * @throws {Violation} If they are not what RFC 6455 allows.
   */
  decode(bytes: Uint8Array, count: number): number {
    let end = 0;
    for (let at = 0; at < count && this.closing === undefined;) {
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
      this.owesPong = true;
    } else if (this.#opcode === Opcode.CLOSE) {
      this.closing = closingOf(this.#control.bytes);
    }
  }

  /** Drops what it keeps for speed. */
  trim(): void {
    if (this.#headerBytes === 0) this.#header = NO_BYTES;
    if (this.#left === 0) this.#control = new ControlPayload();
    if (!this.owesPong) this.#ping = new ControlPayload();
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

/** A number, the most significant byte first. */
function fourBytes(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
}

/**
 * Writes a header.
 *
 * @param mask The mask of a client.
 * @returns Where it ends.
 */
export function writeHeader(
  out: Uint8Array,
  opcode: number,
  length: number,
  mask?: number,
): number {
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
  if (mask === undefined) return at;
  out[1]! |= MASKED;
  return bigEndian(out, at, mask, 4);
}

/** Masks or unmasks bytes; returns the mask as it goes on behind them. */
export function xor(bytes: Uint8Array, start: number, end: number, mask: number): number {
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
export function bigEndian(bytes: Uint8Array, at: number, value: number, size: number): number {
  for (let i = size - 1; i >= 0; i--) {
    bytes[at + i] = value % 256;
    value = Math.floor(value / 256);
  }
  return at + size;
}
