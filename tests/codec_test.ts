import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Decoder, encodeMessage, Encoder, MESSAGE_DEPTH_MAX } from "../codec/codec.ts";
import { ProtocolError } from "../errors.ts";
import { toHex } from "../tools/harness/bytes.ts";
import { BIGINTS, messageOf, NUMBERS, STRINGS, TYPED_ARRAYS } from "../tools/harness/messages.ts";
import { decode, encode, show } from "../tools/harness/payload.ts";
import { randomOf } from "../tools/harness/random.ts";
import { fromHex } from "./helpers/hex.ts";
import { Scratch } from "./helpers/scratch.ts";

const LIMIT = 1024 * 1024;

/** What arrives in the place of `value`. */
function passed(value: unknown): unknown {
  return decode(encode({ value })).value;
}

/** Containers one in the other, so many; `leaf` stands in the innermost. */
function nested(levels: number, leaf: unknown): unknown {
  let value = leaf;
  for (let level = 0; level < levels; level++) value = [value];
  return value;
}

const DATES: readonly Date[] = [0, 1, -1, 1.9, -1.9, 8.64e15, -8.64e15, Date.UTC(2026, 10, 24)]
  .map((time) => new Date(time));

const COLLECTIONS: readonly object[] = [
  [],
  [null, true, false, [], [[1]], {}],
  Array.from({ length: 300 }, (_, i) => i),
  new Map(),
  new Map<unknown, unknown>([["a", 1], [1, "a"], [1n, null], [NaN, [1]], [
    null,
    new Map([[1, 2]]),
  ]]),
  new Map(Array.from({ length: 300 }, (_, i) => [i, `${i}`])),
  new Set(),
  new Set<unknown>([-0, "0", 0n, NaN, null, true, new Set([1]), new Date(0), new Uint8Array(1)]),
  new Set(Array.from({ length: 300 }, (_, i) => i)),
  {},
  { "": "", "a b": 1, "日本": { "😀": [] }, [`${"n".repeat(300)}`]: 2, b: 3, 1: 4 },
  Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`name ${i}`, i])),
];

const KINDS: Record<string, readonly unknown[]> = {
  "null and booleans": [null, true, false],
  numbers: NUMBERS,
  bigints: BIGINTS,
  strings: STRINGS,
  "typed arrays": TYPED_ARRAYS,
  dates: DATES,
  "collections and plain objects": COLLECTIONS,
};
const VALUES = Object.values(KINDS).flat();

for (const [kind, values] of Object.entries(KINDS)) {
  Deno.test(`decode gives back the ${kind} that Encoder took`, () => {
    for (const value of values) assertEquals(show(passed(value)), show(value));
  });
}

const FORMS: readonly (readonly [unknown, string])[] = [
  [null, "a0"],
  [false, "a1"],
  [true, "a2"],
  [0, "00"],
  [127, "7f"],
  [128, "a3 80"],
  [255, "a3 ff"],
  [256, "a4 00 01"],
  [65535, "a4 ff ff"],
  [65536, "a5 00 00 01 00"],
  [2 ** 32 - 1, "a5 ff ff ff ff"],
  [2 ** 32, "aa 00 00 80 4f"],
  [2 ** 53, "aa 00 00 00 5a"],
  [2 ** 53 - 1, "ab ff ff ff ff ff ff 3f 43"],
  [-0, "aa 00 00 00 80"],
  [-1, "a6 00"],
  [-256, "a6 ff"],
  [-257, "a7 00 01"],
  [-65536, "a7 ff ff"],
  [-65537, "a8 00 00 01 00"],
  [-(2 ** 32), "a8 ff ff ff ff"],
  [-(2 ** 33), "aa 00 00 00 d0"],
  [Infinity, "aa 00 00 80 7f"],
  [1.5, "aa 00 00 c0 3f"],
  [0.1, "ab 9a 99 99 99 99 99 b9 3f"],
  [0n, "ac 00"],
  [-1n, "ad 00"],
  [255n, "ac 01 ff"],
  [256n, "ac 02 00 01"],
  [-256n, "ad 01 ff"],
  ["", "80"],
  ["é", "82 c3 a9"],
  ["x".repeat(31), `9f ${"78".repeat(31)}`],
  ["x".repeat(32), `ae 20 ${"78".repeat(32)}`],
  ["x".repeat(254), `ae fe ${"78".repeat(254)}`],
  ["x".repeat(255), `ae ff ff 00 00 00 ${"78".repeat(255)}`],
  [Uint8Array.of(1, 2), "af 02 01 02"],
  [Int8Array.of(-1), "b0 00 01 ff"],
  [Uint16Array.of(1), "b0 03 02 01 00"],
  [BigUint64Array.of(1n), "b0 0a 08 01 00 00 00 00 00 00 00"],
  [new Date(-1), "b1 00 00 00 00 00 00 f0 bf"],
  [new Map([["k", 1]]), "b2 01 81 6b 01"],
  [new Set(["k", 1]), "b3 02 81 6b 01"],
  [[1, [2]], "b4 02 01 b4 01 02"],
];

