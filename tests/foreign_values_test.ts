/**
 * Values that other libraries, other realms and the language itself make: each arrives exactly as it was, or
 * is refused by name with what helps.
 */
import { assert, assertEquals, assertInstanceOf, assertMatch, assertThrows } from "@std/assert";
import vm from "node:vm";
import { Encoder } from "../codec/codec.ts";
import { decode, encode, show } from "../tools/harness/payload.ts";
import { quiet } from "./helpers/quiet.ts";

/** What arrives in the place of `value`. */
function passed(value: unknown): unknown {
  return decode(encode({ value })).value;
}

/** Why a value is refused. */
function refusal(value: unknown): string {
  const { message } = assertThrows(() => encode({ value }), TypeError);
  return message.replace("Cannot send message.value: it ", "");
}

/** A value of another realm. */
function foreign(code: string): unknown {
  return vm.runInContext(code, vm.createContext({}));
}

/** A view of the end of a buffer that then becomes shorter. */
function shrunk<T>(make: (buffer: ArrayBuffer) => T): T {
  const buffer = new ArrayBuffer(16, { maxByteLength: 32 });
  const view = make(buffer);
  buffer.resize(4);
  return view;
}

function argumentsOf(..._: number[]): unknown {
  return arguments;
}

function templateOf(strings: TemplateStringsArray, ..._: unknown[]): unknown {
  return strings;
}

class Registry extends Map {}

