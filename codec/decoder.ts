/**
 * Bytes → message.
 *
 * - Nothing is trusted: a size, a count or a depth is checked against what is there before anything is
 *   made of it, and no byte outside of the payload is read.
 * - What arrives is data only: plain objects, made without calling setters.
 * - An object mostly has the same names as one before; then it begins as a copy of a template that has
 *   them.
 */
import { hash, NO_BYTES, toHex } from "../base/bytes.ts";
import { LONG } from "../base/size_prefix.ts";
import { ProtocolError } from "../errors.ts";
import { BytePool, OWN_IS_CHEAP, ownCopy, RunBytes, VIEW_BYTES_MAX } from "./byte_views.ts";
import { decodedExcess, decodedLimit } from "./decoded_bytes.ts";
import { KINDS, MESSAGE_DEPTH_MAX, type TypedArray } from "./format.ts";
import { HashFloodGuard, WATCHED_MEMBERS_MIN } from "./hash_flooding.ts";
import { PlatformDate } from "./kinds.ts";
import { checkNames, setMember, spareElements } from "./object_names.ts";
import { type Shape, Shapes } from "./shapes.ts";
import { Texts } from "./utf8.ts";

type PlainObject = Record<string, unknown>;

interface Template extends Shape<Template> {
  readonly names: readonly string[];
  /** Their size and the names. */
  readonly block: Uint8Array;
  readonly template: PlainObject;
  readonly clone: (template: PlainObject) => PlainObject;
}

/**
 * So long arrays are made as long as they say; V8 makes room for seventeen when the first element is added.
 * Longer ones grow, as those that are nested could all say that they have what is left.
 */
const EXACT_MAX = 16;
/** V8's limit, 2 ** 30 bits. */
const BIGINT_BYTES_MAX = 2 ** 27 - 1;

/** Decodes payloads, one after the other. */
export class Decoder {
  #bytes: Uint8Array = NO_BYTES;
  #at = 0;
  #end = 0;
  readonly #float = new DataView(new ArrayBuffer(8));
  readonly #shapes = new Shapes<Template>();
  readonly #texts = new Texts();
  readonly #floodGuard = new HashFloodGuard();
  readonly #pool = new BytePool();
  readonly #run = new RunBytes();

  /**
   * Decodes the payload in `bytes` from `start` to before `end`.
   *
   * @param limit The most bytes that a payload may have; it also bounds the memory that the message may
   * take, by {@linkcode decodedLimit}.
   * @returns A plain object that shares no buffer with `bytes`.
   * @throws {ProtocolError} If the bytes are not a valid payload, or the message takes too much.
   */
  decode(
    bytes: Uint8Array,
    start: number,
    end: number,
    limit: number = Infinity,
  ): Record<string, unknown> {
    const excess = decodedExcess(bytes, start, end, limit);
    if (excess > 0) {
      fail(`it takes at least ${excess} bytes of memory (the limit is ${decodedLimit(limit)})`);
    }
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#floodGuard.reset();
    try {
      const message = this.#object(0);
      if (this.#at < end) fail("bytes follow the last value");
      return message;
    } finally {
      this.#bytes = NO_BYTES; // The buffer is not this object's to keep.
    }
  }

  /**
   * Begins a run: decodes payloads one after the other from `bytes`, which stay as they are from `start`
   * to before `end` until {@linkcode Decoder.endRun}. So short byte arrays can be copied many at a time.
   */
  beginRun(bytes: Uint8Array, start: number, end: number): void {
    this.#run.begin(bytes, start, end);
  }

  /** Ends the run. */
  endRun(): void {
    this.#run.end();
  }

  /** Takes the next `count` bytes; returns where they are. */
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
    return size === LONG ? this.#u32() : size;
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
    if (size > VIEW_BYTES_MAX || OWN_IS_CHEAP) return ownCopy(bytes, at, size);
    return bytes === this.#run.bytes ? this.#run.copy(at, size) : this.#pool.copy(bytes, at, size);
  }