for (const [value, form] of FORMS) {
  Deno.test(`Encoder takes the shortest form of ${show(value).slice(0, 40)}`, () => {
    assertEquals(toHex(encode({ v: value })), toHex(fromHex(`02 01 76 ${form}`)));
  });
}

Deno.test("Encoder writes the names of an object in one block before its values", () => {
  const payload = encode({ id: 7, at: { x: 1.5, y: -1 }, tag: "é" });
  assertEquals(
    toHex(payload),
    "0a 02 69 64 02 61 74 03 74 61 67 " + // The names id, at and tag.
      "07 b5 04 01 78 01 79 aa 00 00 c0 3f a6 00 82 c3 a9",
  );
});

for (const length of [253, 254, 500]) {
  Deno.test(`Encoder takes a block of names of ${length} bytes`, () => {
    const name = "n".repeat(length - (length > 255 ? 5 : 1));
    const message = { [name]: { [name]: 1 } };
    const payload = encode(message);
    assertEquals(show(decode(payload)), show(message));
  });
}

Deno.test("Encoder takes a name that is longer than its buffer", () => {
  const message = { a: 1, ["n".repeat(100_000)]: 2, b: 3 };
  assertEquals(show(decode(encode(message))), show(message));
});

Deno.test("Encoder makes U+FFFD of a lone surrogate, in values and names", () => {
  const message = {
    "\udc00": 1,
    at: "a\ud800",
    set: new Set(["\ud83d"]),
    long: "\ud800".repeat(20),
  };
  assertEquals(
    show(decode(encode(message))),
    show({ "\ufffd": 1, at: "a\ufffd", set: new Set(["\ufffd"]), long: "\ufffd".repeat(20) }),
  );
});

Deno.test("Encoder leaves undefined members out", () => {
  const message = { a: undefined, b: { c: undefined, d: 1 }, e: [{ f: undefined }] };
  assertEquals(show(decode(encode(message))), show({ b: { d: 1 }, e: [{}] }));
});

Deno.test("decode makes plain objects of objects without a prototype", () => {
  const inner = Object.assign(Object.create(null), { a: 1 });
  const message = decode(encode(Object.assign(Object.create(null), { inner })));
  assertStrictEquals(Object.getPrototypeOf(message), Object.prototype);
  assertEquals(show(message), show({ inner: { a: 1 } }));
});

Deno.test("decode makes ordinary properties of names that every object has", () => {
  const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "__defineSetter__"];
  const message = Object.fromEntries(names.map((name) => [name, { polluted: name }]));
  const arrived = decode(encode({ message })).message as object;
  assertStrictEquals(Object.getPrototypeOf(arrived), Object.prototype);
  assertEquals(Object.keys(arrived), names);
  for (const name of names) {
    const { value, ...attributes } = Object.getOwnPropertyDescriptor(arrived, name)!;
    assertEquals(show(value), show({ polluted: name }));
    assertEquals(attributes, { writable: true, enumerable: true, configurable: true });
  }
  assertEquals(({} as { polluted?: unknown }).polluted, undefined);
});

