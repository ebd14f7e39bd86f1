/**
 * Values as JSON that reads back as the same values: what JSON has no form for is an object with one
 * member, whose name begins with `$`.
 *
 * ```
 * { "$bytes": "aGVsbG8=" }         Uint8Array, in base64
 * { "$bigint": "9007199254740993" }
 * { "$number": "NaN" }             "Infinity", "-Infinity", "-0", too
 * { "$date": "2026-11-25T10:00:00.000Z" }
 * { "$map": [["a", 1], ["b", 2]] }
 * { "$set": [1, 2] }
 * { "$Float64Array": "AAAAAAAA8D8=" }  and the other typed arrays: their bytes, little-endian
 * { "$object": { "$bytes": "…" } } an object that only looks like one of these
 * ```
 */
import { printable } from "../base/printable.ts";

/** The kinds of typed arrays that messages may hold, besides bytes. */
const ARRAYS: Readonly<Record<string, new (buffer: ArrayBuffer) => ArrayBufferView>> = {
  Uint8ClampedArray,
  Int8Array,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float16Array,
  Float32Array,
  Float64Array,
  BigUint64Array,
  BigInt64Array,
};
const NUMBERS: Readonly<Record<string, number>> = {
  NaN,
  Infinity,
  "-Infinity": -Infinity,
  "-0": -0,
};
/** A number so long, or so large, that it may not be exact. */
const LONG_NUMBER = /\d{16}|\d[eE]\+?\d{3}/;
/** How much is shown of what cannot be read. */
const SHOWN_UNITS_MAX = 80;
/** How deep values may be nested: deeper than messages may be. */
const DEPTH_MAX = 256;

/** A message or one of its values as JSON on one line. */
export function formatJson(value: unknown): string {
  return JSON.stringify(toJson(value));
}

/** A value in the form of JSON. */
function toJson(value: unknown): unknown {
  switch (typeof value) {
    case "bigint":
      return { $bigint: String(value) };
    case "number":
      if (Number.isFinite(value) && !Object.is(value, -0)) return value;
      return { $number: Object.is(value, -0) ? "-0" : String(value) };
    case "object":
      return value === null ? null : objectToJson(value);
    default:
      return value;
  }
}

function objectToJson(value: object): unknown {
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof Uint8Array) return { $bytes: value.toBase64() };
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value;
    const bytes = new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
    return { [`$${value.constructor.name}`]: bytes.toBase64() };
  }
  if (value instanceof Date) return { $date: value.toISOString() };
  if (value instanceof Map) return { $map: [...value].map(toJson) };
  if (value instanceof Set) return { $set: [...value].map(toJson) };
  // Members one by one, as own properties, whatever their names are.
  const object = Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, toJson(member)]),
  );
  return tagOf(object) === undefined ? object : { $object: object };
}

/** The only name of an object, if it looks like a tag. */
function tagOf(object: object): string | undefined {
  const [name, ...others] = Object.keys(object);
  return others.length === 0 && name?.startsWith("$") ? name : undefined;
}

/**
 * Reads a value from JSON.
 *
 * - An object with an unknown tag is an object like any other.
 *
 * @throws {SyntaxError} If it is not JSON.
 * @throws {TypeError} If something with a known tag is not what the tag says.
 * @throws {RangeError} If a whole number would not be exact.
 */
export function parseJson(text: string): unknown {
  const value = LONG_NUMBER.test(text) ? JSON.parse(text, checkExact) : JSON.parse(text);
  return fromJson(value);
}

/** Refuses a whole number that would be read as another one. */
function checkExact(_name: string, value: unknown, { source }: { source?: string } = {}): unknown {
  if (typeof value !== "number" || source === undefined) return value;
  if (!Number.isFinite(value)) {
    throw new RangeError(`Cannot take ${source}: write {"$number": "${value}"} for infinity`);
  }
  if (!/^-?\d+$/.test(source)) return value;
  if (Number.isSafeInteger(value) || String(value) === source) return value;
  if (BigInt(value) === BigInt(source)) return value;
  throw new RangeError(
    `Cannot take ${source}: a number is exact up to 2^53; write {"$bigint": "${source}"} or a string`,
  );
}

function fromJson(value: unknown, depth = 0): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > DEPTH_MAX) {
    throw new RangeError(`Cannot take a value: it is nested more than ${DEPTH_MAX} deep`);
  }
  if (Array.isArray(value)) return value.map((item) => fromJson(item, depth + 1));
  const tag = tagOf(value);
  if (tag !== undefined) {
    const content = (value as Record<string, unknown>)[tag];
    if (tag === "$object" && isRecord(content)) return membersFromJson(content, depth);
    const read = READERS.get(tag);
    if (read !== undefined) return untag(tag, content, (content) => read(content, depth + 1));
  }
  return membersFromJson(value, depth);
}

function membersFromJson(value: object, depth: number): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, fromJson(member, depth + 1)]),
  );
}

function untag(tag: string, content: unknown, read: (content: never) => unknown): unknown {
  try {
    return read(content as never);
  } catch (cause) { // The content does not fit the tag; errors from further in say so themselves.
    if (cause instanceof Error && cause.message.startsWith("Cannot ")) throw cause;
    const shown = printable(JSON.stringify(content), SHOWN_UNITS_MAX);
    throw new TypeError(`Cannot read {"${tag}": ${shown}}`, { cause });
  }
}

const READERS = new Map<string, (content: never, depth: number) => unknown>([
  ["$bytes", (content: string) => Uint8Array.fromBase64(content)],
  ["$bigint", (content: string) => BigInt(checked(content, /^-?\d+$/))],
  ["$number", (content: string) => NUMBERS[checked(content, /^(NaN|-?Infinity|-0)$/)]],
  ["$date", (content: string) => dateOf(content)],
  ["$map", (content: unknown[], depth: number) => pairsFromJson(content, depth)],
  ["$set", (content: unknown[], depth: number) => setFromJson(content, depth)],
  ...Object.entries(ARRAYS).map(([name, Kind]): [string, (content: string) => unknown] => [
    `$${name}`,
    (content) => new Kind(Uint8Array.fromBase64(content).buffer),
  ]),
]);

function pairsFromJson(pairs: readonly unknown[], depth: number): Map<unknown, unknown> {
  return new Map(pairs.map((pair) => {
    if (!Array.isArray(pair) || pair.length !== 2) throw new TypeError("not a pair");
    return [fromJson(pair[0], depth), fromJson(pair[1], depth)];
  }));
}

function setFromJson(members: readonly unknown[], depth: number): Set<unknown> {
  return new Set(members.map((member) => fromJson(member, depth)));
}

function dateOf(text: string): Date {
  const date = new Date(checked(text, /^[-+\d].*Z$/));
  if (Number.isNaN(date.getTime())) throw new TypeError("not a date");
  return date;
}

function checked(text: unknown, pattern: RegExp): string {
  if (typeof text === "string" && pattern.test(text)) return text;
  throw new TypeError("not a text of that kind");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