/** What is refused, and what is said of it. */
const REFUSED: Readonly<Record<string, readonly [value: () => unknown, says: RegExp]>> = {
  "bytes whose buffer has shrunk below them": [
    () => shrunk((buffer) => new Uint8Array(buffer, 8, 8)),
    /^is empty because its buffer has become shorter; make another view of it$/,
  ],
  "bytes that follow a buffer that has shrunk below their beginning": [
    () => shrunk((buffer) => new Uint8Array(buffer, 8)),
    /^is empty because its buffer has become shorter/,
  ],
  "numbers whose buffer has shrunk below them": [
    () => shrunk((buffer) => new Float64Array(buffer, 0, 1)),
    /^is empty because its buffer has become shorter/,
  ],
  "big integers whose buffer has shrunk below them": [
    () => shrunk((buffer) => new BigInt64Array(buffer, 8)),
    /^is empty because its buffer has become shorter/,
  ],
  "what a regular expression has found": [
    () => /a(?<x>b)/.exec("ab"),
    /^has a member "index" besides its elements; send a copy of these, or an object$/,
  ],
  "the texts of a template": [() => templateOf`a${1}b`, /^has a member "raw" besides its elements/],
  "rows with names beside them": [
    () => Object.assign(Array(1000).fill(1), { columns: ["a"] }),
    /^has a member "columns" besides its elements/,
  ],
  "an array with a symbol": [
    () => Object.assign([1], { [Symbol("mine")]: 1 }),
    /^has a member named by Symbol\(mine\); send a copy without it/,
  ],
  "an object with a symbol": [
    () => ({ a: 1, [Symbol("mine")]: 1 }),
    /^has a member named by Symbol\(mine\); send a copy without it, as only texts are names$/,
  ],
  "an object with a symbol that is not enumerable": [
    () => Object.defineProperty({ a: 1 }, Symbol.for("admin"), { value: 1 }),
    /^has a member named by Symbol\(admin\)/,
  ],
  "an object with a member that is not enumerable": [
    () => Object.defineProperty({ a: 1 }, "hidden", { value: 1 }),
    /^has a member "hidden" that is not enumerable; send a copy without it, or make it so$/,
  ],
  "the arguments of a function": [() => argumentsOf(1), /^has a member "length" that is not/],
  "an object of functions of the language": [() => Math, /^has a member "abs" that is not/],
  "a Map with a member of its own": [
    () => Object.assign(new Map([[1, 2]]), { size2: 1 }),
    /^has a member "size2" of its own; send a copy, or an object$/,
  ],
  "a Set with a symbol": [
    () => Object.assign(new Set([1]), { [Symbol("mine")]: 1 }),
    /^has a member named by Symbol\(mine\)/,
  ],
  "a Date with a member of its own": [
    () => Object.assign(new Date(0), { zone: "UTC" }),
    /^has a member "zone" of its own/,
  ],
  "a Date that has a text as its constructor": [
    () => Object.assign(new Date(0), { constructor: "mine" }),
    /^has a member "constructor" of its own/,
  ],
  "a proxy of a Map": [
    () => new Proxy(new Map(), {}),
    /^is of class Map; it only looks like one, as a proxy does; send what is behind it .*toRaw/,
  ],
  "a proxy of a Set": [() => new Proxy(new Set(), {}), /^is of class Set; it only looks like one/],
  "a proxy of a Date": [() => new Proxy(new Date(), {}), /^is of class Date; it only looks like/],
  "a proxy of bytes": [
    () => new Proxy(new Uint8Array(1), {}),
    /^is of class Uint8Array; it only looks like one/,
  ],
  "a proxy that was revoked": [
    () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    },
    /^cannot be read: .*revoked/,
  ],
  "an object with a getter that fails": [
    () => ({
      get x() {
        return (undefined as unknown as { y: number }).y;
      },
    }),
    /^cannot be read: Cannot read properties of undefined/,
  ],
  "an object with a getter that fails with an error of its own": [
    () => ({
      get x() {
        throw new Error("not loaded yet");
      },
    }),
    /^cannot be read: not loaded yet$/,
  ],
  "an object with a getter that throws a number": [
    () => ({
      get x() {
        throw 5;
      },
    }),
    /^cannot be read: a number was thrown$/,
  ],
  "an object of another realm with a getter that fails": [
    () => foreign("({ get x() { return null.y; } })"),
    /^cannot be read: Cannot read properties of null/,
  ],
  "a Map of a subclass": [
    () => new Registry(),
    /^is of class Registry; send a copy that is of no subclass: new Map\(it\)$/,
  ],
  "a class that only has the name of a kind": [
    () => new (class Map {})(),
    /^is of class Map\d*; send plain objects, arrays/,
  ],
  "what a regular expression of another realm has found": [
    () => foreign("/x/.exec('x')"),
    /^has a member "index" besides its elements/,
  ],
  "a symbol as a name in another realm": [
    () => foreign("({ [Symbol('theirs')]: 1 })"),
    /^has a member named by Symbol\(theirs\)/,
  ],
  "a Map of a subclass in another realm": [
    () => foreign("new (class Mine extends Map {})()"),
    /^is of class Mine; send plain objects/,
  ],
  "a Map that is none in another realm": [
    () => foreign("new (class Map {})()"),
    /^is of class Map; send plain objects/,
  ],
  "bytes of another realm whose buffer was transferred": [
    () => foreign("(() => { const a = new Uint8Array(1); a.buffer.transfer(); return a; })()"),
    /^is empty because its buffer was transferred$/,
  ],
  "a DataView of another realm": [
    () => foreign("new DataView(new ArrayBuffer(1))"),
    /^is of class DataView; send plain objects/,
  ],
};

for (const [what, [make, says]] of Object.entries(REFUSED)) {
  Deno.test(`Encoder refuses ${what}, and says what it is`, () => {
    assertMatch(refusal(make()), says);
    // Wherever it stands, and however often.
    assertThrows(() => encode({ list: [{ m: new Map([["k", make()]]) }] }), TypeError);
    assertMatch(refusal(make()), says);
  });
}

/** What another realm makes arrives as what the same code makes here. */
const FOREIGN = [
  "new Uint8Array([1, 2])",
  "new Uint8Array(0)",
  "new Uint8ClampedArray([1])",
  "new Float32Array([1.5, -0])",
  "new BigInt64Array([-1n])",
  "new Int16Array(new ArrayBuffer(8), 2, 1)",
  "new Date(1.5e12)",
  "[1, [2], {}]",
  "new Map([['k', new Map([[1, { a: 1 }]])]])",
  "new Set(['a', 1n])",
  "({ a: { b: 1, __proto__: null } })",
  "({})",
];

