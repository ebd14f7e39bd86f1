/**
 * Message ↔ bytes: `Decoder` reads, `Encoder` writes in place, and `encodeMessage()` makes bytes of
 * their own. Each payload can be read on its own; what arrives is data only. `format.ts` describes the
 * bytes.
 */
import { Encoder, type Output } from "./encoder.ts";

export { Decoder } from "./decoder.ts";
export {
  decodedBytes,
  decodedExcess,
  decodedLimit,
  DecodedSize,
  mayTakeTooMuch,
} from "./decoded_bytes.ts";
export { MESSAGE_DEPTH_MAX } from "./format.ts";
export { Encoder, type Output };

/** Room for most messages. */
const BYTES_MIN = 1024;

/** Bytes in a buffer that grows. */
class Growing implements Output {
  bytes = new Uint8Array(BYTES_MIN);

  room(at: number, count: number): number {
    if (at + count > this.bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.bytes.length, at + count));
      larger.set(this.bytes.subarray(0, at));
      this.bytes = larger;
    }
    return at;
  }
}

/**
 * The payload of a message.
 *
 * @param message A plain object.
 * @param limit The most bytes that it may take.
 * @param encoder The encoder; one that knows the names in such messages is faster.
 * @throws {TypeError} If a value cannot be sent; it names the path of the value.
 * @throws {RangeError} If it takes more bytes than `limit`, or too many once it is decoded.
 */
export function encodeMessage(
  message: object,
  limit: number = Infinity,
  encoder: Encoder = new Encoder(),
): Uint8Array<ArrayBuffer> {
  const output = new Growing();
  const end = encoder.encode(message, limit, output, 0);
  return output.bytes.slice(0, end);
}
