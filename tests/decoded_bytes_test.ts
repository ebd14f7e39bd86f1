/** Holds the estimate of what a message takes in memory against what it takes. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  decodedBytes,
  decodedExcess,
  decodedLimit,
  DecodedSize,
  Decoder,
  encodeMessage,
  Encoder,
} from "../codec/codec.ts";
import { ProtocolError } from "../errors.ts";
import { join } from "../tools/attacks/raw_client.ts";
import { decode, encode } from "../tools/harness/payload.ts";
import type { Measured } from "./helpers/decoded_memory.ts";
import { fromHex } from "./helpers/hex.ts";

const MIB = 1024 * 1024;
/** A message may take so many times what is estimated, and texts with wide letters twice as much. */
const FACTOR = 1.5, FACTOR_OF_WIDE_TEXTS = 2;
/** No message takes more than so many times its payload, by the estimate; less is not looked at. */
const FACTOR_MAX = 160;

/** A payload that only its reader refuses. */
function crowded(tag: number, bytes: number): Uint8Array {
  const count = bytes >> 1;
  const payload = new Uint8Array(9 + 2 * count);
  payload.set([2, 1, 97, 0xb4, 255, count, count >> 8, count >> 16, count >> 24]);
  for (let i = 0; i < count; i++) payload[9 + 2 * i] = tag;
  return payload;
}

Deno.test("decodedBytes is at least what a message takes, but for a stated factor, whatever is in it", async (t) => {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--v8-flags=--expose-gc,--single-threaded",
      new URL("helpers/decoded_memory.ts", import.meta.url).pathname,
    ],
    stderr: "inherit",
  }).output();
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  assert(lines.length > 40, `${lines.length} kinds`);
  for (const line of lines) {
    const { kind, payload, estimated, taken }: Measured = JSON.parse(line);
    await t.step(kind, () => {
      const factor = kind.includes("wide") ? FACTOR_OF_WIDE_TEXTS : FACTOR;
      assert(taken < factor * estimated, `${taken / payload} bytes of memory a byte`);
      assert(estimated < FACTOR_MAX * payload);
    });
  }
});

Deno.test("docs/protocol.md says what its example takes", async () => {
  const page = await Deno.readTextFile(new URL("../docs/protocol.md", import.meta.url));
  const [, hex, told] = /`([0-9a-f\s]+)`[^.]*?takes\s+(\d+)\s+bytes/.exec(page)!;
  const payload = fromHex(hex!);
  assertEquals(decodedBytes(payload, 0, payload.length), Number(told));
});

const COSTS: readonly (readonly [value: unknown, bytes: number])[] = [
  [5, 16],
  [null, 16],
  [true, 16],
  [-7000, 16],
  [3_000_000_000, 32],
  [0.5, 32],
  [0.1, 32],
  [12n, 41],
  ["abc", 51],
  ["a".repeat(100), 148],
  [new Uint8Array(7), 127],
  [new Uint8Array(70_000), 70_120],
  [new Float64Array(2), 432],
  [new Date(0), 112],
  [new Map([[1, 2], [3, 4]]), 200 + 2 * (16 + 32)],
  [new Set([1, 2]), 168 + 2 * 32],
  [[], 48],
  [[1, 2, 3], 48 + 3 * 16],
  [{}, 64],
  [{ ab: 1, c: 2 }, 64 + 96 + 50 + 49 + 2 * 16],
  [{ 7: 1 }, 64 + 96 + 49 + 136 + 16],
  [[{ ab: 1 }, { ab: 2 }, { ab: 3 }], 48 + 96 + 50 + 3 * (64 + 16)],
  [[{ 7: 1 }, { 7: 2 }], 48 + 96 + 49 + 2 * (64 + 136 + 16)],
  // The first has the name of the message.
  [[{ a: 1 }, {}, { a: 1 }], 48 + 3 * 64 + 96 + 49 + 2 * 16],
];

Deno.test("decodedBytes counts what the table says for each kind of value", () => {
  const root = 64 + 96 + 49;
  for (const [a, bytes] of COSTS) {
    const payload = encode({ a });
    assertEquals(decodedBytes(payload, 0, payload.length), root + bytes, Deno.inspect(a));
  }
  assertEquals(decodedBytes(encode({}), 0, 1), 64);
});

