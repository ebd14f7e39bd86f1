/** Concatenated bytes, their digits, and a hash. */

/** No bytes. */
export const NO_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** A copy of all parts, one after the other. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const ascii = new TextDecoder();

/**
 * Bytes as hexadecimal digits; not every runtime has `Uint8Array.prototype.toHex` yet. A text that grows
 * by two digits at a time would take 32 bytes of memory for each byte.
 */
export function toHex(bytes: Uint8Array): string {
  const digits = new Uint8Array(2 * bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    digits[2 * i] = digitOf(byte >> 4);
    digits[2 * i + 1] = digitOf(byte & 15);
  }
  return ascii.decode(digits);
}

/** The character of a hexadecimal digit. */
function digitOf(value: number): number {
  return value < 10 ? 0x30 + value : 0x57 + value;
}

/** A hash of all bytes from `start` to before `end`: 32 bits, each of which depends on each byte. */
export function hash(bytes: Uint8Array, start: number, end: number): number {
  const size = end - start;
  if (size < 4) {
    if (size <= 0) return 0;
    return stir(
      mix(size, bytes[start]! | bytes[start + (size >> 1)]! << 8 | bytes[end - 1]! << 16),
    );
  }
  let h = size;
  for (let at = start; at < end - 4; at += 4) h = mix(h, four(bytes, at));
  return stir(mix(h, four(bytes, end - 4))); // Some of these a second time.
}

function four(bytes: Uint8Array, at: number): number {
  return bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24;
}

function mix(h: number, value: number): number {
  h = Math.imul(h ^ value, 0x9e3779b1);
  return h ^ (h >>> 15);
}

/** Mixes the high bits into the low ones, which choose a slot. */
function stir(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Writes all bytes to a stream, which may take some at a time. */
export async function writeAll(
  stream: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await stream.write(bytes.subarray(at));
}
