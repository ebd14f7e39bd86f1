/**
 * What the targets of the fuzzer have in common: a run, what it notes, and which errors are fine.
 *
 * A run depends on its random values only, so that its seed and number give it again. It throws what
 * is a finding.
 */
import { toHex } from "../harness/bytes.ts";
import type { Random } from "../harness/random.ts";

/** Something that takes what others send. */
export interface Target {
  /** Its name on the command line. */
  readonly name: string;
  /** One run. Throws when something happened that must not. */
  run(random: Random, notes: Notes): void | Promise<void>;
}

/** What a class of errors is to `instanceof`. */
// deno-lint-ignore no-explicit-any
export type ErrorKind = abstract new (...args: any[]) => Error;

/** So many inputs of a run are shown, the last ones, and so many bytes of each. */
const SHOWN_MAX = 24;
const SHOWN_BYTES_MAX = 1024;
/** Outcomes are told apart by so much of their text. */
const OUTCOME_CHARS = 100;

/** What one run was fed with, and what came of it. */
export class Notes {
  readonly #inputs: (Uint8Array | string)[] = [];
  readonly #onOutcome: (outcome: string) => void;

  /** Makes an empty one; `onOutcome` is told each outcome. */
  constructor(onOutcome: (outcome: string) => void) {
    this.#onOutcome = onOutcome;
  }

  /** Notes what is fed next. */
  fed(input: Uint8Array | string): void {
    this.#inputs.push(input);
  }

  /** Notes how that ended; numbers and quotes in it are not told apart. */
  ended(outcome: string): void {
    const kind = outcome.replaceAll(/"[^"]*"?/g, '""').replaceAll(/-?\d+(\.\d+)?/g, "#");
    this.#onOutcome(kind.slice(0, OUTCOME_CHARS));
  }

  /** Notes an error of one of these kinds; throws another. */
  failed(error: unknown, ...kinds: readonly ErrorKind[]): void {
    if (!(error instanceof Error) || !kinds.some((kind) => error instanceof kind)) throw error;
    this.ended(`${error.name}: ${error.message}`);
  }

  /** The last inputs, a line each. */
  shown(): string {
    const left = Math.max(0, this.#inputs.length - SHOWN_MAX);
    const lines = this.#inputs.slice(left).map(shownInput);
    return [...left > 0 ? [`(${left} inputs before)`] : [], ...lines].join("\n");
  }
}

function shownInput(input: Uint8Array | string): string {
  if (typeof input === "string") return input.slice(0, SHOWN_BYTES_MAX);
  const more = input.length > SHOWN_BYTES_MAX ? " …" : "";
  return `${input.length} bytes: ${toHex(input.subarray(0, SHOWN_BYTES_MAX))}${more}`;
}

/** Throws when something is not so. */
export function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

/** Whether two arrays hold the same bytes. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/** Waits for a promise, but not for ever: throws when that takes longer than `ms`. */
export async function inTime(ms: number, what: string, promise: Promise<void>): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what} hangs for ${ms} ms`)), ms);
  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Sizes and counts as bombs have them. */
const BOMBS = [0, 1, 254, 255, 65_535, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

/** A size in its long form, which promises more than there is, mostly. */
export function bomb(random: Random): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes[0] = 255;
  new DataView(bytes.buffer).setUint32(1, random.pick(BOMBS), true);
  return bytes;
}

/** What becomes of valid bytes: mostly they stay, or are changed a little. */
export function mangle(random: Random, bytes: Uint8Array): Uint8Array {
  const at = random.int(bytes.length + 1);
  switch (random.int(8)) {
    case 0:
      return bytes.slice(0, at);
    case 1:
      return Uint8Array.from([...bytes.subarray(0, at), ...bomb(random), ...bytes.subarray(at)]);
    case 2:
      return Uint8Array.from([
        ...bytes.subarray(0, at),
        ...bomb(random),
        ...bytes.subarray(at + 1),
      ]);
    case 3:
      return random.bytes(random.int(80));
    case 4:
    case 5:
      return random.mutate(bytes);
    default:
      return bytes;
  }
}

/** Of more bytes than this no piece is very short. */
const SHORT_MAX = 4000;

/** Bytes in pieces: whole, one by one, or cut anywhere. */
export function piecesOf(random: Random, bytes: Uint8Array): Uint8Array[] {
  const { length } = bytes;
  const most = random.pick(length > SHORT_MAX ? [SHORT_MAX, length] : [1, 7, 600, length + 1]);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = most === 1 ? 1 : 1 + random.int(most);
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

/** Errors of the language: where one is the cause of an error, something went wrong inside. */
const INTERNAL = [TypeError, RangeError, ReferenceError, SyntaxError];
/** What `TextDecoder` throws is one, too. */
const EXPECTED_CAUSE = /not UTF-8/;

/** Throws when an error, or what led to it, is a mistake of ours. */
export function checkCause(error: unknown): void {
  let above = "";
  for (let at = error; at instanceof Error; at = at.cause) {
    const isOurs = INTERNAL.some((kind) => at instanceof kind) && !EXPECTED_CAUSE.test(above);
    if (isOurs) throw new Error(`Inside of ${error}`, { cause: at });
    above = at.message;
  }
}
