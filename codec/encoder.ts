/**
 * Message → bytes, straight into the buffer that is sent.
 *
 * - An object mostly has the same names as one before, in the same order; then their block is copied as
 *   it was written the first time.
 * - Each method takes the place where it writes, and returns the place after that. What is written may
 *   move while room is made, so places that are kept count from the beginning of the payload.
 */
import { NO_BYTES } from "../base/bytes.ts";
import { LONG, sizeLength, writeSize } from "../base/size_prefix.ts";
import { decodedExcess, decodedLimit } from "./decoded_bytes.ts";
import {
  ARRAY,
  BIGINT,
  BYTES,
  DATE,
  F32,
  F64,
  FALSE,
  MAP,
  MESSAGE_DEPTH_MAX,
  NEGATIVE,
  NEGATIVE_BIGINT,
  NULL,
  OBJECT,
  POSITIVE,
  SET,
  SHORT_STRING,
  SHORT_STRING_MAX,
  SMALL_MAX,
  STRING,
  TRUE,
  TYPED,
} from "./format.ts";
import { HiddenMembers } from "./hidden_members.ts";
import {
  bytesOf,
  isOutOfBounds,
  isPlain,
  kindOf,
  sizeOf,
  typedKindOf,
  typeNameOf,
} from "./kinds.ts";
import { type Shape, Shapes } from "./shapes.ts";
import { explainUnreadable, explainUnsendable } from "./unsendable.ts";

/** Bytes that are being written, and may move to a larger buffer meanwhile. */
export interface Output {
  /** Where it is written now. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * Makes room for `count` more bytes from `at` on. What was written so far of the current item may move
   * to another buffer.
   *
   * @returns Where `at` is then.
   */
  room(at: number, count: number): number;
}

/** The names of objects, and how they are written. */
interface Names extends Shape<Names> {
  readonly names: readonly string[];
  /** Their size and the names. */
  readonly block: Uint8Array;
  /** Whether an object is plain; says no if it has no prototype, or a member `constructor`. */
  readonly isPlain: (object: object) => boolean;
}

const NO_NAMES: readonly string[] = [];
/** Wherever a value begins there is room for so many bytes: any value of a fixed size, short texts. */
const VALUE_BYTES = 32;
/** Up to this length, a string is copied unit by unit, as long as it is ASCII. */
const ASCII_MAX = 64;
/** The most bytes of UTF-8 that one unit, or a surrogate pair, takes. */
const UNIT_BYTES_MAX = 4;
/** Up to this length, bytes are copied one by one; a call of `set` costs as much as 20 of them. */
const LOOP_BYTES_MAX = 20;
/**
 * What `#object` returns for what is not a plain object, less the number of its enumerable names; then
 * nothing is written.
 */
const NOT_PLAIN = -1;
/** How many places for members are kept between two messages. */
const MEMBERS_KEPT = 1024;

const utf8 = new TextEncoder();
const { getPrototypeOf } = Object;
const { getTime } = Date.prototype;

/** What the fast pass throws; {@linkcode explainUnsendable} then finds out what is wrong. */
const REFUSED = Symbol("refused");

/** Encodes messages, one after the other. */
export class Encoder {
  #output: Output | undefined;
  #bytes = NO_BYTES;
  #capacity = 0;
  /** Where the payload begins; it moves with what was written of it. */
  #start = 0;
  #limit = 0;
  readonly #shapes = new Shapes<Names>();
  readonly #hidden = new HiddenMembers();
  /** The members of the objects that are being written, those of the innermost last. */
  #members: unknown[] = [];
  #top = 0;
  readonly #scratch = new DataView(new ArrayBuffer(8));
  /** Encodes what a getter publishes meanwhile. */
  #inner: Encoder | undefined;

