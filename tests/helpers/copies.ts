/** How many bytes are copied from one place to another. */

interface Copying {
  set(this: Uint8Array, from: ArrayLike<number>, at?: number): void;
  slice(this: Uint8Array, start?: number, end?: number): Uint8Array;
  copyWithin(this: Uint8Array, to: number, start: number, end?: number): Uint8Array;
}

const prototype: Copying = Object.getPrototypeOf(Uint8Array.prototype);
const { set, slice, copyWithin } = prototype;

/** Counts the bytes that are copied, by whichever array of bytes, until it is disposed. */
export class Copies implements Disposable {
  /** How many there were so far. */
  bytes = 0;

  constructor() {
    const count = (length: number) => void (this.bytes += length);
    prototype.set = function (from, at) {
      count(from.length);
      set.call(this, from, at);
    };
    prototype.slice = function (start, end) {
      const part = slice.call(this, start, end);
      count(part.length);
      return part;
    };
    prototype.copyWithin = function (this: Uint8Array, to, start, end = this.length) {
      count(end - start);
      return copyWithin.call(this, to, start, end);
    };
  }

  [Symbol.dispose](): void {
    Object.assign(prototype, { set, slice, copyWithin });
  }
}

/** Copies bytes without being counted. */
export function put(into: Uint8Array, bytes: Uint8Array): void {
  set.call(into, bytes);
}
