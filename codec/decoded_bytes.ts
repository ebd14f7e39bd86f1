/**
 * How much memory a message takes once it is decoded: an estimate, worked out from its payload alone, so
 * that who sends a message and who gets it come to the same number before anything is made of it.
 *
 * - docs/protocol.md has the rules. The figures are what V8 takes at worst, as `tests/decoded_bytes_test.ts`
 *   measures it, rounded.
 * - Each value says itself where it ends. So the values are walked over one behind the other, however
 *   they are nested; only the names of an object stand before them in a block.
 */
import { NO_BYTES } from "../base/bytes.ts";
import { LONG, LONG_BYTES, readLong } from "../base/size_prefix.ts";
import {
  ARRAY,
  BIGINT,
  BYTES,
  DATE,
  F32,
  F64,
  MAP,
  NEGATIVE,
  NEGATIVE_BIGINT,
  OBJECT,
  POSITIVE,
  SET,
  SHORT_STRING,
  SHORT_STRING_MAX,
  STRING,
  TYPED,
} from "./format.ts";

/** A message may take so many times as much memory as the largest payload has bytes. */
const DECODED_FACTOR = 16;
/** It may always take so much, however short payloads have to be. */
const DECODED_MIN = 65_536;
/** No message takes more than so many times the bytes of its payload; so short ones need no look. */
const FACTOR_MAX = 160;

/** Whatever it is, a value has a place in what holds it. */
const VALUE = 16;
/** What a value of each tag takes, besides its bytes and what is in it. */
const COSTS: Uint16Array = new Uint16Array(256).fill(VALUE);
/** How many bytes of a fixed number follow each tag. */
const FOLLOWING = new Uint8Array(256);
/** What is to be done besides. */
const NOTHING = 0, SIZED = 1, MEMBERS = 2, NAMES = 3, STOP = 4;
const STEPS: Uint8Array = new Uint8Array(256).fill(STOP);

/** A number that V8 keeps apart from its place. */
const NUMBER = 16;
/** An entry of a Map, or a member of a Set. */
const MEMBER = 16;
const NAME = 48;
/** Names that are not those of the object before. */
const SHAPE = 96;
/** Elements beside the members: the names of an object that look like array indexes. */
const ELEMENTS = 136;

set(0, SHORT_STRING - 1, NOTHING, 0);
set(SHORT_STRING, SHORT_STRING + SHORT_STRING_MAX, SIZED, 32);
set(0xa0, 0xa2, NOTHING, 0);
for (const tag of [POSITIVE, NEGATIVE]) {
  set(tag, tag, NOTHING, 0, 1);
  set(tag + 1, tag + 1, NOTHING, 0, 2);
  set(tag + 2, tag + 2, NOTHING, NUMBER, 4);
}
set(F32, F32, NOTHING, NUMBER, 4);
set(F64, F64, NOTHING, NUMBER, 8);
set(BIGINT, NEGATIVE_BIGINT, SIZED, 24);
set(STRING, STRING, SIZED, 32);
set(BYTES, BYTES, SIZED, 104);
set(TYPED, TYPED, SIZED, 400, 1);
set(DATE, DATE, NOTHING, 96, 8);
set(MAP, MAP, MEMBERS, 184);
set(SET, SET, MEMBERS, 152);
set(ARRAY, ARRAY, MEMBERS, 32);
set(OBJECT, OBJECT, NAMES, 48);

function set(first: number, last: number, step: number, cost: number, following = 0): void {
  STEPS.fill(step, first, last + 1);
  COSTS.fill(VALUE + cost, first, last + 1);
  FOLLOWING.fill(following, first, last + 1);
}

/** How much memory a message may take where payloads have at most so many bytes. */
export function decodedLimit(messageBytes: number): number {
  return Math.max(DECODED_MIN, DECODED_FACTOR * messageBytes);
}

/** Whether a payload of so many bytes may be a message that takes more memory than it may. */
export function mayTakeTooMuch(bytes: number, messageBytes: number): boolean {
  return FACTOR_MAX * bytes > decodedLimit(messageBytes);
}

/**
 * Whether a message takes more memory than it may where payloads have at most `messageBytes`.
 *
 * @returns What it takes at least, if it is too much; otherwise 0.
 */
