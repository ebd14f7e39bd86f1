/**
 * Message ↔ bytes. Each payload can be read on its own; what arrives is data only.
 *
 * ```
 * payload = object     nothing follows the last value
 * object  = size of the names · for each name: size, UTF-8 · the values, in the order of the names
 * value   = tag u8 · what the tag says
 * size    = one byte 0…254, or 255 and a u32          all numbers are little endian
 * ```
 *
 * | tag       | value                        | tag  | value                                  |
 * |-----------|------------------------------|------|----------------------------------------|
 * | 0x00–0x7f | the integer 0 to 127         | 0xab | f64                                    |
 * | 0x80–0x9f | a string of 0 to 31 bytes    | 0xac | bigint ≥ 0: size, magnitude            |
 * | 0xa0      | null                         | 0xad | bigint −1 − n: size, n                 |
 * | 0xa1 0xa2 | false, true                  | 0xae | string: size, UTF-8                    |
 * | 0xa3–0xa5 | an integer n: u8, u16, u32   | 0xaf | Uint8Array: size, bytes                |
 * | 0xa6–0xa8 | −1 − n: u8, u16, u32         | 0xb0 | typed array: kind u8, size, bytes      |
 * | 0xa9      | (not used)                   | 0xb1 | Date: f64, ms since 1970               |
 * | 0xaa      | f32, where that is exact     | 0xb2 | Map: count as size, keys and values    |
 * |           |                              | 0xb3 | Set: count as size, values             |
 * |           |                              | 0xb4 | array: count as size, values           |
 * |           |                              | 0xb5 | object                                 |
 */
import { ProtocolError } from "./errors.ts";

/** How deep values may be nested; the message itself is at depth 0. */
export const MESSAGE_DEPTH_MAX = 64;

const NULL = 0xa0, FALSE = 0xa1, TRUE = 0xa2, POSITIVE = 0xa3, NEGATIVE = 0xa6;
const F32 = 0xaa, F64 = 0xab, BIGINT = 0xac, NEGATIVE_BIGINT = 0xad, STRING = 0xae;
const BYTES = 0xaf, TYPED = 0xb0, DATE = 0xb1, MAP = 0xb2, SET = 0xb3, ARRAY = 0xb4, OBJECT = 0xb5;
const SHORT_STRING = 0x80;
const SHORT_STRING_MAX = 31;
const LONG_SIZE = 255;
const NO_BYTES = new Uint8Array(0);
const BUFFER_BYTES = 1024;
const BUFFER_BYTES_KEPT = 64 * 1024;
/** Up to this length a string is copied unit by unit as long as it is ASCII. */
const ASCII_MAX = 24;

type TypedArray = Exclude<ArrayBufferView, DataView> & { readonly BYTES_PER_ELEMENT: number };
type TypedArrayConstructor = new (buffer: ArrayBuffer) => TypedArray;

/** Typed arrays by their kind on the wire; some runtimes have no Float16Array. */
const KINDS: readonly (TypedArrayConstructor | undefined)[] = [
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  (globalThis as { Float16Array?: TypedArrayConstructor }).Float16Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
];

const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What the fast pass throws; {@linkcode explain} then finds the words. */
const REFUSED = Symbol("refused");

/** Bytes that are being written, and may move to a larger buffer meanwhile. */
export interface Output {
  /** Where it is written now. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * Makes room for `count` more bytes from `at` on. What was written so far of the current item may
   * move to another place in another buffer.
   *
   * @returns Where `at` is then.
   */
  room(at: number, count: number): number;
}

/** An {@linkcode Output} that holds one item and is used again for the next. */
export class Scratch implements Output {
  #bytes = new Uint8Array(BUFFER_BYTES);

