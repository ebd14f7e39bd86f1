/**
 * Payloads: what can be read can be written again in no more bytes and is the same; it is made of
 * little more than its bytes, soon, and changes nothing else.
 *
 * A run decodes several payloads with one `Decoder`, some of them as a run of messages in one buffer,
 * as `NetPubSub` does.
 */
import { cpuUsage } from "node:process";
import { concat } from "../../base/bytes.ts";
import { Decoder, Encoder } from "../../codec/codec.ts";
import { ProtocolError } from "../../errors.ts";
import { messageOf } from "../harness/messages.ts";
import { encode, show } from "../harness/payload.ts";
import type { Random } from "../harness/random.ts";
import { bomb, isSame, mangle, must, type Notes, type Target } from "./target.ts";

/** A payload of up to this size must be decoded within a second. */
const PAYLOAD_BYTES_MAX = 64 * 1024;
const SLOW_MS = 1000;
/** What is too slow is tried again, since the runtime may have been busy with something else. */
const ATTEMPTS = 3;
/** How much memory a payload may take for each of its bytes, and beside that. */
const BYTES_PER_BYTE = 512;
const BYTES_BESIDE = 16 * 1024 * 1024;
/** How much is copied at a time for short byte arrays. */
const SHARED_BYTES = 8192;
const NAMES = ["a", "b", "", "1", "__proto__", "constructor", "toString", "x".repeat(250)];
const TEXTS = ["", "a", "é", "😀", "x".repeat(31), "x".repeat(32), "é".repeat(40), "x".repeat(300)];
const DEPTH_MAX = 64;
const PROTOTYPE = describePrototype();

/** All that stands in `Object.prototype`. */
function describePrototype(): string {
  const descriptors = Object.getOwnPropertyDescriptors(Object.prototype);
  return Reflect.ownKeys(descriptors).map((key) => {
    const { value, get, enumerable } = Reflect.get(descriptors, key) as PropertyDescriptor;
    return `${String(key)} ${typeof value} ${typeof get} ${enumerable}`;
  }).join();
}

const utf8 = new TextEncoder();

function sizeOf(random: Random, size: number): Uint8Array {
  const kind = random.int(100);
  if (kind === 0) return bomb(random);
  if (kind === 1) return Uint8Array.of(random.int(256));
  if (size < 255 && kind > 20) return Uint8Array.of(size);
  return Uint8Array.of(255, size, size >>> 8, size >>> 16, size >>> 24);
}

function sized(random: Random, bytes: Uint8Array): Uint8Array {
  return concat(sizeOf(random, bytes.length), bytes);
}

function several<T>(random: Random, most: number, make: () => T): T[] {
  return Array.from({ length: random.int(most) }, make);
}

/** A block of names and their values, as they stand on the wire, right or nearly so. */
function wildObject(random: Random, depth: number): Uint8Array {
  const names = several(random, 5, () => random.pick(NAMES));
  const own = random.int(20) === 0 ? names : [...new Set(names)];
  const block = concat(...own.map((name) => sized(random, utf8.encode(name))));
  return concat(sized(random, block), ...own.map(() => wildValue(random, depth + 1)));
}