Deno.test("decode calls no setter that stands in Object.prototype", () => {
  const called: unknown[] = [];
  const set = (value: unknown) => called.push(value);
  Object.defineProperty(Object.prototype, "trap", { configurable: true, set });
  try {
    assertEquals(Object.entries(decode(encode({ trap: 1 }))), [["trap", 1]]);
    assertEquals(called, []);
  } finally {
    delete (Object.prototype as { trap?: unknown }).trap;
  }
});

Deno.test("decode shares no buffer with its input", () => {
  const payload = encode({ values: VALUES });
  const message = decode(payload);
  payload.fill(0xff);
  assertEquals(show(message), show({ values: VALUES }));
});

Deno.test("decode gives each typed array bytes of its own, and all but a short Uint8Array a buffer", () => {
  const lengths = [0, 1, 16, 1000, 1024, 1025, 16, 5000, 900, 1024, 1024, 1024, 1024, 1024, 1024];
  const arrays = lengths.map((length, i) => new Uint8Array(length).fill(i));
  const decoder = new Decoder();
  const values = [...TYPED_ARRAYS, ...arrays].map((value) =>
    decode(encode({ value }), decoder).value as Uint8Array
  );
  for (const { buffer, byteLength, constructor } of values) {
    if (constructor === Uint8Array && byteLength <= 1024) assert(buffer.byteLength <= 16_384);
    else assertEquals(buffer.byteLength, byteLength);
  }
  for (const value of values) {
    new Uint8Array(value.buffer, value.byteOffset, value.byteLength).fill(7);
  }
  for (const [i, value] of values.slice(TYPED_ARRAYS.length).entries()) value.fill(i);
  values.slice(TYPED_ARRAYS.length).forEach((value, i) => {
    assert(value.every((byte) => byte === i), `value ${i} shares bytes with another`);
  });
});

Deno.test("decode reads a payload in the middle of a buffer", () => {
  const payload = encode({ values: VALUES });
  const buffer = new Uint8Array(payload.length + 20).fill(0xff);
  buffer.set(payload, 7);
  const message = decode(buffer.subarray(7, 7 + payload.length));
  assertEquals(show(message), show({ values: VALUES }));
});

Deno.test("Encoder copies what stands in shared memory", () => {
  const shared = new Uint8Array(new SharedArrayBuffer(4));
  shared.set([1, 2, 3, 4]);
  const arrived = passed(shared) as Uint8Array;
  assertEquals([...arrived], [1, 2, 3, 4]);
  assertInstanceOf(arrived.buffer, ArrayBuffer);
});

class Point {}
class Points extends Array<number> {}
class Registry extends Map<string, number> {}
class Members extends Set<number> {}
class Day extends Date {}

function loop(close: (parent: Record<string, unknown>) => unknown): object {
  const parent: Record<string, unknown> = {};
  parent.child = close(parent);
  return { parent };
}

function withHole(): unknown[] {
  const array: unknown[] = [1];
  array[2] = 3;
  return array;
}

function detached<T>(type: new (buffer: ArrayBuffer) => T): T {
  const buffer = new ArrayBuffer(8);
  const view = new type(buffer);
  buffer.transfer();
  return view;
}

