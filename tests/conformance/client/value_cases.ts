/** Which values arrive exactly as they were, in both directions, and which are refused. */
import {
  BIGINTS,
  messageOf,
  NUMBERS,
  STRINGS,
  TYPED_ARRAYS,
} from "../../../tools/harness/messages.ts";
import { show } from "../../../tools/harness/payload.ts";
import { randomOf } from "../../../tools/harness/random.ts";
import { check, ofKind, same, throws } from "./check.ts";
import { type Case, type Context, type Stage, take, until } from "./context.ts";
import { ProtocolError } from "../../../errors.ts";

/** A value of each kind and at each limit, in messages. */
const MESSAGES: readonly object[] = [
  [null, true, false],
  NUMBERS,
  BIGINTS,
  STRINGS,
  TYPED_ARRAYS,
  [0, -1, 1.9, 8.64e15, -8.64e15].map((time) => new Date(time)),
  [
    [[], [null, [1]], {}, new Map(), new Set(), { "": 1, "日本": { b: 1, a: 2, 1: 3 } }],
    [new Map<unknown, unknown>([["a", 1], [1n, null], [NaN, new Map([[1, [2]]])]])],
    [new Set<unknown>([-0, "0", 0n, NaN, null, new Set([1]), new Date(0), new Uint8Array(1)])],
    [Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`name ${i}`, i]))],
  ].flat(),
].flat().map((value) => ({ value }));

/** How many random messages there are besides. */
const RANDOM_MESSAGES = 100;

/** Each kind of value, and some random messages; in a runtime without some class, without those of it. */
export function messagesWithout(name: string, seed: number): object[] {
  const random = randomOf(seed);
  const messages = Array.from({ length: RANDOM_MESSAGES }, () => messageOf(random));
  return [...MESSAGES, ...messages].filter((message) =>
    name === "" || !show(message).includes(name)
  );
}

/** The class of values that some runtimes lack. */
const FLOAT16 = "Float16Array";

function missingClass(): string {
  return FLOAT16 in globalThis ? "" : FLOAT16;
}

class Point {
  readonly x = 1;
}

function cycle(): object {
  const list: unknown[] = [];
  list.push(list);
  return list;
}

/** What is refused, and what is said of it. */
const REFUSED: readonly (readonly [value: unknown, says: string])[] = [
  [() => {}, "it is a function"],
  [Symbol("s"), "it is a symbol"],
  [new Point(), "it is of class Point"],
  [[1, undefined], "it is undefined"],
  [new Date(NaN), "it is an invalid date"],
  [cycle(), "it is part of a cycle"],
  [/a/, "it is of class RegExp"],
  [new ArrayBuffer(1), "it is of class ArrayBuffer"],
];

