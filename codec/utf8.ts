/**
 * UTF-8 → string. `TextDecoder` costs 450 ns or more for each text in Deno, so short ones do without:
 *
 * - A text of up to `KNOWN_BYTES_MAX` bytes that was met twice lately is remembered with its bytes: ids,
 *   units and states come again and again. It has one slot, chosen by a hash of all its bytes.
 * - Other ASCII, of up to `ASCII_BYTES_MAX` bytes, is read byte by byte.
 */
import { hash } from "../base/bytes.ts";
import { ProtocolError } from "../errors.ts";

const SLOTS = 256;
const KNOWN_BYTES_MAX = 64;
const ASCII_BYTES_MAX = 128;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes UTF-8, and remembers texts that come often. */
export class Texts {
  #known: string[] = [];
  /** The bytes of each known text, and how many they are. */
  #bytes = new Uint8Array(0);
  #sizes = new Uint8Array(0);
  /** The hash of the text that was met last in each slot, known or not. */
  #hashes = new Int32Array(0);
  /** An array of each length, for the character codes of a text. */
  readonly #codes: number[][] = [];

  /**
   * The text of `size` bytes in `bytes` from `at` on.
   *
   * @throws {ProtocolError} If they are not UTF-8.
   */
  read(bytes: Uint8Array, at: number, size: number): string {
    if (size > KNOWN_BYTES_MAX) return this.#decode(bytes, at, size);
    if (size === 0) return "";
    if (this.#known.length === 0) this.#allocate();
    const h = hash(bytes, at, at + size);
    const slot = h & (SLOTS - 1);
    const start = slot * KNOWN_BYTES_MAX;
    const known = this.#bytes;
    if (this.#sizes[slot] === size) {
      let i = 0;
      while (i < size && known[start + i] === bytes[at + i]) i++;
      if (i === size) return this.#known[slot]!;
    }
    const text = this.#decode(bytes, at, size);
    if (this.#hashes[slot] === h) {
      for (let i = 0; i < size; i++) known[start + i] = bytes[at + i]!;
      this.#sizes[slot] = size;
      this.#known[slot] = text;
    } else this.#hashes[slot] = h;
    return text;
  }

  #allocate(): void {
    this.#known = new Array<string>(SLOTS).fill("");
    this.#bytes = new Uint8Array(SLOTS * KNOWN_BYTES_MAX);
    this.#sizes = new Uint8Array(SLOTS);
    this.#hashes = new Int32Array(SLOTS);
  }

  #decode(bytes: Uint8Array, at: number, size: number): string {
    if (size <= ASCII_BYTES_MAX) {
      const codes = this.#codes[size] ??= new Array<number>(size).fill(0);
      let all = 0;
      for (let i = 0; i < size; i++) {
        const code = bytes[at + i]!;
        all |= code;
        codes[i] = code;
      }
      if (all <= 0x7f) return String.fromCharCode.apply(null, codes);
    }
    return decode(bytes.subarray(at, at + size));
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (error) { // TextDecoder's TypeError for bytes that are not UTF-8.
    throw new ProtocolError("Cannot read a message: a text is not UTF-8", { cause: error });
  }
}
