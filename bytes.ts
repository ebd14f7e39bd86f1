/** Bytes side by side, and buffers that several hold. */

/** A buffer that is lent; who lent it uses it again when nobody holds it. */
export interface Lease {
  /** Where the bytes are. */
  readonly buffer: Uint8Array;
  /** How many hold it. */
  holders: number;
}

/** A copy of all parts, one behind the other. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