  #text(size: number): string {
    const at = this.#take(size);
    return this.#texts.read(this.#bytes, at, size);
  }

  #object(depth: number): PlainObject {
    const shape = this.#shape();
    if (shape === undefined) return this.#newObject(depth);
    const { names } = shape;
    this.#checkCount(names.length, depth);
    const object = shape.clone(shape.template);
    for (let i = 0; i < names.length; i++) object[names[i]!] = this.#value(depth + 1);
    return object;
  }

  #checkCount(count: number, depth: number): void {
    if (count > this.#end - this.#at) fail("it has more names than values");
    if (depth === MESSAGE_DEPTH_MAX && count > 0) tooDeep();
  }

  /** Takes a block of names, if it is a known one. */
  #shape(): Template | undefined {
    const at = this.#at;
    let shape = this.#shapes.likely;
    if (shape === undefined || !this.#isNext(shape.block)) {
      const end = at + 1 + (at < this.#end ? this.#bytes[at]! : 0); // A longer block is not known.
      if (end > this.#end) return undefined;
      shape = this.#shapes.at(hash(this.#bytes, at, end));
      if (shape === undefined || !this.#isNext(shape.block)) return undefined;
    }
    this.#shapes.met(shape);
    this.#at = at + shape.block.length;
    return shape;
  }

  #isNext(block: Uint8Array): boolean {
    const bytes = this.#bytes, at = this.#at;
    if (block.length > this.#end - at) return false;
    for (let i = 0; i < block.length; i++) if (bytes[at + i] !== block[i]) return false;
    return true;
  }

  /** An object of an unknown shape. */
  #newObject(depth: number): PlainObject {
    const start = this.#at;
    const size = this.#size();
    const end = this.#take(size) + size;
    const names: string[] = [];
    for (this.#at = end - size; this.#at < end;) {
      names.push(this.#text(this.#size()));
      if (this.#at > end) fail("a name ends after the names");
    }
    this.#checkCount(names.length, depth);
    const object: PlainObject = {};
    const isSparse = spareElements(names, object);
    checkNames(names, object, this.#floodGuard);
    // A copy of a template would have room for all elements between.
    if (end - start === size + 1 && !isSparse) {
      const h = hash(this.#bytes, start, end);
      if (this.#shapes.missed(h)) {
        this.#shapes.add(h, templateOf(names, this.#bytes.slice(start, end), CLONES[h & 15]!));
      }
    }
    for (const name of names) setMember(object, name, this.#value(depth + 1));
    return object;
  }

  /** The next value; tags are literal numbers here, so that V8 makes a jump table. */
  #value(depth: number): unknown {
    const tag = this.#u8();
    if (tag < 0x80) return tag;
    if (tag < 0xa0) return this.#text(tag - 0x80);
    switch (tag) {
      case 0xa0:
        return null;
      case 0xa1:
        return false;
      case 0xa2:
        return true;
      case 0xa3:
        return this.#u8();
      case 0xa4:
        return this.#u16();
      case 0xa5:
        return this.#u32();
      case 0xa6:
        return -1 - this.#u8();
      case 0xa7:
        return -1 - this.#u16();
      case 0xa8:
        return -1 - this.#u32();
      case 0xaa:
        return this.#f32();
      case 0xab:
        return this.#f64();
      case 0xac:
        return toBigint(this.#copy());
      case 0xad:
        return -1n - toBigint(this.#copy());
      case 0xae:
        return this.#text(this.#size());
      case 0xaf:
        return this.#byteArray();
      case 0xb0:
        return this.#typedArray();
      case 0xb1:
        return this.#date();
      case 0xb2:
        return this.#map(depth);
      case 0xb3:
        return this.#set(depth);
      case 0xb4:
        return this.#array(depth);
      case 0xb5:
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
    const date = new PlatformDate(this.#f64());
    if (Number.isNaN(date.getTime())) fail("a date is invalid");
    return date;
  }

  #map(depth: number): Map<unknown, unknown> {
    const map = new Map<unknown, unknown>();
    const count = this.#count(2, depth + 1);
    const keys: unknown[] = [];
    const values: unknown[] = [];
    for (let i = 0; i < count; i++) {
      keys.push(this.#value(depth + 1));
      values.push(this.#value(depth + 1));
    }
    this.#addAll(count, (i) => map.set(keys[i], values[i]));
    if (map.size < count) fail("a Map has a key twice");
    return map;
  }

  #set(depth: number): Set<unknown> {
    const set = new Set<unknown>();
    const count = this.#count(1, depth + 1);
    const members: unknown[] = [];
    for (let i = 0; i < count; i++) members.push(this.#value(depth + 1));
    this.#addAll(count, (i) => set.add(members[i]));
    if (set.size < count) fail("a Set has a member twice");
    return set;
  }

  #addAll(count: number, add: (index: number) => void): void {
    if (count >= WATCHED_MEMBERS_MIN) this.#floodGuard.addAll(count, add);
    else for (let i = 0; i < count; i++) add(i);
  }

  #array(depth: number): unknown[] {
    const count = this.#count(1, depth + 1);
    if (count <= EXACT_MAX) {
      const array = new Array<unknown>(count);
      for (let i = 0; i < count; i++) array[i] = this.#value(depth + 1);
      return array;
    }
    const array: unknown[] = [];
    for (let i = 0; i < count; i++) array.push(this.#value(depth + 1));
    return array;
  }
}

/** Makes a shape of names. As JSON, its template has own properties only, even for `__proto__`. */
function templateOf(
  names: readonly string[],
  block: Uint8Array,
  clone: Template["clone"],
): Template {
  const members = names.map((name) => `${JSON.stringify(name)}:null`);
  const template: PlainObject = JSON.parse(`{${members.join()}}`);
  // After null and a number, V8 expects any value here.
  for (const name of names) template[name] = 0;
  return { names, block, template, clone, follower: undefined };
}

/** The number that these bytes stand for; reverses the bytes. */
function toBigint(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  if (bytes.length > BIGINT_BYTES_MAX) fail(`a bigint has more than ${BIGINT_BYTES_MAX} bytes`);
  return BigInt("0x" + toHex(bytes.reverse()));
}

function tooDeep(): never {
  fail(`it is nested deeper than ${MESSAGE_DEPTH_MAX}`);
}

function fail(problem: string): never {
  throw new ProtocolError(`Cannot read a message: ${problem}`);
}

/**
 * Copies of a template. For each place in the source, V8 remembers up to four hidden classes; with more,
 * a copy takes 120 ns instead of 25. So there are sixteen copies of the same source; which one a shape
 * uses depends on its names only.
 */
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
