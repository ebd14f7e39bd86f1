/** What `Encoder` and `Decoder` remember must not be seen in what they make. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { hash } from "../base/bytes.ts";
import { Decoder, Encoder, type Output } from "../codec/codec.ts";
import { ProtocolError } from "../errors.ts";
import { toHex } from "../tools/harness/bytes.ts";
import { messageOf } from "../tools/harness/messages.ts";
import { decode, encode, show } from "../tools/harness/payload.ts";
import { randomOf } from "../tools/harness/random.ts";
import { fromHex } from "./helpers/hex.ts";
import { Scratch } from "./helpers/scratch.ts";

const LIMIT = 1024 * 1024;
/** A shape is kept the second time, and recognised from the third on. */
const TIMES = 4;

/** Passes messages through one long-lived pair, and holds each payload against a fresh encoder's. */
class Pair {
  readonly encoder = new Encoder();
  readonly decoder = new Decoder();

  pass(message: object): Record<string, unknown> {
    const payload = encode(message, { encoder: this.encoder });
    assertEquals(toHex(payload), toHex(encode(message)));
    const arrived = decode(payload, this.decoder);
    assertEquals(show(arrived), show(decode(payload)));
    return arrived;
  }

  check(message: object, arriving: object = message): void {
    assertEquals(show(this.pass(message)), show(arriving));
  }
}

function named(names: readonly string[], value: (i: number) => unknown = (i) => i): object {
  return Object.fromEntries(names.map((name, i) => [name, value(i)]));
}

Deno.test("Encoder and Decoder take any values for names that they know", () => {
  const pair = new Pair();
  const values = [1, "x", 1.5, null, -1, 2 ** 40, [1], { y: 1 }, true, 5n, new Uint8Array(3), {}];
  for (let round = 0; round < TIMES; round++) {
    values.forEach((value, i) => pair.check({ a: value, b: values[(i + 5) % values.length] }));
  }
});

Deno.test("Encoder and Decoder keep names apart that come in another order, or are more or fewer", () => {
  const pair = new Pair();
  const shapes = [["a", "b"], ["b", "a"], ["a"], ["b"], [], ["a", "b", "c"], ["ab"], ["a", ""]];
  for (let round = 0; round < TIMES; round++) {
    for (const names of shapes) pair.check(named(names));
    for (const names of shapes) for (let i = 0; i < 3; i++) pair.check(named(names));
  }
});

Deno.test("Encoder and Decoder recognise objects within objects and arrays", () => {
  const pair = new Pair();
  const point = (x: number) => ({ x, y: { x, z: [{ x }, { y: x }, {}] } });
  for (let round = 0; round < 2 * TIMES; round++) {
    pair.check({ id: round, list: [point(1), point(2), { other: point(3) }], last: {} });
  }
});

Deno.test("Encoder and Decoder take more shapes than they keep", () => {
  const pair = new Pair();
  for (let round = 0; round < TIMES; round++) {
    for (let i = 0; i < 1000; i++) {
      for (let again = 0; again <= round % 2; again++) pair.check(named([`n${i}`, "x", `${i}`]));
    }
  }
});

Deno.test("Encoder keeps names apart that have one hash", () => {
  const pair = new Pair();
  for (let round = 0; round < TIMES; round++) {
    for (const middle of "abc") {
      for (let i = 0; i < 3; i++) pair.check(named([`n${middle}n`, `${middle}`.repeat(3), "m"]));
    }
  }
});

/** Texts of eight letters of which each has the hash of another in `wrap`. */
function colliding(wrap: (text: string) => Uint8Array): string[] {
  const seen = new Map<number, string>();
  const random = randomOf(1);
  const found: string[] = [];
  while (found.length < 4) {
    const text = String.fromCharCode(...Array.from({ length: 8 }, () => 97 + random.int(26)));
    const bytes = wrap(text);
    const h = hash(bytes, 0, bytes.length);
    const other = seen.get(h);
    if (other !== undefined && other !== text) found.push(other, text);
    seen.set(h, text);
  }
  return found;
}

Deno.test("Decoder keeps names and texts apart that have one hash", () => {
  const pair = new Pair();
  const utf8 = new TextEncoder();
  const names = colliding((text) => Uint8Array.of(9, 8, ...utf8.encode(text)));
  const texts = colliding((text) => utf8.encode(text));
  for (let round = 0; round < TIMES; round++) {
    for (const name of names) for (let i = 0; i < 3; i++) pair.check(named([name]));
    for (const text of texts) for (let i = 0; i < 3; i++) pair.check({ text });
  }
});

