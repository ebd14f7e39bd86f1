import type { Output } from "../../codec/codec.ts";

/** Bytes that grow. */
export class Scratch implements Output {
  bytes: Uint8Array<ArrayBuffer>;

  constructor(size = 64) {
    this.bytes = new Uint8Array(size);
  }

  room(at: number, count: number): number {
    if (at + count > this.bytes.length) {
      const bytes = new Uint8Array(2 * (at + count));
      bytes.set(this.bytes.subarray(0, at));
      this.bytes = bytes;
    }
    return at;
  }
}
