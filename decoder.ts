/**
 * Bytes → message.
 *
 * - Nothing is believed: a size, a count or a depth is checked against what is there before anything
 *   is made of it, and no byte outside of the payload is read.
 * - What arrives is data only: plain objects, made without calling setters.
 * - The names of an object are mostly those of an object before: then it begins as a copy of a
 *   template that has them.
 */
import { ProtocolError } from "./errors.ts";
import {
  ARRAY,
  BIGINT,
  BYTES,
  DATE,
  F32,
  F64,
  FALSE,
  KINDS,
  LONG_SIZE,
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
  STRING,
  TRUE,
  TYPED,
  type TypedArray,
} from "./payload.ts";
import { type Shape, Shapes } from "./shapes.ts";

type PlainObject = Record<string, unknown>;

interface Template extends Shape<Template> {
  readonly names: readonly string[];
  /** Their size and the names. */
  readonly block: Uint8Array;
  readonly template: PlainObject;
  readonly clone: (template: PlainObject) => PlainObject;
}

const NO_BYTES = new Uint8Array(0);
/** Up to this size a text is remembered. */
const KNOWN_MAX = 32;
const KNOWN_SLOTS = 256;
/** Up to this size a text is read byte by byte as long as it is ASCII. */
const ASCII_MAX = 128;
/** Up to this size bytes share a buffer with others. */
const SHARED_MAX = 1024;
const SHARED_BYTES = 8192;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes payloads, one after the other. */
export class Decoder {
  #bytes: Uint8Array = NO_BYTES;
  #at = 0;
  #end = 0;
  readonly #float = new DataView(new ArrayBuffer(8));
  readonly #shapes = new Shapes<Template>();
  readonly #known = new Array<string>(KNOWN_SLOTS).fill("");
  readonly #knownBytes = new Uint8Array(KNOWN_SLOTS * KNOWN_MAX);
  readonly #knownSizes = new Uint8Array(KNOWN_SLOTS);
  readonly #knownHashes = new Int32Array(KNOWN_SLOTS);
  readonly #units: number[][] = [];
  #shared = NO_BYTES;
  #sharedBuffer = NO_BYTES.buffer;
  #sharedAt = 0;

  /**
   * Decodes the payload that stands in `bytes` from `start` to before `end`.
   *
   * @returns A plain object that shares no buffer with `bytes`.
   * @throws {ProtocolError} When the bytes are no payload.
   */
  decode(bytes: Uint8Array, start: number, end: number): Record<string, unknown> {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    try {
      const message = this.#object(0);
      if (this.#at < end) fail("bytes follow the last value");
      return message;
    } finally {
      this.#bytes = NO_BYTES;
    }
  }

  /** The place of the next `count` bytes, which are taken. */
  #take(count: number): number {
    const at = this.#at;
    if (count > this.#end - at) fail("it ends too early");
    this.#at = at + count;
    return at;
  }

  #u8(): number {
    return this.#bytes[this.#take(1)]!;
  }