export const VALUES: readonly Case[] = [
  {
    name: "values of all kinds, and random messages, arrive in Deno exactly as they were",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const seed = seedOf();
      const bus = await stage.connected();
      await stage.call("join", "deno");
      await stage.call("listen", "deno", "values");
      const messages = messagesWithout(missingClass(), seed);
      for (const message of messages) bus.publish("values", message);
      await bus.flush();
      let heard: readonly (readonly [readonly string[], string])[] = [];
      await until(async () => {
        heard = await stage.call("heard", "deno");
        return heard.length >= messages.length;
      });
      same(heard.map(([, text]) => text), messages.map(show), `seed ${seed}`);
    },
  },
  {
    name: "values of all kinds, and random messages, arrive from Deno exactly as they were",
    isBrief: true,
    async run(context) {
      const stage = await context.stage();
      const seed = seedOf();
      const bus = await stage.connected();
      const values = bus.subscribe("values");
      await bus.flush();
      await stage.call("join", "deno");
      const texts = await stage.call("publishValues", "deno", "values", seed, missingClass());
      const taken = await take(values, texts.length);
      same(taken.map(({ message }) => show(message)), texts, `seed ${seed}`);
    },
  },
  {
    name: "what comes in is data only, and undefined members are left out",
    async run(context) {
      const { alice, bob } = await pair(context);
      const messages = bob.subscribe("t");
      await bob.flush();
      alice.publish("t", { a: undefined, b: JSON.parse('{ "__proto__": { "isAdmin": true } }') });
      const { message } = (await take(messages, 1))[0]!;
      same(Object.keys(message), ["b"]);
      same(Object.getOwnPropertyNames(message.b), ["__proto__"]);
      check(message.b.isAdmin === undefined, "a prototype does not come");
      check(Object.getPrototypeOf(message.b) === Object.prototype, "it is a plain object");
    },
  },
  {
    name: "bytes that came in are not used again",
    async run(context) {
      const { alice, bob } = await pair(context);
      const messages = bob.subscribe("t");
      await bob.flush();
      const sizes = [1, 100, 10_000, 70_000, 200_000];
      for (const size of sizes) alice.publish("t", { data: new Uint8Array(size).fill(size % 251) });
      const kept = await take(messages, sizes.length);
      for (let i = 0; i < 20; i++) alice.publish("t", { data: new Uint8Array(50_000).fill(255) });
      await alice.flush();
      await bob.flush();
      for (const [i, { message }] of kept.entries()) {
        const { data } = message as { data: Uint8Array };
        check(data.length === sizes[i], "all of it came");
        check(
          data.every((byte) => byte === sizes[i]! % 251),
          "nothing else has been written to it",
        );
      }
    },
  },
  {
    name: "a value that cannot be sent is refused with its path, and nobody gets the message",
    isBrief: true,
    async run(context) {
      const { alice } = await pair(context);
      let heard = 0;
      alice.addSubscriber("t", () => heard++);
      for (const [value, says] of REFUSED) {
        const { message } = throws(() => alice.publish("t", { deep: { value } }), TypeError, says);
        check(message.startsWith("Cannot send message.deep.value"), message);
      }
      same(heard, 0);
      alice.publish("t", { f: () => {} }, { local: true });
      same(heard, 1, "in this process it may pass");
    },
  },
  {
    name: "a message of 1 MiB passes, and a larger one is refused",
    async run(context) {
      const { alice, bob } = await pair(context);
      const messages = bob.subscribe("t");
      await bob.flush();
      // Nine bytes are names and sizes.
      const data = new Uint8Array(2 ** 20 - 9).map((_, i) => i * 7);
      const tooMuch = { d: new Uint8Array(data.length + 1) };
      throws(() => alice.publish("t", tooMuch), RangeError, "limit is 1048576");
      alice.publish("t", { d: data });
      const { message } = (await take(messages, 1))[0]!;
      const came = message.d as Uint8Array;
      check(came.length === data.length, "all of it came");
      check(came.every((byte, i) => byte === data[i]), "it is the same");
    },
  },
  {
    name: "a value of a class that this runtime lacks is told, and the next message comes",
    async run(context) {
      if (missingClass() === "") return;
      const stage = await context.stage();
      const errors: unknown[] = [];
      const bus = await stage.connected({ onError: (error) => errors.push(error) });
      const values = bus.subscribe("values");
      await bus.flush();
      await stage.call("join", "deno");
      const texts = await stage.call("publishValues", "deno", "values", 1, "");
      const known = texts.filter((text) => !text.includes(FLOAT16));
      const taken = await take(values, known.length);
      same(taken.map(({ message }) => show(message)), known);
      same(errors.length, texts.length - known.length);
      for (const error of errors) ofKind(error, ProtocolError);
    },
  },
];

function seedOf(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/** A stage with two clients that are connected. */
export async function pair(context: Context) {
  const stage: Stage = await context.stage();
  const [alice, bob] = await Promise.all([stage.connected(), stage.connected()]);
  return { stage, alice, bob };
}