Deno.test("Decoder gives back texts that come again, of any size and beside many others", () => {
  const pair = new Pair();
  for (let round = 0; round < TIMES; round++) {
    for (let size = 0; size < 140; size++) {
      for (const text of ["x", "é", "日", "\0"]) {
        pair.check({ text: `${text.repeat(size)}${size % 3}`, again: `${text.repeat(size)}` });
      }
    }
  }
});

Deno.test("Decoder refuses a text that is not UTF-8 each time it comes", () => {
  const decoder = new Decoder();
  for (let round = 0; round < TIMES; round++) {
    assertThrows(() => decode(fromHex("02 01 61 82 c3 28"), decoder), ProtocolError, "not UTF-8");
  }
});

Deno.test("Decoder gives each message an object of its own", () => {
  const decoder = new Decoder();
  const payload = encode({ a: 1, b: { c: 2 } });
  for (let round = 0; round < TIMES; round++) {
    const message = decode(payload, decoder);
    assertEquals(show(message), show({ a: 1, b: { c: 2 } }));
    message.a = "changed";
    delete (message.b as { c?: number }).c;
    message.more = 1;
    delete message.b;
  }
});

Deno.test("Decoder makes ordinary properties of all names that it knows", () => {
  const pair = new Pair();
  const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "1", "0", ""];
  for (let round = 0; round < TIMES; round++) {
    const arrived = pair.pass({ message: named(names, (i) => ({ i })) }).message as object;
    assertEquals(Object.getPrototypeOf(arrived), Object.prototype);
    assertEquals(Object.keys(arrived).toSorted(), names.toSorted());
    for (const name of names) {
      const { value, ...attributes } = Object.getOwnPropertyDescriptor(arrived, name)!;
      assertEquals(show(value), show({ i: names.indexOf(name) }));
      assertEquals(attributes, { writable: true, enumerable: true, configurable: true });
    }
    assertEquals(({} as { i?: unknown }).i, undefined);
  }
});

/** Calls `body` while `Object.prototype` has a property. */
function polluted(name: string, property: PropertyDescriptor, body: () => void): void {
  Object.defineProperty(Object.prototype, name, { ...property, configurable: true });
  try {
    body();
  } finally {
    delete (Object.prototype as Record<string, unknown>)[name];
  }
}

for (const isKnown of [false, true]) {
  const when = isKnown ? "before somebody put" : "after somebody had put";
  Deno.test(`Encoder and Decoder heed own names only, met first ${when} one into Object.prototype`, () => {
    const properties = [
      { value: "theirs", enumerable: true },
      { value: "theirs", enumerable: false, writable: false },
      { get: () => "theirs", set: () => assert(false), enumerable: true },
      { set: () => assert(false), enumerable: true },
    ];
    for (const property of properties) {
      const pair = new Pair();
      const check = () => {
        pair.check({ trap: 1 });
        pair.check({ a: { trap: 1 }, trap: 2, z: 3 });
        pair.check({ a: 1 });
        pair.check({});
        pair.check(Object.assign(Object.create(null), { a: 1 }), { a: 1 });
      };
      for (let round = 0; isKnown && round < TIMES; round++) check();
      polluted("trap", property, () => {
        for (let round = 0; round < TIMES; round++) {
          const { trap } = pair.pass({ trap: 1 });
          assertEquals(trap, 1);
          check();
        }
      });
      check();
    }
  });
}

Deno.test("Encoder leaves undefined members out of names that it knows", () => {
  const pair = new Pair();
  for (let round = 0; round < TIMES; round++) {
    pair.check({ a: 1, b: 2, c: 3 });
    pair.check({ a: 1, b: undefined, c: 3 }, { a: 1, c: 3 });
    pair.check({ a: undefined, b: 2, c: 3 }, { b: 2, c: 3 });
    pair.check({ a: 1, b: 2, c: undefined }, { a: 1, b: 2 });
    pair.check({ a: undefined, b: undefined, c: undefined }, {});
  }
});

class Point {
  x = 1;
  y = 2;
}

const NOT_PLAIN: readonly (readonly [string, () => object])[] = [
  ["a class", () => new Point()],
  [
    "an object with a prototype of somebody's",
    () => Object.assign(Object.create({}), { x: 1, y: 2 }),
  ],
  [
    "a Map with the same members",
    () => Object.assign(new (class extends Map {})(), { x: 1, y: 2 }),
  ],
];