/** A value as it stands on the wire, right or nearly so. */
function wildValue(random: Random, depth: number): Uint8Array {
  const tag = (tag: number, ...parts: readonly Uint8Array[]) =>
    concat(Uint8Array.of(tag), ...parts);
  const value = () => wildValue(random, depth + 1);
  const values = several(random, depth < 4 ? 5 : 2, value);
  switch (random.int(depth < 5 ? 14 : 9)) {
    case 0:
      return Uint8Array.of(random.int(256), ...random.bytes(random.int(3)));
    case 1:
      return Uint8Array.of(random.int(0xa3));
    case 2: {
      const width = random.int(3);
      return tag(random.pick([0xa3, 0xa6]) + width, random.bytes(2 ** width));
    }
    case 3:
      return random.int(2) === 0 ? tag(0xaa, random.bytes(4)) : tag(0xab, random.bytes(8));
    case 4:
      return tag(random.pick([0xac, 0xad]), sized(random, random.bytes(random.int(20))));
    case 5: {
      const text = utf8.encode(random.pick(TEXTS));
      return text.length > 31 ? tag(0xae, sized(random, text)) : tag(0x80 + text.length, text);
    }
    case 6:
      return tag(0xaf, sized(random, random.bytes(random.pick([0, 1, 40, 60, 1024, 1025]))));
    case 7:
      return tag(0xb0, tag(random.int(12), sized(random, random.bytes(8 * random.int(4)))));
    case 8: {
      const time = new Uint8Array(new Float64Array([random.int(2 ** 53)]).buffer);
      return tag(0xb1, random.int(9) === 0 ? random.bytes(8) : time);
    }
    case 9: {
      const entries = values.map(() => concat(value(), value()));
      return tag(0xb2, sizeOf(random, entries.length), ...entries);
    }
    case 10:
    case 11:
      return tag(random.pick([0xb3, 0xb4]), sizeOf(random, values.length), ...values);
    default:
      return tag(0xb5, wildObject(random, depth));
  }
}

/** One container in another, about as deep as may be, or far deeper. */
function deep(random: Random): Uint8Array {
  const wraps = [[0xb4, 1], [0xb3, 1], [0xb2, 1, 0], [0xb5, 2, 1, 97]];
  const levels = random.int(5) === 0 ? 12_000 : DEPTH_MAX - 3 + random.int(6);
  const wrap = random.int(2) === 0 ? random.pick(wraps) : undefined;
  const bytes = Array.from({ length: levels }, () => wrap ?? random.pick(wraps)).flat();
  return Uint8Array.from([2, 1, 97, ...bytes, random.pick([0, 0xb4, 0xa0]), 0]);
}

/** Values of which many fit into a payload; `i` tells one from another. */
const SMALL: readonly ((i: number) => readonly number[])[] = [
  () => [0],
  () => [0xb2, 0],
  () => [0xb3, 0],
  () => [0xb4, 0],
  () => [0xb5, 0],
  () => [0xb5, 2, 1, 97, 0],
  () => [0xaf, 0],
  () => [0xaf, 1, 7],
  () => [0xb0, 8, 0],
  () => [0xac, 0],
  () => [0xb1, 0, 0, 0, 0, 0, 0, 0, 0],
  (i) => [0xa5, i, i >>> 8, i >>> 16, 0],
  (i) => [0x83, 48 + i % 64, 48 + (i >>> 6) % 64, 48 + (i >>> 12) % 64],
  (i) => [0xae, 4, 97 + i % 16, 97 + (i >>> 4) % 16, 97 + (i >>> 8) % 16, 97 + (i >>> 12) % 16],
  // Multiples of 2 ** 64, which V8 gives one hash.
  (i) => [0xac, 11, 0, 0, 0, 0, 0, 0, 0, 0, i, i >>> 8, 1],
  (i) => [0xab, ...alike(i)],
];

/** An f64 out of many to which V8 gives one hash: its `ComputeLongHash`, backwards. */
function alike(i: number): Uint8Array {
  const hash = BigInt(i + 1) << 32n;
  let h = unshift(hash, 22n);
  h = BigInt.asUintN(64, h * inverse(65n));
  h = unshift(h, 11n);
  h = BigInt.asUintN(64, h * inverse(21n));
  h = unshift(h, 31n);
  h = BigInt.asUintN(64, (h + 1n) * inverse(2n ** 18n - 1n));
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, h, true);
  return bytes;
}

/** The number that gives `value` when it is combined with itself, moved right by `bits`. */
function unshift(value: bigint, bits: bigint): bigint {
  let result = value;
  for (let moved = value >> bits; moved > 0n; moved >>= bits) result ^= moved;
  return result;
}