const CYCLE = "is part of a cycle";
const DEEP = `is nested deeper than ${MESSAGE_DEPTH_MAX}`;
const REFUSED: readonly (readonly [path: string, problem: string, message: object])[] = [
  ["message.f", "is a function", { f: () => {} }],
  ["message.s", "is a symbol", { s: Symbol("s") }],
  ["message.p", "is of class Point", { p: new Point() }],
  ["message.list", "is of class Points", { list: new Points() }],
  ["message.map", "is of class Registry", { map: new Registry() }],
  ["message.set", "is of class Members", { set: new Members() }],
  ["message.day", "is of class Day", { day: new Day() }],
  ["message.e", "is of class Error", { e: new Error("no") }],
  ["message.re", "is of class RegExp", { re: /x/ }],
  ["message.promise", "is of class Promise", { promise: Promise.resolve() }],
  ["message.boxed", "is of class Number", { boxed: Object(1) }],
  ["message.buffer", "is of class ArrayBuffer", { buffer: new ArrayBuffer(1) }],
  ["message.shared", "is of class SharedArrayBuffer", { shared: new SharedArrayBuffer(1) }],
  ["message.view", "is of class DataView", { view: new DataView(new ArrayBuffer(1)) }],
  ["message.date", "is an invalid date", { date: new Date(NaN) }],
  ["message.bytes", "is empty because its buffer was transferred", { bytes: detached(Uint8Array) }],
  ["message.typed", "is empty because its buffer was transferred", { typed: detached(Int16Array) }],
  ["message.gone", "is of class DataView", { gone: detached(DataView) }],
  ["message.list[1]", "is undefined", { list: [1, undefined] }],
  ["message.holes[1]", "is undefined", { holes: withHole() }],
  ['message.map.get("k")', "is undefined", { map: new Map([["k", undefined]]) }],
  ["a key of message.map", "is undefined", { map: new Map([[undefined, 1]]) }],
  ["a member of message.set", "is undefined", { set: new Set([undefined]) }],
  ["a key of message.map", "is of class Point", { map: new Map([[new Point(), 1]]) }],
  ["message.a[1].b.get(7)[0].c", "is a symbol", {
    a: [0, { b: new Map([[7, [{ c: Symbol() }]]]) }],
  }],
  ['message["a b"]["1"]["__proto__x-y"]', "is a function", {
    "a b": { 1: { "__proto__x-y": () => {} } },
  }],
  ["message.parent.child", CYCLE, loop((parent) => parent)],
  ["message.parent.child[0]", CYCLE, loop((parent) => [parent])],
  ['message.parent.child.get("k")', CYCLE, loop((parent) => new Map([["k", parent]]))],
  ["a member of message.parent.child", CYCLE, loop((parent) => new Set([parent]))],
];

for (const [path, problem, message] of REFUSED) {
  Deno.test(`Encoder refuses ${path}, which ${problem}`, () => {
    const error = assertThrows(() => encode(message), TypeError);
    assertStringIncludes(error.message, `Cannot send ${path}: it ${problem}`);
  });
}

for (const type of [Array, Date, Map, Set]) {
  Deno.test(`Encoder refuses an object that only has the prototype of ${type.name}`, () => {
    const fake = Object.create(type.prototype);
    assertThrows(() => encode({ fake }), TypeError, "Cannot send message.fake: it ");
  });
}

const NO_MESSAGES: readonly (readonly [string, unknown])[] = [
  ["an array", []],
  ["of class Map", new Map()],
  ["of class Point", new Point()],
  ["a function", () => {}],
  ["null", null],
  ["undefined", undefined],
  ['"text"', "text"],
];

for (const [what, message] of NO_MESSAGES) {
  Deno.test(`Encoder refuses a message that is ${what}`, () => {
    const problem = `Cannot send message: it is ${what}; it must be a plain object`;
    assertThrows(() => encode(message as object), TypeError, problem);
  });
}

Deno.test("Encoder takes a value that stands in two places, which is no cycle", () => {
  const shared = { a: [1] };
  const message = { first: shared, second: [shared, shared] };
  assertEquals(show(decode(encode(message))), show(structuredClone(message)));
});

for (const leaf of [1, "text", null, new Date(0), new Uint8Array(1), [], {}]) {
  Deno.test(`Encoder takes ${show(leaf)} at the greatest depth, and names one below it`, () => {
    const message = { deep: nested(MESSAGE_DEPTH_MAX - 1, leaf) };
    assertEquals(show(decode(encode(message))), show(message));
    const path = `message.deep${"[0]".repeat(MESSAGE_DEPTH_MAX)}`;
    const deeper = { deep: nested(MESSAGE_DEPTH_MAX, leaf) };
    assertThrows(() => encode(deeper), TypeError, `Cannot send ${path}: it ${DEEP}`);
  });
}