  /**
   * Encodes a message into `output` from `at` on.
   *
   * @param message A plain object.
   * @param limit The most bytes that it may take.
   * @returns Where it ends, in `output.bytes` as it then is.
   * @throws {TypeError} If a value cannot be sent; it names the path of the value.
   * @throws {RangeError} If it takes more bytes than `limit`, or more memory than
   * {@linkcode decodedLimit} once it is decoded.
   */
  encode(message: object, limit: number, output: Output, at: number): number {
    if (this.#output !== undefined) {
      this.#inner ??= new Encoder();
      return this.#inner.encode(message, limit, output, at);
    }
    this.#output = output;
    const bytes = this.#bytes = output.bytes;
    this.#capacity = bytes.length;
    this.#start = at;
    this.#limit = limit;
    try {
      if (typeof message !== "object" || message === null) throw REFUSED;
      const end = this.#object(message as Record<string, unknown>, at, 0);
      if (end <= NOT_PLAIN) throw REFUSED;
      if (end - this.#start > limit) this.#tooLong(end - this.#start);
      const excess = decodedExcess(this.#bytes, this.#start, end, limit);
      if (excess > 0) this.#tooMuch(excess);
      return end;
    } catch (error) {
      this.#members = [];
      this.#top = 0;
      if (error === REFUSED) throw explainUnsendable(message);
      throw error instanceof RangeError ? error : explainUnreadable(message, error);
    } finally {
      this.#output = undefined;
      this.#bytes = NO_BYTES; // The buffer is not this object's to keep.
      if (this.#members.length > MEMBERS_KEPT) this.#members = [];
    }
  }

  #tooLong(size: number): never {
    throw new RangeError(
      `Cannot send the message: it is at least ${size} bytes (the limit is ${this.#limit}); ` +
        `send less at a time`,
    );
  }

  #tooMuch(excess: number): never {
    throw new RangeError(
      `Cannot send the message: it takes at least ${excess} bytes of memory where it arrives ` +
        `(the limit is ${decodedLimit(this.#limit)}); send less at a time`,
    );
  }

  /** Throws if `count` more bytes are too much, before room is made for them. */
  #check(at: number, count: number): void {
    const size = at - this.#start + count;
    if (size > this.#limit) this.#tooLong(size);
  }

  /** Makes room for `count` more bytes from `at` on; returns where `at` is then. */
  #room(at: number, count: number): number {
    if (at + count <= this.#capacity) return at;
    this.#check(at, 0);
    const output = this.#output!;
    const moved = output.room(at, count);
    this.#start += moved - at;
    this.#bytes = output.bytes;
    this.#capacity = this.#bytes.length;
    return moved;
  }

  /** Writes a plain object, without a tag. */
  #object(object: Record<string, unknown>, at: number, depth: number): number {
    const members = this.#members;
    const first = this.#top;
    let shape = this.#shapes.likely;
    const expected = shape === undefined ? NO_NAMES : shape.names;
    let names: string[] | undefined; // Set if they are not those that were expected.
    let count = 0;
    let left = 0; // Members that are left out.
    const own = isPolluted() ? { __proto__: null, ...object } : object;
    for (const name in own) {
      const member = memberOf(own, name);
      if (member === undefined) {
        left++;
        continue;
      }
      if (names !== undefined) names.push(name);
      else if (name !== expected[count]) (names = expected.slice(0, count)).push(name);
      members[first + count++] = member;
    }
    if (count < expected.length) names ??= expected.slice(0, count);
    if (names !== undefined) shape = this.#known(names);
    const end = first + count;
    if (!(shape !== undefined && shape.isPlain(object)) && !isPlain(object)) {
      members.fill(undefined, first, end);
      return this.#foreignObject(object, count + left, at, depth);
    }
    if (this.#hidden.inObject(object, count + left, shape === undefined)) throw REFUSED;
    if (depth === MESSAGE_DEPTH_MAX && count > 0) throw REFUSED;
    if (shape === undefined) at = this.#names(names ?? [], at);
    else {
      this.#shapes.met(shape);
      at = this.#raw(shape.block, at);
    }
    this.#top = end;
    for (let i = first; i < end; i++) {
      at = this.#value(members[i], at, depth + 1);
      members[i] = undefined;
    }
    this.#top = first;
    return at;
  }

  /** Writes a plain object of another realm. */
  #foreignObject(object: object, names: number, at: number, depth: number): number {
    if (kindOf(object) !== "Object") return NOT_PLAIN - names;
    if (this.#hidden.inObject(object, Object.keys(object).length, true)) throw REFUSED;
    return this.#object({ ...object }, at, depth);
  }

  #known(names: readonly string[]): Names | undefined {
    const shape = this.#shapes.at(hashOf(names));
    return shape !== undefined && isSame(shape.names, names) ? shape : undefined;
  }

