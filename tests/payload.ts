/** Messages ↔ payloads, each alone in an array of its own. */
import { Decoder, Encoder, type Output } from "../codec.ts";

/** Bytes that grow. */
export class Scratch implements Output {
  bytes = new Uint8Array(64);

  room(at: number, count: number): number {
    if (at + count > this.bytes.length) {
      const bytes = new Uint8Array(2 * (at + count));
      bytes.set(this.bytes.subarray(0, at));
      this.bytes = bytes;
    }
    return at;
  }
}

/** The payload of a message. */
export function encode(
  message: object,
  { encoder = new Encoder(), limit = 1024 * 1024 }: { encoder?: Encoder; limit?: number } = {},
): Uint8Array<ArrayBuffer> {
  const output = new Scratch();
  const end = encoder.encode(message, limit, output, 0);
  return output.bytes.slice(0, end);
}

/** The message of a payload. */
export function decode(
  payload: Uint8Array,
  decoder: Decoder = new Decoder(),
): Record<string, unknown> {
  return decoder.decode(payload, 0, payload.length);
}