Deno.test("Encoder takes a message of exactly the limit and refuses one byte more", () => {
  for (const value of VALUES) {
    const { length } = encode({ value });
    assertEquals(encode({ value }, { limit: length }).length, length);
    const past = () => encode({ value }, { limit: length - 1 });
    assertThrows(past, RangeError, `limit is ${length - 1}`, show(value));
  }
});

Deno.test("Encoder refuses a message that repeats itself without end at its limit", () => {
  let value: unknown = "x";
  for (let level = 0; level < 60; level++) value = [value, value];
  assertThrows(() => encode({ value }), RangeError, `limit is ${LIMIT}`);
});

Deno.test("Encoder is as good as new after it refused a message", () => {
  const encoder = new Encoder();
  const message = { a: [1, "two"] };
  const bad = { list: ["x".repeat(3000), { f: () => {} }] };
  assertThrows(() => encode(bad, { encoder }), TypeError);
  assertThrows(() => encode({ a: "x".repeat(100) }, { encoder, limit: 99 }), RangeError);
  const mine = new SyntaxError("mine");
  const failing = {
    get a() {
      throw mine;
    },
  };
  const { cause } = assertThrows(() => encode(failing, { encoder }), TypeError, "mine");
  assertEquals(cause, mine);
  assertEquals(show(decode(encode(message, { encoder }))), show(message));
});

Deno.test("Encoder encodes a message whose getter encodes another", () => {
  const encoder = new Encoder();
  const inner: unknown[] = [];
  const message = {
    before: "x",
    get during() {
      inner.push(decode(encode({ inner: [1, "y".repeat(2000)] }, { encoder })));
      return "z";
    },
    after: [{
      get deep() {
        inner.push(decode(encode({}, { encoder })));
        return null;
      },
    }],
  };
  const arrived = decode(encode(message, { encoder }));
  assertEquals(show(arrived), show({ before: "x", during: "z", after: [{ deep: null }] }));
  assertEquals(show(inner), show([{ inner: [1, "y".repeat(2000)] }, {}]));
});

Deno.test("decode gives back what one Encoder took, for random messages", () => {
  const seed = Date.now() % 2 ** 31;
  const random = randomOf(seed);
  const encoder = new Encoder();
  for (let round = 0; round < 3000; round++) {
    const message = messageOf(random);
    const arrived = decode(encode(message, { encoder }));
    assertEquals(show(arrived), show(message), `seed ${seed}, round ${round}`);
  }
});

Deno.test("decode refuses every beginning of a payload that is not the whole", () => {
  const short = VALUES.filter((value) => encode({ value }).length < 2000);
  for (const value of [...short, { a: short.slice(0, 20) }]) {
    const payload = encode({ value, last: 1 });
    for (let end = 0; end < payload.length; end++) {
      assertThrows(() => decode(payload.subarray(0, end)), ProtocolError);
    }
  }
});

const BROKEN: readonly (readonly [value: string, problem: string, hex: string])[] = [
  ["an empty payload", "ends too early", ""],
  ["bytes after the last value", "bytes follow the last value", "00 00"],
  ["a name twice", 'the name "a" comes twice', "04 01 61 01 61 00 00"],
  [
    "__proto__ twice",
    'the name "__proto__" comes twice',
    `14 ${"095f5f70726f746f5f5f".repeat(2)} 0000`,
  ],
  ["a name that ends after the names", "ends after the names", "02 05 61 62 63 64 65 00"],
  ["more names than values", "more names than values", "06 01 61 01 62 01 63 00 00"],
  ["a name that is not UTF-8", "not UTF-8", "02 01 ff 00"],
  ["a short text that is not UTF-8", "not UTF-8", "02 01 61 82 c3 28"],
  ["a long text that is not UTF-8", "not UTF-8", `02 01 61 ae 20 ${"61".repeat(31)} ff`],
  ["a surrogate in UTF-8", "not UTF-8", "02 01 61 83 ed a0 80"],
  ["the key of a Map twice", "a key twice", "02 01 61 b2 02 81 6b 00 81 6b 01"],
  ["the key -0 after 0", "a key twice", "02 01 61 b2 02 00 00 aa 00 00 00 80 01"],
  ["the member of a Set twice", "a member twice", "02 01 61 b3 02 a0 a0"],
  ["a member twice in two forms", "a member twice", "02 01 61 b3 02 01 a3 01"],
  ["the tag that is not used", "the tag 169 is not known", "02 01 61 a9"],
  ["the first tag after the last", "the tag 182 is not known", "02 01 61 b6"],
  ["the tag 255", "the tag 255 is not known", "02 01 61 ff"],
  ["an unknown kind of typed array", "the kind 11 ", "02 01 61 b0 0b 00"],
  ["a part of an element", "a part of an element", "02 01 61 b0 02 03 00 00 00"],
  ["a date that is NaN", "a date is invalid", "02 01 61 b1 00 00 00 00 00 00 f8 7f"],
  ["a date past the last", "a date is invalid", "02 01 61 b1 00 00 00 00 00 00 f0 7f"],
];

