/**
 * Sizes before what they count: one byte 0…254, or 255 and then a 32-bit number, little endian.
 */

/** The first byte of a size that takes five bytes. */
export const LONG = 255;
/** Bytes of a size in its long form. */
export const LONG_BYTES = 5;

/** How many bytes a size takes. */
export function sizeLength(size: number): number {
  return size < LONG ? 1 : LONG_BYTES;
}

/** Writes a size at `at`; returns the place after it. */
export function writeSize(bytes: Uint8Array, at: number, size: number): number {
  if (size < LONG) {
    bytes[at] = size;
    return at + 1;
  }
  bytes[at] = LONG;
  bytes[at + 1] = size;
  bytes[at + 2] = size >>> 8;
  bytes[at + 3] = size >>> 16;
  bytes[at + 4] = size >>> 24;
  return at + LONG_BYTES;
}

/** The size whose long form begins at `at`. */
export function readLong(bytes: Uint8Array, at: number): number {
  return (bytes[at + 1]! | bytes[at + 2]! << 8 | bytes[at + 3]! << 16 | bytes[at + 4]! << 24) >>> 0;
}