  /** Writes an unknown block of names. */
  #names(names: readonly string[], at: number): number {
    if (!names.every((name) => name.isWellFormed())) checkDistinct(names);
    at = this.#room(at, VALUE_BYTES) + 1; // The size comes when it is known.
    const offset = at - this.#start;
    for (const name of names) at = this.#sized(utf8.encode(name), at);
    const size = at - this.#start - offset;
    if (size >= LONG) {
      at = this.#room(at, 4);
      const start = this.#start + offset;
      this.#bytes.copyWithin(start + 4, start, at);
      this.#size(size, start - 1);
      return at + 4;
    }
    const start = this.#start + offset - 1;
    this.#bytes[start] = size;
    const h = hashOf(names);
    if (this.#shapes.missed(h)) {
      const block = this.#bytes.slice(start, at);
      this.#shapes.add(h, { names, block, isPlain: IS_PLAIN[h & 15]!, follower: undefined });
    }
    return at;
  }

  /** Writes a value behind its tag. */
  #value(value: unknown, at: number, depth: number): number {
    if (at + VALUE_BYTES > this.#capacity) at = this.#room(at, VALUE_BYTES);
    const bytes = this.#bytes;
    switch (typeof value) {
      case "string": {
        const { length } = value;
        if (length > SHORT_STRING_MAX) return this.#string(value, at);
        bytes[at] = SHORT_STRING + length;
        for (let i = 0; i < length; i++) {
          const unit = value.charCodeAt(i);
          if (unit > 0x7f) return this.#text(value, at);
          bytes[at + 1 + i] = unit;
        }
        return at + 1 + length;
      }
      case "number": {
        const integer = value | 0;
        if (integer !== value || (integer === 0 && Object.is(value, -0))) {
          return this.#number(value, at);
        }
        if (integer < 0) return this.#integer(NEGATIVE, -1 - integer, at);
        if (integer > SMALL_MAX) return this.#integer(POSITIVE, integer, at);
        bytes[at] = integer;
        return at + 1;
      }
      case "object":
        return value === null ? this.#byte(NULL, at) : this.#compound(value, at, depth);
      case "boolean":
        return this.#byte(value ? TRUE : FALSE, at);
      case "bigint":
        return this.#bigint(value, at);
      default:
        throw REFUSED;
    }
  }

  #byte(byte: number, at: number): number {
    this.#bytes[at] = byte;
    return at + 1;
  }

  #u32(value: number, at: number): number {
    const bytes = this.#bytes;
    bytes[at] = value;
    bytes[at + 1] = value >>> 8;
    bytes[at + 2] = value >>> 16;
    bytes[at + 3] = value >>> 24;
    return at + 4;
  }

  #size(size: number, at: number): number {
    return writeSize(this.#bytes, at, size);
  }

  /** Copies bytes, without their size. */
  #raw(bytes: Uint8Array, at: number, length = bytes.length): number {
    at = this.#room(at, length);
    const target = this.#bytes;
    if (length > LOOP_BYTES_MAX) target.set(bytes, at);
    else for (let i = 0; i < length; i++) target[at + i] = bytes[i]!;
    return at + length;
  }

  /** Writes a number that is not a signed 32-bit integer. */
  #number(value: number, at: number): number {
    if (value >>> 0 === value && value !== 0) return this.#integer(POSITIVE, value, at);
    const rest = -1 - value;
    if (rest >>> 0 === rest) return this.#integer(NEGATIVE, rest, at);
    if (Math.fround(value) !== value && !Number.isNaN(value)) {
      return this.#f64(value, this.#byte(F64, at));
    }
    this.#scratch.setFloat32(0, value, true);
    return this.#u32(this.#scratch.getUint32(0, true), this.#byte(F32, at));
  }

  #f64(value: number, at: number): number {
    const float = this.#scratch;
    float.setFloat64(0, value, true);
    at = this.#u32(float.getUint32(0, true), at);
    return this.#u32(float.getUint32(4, true), at);
  }

  #integer(tag: number, value: number, at: number): number {
    const bytes = this.#bytes;
    if (value <= 0xff) {
      bytes[at] = tag;
      bytes[at + 1] = value;
      return at + 2;
    }
    if (value <= 0xffff) {
      bytes[at] = tag + 1;
      bytes[at + 1] = value;
      bytes[at + 2] = value >>> 8;
      return at + 3;
    }
    bytes[at] = tag + 2;
    return this.#u32(value, at + 1);
  }

  /** Writes a string that is too long for its size to be in the tag. */
  #string(string: string, at: number): number {
    const { length } = string;
    if (length > ASCII_MAX) return this.#text(string, at);
    at = this.#room(at, 2 + length);
    const bytes = this.#bytes;
    bytes[at] = STRING;
    bytes[at + 1] = length;
    for (let i = 0; i < length; i++) {
      const unit = string.charCodeAt(i);
      if (unit > 0x7f) return this.#text(string, at);
      bytes[at + 2 + i] = unit;
    }
    return at + 2 + length;
  }

  /** Writes a string that is long or not ASCII. */
  #text(string: string, at: number): number {
    const { length } = string;
    this.#check(at, length);
    const header = stringHeader(length);
    const target = this.#bytes.subarray(at + header);
    const room = target.length - UNIT_BYTES_MAX;
    // The room that is left shows whether all was written: for a text that does not fit, Deno 2.6
    // reports more units than it wrote.
    const size = length <= room ? utf8.encodeInto(string, target).written : Infinity;
    if (size > room) return this.#utf8(utf8.encode(string), at);
    const actual = stringHeader(size);
    if (actual !== header) {
      at = this.#room(at + header + size, actual - header) - header - size;
      this.#bytes.copyWithin(at + actual, at + header, at + header + size);
    }
    if (size <= SHORT_STRING_MAX) this.#bytes[at] = SHORT_STRING + size;
    else this.#size(size, this.#byte(STRING, at));
    return at + actual + size;
  }

  /** Writes a string that is UTF-8 already. */
  #utf8(bytes: Uint8Array, at: number): number {
    const { length } = bytes;
    if (length > SHORT_STRING_MAX) return this.#sized(bytes, this.#byte(STRING, at));
    return this.#raw(bytes, this.#byte(SHORT_STRING + length, at));
  }

  #bigint(value: bigint, at: number): number {
    at = this.#byte(value < 0n ? NEGATIVE_BIGINT : BIGINT, at);
    const hex = (value < 0n ? -1n - value : value).toString(16);
    const length = hex === "0" ? 0 : Math.ceil(hex.length / 2);
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const end = hex.length - 2 * i;
      bytes[i] = parseInt(hex.slice(Math.max(0, end - 2), end), 16);
    }
    return this.#sized(bytes, at);
  }

  /** Copies bytes behind their size. */
  #sized(bytes: Uint8Array, at: number, length = bytes.length): number {
    this.#check(at, length);
    at = this.#room(at, 5 + length);
    return this.#raw(bytes, this.#size(length, at), length);
  }

  #compound(value: object, at: number, depth: number): number {
    if (ArrayBuffer.isView(value)) return this.#view(value, at);
    if (Array.isArray(value)) return this.#array(value, at, depth);
    this.#bytes[at] = OBJECT;
    const end = this.#object(value as Record<string, unknown>, at + 1, depth);
    if (end > NOT_PLAIN) return end;
    const kind = kindOf(value);
    if (kind === undefined || this.#hidden.inOther(value, kind, NOT_PLAIN - end)) throw REFUSED;
    switch (kind) {
      case "Date":
        return this.#date(getTime.call(value), at);
      case "Map":
        return this.#map(value as Map<unknown, unknown>, at, depth);
      default:
        return this.#set(value as Set<unknown>, at, depth);
    }
  }

  /** Writes a typed array: what it is, and not what it says of itself. */
  #view(value: ArrayBufferView, at: number): number {
    const name = typeNameOf(value);
    if (name === "Uint8Array") {
      return this.#sized(value as Uint8Array, this.#byte(BYTES, at), checkedSize(value));
    }
    const kind = typedKindOf(name);
    if (kind < 0) throw REFUSED;
    return this.#sized(bytesOf(value), this.#byte(kind, this.#byte(TYPED, at)), checkedSize(value));
  }

  #array(array: unknown[], at: number, depth: number): number {
    if (!isArray(array) && kindOf(array) === undefined) throw REFUSED;
    const { length } = array;
    if (this.#hidden.inArray(array)) throw REFUSED;
    at = this.#size(length, this.#byte(ARRAY, at));
    if (depth === MESSAGE_DEPTH_MAX && length > 0) throw REFUSED;
    for (let i = 0; i < length; i++) at = this.#value(array[i], at, depth + 1);
    // A getter in a member may change what holds it.
    if (array.length !== length) throw REFUSED;
    return at;
  }

  #date(time: number, at: number): number {
    if (Number.isNaN(time)) throw REFUSED;
    return this.#f64(time, this.#byte(DATE, at));
  }

  #map(map: Map<unknown, unknown>, at: number, depth: number): number {
    const entries = [...map];
    checkDistinct(entries.map(([key]) => key));
    at = this.#size(entries.length, this.#byte(MAP, at));
    if (depth === MESSAGE_DEPTH_MAX && entries.length > 0) throw REFUSED;
    for (const [key, member] of entries) {
      at = this.#value(key, at, depth + 1);
      at = this.#value(member, at, depth + 1);
    }
    return at;
  }

  #set(set: Set<unknown>, at: number, depth: number): number {
    const members = [...set];
    checkDistinct(members);
    at = this.#size(members.length, this.#byte(SET, at));
    if (depth === MESSAGE_DEPTH_MAX && members.length > 0) throw REFUSED;
    for (const member of members) at = this.#value(member, at, depth + 1);
    return at;
  }
}

