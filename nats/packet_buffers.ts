/**
 * The buffers in which packets of one sender are gathered, all of its packers together: how many bytes
 * they take, and some long ones that are kept for what comes next.
 */
import { PACKET_BYTES_MAX } from "./packet.ts";

const BUFFER_BYTES_MIN = 512;
/** A packet that outgrows this size gets a buffer for the longest packets. */
const BUFFER_BYTES_MEDIUM = 16 * 1024;
/** How many of those are kept for what comes next. */
const SPARES_MAX = 16;

/** Makes buffers for packets, and counts them while packets wait in them. */
export class PacketBuffers {
  #spares: Uint8Array[] = [];
  /** How many bytes the buffers have in which packets wait. */
  #waitingBytes = 0;

  /** How many bytes all of them take, those that are kept included. */
  get bytes(): number {
    return this.#waitingBytes + this.#spares.length * PACKET_BYTES_MAX;
  }

  /** A buffer with room for so many bytes, which waits from now on. */
  take(length: number): Uint8Array {
    const buffer = length < BUFFER_BYTES_MEDIUM
      ? new Uint8Array(Math.max(BUFFER_BYTES_MIN, length))
      : this.#spares.pop() ?? new Uint8Array(PACKET_BYTES_MAX);
    this.#waitingBytes += buffer.length;
    return buffer;
  }

  /** The first `end` bytes of a buffer that waits, in one of that length. */
  trim(buffer: Uint8Array, end: number): Uint8Array {
    const trimmed = buffer.slice(0, end);
    this.#waitingBytes += end;
    this.leave(buffer);
    this.recycle(buffer);
    return trimmed;
  }

  /** A buffer no longer waits. */
  leave({ length }: Uint8Array): void {
    this.#waitingBytes -= length;
  }

  /** Takes back the buffer of a packet that nobody needs any more. */
  recycle({ buffer }: Uint8Array): void {
    const isLong = buffer.byteLength === PACKET_BYTES_MAX;
    if (isLong && this.#spares.length < SPARES_MAX) this.#spares.push(new Uint8Array(buffer));
  }

  /** Lets go of those that are kept for what comes next. */
  dropSpares(): void {
    this.#spares = [];
  }
}
