/**
 * What a message costs as bytes: encoded, decoded and both, beside the codecs that are used most.
 *
 * ```sh
 * deno bench --config bench/deno.json --allow-all bench/codec_bench.ts
 * MPUBSUB_BENCH_QUICK=1 deno bench --config bench/deno.json --allow-all bench/codec_bench.ts
 * ```
 *
 * - One iteration is 1000 messages, 16 different ones of one shape in turn: 1 µs here is 1 ns for each.
 * - All shapes pass through one encoder and one decoder, as in a program that has several.
 * - Ours writes into a buffer that is used again, and reads from one, as `NetPubSub` does. The others
 *   return bytes, most of them as parts of a buffer that they use again, and take them.
 * - Of a `Uint8Array` ours makes a copy, which stays as it is; msgpackr, cbor-x and @msgpack/msgpack
 *   return a part of what they were given.
 * - msgpackr with records tells a shape once and refers to it later: its bytes can only be read with
 *   what came before. Ours, as all others here, can be read alone.
 * - JSON has no bytes, so it stays away from messages with some.
 */
// deno-lint-ignore-file no-import-prefix -- what the package is compared with is no part of it
import { Decoder as MsgpackDecoder, Encoder as MsgpackEncoder } from "npm:@msgpack/msgpack@3.1.2";
import { Encoder as CborEncoder } from "npm:cbor-x@1.6.0";
import { Packr } from "npm:msgpackr@1.11.5";
import { deepEqual } from "node:assert/strict";
import { Decoder, Encoder, type Output } from "../codec/codec.ts";

const QUICK = Deno.env.get("MPUBSUB_BENCH_QUICK") === "1";
const MESSAGES = 1000;
const DIFFERENT = 16;
const BUFFER_BYTES = 128 * 1024;
const LIMIT_BYTES = 1024 * 1024;

type Message = Record<string, unknown>;

interface Codec {
  readonly name: string;
  encode(message: Message): void;
  /** Makes ready what a message is decoded from. */
  prepare(message: Message): unknown;
  decode(prepared: unknown): Message;
  /** Encodes and decodes. */
  pass(message: Message): Message;
}

class Buffer implements Output {
  readonly bytes = new Uint8Array(BUFFER_BYTES);
  room(): never {
    throw new RangeError("The buffer is full");
  }
}

/** A payload in a buffer that holds many. */
interface Place {
  readonly start: number;
  readonly end: number;
}

function mpubsub(): Codec {
  const encoder = new Encoder();
  const decoder = new Decoder();
  const output = new Buffer();
  const read = new Uint8Array(4 * 1024 * 1024);
  let at = 0;
  let used = 0;
  const encode = (message: Message) => {
    if (at > BUFFER_BYTES / 2) at = 0;
    at = encoder.encode(message, LIMIT_BYTES, output, at);
  };
  return {
    name: "mpubsub",
    encode,
    prepare(message) {
      at = 0;
      encode(message);
      read.set(output.bytes.subarray(0, at), used);
      const place = { start: used, end: used + at };
      used = place.end;
      return place;
    },
    decode(prepared) {
      const { start, end } = prepared as Place;
      return decoder.decode(read, start, end);
    },
    pass(message) {
      const start = at > BUFFER_BYTES / 2 ? 0 : at;
      encode(message);
      return decoder.decode(output.bytes, start, at);
    },
  };
}

/** A codec that returns bytes and takes them. */
function plain(
  name: string,
  encode: (message: Message) => Uint8Array,
  decode: (bytes: Uint8Array) => unknown,
): Codec {
  return {
    name,
    encode,
    prepare: (message) => new Uint8Array(encode(message)),
    decode: (prepared) => decode(prepared as Uint8Array) as Message,
    pass: (message) => decode(encode(message)) as Message,
  };
}