for (const [what, make] of NOT_PLAIN) {
  Deno.test(`Encoder refuses ${what} that has names that it knows`, () => {
    const encoder = new Encoder();
    const plain = { ...make() };
    for (let round = 0; round < TIMES; round++) {
      encode({ plain }, { encoder });
      assertThrows(() => encode({ plain: make() }, { encoder }), TypeError, "message.plain");
      encode(plain, { encoder });
      assertThrows(() => encode(make(), { encoder }), TypeError, "must be a plain object");
    }
    const bare = Object.assign(Object.create(null), plain);
    assertEquals(show(decode(encode(bare, { encoder }))), show(plain));
  });
}

Deno.test("Encoder encodes a message with names that it knows, whose getter encodes another", () => {
  const encoder = new Encoder();
  for (let round = 0; round < 2 * TIMES; round++) {
    const inner: unknown[] = [];
    const message = {
      a: 1,
      get b() {
        inner.push(decode(encode({
          a: {
            get b() {
              inner.push(decode(encode({ a: 3, b: 4 }, { encoder })));
              return 5;
            },
          },
          b: 2,
        }, { encoder })));
        return "b";
      },
      c: { a: 6, b: 7 },
    };
    const arrived = decode(encode(message, { encoder }));
    assertEquals(show(arrived), show({ a: 1, b: "b", c: { a: 6, b: 7 } }));
    assertEquals(show(inner), show([{ a: 3, b: 4 }, { a: { b: 5 }, b: 2 }]));
  }
});

Deno.test("Encoder reads each member once", () => {
  const encoder = new Encoder();
  for (let round = 0; round < TIMES; round++) {
    let read = 0;
    encode({
      a: 1,
      get b() {
        return ++read;
      },
    }, { encoder });
    assertEquals(read, 1);
  }
});

/** An output that has no room left but what was asked for, each time in another place. */
class Moving implements Output {
  bytes = new Uint8Array(3);
  moves = 0;

  room(at: number, count: number): number {
    const moved = this.moves++ % 2 === 0 ? at + 5 : Math.max(3, at - 5);
    const bytes = new Uint8Array(moved + count).fill(0xee);
    // Of the current item, which begins at 3 in the first buffer, all that is before `at`.
    const length = Math.min(at, moved);
    bytes.set(this.bytes.subarray(at - length, at), moved - length);
    this.bytes.fill(0xdd);
    this.bytes = bytes;
    return moved;
  }
}

Deno.test("Encoder follows an output that moves whenever it may", () => {
  const seed = Date.now() % 2 ** 31;
  const random = randomOf(seed);
  const encoder = new Encoder();
  let moves = 0;
  for (let round = 0; round < 2000; round++) {
    const message = round % 3 > 0 ? messageOf(random) : {
      text: "é".repeat(random.int(300)) + "x".repeat(random.int(300)),
      [`n${"é".repeat(random.int(200))}`]: { deep: "日本".repeat(random.int(40)), n: 1.1 },
      bytes: random.bytes(random.int(400)),
    };
    const payload = encode(message);
    const output = new Moving();
    const end = encoder.encode(message, LIMIT, output, 3);
    assertEquals(
      toHex(output.bytes.subarray(end - payload.length, end)),
      toHex(payload),
      `seed ${seed}, round ${round}`,
    );
    moves += output.moves;
  }
  assert(moves > 4000);
});

Deno.test("Encoder writes a text whole where there is room for a part of it", () => {
  const encoder = new Encoder();
  const utf8 = new TextEncoder();
  const texts = ["é", "x", "日", "😀"].flatMap((unit) =>
    Array.from({ length: 40 }, (_, i) => {
      // V8 calls what writes texts in another way when they are in one piece.
      const text: string = JSON.parse(JSON.stringify("x".repeat(i) + unit.repeat(60)));
      return { text, bytes: toHex(utf8.encode(text)) };
    })
  );
  for (let round = 0; round < 20_000; round++) {
    const { text, bytes } = texts[round % texts.length]!;
    const output = new Scratch(20 + round % 300);
    const end = encoder.encode({ text }, LIMIT, output, 0);
    const size = (bytes.length + 1) / 3;
    const written = output.bytes.subarray(end - size, end);
    if (round < 2000 || round % 50 === 0) assertEquals(toHex(written), bytes, `round ${round}`);
    else assertEquals(end, (size < 255 ? 8 : 12) + size, `round ${round}`);
  }
});