Deno.test("decodedBytes reads nothing behind the payload, and never less than what is valid of it", () => {
  for (const [a] of COSTS) {
    const payload = encode({ a });
    const whole = decodedBytes(payload, 0, payload.length);
    for (let end = 0; end <= payload.length; end++) {
      const alone = payload.slice(0, end);
      const part = decodedBytes(payload, 0, end);
      assertEquals(part, decodedBytes(alone, 0, end));
      assert(part <= whole, `${end} of ${payload.length}`);
    }
  }
});

for (
  const [what, tag, make] of [
    ["Maps", 0xb2, () => new Map()],
    ["Sets", 0xb3, () => new Set()],
    ["arrays", 0xb4, () => []],
    ["objects", 0xb5, () => ({})],
    ["byte arrays", 0xaf, () => new Uint8Array()],
  ] as const
) {
  Deno.test(`Encoder and Decoder refuse the same number of empty ${what}`, () => {
    const cost = decodedBytes(crowded(tag, 2), 0, 11) - decodedBytes(crowded(tag, 0), 0, 9);
    const most = Math.floor((decodedLimit(MIB) - decodedBytes(crowded(tag, 0), 0, 9)) / cost);
    const fits = Array.from({ length: most }, make);
    const payload = encodeMessage({ a: fits }, MIB);
    assertEquals(payload, crowded(tag, 2 * most));
    assertEquals((new Decoder().decode(payload, 0, payload.length, MIB).a as []).length, most);

    fits.push(make() as never);
    const problem = "bytes of memory";
    assertThrows(() => encodeMessage({ a: fits }, MIB), RangeError, problem);
    const larger = crowded(tag, 2 * most + 2);
    const read = () => new Decoder().decode(larger, 0, larger.length, MIB);
    assertThrows(read, ProtocolError, problem);
  });
}

Deno.test("Decoder refuses 1 MiB of empty Maps before it makes one", () => {
  const payload = crowded(0xb2, MIB - 16);
  const decoder = new Decoder();
  const { Map: Original } = globalThis;
  let made = 0;
  let refused = -1;
  globalThis.Map = new Proxy(Original, {
    construct: (target, args) => (made++, Reflect.construct(target, args)),
  });
  try {
    decoder.decode(payload, 0, payload.length, MIB);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    refused = made;
    decoder.decode(crowded(0xb2, 2), 0, 11, MIB);
  } finally {
    globalThis.Map = Original;
  }
  assertEquals([refused, made], [0, 1]);
});

Deno.test("decodedExcess lets everything pass that is small, however low the limit is", () => {
  const payload = crowded(0xb2, 600);
  assertEquals(decodedExcess(payload, 0, payload.length, 1), 0);
  assert(decodedExcess(crowded(0xb2, 6000), 0, 6009, 1) > 65_536);
});

Deno.test("DecodedSize says what a message takes, and the most that it can", () => {
  const payload = encode({ a: [1, 2, 3] });
  const size = new DecodedSize();
  for (const start of [0, 5]) {
    const buffer = join(new Uint8Array(start), payload, new Uint8Array(9));
    size.begin(buffer, start, start + payload.length);
    const exact = decodedBytes(payload, 0, payload.length);
    assertEquals([size.most, size.bytes, size.bytes], [FACTOR_MAX * payload.length, exact, exact]);
    size.end();
  }
  for (const value of [{}, { a: new Int8Array() }, { 9: new Map() }, { "": 1, 9: 2, a: 3 }]) {
    const some = encode(value);
    assert(decodedBytes(some, 0, some.length) < FACTOR_MAX * some.length, Deno.inspect(value));
  }
});

Deno.test("Encoder is as good as new after a message that takes too much", () => {
  const encoder = new Encoder();
  const maps = Array.from({ length: 10_000 }, () => new Map());
  assertThrows(() => encodeMessage({ maps }, 30_000, encoder), RangeError, "480000");
  assertEquals(decode(encodeMessage({ a: 1 }, 30_000, encoder)), { a: 1 });
});

Deno.test("decode keeps an object's elements in a table where they are far apart", () => {
  for (const names of [["999"], ["0", "7"], ["5", "a", "70000", "4294967294"], ["0", "1", "2"]]) {
    const message = Object.fromEntries(names.map((name, i) => [name, i]));
    const decoder = new Decoder();
    for (let i = 0; i < 4; i++) {
      const arrived = decoder.decode(encode(message), 0, encode(message).length);
      assertEquals(arrived, message);
      assertEquals(Object.keys(arrived), Object.keys(message));
    }
  }
});