  #u16(): number {
    const at = this.#take(2);
    return this.#bytes[at]! | this.#bytes[at + 1]! << 8;
  }

  #u32(): number {
    return this.#i32() >>> 0;
  }

  #i32(): number {
    const at = this.#take(4);
    const bytes = this.#bytes;
    return bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24;
  }

  #f32(): number {
    const float = this.#float;
    float.setInt32(0, this.#i32(), true);
    return float.getFloat32(0, true);
  }

  #f64(): number {
    const float = this.#float;
    float.setInt32(0, this.#i32(), true);
    float.setInt32(4, this.#i32(), true);
    return float.getFloat64(0, true);
  }

  #size(): number {
    const size = this.#u8();
    return size === LONG_SIZE ? this.#u32() : size;
  }

  /** A count of values that take at least `least` bytes each, and are at `depth`. */
  #count(least: number, depth: number): number {
    const count = this.#size();
    if (count * least > this.#end - this.#at) fail("it counts more than it has");
    if (depth > MESSAGE_DEPTH_MAX && count > 0) tooDeep();
    return count;
  }

  #copy(): Uint8Array<ArrayBuffer> {
    const size = this.#size();
    const at = this.#take(size);
    return this.#bytes.slice(at, at + size) as Uint8Array<ArrayBuffer>;
  }

  #byteArray(): Uint8Array<ArrayBuffer> {
    const size = this.#size();
    const at = this.#take(size);
    const bytes = this.#bytes;
    if (size > SHARED_MAX) return bytes.slice(at, at + size) as Uint8Array<ArrayBuffer>;
    let start = this.#sharedAt;
    if (start + size > this.#shared.length) {
      this.#shared = new Uint8Array(SHARED_BYTES);
      this.#sharedBuffer = this.#shared.buffer;
      start = 0;
    }
    this.#sharedAt = start + size + 7 & ~7;
    const shared = this.#shared;
    if (size > 48) shared.set(bytes.subarray(at, at + size), start);
    else for (let i = 0; i < size; i++) shared[start + i] = bytes[at + i]!;
    return new Uint8Array(this.#sharedBuffer, start, size);
  }

  #text(size: number): string {
    const at = this.#take(size);
    if (size > KNOWN_MAX) return this.#newText(at, size);
    if (size === 0) return "";
    const bytes = this.#bytes;
    const h = sample(bytes, at, size);
    const slot = h & (KNOWN_SLOTS - 1);
    const known = this.#knownBytes;
    const start = slot * KNOWN_MAX;
    if (this.#knownSizes[slot] === size) {
      let i = 0;
      while (i < size && known[start + i] === bytes[at + i]) i++;
      if (i === size) return this.#known[slot]!;
    }
    const string = this.#newText(at, size);
    if (this.#knownHashes[slot] === h) {
      for (let i = 0; i < size; i++) known[start + i] = bytes[at + i]!;
      this.#knownSizes[slot] = size;
      this.#known[slot] = string;
    } else this.#knownHashes[slot] = h;
    return string;
  }

  #newText(at: number, size: number): string {
    const bytes = this.#bytes;
    if (size <= ASCII_MAX) {
      const units = this.#units[size] ??= new Array(size).fill(0);
      let all = 0;
      for (let i = 0; i < size; i++) {
        const unit = bytes[at + i]!;
        all |= unit;
        units[i] = unit;
      }
      if (all <= 0x7f) return String.fromCharCode.apply(null, units);
    }
    return decodeText(bytes.subarray(at, at + size));
  }

  #object(depth: number): PlainObject {
    const shape = this.#shape();
    if (shape === undefined) return this.#newObject(depth);
    const { names } = shape;
    this.#checkNames(names.length, depth);
    const object = shape.clone(shape.template);
    for (let i = 0; i < names.length; i++) object[names[i]!] = this.#value(depth + 1);
    return object;
  }

  #checkNames(count: number, depth: number): void {
    if (count > this.#end - this.#at) fail("it has more names than values");
    if (depth === MESSAGE_DEPTH_MAX && count > 0) tooDeep();
  }

  #shape(): Template | undefined {
    const shapes = this.#shapes;
    const at = this.#at;
    const likely = shapes.likely;
    let shape = likely;
    if (likely === undefined || !this.#begins(likely.block)) {
      if (at === this.#end) return undefined;
      const size = this.#bytes[at]!;
      if (size === LONG_SIZE || size >= this.#end - at) return undefined;
      shape = shapes.at(hash(this.#bytes, at, at + 1 + size));
      if (shape === undefined || !this.#begins(shape.block)) return undefined;
    }
    shapes.met(shape!);
    this.#at = at + shape!.block.length;
    return shape;
  }

  #begins(block: Uint8Array): boolean {
    const at = this.#at, bytes = this.#bytes;
    if (block.length > this.#end - at) return false;
    for (let i = 0; i < block.length; i++) if (bytes[at + i] !== block[i]) return false;
    return true;
  }

  #newObject(depth: number): PlainObject {
    const start = this.#at;
    const size = this.#size();
    const end = this.#take(size) + size;
    const names: string[] = [];
    for (this.#at = end - size; this.#at < end;) {
      names.push(this.#text(this.#size()));
      if (this.#at > end) fail("a name ends after the names");
    }
    checkDistinct(names);
    this.#checkNames(names.length, depth);
    if (size < LONG_SIZE && end - start === size + 1) {
      const h = hash(this.#bytes, start, end);
      if (this.#shapes.missed(h)) {
        this.#shapes.add(h, shapeOf(names, this.#bytes.slice(start, end), h));
      }
    }
    const object: PlainObject = {};
    for (const name of names) {
      const value = this.#value(depth + 1);
      if (name in Object.prototype) {
        const attributes = { value, enumerable: true, configurable: true, writable: true };
        Object.defineProperty(object, name, attributes);
      } else object[name] = value;
    }
    return object;
  }

  #value(depth: number): unknown {
    const tag = this.#u8();
    if (tag < SHORT_STRING) return tag;
    if (tag <= SHORT_STRING + SHORT_STRING_MAX) return this.#text(tag - SHORT_STRING);
    switch (tag) {
      case NULL:
        return null;
      case FALSE:
        return false;
      case TRUE:
        return true;
      case POSITIVE:
        return this.#u8();
      case POSITIVE + 1:
        return this.#u16();
      case POSITIVE + 2:
        return this.#u32();
      case NEGATIVE:
        return -1 - this.#u8();
      case NEGATIVE + 1:
        return -1 - this.#u16();
      case NEGATIVE + 2:
        return -1 - this.#u32();
      case F32:
        return this.#f32();
      case F64:
        return this.#f64();
      case BIGINT:
        return toBigint(this.#copy());
      case NEGATIVE_BIGINT:
        return -1n - toBigint(this.#copy());
      case STRING:
        return this.#text(this.#size());
      case BYTES:
        return this.#byteArray();
      case TYPED:
        return this.#typedArray();
      case DATE:
        return this.#date();
      case MAP:
        return this.#map(depth);
      case SET:
        return this.#set(depth);
      case ARRAY:
        return this.#array(depth);
      case OBJECT:
        return this.#object(depth);
      default:
        return fail(`the tag ${tag} is not known`);
    }
  }

  #typedArray(): TypedArray {
    const kind = this.#u8();
    const type = KINDS[kind];
    const bytes = this.#copy();
    if (type === undefined) return fail(`the kind ${kind} of typed array is not known here`);
    if (bytes.length % type.BYTES_PER_ELEMENT !== 0) fail("a typed array has a part of an element");
    return new type(bytes.buffer);
  }

  #date(): Date {
    const date = new Date(this.#f64());
    if (Number.isNaN(date.getTime())) fail("a date is invalid");
    return date;
  }

  #map(depth: number): Map<unknown, unknown> {
    const map = new Map<unknown, unknown>();
    for (let count = this.#count(2, depth + 1); count > 0; count--) {
      const key = this.#value(depth + 1);
      if (map.has(key)) fail("a Map has a key twice");
      map.set(key, this.#value(depth + 1));
    }
    return map;
  }

  #set(depth: number): Set<unknown> {
    const set = new Set<unknown>();
    for (let count = this.#count(1, depth + 1); count > 0; count--) {
      const member = this.#value(depth + 1);
      if (set.has(member)) fail("a Set has a member twice");
      set.add(member);
    }
    return set;
  }

  #array(depth: number): unknown[] {
    const array: unknown[] = [];
    for (let count = this.#count(1, depth + 1); count > 0; count--) {
      array.push(this.#value(depth + 1));
    }
    return array;
  }
}

function checkDistinct(names: readonly string[]): void {
  if (names.length < 2) return;
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.size === seen.add(name).size) fail(`the name ${JSON.stringify(name)} comes twice`);
  }
}

function shapeOf(names: readonly string[], block: Uint8Array, hash: number): Template {
  const members = names.map((name) => `${JSON.stringify(name)}:null`);
  const template: PlainObject = JSON.parse(`{${members.join()}}`);
  for (const name of names) template[name] = 0;
  return { names, block, template, clone: CLONES[hash & 15]!, follower: undefined };
}

function toBigint(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  const digits: string[] = new Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    digits[bytes.length - 1 - i] = bytes[i]!.toString(16).padStart(2, "0");
  }
  return BigInt("0x" + digits.join(""));
}

function decodeText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (error) { // TextDecoder's TypeError for bytes that are not UTF-8.
    throw new ProtocolError("Cannot read a message: a text is not UTF-8", { cause: error });
  }
}

/** FNV-1a, 32 bits. */
function hash(bytes: Uint8Array, start: number, end: number): number {
  let h = 0x811c9dc5;
  for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193);
  return h ^ (h >>> 15);
}

function sample(bytes: Uint8Array, at: number, size: number): number {
  let h = Math.imul(size ^ bytes[at]! << 8, 0x01000193);
  h = Math.imul(h ^ bytes[at + (size >> 1)]!, 0x01000193);
  h = Math.imul(h ^ bytes[at + size - 1]!, 0x01000193);
  return h ^ (h >>> 15);
}

function tooDeep(): never {
  fail(`it is nested deeper than ${MESSAGE_DEPTH_MAX}`);
}

function fail(problem: string): never {
  throw new ProtocolError(`Cannot read a message: ${problem}`);
}

/** TODO */
const CLONES: readonly ((template: PlainObject) => PlainObject)[] = [
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
  (template) => ({ ...template }),
];