  /** Where it is written now. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Makes room for `count` more bytes from `at` on; `at` stays. */
  room(at: number, count: number): number {
    const wanted = at + count;
    if (wanted > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(wanted, 2 * this.#bytes.length));
      bytes.set(this.#bytes.subarray(0, at));
      this.#bytes = bytes;
    }
    return at;
  }

  /** Lets go of a large buffer. */
  rest(): void {
    if (this.#bytes.length > BUFFER_BYTES_KEPT) this.#bytes = new Uint8Array(BUFFER_BYTES);
  }
}

/** Encodes messages, one after the other. */
export class Encoder {
  #output: Output | undefined;
  #bytes = NO_BYTES;
  #view = new DataView(NO_BYTES.buffer);
  /** Where the payload begins; it moves with what was written of it. */
  #start = 0;
  #at = 0;
  #limit = 0;

  /**
   * Encodes a message into `output` from `at` on.
   *
   * @param message A plain object.
   * @param limit The most bytes that it may take.
   * @returns Where it ends, in `output.bytes` as it then is.
   * @throws {TypeError} When a value cannot be sent; it names the path of the value.
   * @throws {RangeError} When it takes more bytes than `limit`.
   */
  encode(message: object, limit: number, output: Output, at: number): number {
    // A getter in the message may publish in turn.
    if (this.#output !== undefined) return new Encoder().encode(message, limit, output, at);
    this.#output = output;
    this.#use(output.bytes);
    this.#start = this.#at = at;
    this.#limit = limit;
    try {
      if (!isPlain(message)) throw REFUSED;
      this.#object(message, 0);
      this.#checkLimit();
      return this.#at;
    } catch (error) {
      if (error === REFUSED) throw explain(message);
      throw error;
    } finally {
      this.#output = undefined;
    }
  }

  #use(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#bytes === bytes) return;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #checkLimit(): void {
    if (this.#at - this.#start > this.#limit) this.#tooLong(this.#at - this.#start);
  }

  #tooLong(size: number): never {
    throw new RangeError(
      `Cannot send the message: it is at least ${size} bytes, limit is ${this.#limit}; ` +
        `send less at a time`,
    );
  }

  /** Makes room for `count` more bytes; what was written may move. */
  #room(count: number): void {
    if (this.#at + count <= this.#bytes.length) return;
    this.#checkLimit();
    const output = this.#output!;
    const at = output.room(this.#at, count);
    this.#start += at - this.#at;
    this.#at = at;
    this.#use(output.bytes);
  }

  #byte(value: number): void {
    this.#room(1);
    this.#bytes[this.#at++] = value;
  }

  #size(size: number): void {
    this.#room(5);
    if (size < LONG_SIZE) this.#bytes[this.#at++] = size;
    else {
      this.#bytes[this.#at] = LONG_SIZE;
      this.#view.setUint32(this.#at + 1, size, true);
      this.#at += 5;
    }
  }

  #raw(bytes: Uint8Array): void {
    if (bytes.length > this.#limit) this.#tooLong(bytes.length);
    this.#size(bytes.length);
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #object(value: object, depth: number): void {
    const members: unknown[] = [];
    this.#byte(0); // The size of the names, when it is known.
    const offset = this.#at - this.#start;
    let isWellFormed = true;
    const names = Object.keys(value);
    for (const name of names) {
      const member = (value as Record<string, unknown>)[name];
      members.push(member);
      if (member === undefined) continue;
      isWellFormed &&= name.isWellFormed();
      this.#name(name);
    }
    if (!isWellFormed) checkDistinct(names.filter((_, i) => members[i] !== undefined));
    const size = this.#at - this.#start - offset;
    if (size < LONG_SIZE) this.#bytes[this.#start + offset - 1] = size;
    else {
      this.#room(4);
      const names = this.#start + offset;
      this.#bytes.copyWithin(names + 4, names, this.#at);
      this.#bytes[names - 1] = LONG_SIZE;
      this.#view.setUint32(names, size, true);
      this.#at += 4;
    }
    for (const member of members) {
      if (member !== undefined) this.#value(member, depth + 1);
    }
  }

  #name(name: string): void {
    if (this.#ascii(name, 1)) {
      this.#bytes[this.#at - name.length - 1] = name.length;
    } else this.#raw(utf8.encode(name));
  }

  /** Writes a short ASCII text after `header` bytes that are left free; whether it was one. */
  #ascii(string: string, header: number): boolean {
    const { length } = string;
    if (length > ASCII_MAX) return false;
    this.#room(header + length);
    const at = this.#at + header;
    for (let i = 0; i < length; i++) {
      const unit = string.charCodeAt(i);
      if (unit > 0x7f) return false;
      this.#bytes[at + i] = unit;
    }
    this.#at = at + length;
    return true;
  }