/** Whether somebody has added enumerable members to Object.prototype. */
function isPolluted(): boolean {
  for (const _ in Object.prototype) return true;
  return false;
}

/** Whether an array is not of a subclass; V8 knows its prototype from the access just before. */
function isArray(array: unknown[]): boolean {
  return (array.constructor === Array && getPrototypeOf(array) === Array.prototype) ||
    getPrototypeOf(array) === Array.prototype;
}

/** How many bytes a typed array has that has not lost its elements. */
function checkedSize(value: ArrayBufferView): number {
  const size = sizeOf(value);
  if (size === 0 && isOutOfBounds(value)) throw REFUSED;
  return size;
}

/** Bytes before the UTF-8 of a string that has `size` bytes. */
function stringHeader(size: number): number {
  return size <= SHORT_STRING_MAX ? 1 : 1 + sizeLength(size);
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Of the length, the first and the last unit of each name. */
function hashOf(names: readonly string[]): number {
  let h = names.length;
  for (const name of names) {
    const { length } = name;
    h = Math.imul(h ^ length ^ name.charCodeAt(0) << 8, 0x01000193);
    h = Math.imul(h ^ name.charCodeAt(length - 1), 0x01000193);
  }
  return h ^ (h >>> 15);
}

/** Refuses values if two of them would arrive as the same string: lone surrogates become U+FFFD. */
function checkDistinct(values: readonly unknown[]): void {
  if (values.every((value) => typeof value !== "string" || value.isWellFormed())) return;
  const arriving = values.map((value) => typeof value === "string" ? value.toWellFormed() : value);
  if (new Set(arriving).size < values.length) throw REFUSED;
}

/**
 * Reads a member in a `for`-`in` loop. With `object[name]` in the loop itself, V8 can compile it for the
 * one name that it first met there, find another one, and begin again, for ever.
 */
function memberOf(object: Record<string, unknown>, name: string): unknown {
  return object[name];
}

/**
 * `isPlain` for the objects of one shape. `Object.getPrototypeOf` takes 16 to 28 ns, unless V8 knows the
 * hidden class of the object from an access just before; and for each place in the source, V8 remembers
 * up to four of them. So there are sixteen copies of the same source; which one a shape uses depends on
 * its names only.
 */
const IS_PLAIN: readonly ((object: object) => boolean)[] = [
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
  (object) => object.constructor === Object && getPrototypeOf(object) === Object.prototype,
];