for (const code of FOREIGN) {
  Deno.test(`Encoder takes ${code} of another realm as of this one`, () => {
    const here: unknown = (0, eval)(code);
    assertEquals(show(passed(foreign(code))), show(passed(here)));
    assertEquals(show(passed(here)), show(code.includes("__proto__") ? { a: { b: 1 } } : here));
  });
}

/** Typed arrays that say something else of themselves than they are. */
const PRETENDING: Readonly<Record<string, (view: Int16Array | Uint8Array) => unknown>> = {
  "has no prototype": (view) => Object.setPrototypeOf(view, null),
  "has the prototype of objects": (view) => Object.setPrototypeOf(view, Object.prototype),
  "has the prototype of another kind": (view) =>
    Object.setPrototypeOf(view, Float64Array.prototype),
  "has members of the names of its own": (view) =>
    Object.defineProperties(view, {
      length: { value: 5 },
      byteLength: { value: 0 },
      byteOffset: { value: 1 },
      buffer: { value: new ArrayBuffer(1) },
    }),
};

for (const [what, pretend] of Object.entries(PRETENDING)) {
  Deno.test(`Encoder takes a typed array that ${what} as what it is`, () => {
    for (const type of [Int16Array, Uint8Array]) {
      const make = () => new type([1, 2]);
      assertEquals(show(passed(pretend(make()))), show(make()));
      const lost = make();
      lost.buffer.transfer();
      assertMatch(refusal(pretend(lost)), /^is empty because its buffer was transferred/);
    }
  });
}

Deno.test("Encoder takes a subclass of bytes that has another length", () => {
  class Longer extends Uint8Array {
    override get length(): number {
      return 9;
    }
  }
  assertEquals(show(passed(new Longer([1, 2]))), show(new Uint8Array([1, 2])));
});

Deno.test("Encoder takes a message of another realm, and says what else it is", () => {
  assertEquals(decode(encode(foreign("({ a: [1] })") as object)), { a: [1] });
  assertThrows(() => encode(foreign("[1]") as object), TypeError, "it is an array");
});

Deno.test("Encoder takes what is behind a proxy of an object or an array", () => {
  const reactive = <T extends object>(value: T): T =>
    new Proxy(value, {
      get(target, key, receiver) {
        const member = Reflect.get(target, key, receiver);
        return typeof member === "object" && member !== null ? reactive(member) : member;
      },
    });
  const message = { a: { list: [1, { b: 2 }] }, c: "x" };
  assertEquals(decode(encode(reactive(message))), message);
});

Deno.test("Encoder takes the members of Node's Buffer, which are bytes", () => {
  const { Buffer } = process.getBuiltinModule("node:buffer");
  assertEquals(show(passed(Buffer.from("ab"))), show(new Uint8Array([0x61, 0x62])));
});

Deno.test("Encoder takes dates before, while and after a program fakes its time", () => {
  const before = new Date(1);
  const Real = Date;
  let faked: Date;
  // As fake timers do: a class of its own, whose objects say that they are of the real one.
  class FakeDate extends Date {
    constructor(...args: [number]) {
      super(...args);
      Object.defineProperty(this, "constructor", { value: Real, enumerable: false });
    }
  }
  globalThis.Date = FakeDate as DateConstructor;
  try {
    faked = new Date(2);
    assertInstanceOf(faked, FakeDate);
    const arrived = [passed(before), passed(faked)] as Date[];
    assertEquals(arrived.map((date) => date.getTime()), [1, 2]);
    assertEquals(arrived.map((date) => Object.getPrototypeOf(date) === Real.prototype), [
      true,
      true,
    ]);
  } finally {
    globalThis.Date = Real;
  }
  assertMatch(refusal(faked), /^is of class Date; send a copy that is of no subclass: new Date/);
});

