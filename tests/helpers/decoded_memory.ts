/**
 * Measures what values of each kind take once they are decoded; runs as a program with `--expose-gc`, as
 * only garbage makes figures differ. Prints lines of JSON, one a kind.
 */
import { decodedBytes, Decoder } from "../../codec/codec.ts";
import { join, size } from "../../tools/attacks/raw_client.ts";

/** What is measured of a kind. */
export interface Measured {
  readonly kind: string;
  /** Bytes of the payload. */
  readonly payload: number;
  /** What it takes by the rules. */
  readonly estimated: number;
  /** What it takes. */
  readonly taken: number;
}

const PAYLOAD_BYTES = 128 * 1024;

/** A value of a kind; `i` makes it another. */
type Make = (i: number) => readonly number[];

/** Letters that are others for each `i` below 26 to the power of `length`. */
function letters(i: number, length: number): number[] {
  return Array.from({ length }, (_, place) => 97 + Math.floor(i / 26 ** place) % 26);
}

function float(value: number): number[] {
  return [...new Uint8Array(Float32Array.of(value).buffer)];
}

function double(value: number): number[] {
  return [...new Uint8Array(Float64Array.of(value).buffer)];
}

/** An object whose names are these. */
function object(names: readonly (readonly number[])[], value: readonly number[]): number[] {
  const block = names.flatMap((name) => [name.length, ...name]);
  return [0xb5, block.length, ...block, ...names.flatMap(() => value)];
}

function text(string: string): number[] {
  return [...new TextEncoder().encode(string)];
}

function deep(opening: readonly number[]): number[] {
  return [...Array.from({ length: 60 }, () => opening).flat(), 0];
}

function small(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

const KINDS: Readonly<Record<string, Make>> = {
  "small integers": () => [5],
  "large integers": () => [0xa5, 0, 0, 0, 0xf0],
  floats: (i) => i === 0 ? [0xa0] : [0xaa, ...float(i + 0.5)],
  doubles: (i) => i === 0 ? [0xa0] : [0xab, ...double(i + 0.1)],
  "big integers": (i) => [0xac, 2, i & 255, i >> 8],
  "a big −1": () => [0xad, 0],
  "texts of two letters": (i) => [0x82, ...letters(i, 2)],
  "texts of nine letters": (i) => [0x89, ...letters(i, 9)],
  "texts with a wide letter": (i) => [0xae, 103, ...letters(i, 100), 0xe4, 0xb8, 0x80],
  "empty byte arrays": () => [0xaf, 0],
  "byte arrays of one": (i) => [0xaf, 1, i & 255],
  "byte arrays of 1 025": () => [0xaf, 255, 1, 4, 0, 0, ...Array(1025).fill(7)],
  "empty typed arrays": () => [0xb0, 0, 0],
  "typed arrays of one": (i) => [0xb0, 8, 8, ...double(i)],
  dates: (i) => [0xb1, ...double(i)],
  "empty Maps": () => [0xb2, 0],
  "Maps of one": () => [0xb2, 1, 5, 5],
  "Maps of five": () => [0xb2, 5, ...small(5).flatMap((key) => [key, key])],
  "Maps of 17": () => [0xb2, 17, ...small(17).flatMap((key) => [key, key])],
  "nested Maps": () => deep([0xb2, 1, 0]),
  "empty Sets": () => [0xb3, 0],
  "Sets of one": () => [0xb3, 1, 5],
  "Sets of nine": () => [0xb3, 9, ...small(9)],
  "Sets of 65": () => [0xb3, 65, ...small(65)],
  "nested Sets": () => deep([0xb3, 1]),
  "empty arrays": () => [0xb4, 0],
  "arrays of one": () => [0xb4, 1, 0xa0],
  "arrays of two floats": (i) => [0xb4, 2, 0xaa, ...float(i + 0.5), 0xa0],
  "arrays of 16": () => [0xb4, 16, ...small(16)],
  "arrays of 18": () => [0xb4, 18, ...small(18)],
  "nested arrays": () => deep([0xb4, 1]),
  "empty objects": () => [0xb5, 0],
  "objects of one name": () => object([text("a")], [5]),
  "objects of one name and a float": (i) => object([text("a")], [0xaa, ...float(i + 0.5)]),
  "nested objects": () => deep([0xb5, 1, 0]),
  "objects whose one name comes once": (i) => object([letters(i, 4)], [5]),
  "objects whose four names come once": (i) =>
    object([0, 1, 2, 3].map((k) => letters(4 * i + k, 4)), [5]),
  "objects whose 40 names come once": (i) =>
    object(Array.from({ length: 40 }, (_, k) => letters(40 * i + k, 4)), [5]),
  "objects with the name 0": () => object([text("0")], [5]),
  "objects with the name 9": () => object([text("9")], [5]),
  "objects with the name 999": () => object([text("999")], [5]),
  "objects with the names 0 to 9": () => object(small(10).map((i) => text(`${i}`)), [5]),
  "objects with indexes that come once": (i) => object([text(`${i * 1021 % 100_000}`)], [5]),
  "objects with far indexes": (i) => object([text(`${4_000_000_000 + i}`)], [5]),
};

/** The payload of `{ a: [value, value, …] }`, each a value of this kind. */
export function payloadOfMany(make: Make, bytes: number): Uint8Array {
  const values: number[] = [];
  let count = 0;
  while (values.length < bytes) values.push(...make(count++));
  return join(Uint8Array.of(2, 1, 97, 0xb4), size(count), Uint8Array.from(values));
}

/** An object with as many names as there is room for. */
function payloadOfNames(nameOf: (i: number) => number[], bytes: number): Uint8Array {
  const names: number[] = [];
  let count = 0;
  for (; names.length + count < bytes; count++) {
    const name = nameOf(count);
    names.push(name.length, ...name);
  }
  return join(
    Uint8Array.of(2, 1, 97, 0xb5),
    size(names.length),
    Uint8Array.from(names),
    new Uint8Array(count),
  );
}

declare const gc: () => void;

function memory(): number {
  gc();
  gc();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

function measure(kind: string, payload: Uint8Array): Measured {
  const decoder = new Decoder();
  const before = memory();
  const message = decoder.decode(payload, 0, payload.length);
  const taken = memory() - before;
  const estimated = decodedBytes(payload, 0, payload.length);
  if (message.a === undefined) throw new Error("It is needed until here");
  return { kind, payload: payload.length, estimated, taken };
}

if (import.meta.main) {
  const payloads: [string, Uint8Array][] = [
    ...Object.entries(KINDS).map(([kind, make]): [string, Uint8Array] => [
      kind,
      payloadOfMany(make, PAYLOAD_BYTES),
    ]),
    ["an object of many names", payloadOfNames((i) => letters(i, 4), PAYLOAD_BYTES)],
    ["an object of many indexes", payloadOfNames((i) => text(`${i * 3}`), PAYLOAD_BYTES)],
  ];
  measure("before", payloads[0]![1]); // What is made once.
  for (const [kind, payload] of payloads) console.log(JSON.stringify(measure(kind, payload)));
}
