/**
 * Short byte arrays as views of buffers that several of them share: where Deno makes one, a buffer of its
 * own costs it 400 ns or more.
 *
 * ```
 *  payload   ├ … ┤ a ├ … ┤                   BytePool: a copy of each, one behind the other
 *  run       ├ … ┤ a ├ … ┤ b ├ … ┤ c ├ … ┤   RunBytes: one copy of a part, and what is between
 * ```
 */
import { NO_BYTES } from "../base/bytes.ts";

/** Up to this size a byte array is a view. */
export const VIEW_BYTES_MAX = 1024;
/** How large the buffers are, and how much of a run is copied at most at a time. */
const BUFFER_BYTES = 16_384;
/** Up to this size bytes are copied one by one; `subarray` and `set` cost as much as 48 of them. */
const LOOP_BYTES_MAX = 48;

/**
 * Whether short arrays of their own cost less than views: in JavaScriptCore, whose errors tell their line.
 * It keeps the bytes beside the array: one of 16 bytes takes 12 ns, a view 29 and more to collect.
 */
export const OWN_IS_CHEAP: boolean = Object.hasOwn(new Error(), "line");

/** A copy of `size` bytes from `at` on, with a buffer of its own. */
export function ownCopy(bytes: Uint8Array, at: number, size: number): Uint8Array<ArrayBuffer> {
  if (size > LOOP_BYTES_MAX) return bytes.slice(at, at + size) as Uint8Array<ArrayBuffer>;
  const copy = new Uint8Array(size);
  for (let i = 0; i < size; i++) copy[i] = bytes[at + i]!;
  return copy;
}

/** Copies of byte arrays, in a buffer that is used once, from the beginning to the end. */
export class BytePool {
  #bytes = NO_BYTES;
  #buffer = NO_BYTES.buffer;
  #at = 0;

  /** A copy of `size` bytes from `at` on; at most {@linkcode VIEW_BYTES_MAX}. */
  copy(bytes: Uint8Array, at: number, size: number): Uint8Array<ArrayBuffer> {
    let start = this.#at;
    if (start + size > this.#bytes.length) {
      this.#bytes = new Uint8Array(BUFFER_BYTES);
      this.#buffer = this.#bytes.buffer;
      start = 0;
    }
    // The next one begins where numbers of any kind may.
    this.#at = start + size + 7 & ~7;
    const target = this.#bytes;
    if (size > LOOP_BYTES_MAX) target.set(bytes.subarray(at, at + size), start);
    else for (let i = 0; i < size; i++) target[start + i] = bytes[at + i]!;
    return new Uint8Array(this.#buffer, start, size);
  }
}

/** Payloads one behind the other, of which many byte arrays are copied at a time. */
export class RunBytes {
  /** Where they stand. */
  bytes: Uint8Array = NO_BYTES;
  #start = 0;
  #end = 0;
  /** A copy of a part, and where in `bytes` that begins. */
  #part = NO_BYTES;
  #partBuffer = NO_BYTES.buffer;
  #partStart = 0;

  /** Begins with the bytes from `start` to before `end`, which stay as they are until it ends. */
  begin(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#part = NO_BYTES;
  }

  /** Lets go of them. */
  end(): void {
    this.bytes = this.#part = NO_BYTES;
  }

  /** A copy of `size` bytes from `at` on; at most {@linkcode VIEW_BYTES_MAX}. */
  copy(at: number, size: number): Uint8Array<ArrayBuffer> {
    let start = at - this.#partStart;
    if (start < 0 || start + size > this.#part.length) {
      // As much as was taken of the run so far: so a short run costs no long copy.
      const length = Math.max(size, Math.min(at - this.#start, BUFFER_BYTES));
      const end = Math.min(at + length, this.#end);
      this.#part = this.bytes.slice(at, end) as Uint8Array<ArrayBuffer>;
      this.#partBuffer = this.#part.buffer;
      this.#partStart = at;
      start = 0;
    }
    return new Uint8Array(this.#partBuffer, start, size);
  }
}