Deno.test("Encoder refuses hidden members in each turn, though objects of these names were sent often", async () => {
  const encoder = new Encoder();
  const send = (value: unknown) => encode({ value }, { encoder });
  const hidden = () => Object.defineProperty({ a: 1, b: 2 }, "hidden", { value: 3 });
  for (let turn = 0; turn < 5; turn++) {
    for (let i = 0; i < 1000; i++) send({ a: 1, b: [i] });
    await quiet();
    assertThrows(() => send(hidden()), TypeError, '"hidden"');
    assertThrows(() => send(Object.assign([1], { x: 1 })), TypeError, '"x"');
    assertThrows(() => send(Object.assign(new Map(), { x: 1 })), TypeError, '"x"');
  }
});

Deno.test("Encoder notices hidden members in a burst, too, before many of them were sent", () => {
  const encoder = new Encoder();
  const send = (value: unknown) => encode({ value }, { encoder });
  const makes: (() => unknown)[] = [
    () => Object.defineProperty({ a: 1, b: 2 }, "hidden", { value: 3 }),
    () => Object.assign(Array(100).fill(0), { x: 1 }),
  ];
  for (const make of makes) {
    for (let i = 0; i < 1000; i++) send({ a: 1, b: Array(100).fill(0) });
    let sent = 0;
    assertThrows(() => {
      for (; sent < 5000; sent++) send(make());
    }, TypeError);
    assert(sent < 1000, `${sent} were sent`);
  }
});

/** What is refused in the middle of a burst, too. */
const NOTICED: Readonly<Record<string, () => unknown>> = {
  "objects of other names": () => Object.defineProperty({ c: 1 }, "hidden", { value: 3 }),
  "objects of other names with a symbol": () => ({ d: 1, [Symbol.for("mine")]: 1 }),
  "matches of regular expressions": () => /a(?<x>b)/.exec("ab"),
  "texts of a template": () => templateOf`a${1}b`,
  "Maps with a name": () => Object.assign(new Map(), { x: 1 }),
  "Sets with a name": () => Object.assign(new Set(), { x: 1 }),
  "Dates with a name": () => Object.assign(new Date(0), { x: 1 }),
};

for (const [what, make] of Object.entries(NOTICED)) {
  Deno.test(`Encoder refuses each of many ${what} in a burst`, () => {
    const encoder = new Encoder();
    const send = (value: unknown) => encode({ value }, { encoder });
    const harmless = () => send([{ a: 1, b: [1] }, new Map(), new Set(), new Date(0)]);
    for (let i = 0; i < 1000; i++) harmless();
    for (let i = 0; i < 200; i++) {
      assertThrows(() => send(make()), TypeError, "has a member");
      harmless();
    }
  });
}

Deno.test("Encoder always refuses what has a key for which something else was refused", () => {
  const key = Symbol("theirs");
  const makes: (() => unknown)[] = [
    () => Object.defineProperty({ a: 1, b: 2 }, key, { value: 3 }),
    () => Object.defineProperty({ a: 1, b: 2 }, "hidden", { value: 3 }),
    () => Object.assign([1], { columns: ["a"] }),
    () => Object.assign(Array(1000).fill(1), { columns: ["a"] }),
    () => Object.assign(new Map(), { [key]: 1 }),
  ];
  const encoder = new Encoder();
  const send = (value: unknown) => encode({ value }, { encoder });
  const harmless = () => send([{ a: 1, b: 2 }, { hidden: 1, columns: [1] }, Array(100).fill(0)]);
  for (const make of makes) {
    for (let i = 0; i < 1000; i++) harmless();
    assertThrows(() => {
      for (let i = 0; i < 5000; i++) send(make());
    }, TypeError);
    for (let i = 0; i < 200; i++) {
      assertThrows(() => send(make()), TypeError, "has a member");
      harmless();
    }
  }
});