  #string(string: string): void {
    if (this.#ascii(string, 1)) {
      this.#bytes[this.#at - string.length - 1] = SHORT_STRING + string.length;
      return;
    }
    if (string.length > this.#limit) this.#tooLong(string.length);
    const bytes = utf8.encode(string);
    if (bytes.length <= SHORT_STRING_MAX) {
      this.#room(1 + bytes.length);
      this.#bytes[this.#at] = SHORT_STRING + bytes.length;
      this.#bytes.set(bytes, this.#at + 1);
      this.#at += 1 + bytes.length;
    } else {
      this.#byte(STRING);
      this.#raw(bytes);
    }
  }

  #number(value: number): void {
    this.#room(9);
    if (Number.isInteger(value) && !Object.is(value, -0)) {
      if (value >= 0 && value <= 0x7f) {
        this.#bytes[this.#at++] = value;
        return;
      }
      const rest = value < 0 ? -1 - value : value;
      if (rest <= 0xffffffff) return this.#integer(value < 0 ? NEGATIVE : POSITIVE, rest);
    }
    if (Object.is(Math.fround(value), value)) {
      this.#bytes[this.#at] = F32;
      this.#view.setFloat32(this.#at + 1, value, true);
      this.#at += 5;
    } else {
      this.#bytes[this.#at] = F64;
      this.#view.setFloat64(this.#at + 1, value, true);
      this.#at += 9;
    }
  }

  #integer(tag: number, value: number): void {
    const at = this.#at;
    if (value <= 0xff) {
      this.#bytes[at] = tag;
      this.#bytes[at + 1] = value;
      this.#at += 2;
    } else if (value <= 0xffff) {
      this.#bytes[at] = tag + 1;
      this.#view.setUint16(at + 1, value, true);
      this.#at += 3;
    } else {
      this.#bytes[at] = tag + 2;
      this.#view.setUint32(at + 1, value, true);
      this.#at += 5;
    }
  }

  #bigint(value: bigint): void {
    this.#byte(value < 0n ? NEGATIVE_BIGINT : BIGINT);
    const hex = (value < 0n ? -1n - value : value).toString(16);
    const length = hex === "0" ? 0 : Math.ceil(hex.length / 2);
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const end = hex.length - 2 * i;
      bytes[i] = parseInt(hex.slice(Math.max(0, end - 2), end), 16);
    }
    this.#raw(bytes);
  }

  #value(value: unknown, depth: number): void {
    this.#checkLimit();
    if (depth > MESSAGE_DEPTH_MAX) throw REFUSED;
    switch (typeof value) {
      case "string":
        return this.#string(value);
      case "number":
        return this.#number(value);
      case "boolean":
        return this.#byte(value ? TRUE : FALSE);
      case "bigint":
        return this.#bigint(value);
      case "object":
        return value === null ? this.#byte(NULL) : this.#compound(value, depth);
      default:
        throw REFUSED;
    }
  }

  #compound(value: object, depth: number): void {
    if (isPlain(value)) {
      this.#byte(OBJECT);
      return this.#object(value, depth);
    }
    if (ArrayBuffer.isView(value)) return this.#typedArray(value);
    if (!isGenuine(value)) throw REFUSED;
    switch (Object.getPrototypeOf(value)) {
      case Array.prototype: {
        const array = value as unknown[];
        const { length } = array;
        this.#byte(ARRAY);
        this.#size(length);
        for (let i = 0; i < length; i++) this.#value(array[i], depth + 1);
        // A getter in a member may change what holds it.
        if (array.length !== length) throw REFUSED;
        return;
      }
      case Date.prototype:
        return this.#date((value as Date).getTime());
      case Map.prototype: {
        const entries = [...value as Map<unknown, unknown>];
        checkDistinct(entries.map(([key]) => key));
        this.#byte(MAP);
        this.#size(entries.length);
        for (const [key, member] of entries) {
          this.#value(key, depth + 1);
          this.#value(member, depth + 1);
        }
        return;
      }
      case Set.prototype: {
        const members = [...value as Set<unknown>];
        checkDistinct(members);
        this.#byte(SET);
        this.#size(members.length);
        for (const member of members) this.#value(member, depth + 1);
        return;
      }
      default:
        throw REFUSED;
    }
  }

  #date(time: number): void {
    if (Number.isNaN(time)) throw REFUSED;
    this.#room(9);
    this.#bytes[this.#at] = DATE;
    this.#view.setFloat64(this.#at + 1, time, true);
    this.#at += 9;
  }

  #typedArray(value: ArrayBufferView): void {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    if (value instanceof Uint8Array) {
      this.#byte(BYTES);
      return this.#raw(bytes);
    }
    const kind = KINDS.findIndex((type) => type !== undefined && value instanceof type);
    if (kind < 0) throw REFUSED;
    this.#byte(TYPED);
    this.#byte(kind);
    this.#raw(bytes);
  }
}