function codecs(): Codec[] {
  const msgpackr = new Packr({ useRecords: false });
  const records = new Packr({ structures: [] });
  const cbor = new CborEncoder({ useRecords: false });
  const encoder = new MsgpackEncoder();
  const decoder = new MsgpackDecoder();
  const utf8 = new TextEncoder();
  const text = new TextDecoder();
  return [
    mpubsub(),
    plain("msgpackr", (message) => msgpackr.encode(message), (bytes) => msgpackr.decode(bytes)),
    plain(
      "msgpackr, records",
      (message) => records.encode(message),
      (bytes) => records.decode(bytes),
    ),
    plain("cbor-x", (message) => cbor.encode(message), (bytes) => cbor.decode(bytes)),
    plain(
      "@msgpack/msgpack",
      (message) => encoder.encodeSharedRef(message),
      (bytes) => decoder.decode(bytes),
    ),
    plain(
      "JSON, UTF-8",
      (message) => utf8.encode(JSON.stringify(message)),
      (bytes) => JSON.parse(text.decode(bytes)),
    ),
  ];
}

/** Messages of one shape, of which each iteration takes 1000. */
interface Scene {
  readonly name: string;
  readonly iterations: number;
  /** The message with a number. */
  make(i: number): Message;
}

const SCENES: readonly Scene[] = [
  {
    name: '{ message: "foo" }',
    iterations: 160,
    make: (i) => ({ message: ["foo", "bar", "baz", "qux"][i % 4] }),
  },
  {
    name: "{ data } of 16 bytes",
    iterations: 160,
    make: (i) => ({ data: new Uint8Array(16).fill(i) }),
  },
  {
    name: "{ data } of 128 bytes",
    iterations: 160,
    make: (i) => ({ data: new Uint8Array(128).fill(i) }),
  },
  {
    name: "{ data } of 16 KiB",
    iterations: 30,
    make: (i) => ({ data: new Uint8Array(16 * 1024).fill(i) }),
  },
  {
    name: "a flat object of 100 bytes as JSON",
    iterations: 160,
    make: (i) => ({
      id: 1000 + i * 7919,
      time: 1764000000000 + i * 1013,
      value: 20 + i / 7,
      name: `sensor-${i}/temperature of the hall`,
    }),
  },
  {
    name: "a nested object of 1 KiB as JSON",
    iterations: 30,
    make: (i) => ({
      id: `order-${i}`,
      time: 1764000000000 + i,
      customer: {
        name: "Ada Lovelace",
        email: "ada@example.org",
        address: { street: "12 St James's Square", city: "London", zip: "SW1Y 4JH" },
      },
      items: Array.from({ length: 8 }, (_, k) => ({
        sku: `sku-${k * 31 + i}`,
        title: "Analytical engine part",
        quantity: k + 1,
        price: 9.99 + k,
        tags: ["brass", "gear"],
      })),
      total: 123.45 + i,
      note: null,
      isPaid: i % 2 === 0,
    }),
  },
];

/** What was made last, so that nothing of it is left out as unused. */
export let taken: unknown;

function benchCodec(scene: Scene, codec: Codec, messages: Message[]): void {
  const { name } = codec;
  // With a few iterations if it is only to be seen that it runs.
  const bound = QUICK
    ? { n: 2, warmup: 1 }
    : { n: scene.iterations, warmup: Math.ceil(scene.iterations / 2) };
  const bench = <T>(direction: string, values: T[], each: (value: T) => unknown) =>
    Deno.bench({
      group: `${scene.name}, ${direction}`,
      name,
      baseline: name === "mpubsub",
      fn() {
        for (let n = 0; n < MESSAGES; n++) taken = each(values[n % DIFFERENT]!);
      },
      ...bound,
    });
  bench("encode", messages, (message) => codec.encode(message));
  const prepared = messages.map((message) => codec.prepare(message));
  bench("decode", prepared, (bytes) => codec.decode(bytes));
  bench("both", messages, (message) => codec.pass(message));
}

const CODECS = codecs();
for (const scene of SCENES) {
  const messages = Array.from({ length: DIFFERENT }, (_, i) => scene.make(i));
  const hasBytes = messages[0]!.data instanceof Uint8Array;
  for (const codec of CODECS) {
    if (hasBytes && codec.name.startsWith("JSON")) continue;
    deepEqual({ ...codec.pass(messages[7]!) }, messages[7]);
    // Each has met all shapes before the first is measured.
    const passes = QUICK ? 0 : 100 * scene.iterations;
    for (let n = 0; n < passes; n++) taken = codec.pass(messages[n % DIFFERENT]!);
    benchCodec(scene, codec, messages);
  }
}
