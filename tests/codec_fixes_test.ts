import { assertEquals, assertThrows } from "@std/assert";
import { decode, Encoder, MESSAGE_DEPTH_MAX } from "../codec.ts";

const LIMIT = 1024 * 1024;

function refused(message: object): string {
  return assertThrows(() => new Encoder().encode(message, LIMIT), TypeError).message;
}

function names(...names: string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, 1]));
}

/** A value at this depth, in objects. */
function nested(value: unknown, depth: number): object {
  let object = { a: value };
  for (let i = 1; i < depth; i++) object = { a: object };
  return object;
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
  assertEquals(decode(new Encoder().encode(message, LIMIT)), {
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

Deno.test("Encoder says where a value is nested too deep, whatever the value", () => {
  const path = (depth: number) => `message${".a".repeat(depth)}`;
  const deep = `it is nested deeper than ${MESSAGE_DEPTH_MAX}, send it in parts`;
  for (const value of [1, "text", null, true, {}, [], [1], new Set([1])]) {
    const tooDeep = MESSAGE_DEPTH_MAX + 1;
    assertEquals(refused(nested(value, tooDeep)), `Cannot send ${path(tooDeep)}: ${deep}`);
  }
  const deepest = nested(1, MESSAGE_DEPTH_MAX);
  assertEquals(decode(new Encoder().encode(deepest, LIMIT)), deepest);
});