/** Refuses values of which two would arrive as the same string: lone surrogates become U+FFFD. */
function checkDistinct(values: readonly unknown[]): void {
  if (values.every((value) => typeof value !== "string" || value.isWellFormed())) return;
  const arriving = values.map((value) => typeof value === "string" ? value.toWellFormed() : value);
  if (new Set(arriving).size < values.length) throw REFUSED;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Finds the value for which a message was refused. */
function explain(message: unknown): TypeError {
  const found = isPlain(message)
    ? findRefused(message, "message", [])
    : { path: "message", problem: `is ${describe(message)}, it must be a plain object` };
  const { path, problem } = found ?? { path: "message", problem: "changed while it was sent" };
  return new TypeError(`Cannot send ${path}: it ${problem}`);
}

function findRefused(
  value: unknown,
  path: string,
  parents: readonly unknown[],
): { path: string; problem: string } | undefined {
  const sendable = `send plain objects, arrays, Map, Set, Date, typed arrays or simple values`;
  if (parents.length > MESSAGE_DEPTH_MAX) {
    return { path, problem: `is nested deeper than ${MESSAGE_DEPTH_MAX}, send it in parts` };
  }
  if (value === undefined) return { path, problem: "is undefined, send null or leave it out" };
  if (typeof value === "function" || typeof value === "symbol") {
    return { path, problem: `is a ${typeof value}, ${sendable}` };
  }
  if (typeof value !== "object" || value === null) return undefined;
  if (parents.includes(value)) return { path, problem: "is part of a cycle, send a tree" };
  if (!isSendable(value)) return { path, problem: `is ${describe(value)}, ${sendable}` };
  if (value instanceof Date && Number.isNaN(value.getTime())) {
    return { path, problem: "is an invalid date" };
  }
  const texts = new Set<string>();
  for (const [childPath, child, text] of childrenOf(value, path)) {
    if (typeof text === "string" && texts.size === texts.add(text.toWellFormed()).size) {
      const what = isPlain(value) ? "has the name of" : "is the same as";
      return { path: childPath, problem: `${what} another once lone surrogates are U+FFFD` };
    }
    const found = findRefused(child, childPath, [...parents, value]);
    if (found !== undefined) return found;
  }
}

function isSendable(value: object): boolean {
  if (ArrayBuffer.isView(value)) return !((value as unknown) instanceof DataView);
  return isPlain(value) || isGenuine(value);
}

/** Whether a value is an array, a `Date`, a `Map` or a `Set`, and does not only look like one. */
function isGenuine(value: object): boolean {
  try {
    switch (Object.getPrototypeOf(value)) {
      case Array.prototype:
        return Array.isArray(value);
      case Date.prototype:
        Date.prototype.getTime.call(value);
        return true;
      case Map.prototype:
        Map.prototype.has.call(value, undefined);
        return true;
      case Set.prototype:
        Set.prototype.has.call(value, undefined);
        return true;
      default:
        return false;
    }
  } catch (error) { // The TypeError of a method that is called on something else.
    if (!(error instanceof TypeError)) throw error;
    return false;
  }
}

/** The path of each child, the child, and what must not come twice in one parent. */
function* childrenOf(value: object, path: string): Generator<[string, unknown, unknown?]> {
  if (isPlain(value)) {
    for (const [name, member] of Object.entries(value)) {
      if (member === undefined) continue;
      const plain = /^[A-Za-z_$][\w$]*$/.test(name);
      yield [plain ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`, member, name];
    }
  } else if (Array.isArray(value)) {
    for (const [i, member] of value.entries()) yield [`${path}[${i}]`, member];
  } else if (value instanceof Map) {
    for (const [key, member] of value) {
      yield [`a key of ${path}`, key, key];
      yield [`${path}.get(${describe(key)})`, member];
    }
  } else if (value instanceof Set) {
    for (const member of value) yield [`a member of ${path}`, member, member];
  }
}

function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value) && isGenuine(value)) return "an array";
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" ? `of class ${name}` : "an object";
}

/** Decodes payloads, one after the other. */
export class Decoder {
  #bytes: Uint8Array = NO_BYTES;
  #view = new DataView<ArrayBufferLike>(NO_BYTES.buffer);
  #at = 0;
  #end = 0;

  /**
   * Decodes the payload that stands in `bytes` from `start` to before `end`.
   *
   * @returns A plain object that shares no buffer with `bytes`.
   * @throws {ProtocolError} When the bytes are no payload.
   */
  decode(bytes: Uint8Array, start: number, end: number): Record<string, unknown> {
    if (this.#bytes !== bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    this.#at = start;
    this.#end = end;
    const message = this.#object(0);
    if (this.#at < end) fail("bytes follow the last value");
    return message;
  }

  /** The place of the next `count` bytes, which are taken. */
  #take(count: number): number {
    const at = this.#at;
    if (count > this.#end - at) fail("it ends too early");
    this.#at = at + count;
    return at;
  }

  #byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  #size(): number {
    const size = this.#byte();
    return size === LONG_SIZE ? this.#view.getUint32(this.#take(4), true) : size;
  }

  /** A count of values that take at least `least` bytes each. */
  #count(least: number): number {
    const count = this.#size();
    if (count * least > this.#end - this.#at) fail("it counts more than it has");
    return count;
  }

  #copy(): Uint8Array<ArrayBuffer> {
    const size = this.#size();
    const at = this.#take(size);
    return this.#bytes.slice(at, at + size) as Uint8Array<ArrayBuffer>;
  }

  #string(size: number): string {
    const at = this.#take(size);
    if (size <= ASCII_MAX) {
      let string = "";
      for (let i = at; i < this.#at; i++) {
        const unit = this.#bytes[i]!;
        if (unit > 0x7f) return decodeText(this.#bytes.subarray(at, this.#at));
        string += String.fromCharCode(unit);
      }
      return string;
    }
    return decodeText(this.#bytes.subarray(at, this.#at));
  }

  #object(depth: number): Record<string, unknown> {
    const size = this.#size();
    const end = this.#take(size) + size;
    const names: string[] = [];
    for (this.#at = end - size; this.#at < end;) {
      names.push(this.#string(this.#size()));
      if (this.#at > end) fail("a name ends after the names");
    }
    if (names.length > this.#end - end) fail("it has more names than values");
    const object: Record<string, unknown> = {};
    for (const name of names) {
      if (Object.hasOwn(object, name)) fail(`the name ${JSON.stringify(name)} comes twice`);
      const value = this.#value(depth + 1);
      if (name in Object.prototype) {
        const attributes = { value, enumerable: true, configurable: true, writable: true };
        Object.defineProperty(object, name, attributes);
      } else object[name] = value;
    }
    return object;
  }

  #value(depth: number): unknown {
    if (depth > MESSAGE_DEPTH_MAX) fail(`it is nested deeper than ${MESSAGE_DEPTH_MAX}`);
    const tag = this.#byte();
    if (tag < SHORT_STRING) return tag;
    if (tag <= SHORT_STRING + SHORT_STRING_MAX) return this.#string(tag - SHORT_STRING);
    switch (tag) {
      case NULL:
        return null;
      case FALSE:
        return false;
      case TRUE:
        return true;
      case POSITIVE:
        return this.#byte();
      case POSITIVE + 1:
        return this.#view.getUint16(this.#take(2), true);
      case POSITIVE + 2:
        return this.#view.getUint32(this.#take(4), true);
      case NEGATIVE:
        return -1 - this.#byte();
      case NEGATIVE + 1:
        return -1 - this.#view.getUint16(this.#take(2), true);
      case NEGATIVE + 2:
        return -1 - this.#view.getUint32(this.#take(4), true);
      case F32:
        return this.#view.getFloat32(this.#take(4), true);
      case F64:
        return this.#view.getFloat64(this.#take(8), true);
      case BIGINT:
        return toBigint(this.#copy());
      case NEGATIVE_BIGINT:
        return -1n - toBigint(this.#copy());
      case STRING:
        return this.#string(this.#size());
      case BYTES:
        return this.#copy();
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
    const kind = this.#byte();
    const type = KINDS[kind];
    const bytes = this.#copy();
    if (type === undefined) return fail(`the kind ${kind} of typed array is not known here`);
    const { BYTES_PER_ELEMENT: width } = type as unknown as { BYTES_PER_ELEMENT: number };
    if (bytes.length % width !== 0) fail("a typed array has a part of an element");
    return new type(bytes.buffer);
  }

  #date(): Date {
    const date = new Date(this.#view.getFloat64(this.#take(8), true));
    if (Number.isNaN(date.getTime())) fail("a date is invalid");
    return date;
  }

  #map(depth: number): Map<unknown, unknown> {
    const map = new Map<unknown, unknown>();
    for (let count = this.#count(2); count > 0; count--) {
      const key = this.#value(depth + 1);
      if (map.has(key)) fail("a Map has a key twice");
      map.set(key, this.#value(depth + 1));
    }
    return map;
  }

  #set(depth: number): Set<unknown> {
    const set = new Set<unknown>();
    for (let count = this.#count(1); count > 0; count--) {
      const member = this.#value(depth + 1);
      if (set.has(member)) fail("a Set has a member twice");
      set.add(member);
    }
    return set;
  }

  #array(depth: number): unknown[] {
    const array: unknown[] = [];
    for (let count = this.#count(1); count > 0; count--) array.push(this.#value(depth + 1));
    return array;
  }
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
    return text.decode(bytes);
  } catch (error) { // TextDecoder's TypeError for bytes that are not UTF-8.
    throw new ProtocolError("Cannot read a message: a text is not UTF-8", { cause: error });
  }
}

function fail(problem: string): never {
  throw new ProtocolError(`Cannot read a message: ${problem}`);
}
