/** Bytes as tests write and show them. */
export { concat } from "../../base/bytes.ts";

/** The bytes of a text in hexadecimal; spaces are free. */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  const pairs = hex.replaceAll(/\s/g, "").match(/../g) ?? [];
  return Uint8Array.from(pairs, (pair) => parseInt(pair, 16));
}

/** Bytes in hexadecimal, as {@linkcode fromHex} takes them. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** A copy in which one byte is another. */
export function tampered(bytes: Uint8Array, at: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  copy[at]! ^= 1;
  return copy;
}
