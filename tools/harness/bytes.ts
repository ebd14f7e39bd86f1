/** Bytes as tests write and show them. */
export { concat } from "../../base/bytes.ts";

/** Bytes in hexadecimal, with spaces between. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