for (const [what, problem, hex] of BROKEN) {
  Deno.test(`decode refuses ${what}`, () => {
    assertThrows(() => decode(fromHex(hex)), ProtocolError, problem);
  });
}

const SIZED: readonly (readonly [string, string])[] = [
  ["names", ""],
  ["the names of an inner object", "02 01 61 b5"],
  ["the bytes of a name", "05"],
  ["a bigint", "02 01 61 ac"],
  ["a negative bigint", "02 01 61 ad"],
  ["a string", "02 01 61 ae"],
  ["bytes", "02 01 61 af"],
  ["a typed array", "02 01 61 b0 00"],
  ["a Map", "02 01 61 b2"],
  ["a Set", "02 01 61 b3"],
  ["an array", "02 01 61 b4"],
];

for (const [what, head] of SIZED) {
  Deno.test(`decode refuses a size or count of ${what} that is more than it has`, () => {
    for (
      const size of ["ff ff ff ff ff", "ff ff ff ff 7f", "ff 00 00 10 00", "ff 05 00 00 00", "05"]
    ) {
      assertThrows(() => decode(fromHex(`${head} ${size} 00 00 00`)), ProtocolError);
    }
  });
}

Deno.test("decode refuses a bigint that the runtime has no room for", () => {
  for (const tag of [0xac, 0xad]) {
    const payload = new Uint8Array(9 + 2 ** 27);
    payload.set([2, 1, 97, tag, 255, 0, 0, 0, 8]);
    assertThrows(() => decode(payload), ProtocolError, "a bigint has more than 134217727 bytes");
  }
});

Deno.test("decode makes little beside a bigint of 1 MiB", () => {
  const value = (1n << 2n ** 23n) - 12_345n;
  const payload = encode({ value }, { limit: 2 * LIMIT });
  const { heapUsed } = Deno.memoryUsage();
  assertEquals(decode(payload).value === value, true);
  const taken = Deno.memoryUsage().heapUsed - heapUsed;
  assert(taken < 16 * LIMIT, `${taken} bytes`);
});

Deno.test("decode counts two values for each entry of a Map", () => {
  const entries = (count: string, rest: string) => decode(fromHex(`02 01 61 b2 ${count} ${rest}`));
  assertThrows(() => entries("02", "00 00 01"), ProtocolError, "counts more than it has");
  assertEquals(show(entries("02", "00 00 01 01").a), show(new Map([[0, 0], [1, 1]])));
});

for (
  const [what, wrap] of [
    ["arrays", "b4 01"],
    ["Sets", "b3 01"],
    ["keys of Maps", "b2 01"],
    ["values of Maps", "b2 01 00"],
    ["objects", "b5 02 01 61"],
  ] as const
) {
  Deno.test(`decode refuses ${what} nested deeper than the limit`, () => {
    const payload = (levels: number) => {
      const tail = wrap === "b2 01" ? " 00".repeat(levels) : "";
      return fromHex(`02 01 61 ${`${wrap} `.repeat(levels)} 00 ${tail}`);
    };
    decode(payload(MESSAGE_DEPTH_MAX - 1));
    for (const levels of [MESSAGE_DEPTH_MAX, 100, 100_000]) {
      assertThrows(() => decode(payload(levels)), ProtocolError, "nested deeper than 64");
    }
  });
}