/** What an odd number has to be multiplied with to be 1, in 64 bits. */
function inverse(odd: bigint): bigint {
  let result = 1n;
  for (let n = 0; n < 6; n++) result = BigInt.asUintN(64, result * (2n - odd * result));
  return result;
}

/** As many small values as fit, in one container. */
function wide(random: Random): Uint8Array {
  const make = random.pick(SMALL);
  const container = random.pick([0xb2, 0xb3, 0xb4, 0xb4, 0xb5]);
  const bytesMax = random.pick([3000, 3000, 3000, PAYLOAD_BYTES_MAX - 200]);
  const bytes: number[] = [];
  let count = 0;
  for (; bytes.length < bytesMax; count++) {
    const value = make(count);
    if (container !== 0xb5) bytes.push(...value, ...container === 0xb2 ? [0] : []);
    else bytes.push(3, 48 + count % 60, 48 + (count >>> 4) % 60, 48 + (count >>> 8) % 60);
  }
  const size = container === 0xb5 ? bytes.length : count;
  const values = container === 0xb5 ? new Array<number>(count).fill(0) : [];
  const head = [2, 1, 97, container, 255, size, size >>> 8, size >>> 16, 0];
  return Uint8Array.from([...head, ...bytes, ...values]);
}

function payloadOf(random: Random, before: readonly Uint8Array[]): Uint8Array {
  switch (random.int(12)) {
    case 0:
      return random.bytes(random.int(60));
    case 1:
      return random.int(20) === 0
        ? wide(random)
        : random.int(5) === 0
        ? deep(random)
        : bomb(random);
    case 2:
    case 3:
      return mangle(random, encode(messageOf(random)).slice(0, 4000));
    case 4:
    case 5:
      return mangle(random, wildObject(random, 0));
    case 6:
    case 7:
      return before.length > 0
        ? random.mutate(random.pick(before).subarray(0, 4000))
        : bomb(random);
    case 8:
      return before.length > 0 ? random.pick(before) : bomb(random);
    case 9:
      return encode(messageOf(random));
    default:
      return wildObject(random, 0);
  }
}

/** What a payload came to. */
type Result = { readonly message: Record<string, unknown> } | { readonly error: ProtocolError };

function decode(decoder: Decoder, bytes: Uint8Array, start: number, end: number): Result {
  try {
    return { message: decoder.decode(bytes, start, end) };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { error };
  }
}

function textOf(result: Result): string {
  return "error" in result ? result.error.message : show(result.message);
}

/** Decodes one on its own, and looks at how much that takes. */
function decodeAlone(decoder: Decoder, payload: Uint8Array): Result {
  for (let attempt = 1;; attempt++) {
    const before = Deno.memoryUsage();
    const began = cpuUsage(); // Of this process: others may be in the way.
    const result = decode(decoder, payload, 0, payload.length);
    const { user, system } = cpuUsage(began);
    const ms = (user + system) / 1000;
    const after = Deno.memoryUsage();
    const taken = after.heapUsed + after.external - before.heapUsed - before.external;
    const bound = BYTES_BESIDE + BYTES_PER_BYTE * payload.length;
    must(taken <= bound, `a payload of ${payload.length} bytes took ${taken} bytes of memory`);
    if (ms <= SLOW_MS) return result;
    must(attempt < ATTEMPTS, `a payload of ${payload.length} bytes took ${ms.toFixed()} ms`);
  }
}

/** The byte and typed arrays in a value; checks that its objects are plain. */
function* viewsIn(value: unknown): Generator<ArrayBufferView> {
  if (typeof value !== "object" || value === null) return;
  if (ArrayBuffer.isView(value)) return yield value;
  if (value instanceof Map) { for (const pair of value) yield* viewsIn(pair); }
  else if (value instanceof Set) { for (const member of value) yield* viewsIn(member); }
  else if (Array.isArray(value)) { for (const member of value) yield* viewsIn(member); }
  else if (!(value instanceof Date)) {
    must(Object.getPrototypeOf(value) === Object.prototype, "an object is not plain");
    for (const name of Object.keys(value)) yield* viewsIn(Reflect.get(value, name));
  }
}

