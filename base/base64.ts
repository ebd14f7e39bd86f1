/**
 * Base64, where some runtimes do not have that of `Uint8Array` yet.
 */

/** Bytes as base64. */
export function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

/**
 * The bytes that base64 stands for.
 *
 * @throws {SyntaxError} If it is not base64.
 */
export function fromBase64(text: unknown): Uint8Array<ArrayBuffer> {
  try {
    if (typeof text === "string") return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch (error) { // InvalidCharacterError.
    if (!(error instanceof DOMException)) throw error;
  }
  throw new SyntaxError("it is not base64");
}