export function decodedExcess(
  bytes: Uint8Array,
  start: number,
  end: number,
  messageBytes: number,
): number {
  if (!mayTakeTooMuch(end - start, messageBytes)) return 0;
  const limit = decodedLimit(messageBytes);
  const size = decodedBytes(bytes, start, end, limit);
  return size > limit ? size : 0;
}

/**
 * How many bytes of memory the message in `bytes` from `start` to before `end` takes, about.
 *
 * - What is not a valid payload takes what is valid of it, up to where a decoder refuses it or before.
 *
 * @param enough More than this need not be told exactly.
 */
export function decodedBytes(
  bytes: Uint8Array,
  start: number,
  end: number,
  enough: number = Infinity,
): number {
  const names = new NameBlocks(bytes, end);
  let at = names.skip(start);
  let sum = VALUE + 48 + names.taken;
  while (at < end && sum <= enough) {
    const tag = bytes[at]!;
    const step = STEPS[tag]!;
    sum += COSTS[tag]!;
    at += 1 + FOLLOWING[tag]!;
    if (step === NOTHING) continue;
    if (step === STOP) return sum;
    if (step === NAMES) {
      at = names.skip(at);
      sum += names.taken;
      continue;
    }
    let size = tag - SHORT_STRING;
    if (tag > SHORT_STRING + SHORT_STRING_MAX) {
      if (at >= end) return sum;
      size = bytes[at]!;
      if (size !== LONG) at++;
      else if (at + LONG_BYTES > end) return sum;
      else {
        size = readLong(bytes, at);
        at += LONG_BYTES;
      }
    }
    if (size > end - at) return sum; // A decoder refuses it before anything is made of it.
    if (step === SIZED) {
      sum += size;
      at += size;
    } else if (tag !== ARRAY) sum += size * MEMBER;
  }
  return sum;
}

/** Passes over the names of objects, and says what they take. */
class NameBlocks {
  /** What the names passed over last take. */
  taken = 0;
  readonly #bytes: Uint8Array;
  readonly #end: number;
  /** The block before. */
  #start = 0;
  #length = 0;
  #elements = 0;

  constructor(bytes: Uint8Array, end: number) {
    this.#bytes = bytes;
    this.#end = end;
  }

  /** Passes over the block from `at` on; returns the place after it, or `end` if it is not valid. */
  skip(at: number): number {
    const bytes = this.#bytes, end = this.#end;
    if (this.#isAgain(at)) {
      this.taken = this.#elements;
      return at + this.#length;
    }
    this.taken = 0;
    if (at >= end) return end;
    const isLong = bytes[at] === LONG;
    if (isLong && at + LONG_BYTES > end) return end;
    const size = isLong ? readLong(bytes, at) : bytes[at]!;
    let name = at + (isLong ? LONG_BYTES : 1);
    const after = name + size;
    if (after > end) return end;
    this.#elements = 0;
    if (size > 0) this.taken = SHAPE;
    while (name < after) {
      let length = bytes[name]!;
      if (length !== LONG) name++;
      else if (name + LONG_BYTES > after) return end;
      else {
        length = readLong(bytes, name);
        name += LONG_BYTES;
      }
      if (isDigit(bytes[name]!) && length > 0) this.#elements = ELEMENTS;
      this.taken += NAME + length;
      name += length;
    }
    this.taken += this.#elements;
    this.#start = at;
    this.#length = after - at;
    return after;
  }

  /** Whether the names from `at` on are those of the object before. */
  #isAgain(at: number): boolean {
    const bytes = this.#bytes, start = this.#start, length = this.#length;
    if (length === 0 || length > this.#end - at) return false;
    for (let i = 0; i < length; i++) if (bytes[at + i] !== bytes[start + i]) return false;
    return true;
  }
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** What messages take, one after the other; it is worked out only where it matters. */
export class DecodedSize {
  #bytes: Uint8Array = NO_BYTES;
  #start = 0;
  #end = 0;
  #exact = 0;

  /** Begins with the message in `bytes` from `start` to before `end`, which stays as it is. */
  begin(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#exact = 0;
  }

  /** Lets go of it. */
  end(): void {
    this.#bytes = NO_BYTES;
  }

  /** The most that a message can take whose payload is as long. */
  get most(): number {
    return FACTOR_MAX * (this.#end - this.#start);
  }

  /** What it takes, as {@linkcode decodedBytes}. */
  get bytes(): number {
    return this.#exact ||= decodedBytes(this.#bytes, this.#start, this.#end);
  }
}