Deno.test("Decoder reads nothing behind the end of a payload, whatever stands there", () => {
  const seed = Date.now() % 2 ** 31;
  const random = randomOf(seed);
  const decoder = new Decoder();
  for (let round = 0; round < 300; round++) {
    const payload = encode(messageOf(random));
    const start = random.int(20);
    const buffer = new Uint8Array(start + payload.length + 20);
    buffer.set(payload, start);
    const whole = decoder.decode(buffer, start, start + payload.length);
    assertEquals(show(whole), show(decode(payload)), `seed ${seed}, round ${round}`);
    const step = Math.ceil(payload.length / 200);
    for (let end = start; end < start + payload.length; end += step) {
      const cut = () => decoder.decode(buffer, start, end);
      assertThrows(cut, ProtocolError, undefined, `seed ${seed}, round ${round}, end ${end}`);
    }
  }
});

Deno.test("Decoder refuses sizes and counts that reach behind the end of a payload", () => {
  const decoder = new Decoder();
  // Each ends after the first part; what follows would make it whole.
  const cases = [
    ["02 01", "61 01"],
    ["02 01 61", "01"],
    ["02 01 61 82", "62 63"],
    ["02 01 61 82 62", "63"],
    ["02 01 61 af 03 01", "02 03"],
    ["02 01 61 af ff", "01 00 00 00 01"],
    ["02 01 61 b0 03 02", "00 01"],
    ["02 01 61 a5 01 02", "03 04"],
    ["02 01 61 ab 01 02 03 04", "05 06 07 08"],
    ["02 01 61 b4 02 01", "02"],
    ["02 01 61 b2 01 01", "02"],
    ["02 01 61 b3 02 01", "02"],
    ["02 01 61 b5 02 01 62", "01"],
    ["02 01 61 ac 02 01", "02"],
    ["04 01 61 01 62 01", "02"],
    ["02 01 61 b5", "00"],
    ["", "00"],
  ];
  for (let round = 0; round < TIMES; round++) {
    for (const [within, behind] of cases) {
      const bytes = fromHex(`${within} ${behind}`);
      decoder.decode(bytes, 0, bytes.length);
      const { length } = fromHex(within!);
      assertThrows(() => decoder.decode(bytes, 0, length), ProtocolError);
    }
  }
  const large = fromHex(`02 01 61 b4 03 01 02 ${"00".repeat(9)}`);
  assertThrows(() => decoder.decode(large, 0, 7), ProtocolError, "counts more than it has");
  const named = fromHex(`06 01 61 01 62 01 63 00 00 ${"00".repeat(9)}`);
  assertThrows(() => decoder.decode(named, 0, 9), ProtocolError, "more names than values");
});

Deno.test("Decoder refuses a name that comes twice each time it comes", () => {
  const decoder = new Decoder();
  for (let round = 0; round < TIMES; round++) {
    const twice = () => decode(fromHex("04 01 61 01 61 00 00"), decoder);
    assertThrows(twice, ProtocolError, 'the name "a" comes twice');
  }
});

Deno.test("Decoder takes names that it knows at the greatest depth, and not below it", () => {
  const decoder = new Decoder();
  const nested = (levels: number) => fromHex("02 01 61 b5 ".repeat(levels) + "02 01 61 00");
  for (let round = 0; round < TIMES; round++) {
    decode(nested(63), decoder);
    assertThrows(() => decode(nested(64), decoder), ProtocolError, "nested deeper than 64");
  }
});

Deno.test("Decoder reads a size in its long form, of names that it knows in the short one", () => {
  const decoder = new Decoder();
  for (let round = 0; round < TIMES; round++) {
    assertEquals(decode(fromHex("02 01 61 07"), decoder), { a: 7 });
    assertEquals(decode(fromHex("ff 02 00 00 00 01 61 07"), decoder), { a: 7 });
    assertEquals(decode(fromHex("06 ff 01 00 00 00 61 07"), decoder), { a: 7 });
  }
});

Deno.test("Encoder and Decoder that are used for long make what fresh ones make", () => {
  const seed = Date.now() % 2 ** 31;
  const random = randomOf(seed);
  const pair = new Pair();
  for (let round = 0; round < 3000; round++) {
    const message = messageOf(random);
    assertEquals(show(pair.pass(message)), show(message), `seed ${seed}, round ${round}`);
  }
});

Deno.test("Decoder gives a byte array bytes that nothing else has, when it is used for long", () => {
  const pair = new Pair();
  const random = randomOf(3);
  const kept = Array.from({ length: 500 }, (_, i) => {
    const data = new Uint8Array(random.int(1100)).fill(i);
    const arrived = pair.pass({ data }).data as Uint8Array;
    return { data, arrived };
  });
  for (const { data, arrived } of kept) assertEquals(toHex(arrived), toHex(data));
});