Deno.test("decode throws nothing but ProtocolError for 100 000 random payloads, and makes nothing larger than they are", () => {
  const seed = Date.now() % 2 ** 31;
  const random = randomOf(seed);
  const payloads = VALUES.map((value) => encode({ a: value, b: [value] }))
    .filter(({ length }) => length < 200);
  const encoder = new Encoder();
  let read = 0;
  let refused = 0;
  for (let round = 0; round < 100_000; round++) {
    const payload = random.int(4) === 0
      ? random.bytes(random.int(60))
      : random.mutate(random.pick(payloads));
    try {
      const message = decode(payload);
      read++;
      // Whatever was read can be sent again, in about as many bytes.
      const again = encode(message, { encoder, limit: 2 * payload.length });
      if (round % 50 === 0) assertEquals(show(decode(again)), show(message));
    } catch (error) {
      refused++;
      assertInstanceOf(error, ProtocolError, `seed ${seed}, round ${round}: ${error}`);
    }
  }
  assert(read > 1000 && refused > 1000, `seed ${seed}: ${read} read, ${refused} refused`);
});

function refused(message: object): string {
  return assertThrows(() => encode(message), TypeError).message;
}

function names(...names: string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, 1]));
}

Deno.test("Encoder refuses what is the same once lone surrogates are U+FFFD, and says where", () => {
  const same = "once lone surrogates are U+FFFD";
  const cases: [object, string][] = [
    [{ m: new Set(["\ud800", "\ud801"]) }, `a member of message.m: it is the same as another`],
    [{ m: new Set(["\ufffd", 1, "\udfff"]) }, `a member of message.m: it is the same as another`],
    [
      { m: [new Map([["\ud800", 1], ["\ud801", 2]])] },
      `a key of message.m[0]: it is the same as another`,
    ],
    [names("\ufffd", "\ud800"), `message["\\ud800"]: it has the name of another`],
  ];
  for (const [message, text] of cases) {
    assertEquals(refused(message), `Cannot send ${text} ${same}`);
  }
});

Deno.test("Encoder takes lone surrogates that stay apart", () => {
  const message = {
    ...names("\ud800"),
    ["\ufffd"]: undefined,
    set: new Set(["\ud800", "a"]),
    map: new Map<unknown, unknown>([["\ud800", "\ud801"], [1, "\ud801"]]),
    list: ["\ud800", "\ud801"],
  };
  assertEquals(decode(encode(message)), {
    "\ufffd": 1,
    set: new Set(["\ufffd", "a"]),
    map: new Map<unknown, unknown>([["\ufffd", "\ufffd"], [1, "\ufffd"]]),
    list: ["\ufffd", "\ufffd"],
  });
});

Deno.test("Encoder refuses an array that a getter in it makes shorter or longer", () => {
  for (const change of [(list: unknown[]) => list.length = 1, (list: unknown[]) => list.push(1)]) {
    const list: unknown[] = [];
    let isChanged = false;
    list.push(
      {
        get x() {
          if (!isChanged) change(list);
          isChanged = true;
          return 1;
        },
      },
      2,
      3,
    );
    assertEquals(refused({ list }), "Cannot send message: it changed while it was sent");
  }
});

Deno.test("encodeMessage makes room for a message of any length, up to its limit", () => {
  for (const length of [0, 10, 1000, 1023, 1024, 5000, 100_000]) {
    const message = { bytes: new Uint8Array(length).fill(7), list: Array(length).fill(300) };
    const output = new Scratch(10 * length + 100);
    const end = new Encoder().encode(message, Infinity, output, 0);
    assertEquals(encodeMessage(message), output.bytes.subarray(0, end));
    assertEquals(encodeMessage(message, end).length, end);
    assertThrows(() => encodeMessage(message, end - 1), RangeError);
  }
});