/** Arrays must not share bytes, nor keep much more than they show. */
function checkViews(messages: readonly Record<string, unknown>[], bytes: number): void {
  const views = messages.flatMap((message) => [...viewsIn(message)]);
  const ends = new Map<ArrayBufferLike, number>();
  for (const { buffer, byteOffset, byteLength } of views.toSorted(byPlace)) {
    must(byteLength === 0 || byteOffset >= (ends.get(buffer) ?? 0), "arrays share bytes");
    ends.set(buffer, byteOffset + byteLength);
  }
  const kept = [...ends.keys()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  must(kept <= 8 * bytes + 2 * SHARED_BYTES, `arrays out of ${bytes} bytes keep ${kept}`);
}

function byPlace(a: ArrayBufferView, b: ArrayBufferView): number {
  return a.byteOffset - b.byteOffset;
}

/** Decodes all once more as messages side by side in one buffer. */
function decodeRun(
  decoder: Decoder,
  payloads: readonly Uint8Array[],
  random: Random,
): Result[] {
  const parts = payloads.flatMap((payload) => [random.bytes(random.int(12)), payload]);
  const buffer = concat(...parts, random.bytes(random.int(12)));
  const results: Result[] = [];
  let at = parts[0]?.length ?? 0;
  decoder.beginRun(buffer, random.int(at + 1), buffer.length);
  try {
    for (let i = 1; i < parts.length; i += 2) {
      const end = at + parts[i]!.length;
      results.push(decode(decoder, buffer, at, end));
      at = end + (parts[i + 1]?.length ?? 0);
    }
  } finally {
    decoder.endRun();
  }
  const before = results.map(textOf);
  buffer.fill(0xee); // As the next read does.
  must(
    results.every((result, i) => textOf(result) === before[i]),
    "a message changed with its buffer",
  );
  return results;
}

function checkAgain(encoder: Encoder, message: Record<string, unknown>, payload: Uint8Array): void {
  const again = encode(message, { encoder });
  must(again.length <= payload.length, "what was read takes more bytes when it is written again");
  must(isSame(again, encode(message)), "an encoder that knows the names writes something else");
  const arrived = show(new Decoder().decode(again, 0, again.length));
  must(arrived === show(message), `${show(message)}\nwritten and read: ${arrived}`);
}

function runPayloads(random: Random, notes: Notes): void {
  const decoder = new Decoder();
  const encoder = new Encoder();
  const payloads: Uint8Array[] = [];
  const alone: Result[] = [];
  for (let left = 1 + random.int(12); left > 0; left--) {
    const payload = payloadOf(random, payloads);
    payloads.push(payload);
    notes.fed(payload);
    const result = decodeAlone(decoder, payload);
    alone.push(result);
    if ("error" in result) notes.ended(result.error.message);
    else {
      notes.ended("read");
      checkAgain(encoder, result.message, payload);
    }
  }
  const together = decodeRun(random.int(2) === 0 ? decoder : new Decoder(), payloads, random);
  const bytes = payloads.reduce((sum, { length }) => sum + length, 0);
  for (const results of [alone, together]) {
    checkViews(results.flatMap((result) => "message" in result ? [result.message] : []), bytes);
  }
  together.forEach((result, i) => {
    const [one, other] = [textOf(alone[i]!), textOf(result)];
    // Whether members collide is a question of time.
    if ([one, other].some((text) => text.endsWith("collide"))) return;
    must(one === other, `alone: ${one}\nin a run: ${other}`);
  });
  must(describePrototype() === PROTOTYPE, `Object.prototype has ${describePrototype()}`);
}

/** See the module. */
export const payloads: Target = { name: "payloads", run: runPayloads };
