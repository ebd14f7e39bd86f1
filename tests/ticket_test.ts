/** What stands in a ticket, who can make one, and what a handshake makes of it. */
import { createHmac } from "node:crypto";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { any } from "../topic.ts";
import { clock } from "../base/clock.ts";
import { AuthError } from "../errors.ts";
import { createTicket as ofBroker } from "../broker.ts";
import { createTicket, type TicketOptions } from "../mod.ts";
import { createTicket as ofNet } from "../net.ts";
import { sealed } from "../protocol/create_ticket.ts";
import { BrokerHandshake, ClientHandshake, keyBytes, Refusal } from "../protocol/handshake.ts";
import { readTicket, type Ticket, TICKET_SKEW_MS, ticketName } from "../protocol/ticket.ts";
import { hello } from "../tools/attacks/raw_client.ts";

const KEY = keyBytes("a key of 16 bytes");
const OTHER = keyBytes("another of 16 bytes");
const BROKER_ID = Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i);
const EXPIRES = 1_796_083_200_000;
const PAGE: TicketOptions = { name: "page", expireIn: 60_000 };
const TICKET: Ticket = { name: "page", expires: EXPIRES, for: "ann", narrow: {} };

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function hmac(key: Uint8Array, text: string): string {
  return createHmac("sha256", key).update(text).digest("base64");
}

/** What a broker with these keys makes of a client, and the client of that. */
async function meet(
  keyName: string,
  key: Uint8Array,
  { keys = { page: KEY }, date = EXPIRES - 1 }: {
    readonly keys?: Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
    readonly date?: number;
  } = {},
) {
  const asked: string[] = [];
  const client = new ClientHandshake(key, keyName);
  const broker = new BrokerHandshake(BROKER_ID, (name) => {
    asked.push(name);
    const bytes = Object.hasOwn(keys, name) ? keys[name] : undefined;
    return bytes && { bytes };
  });
  const challenge = new Uint8Array(broker.challenge(client.hello));
  const proof = new Uint8Array(await client.prove(challenge));
  const { proven, isExpired, answer } = await broker.answer(proof, date);
  let error: unknown;
  try {
    client.checkAnswer(answer[0]!);
    await client.verify(answer.slice(1));
  } catch (thrown) { // What the client makes of the answer.
    error = thrown;
  }
  return { proven, isExpired, answer, asked, error, keyName: broker.keyName };
}

/** The answer to who names this ticket and has a key, by default the one that goes with it. */
async function answerTo(name: string, key: Uint8Array = bytesOf(hmac(KEY, label(name)))) {
  return await meet(name, key);
}

function label(name: string): string {
  return `mpubsub ticket\0${name}`;
}

Deno.test("createTicket says all in the name, and makes the key of that, as the protocol says", async () => {
  const date = clock.date;
  clock.date = () => EXPIRES - 1000;
  try {
    const ticket = await createTicket(KEY, {
      name: "page",
      for: "ann",
      narrow: {
        publish: [["rooms", "7"], "notes"],
        subscribe: [null, []],
        serve: [["a", any], [any]],
      },
      expireIn: 1000,
    });
    assertEquals(ticket, {
      keyName: `~{"name":"page","expires":${EXPIRES},"for":"ann",` +
        `"publish":[["rooms","7"],"notes"],"subscribe":[null,null],"serve":[["a",null],[null]]}`,
      authkey: hmac(KEY, label(ticket.keyName)),
      expires: EXPIRES,
    });
    assertEquals(readTicket(ticket.keyName), {
      name: "page",
      expires: EXPIRES,
      for: "ann",
      narrow: {
        publish: [["rooms", "7"], ["notes"]],
        subscribe: [[], []],
        serve: [["a", any], [any]],
      },
    });
    assertEquals((await createTicket(KEY, { ...PAGE, expireIn: 0.5 })).expires, EXPIRES - 999);
  } finally {
    clock.date = date;
  }
});

Deno.test("docs/protocol.md shows a ticket that can be made", async () => {
  const page = await Deno.readTextFile(new URL("../docs/protocol.md", import.meta.url));
  const [, json] = /```json\n([^]*?)```/.exec(page)!;
  const shown = JSON.parse(json!);
  const key = /ticket of the key `([^`]+)`/.exec(page)![1]!;
  assertEquals(await sealed(key, readTicket(shown.keyName)!), shown);
});

Deno.test("createTicket is the same from each entry point", () => {
  assertEquals([ofNet, ofBroker], [createTicket, createTicket]);
});

for (
  const [what, options, type, problem] of [
    ["no name", { name: undefined }, TypeError, "name is undefined"],
    ["a name that is a symbol", { name: Symbol() }, TypeError, "name is symbol"],
    ["a misspelt option", { narow: { publish: [] } }, TypeError, '"narow"'],
    ["a right that stands beside narrow", { publish: [] }, TypeError, '"publish"'],
    ["a name that is too long", { name: "x".repeat(65) }, RangeError, "65 bytes; the limit is 64"],
    ["the name of a ticket", { name: '~{"name":"page"}' }, RangeError, "names of tickets"],
    ["a name with a lone surrogate", { name: "\ud800" }, TypeError, "lone surrogate"],
    ["for that is a number", { for: 7 }, TypeError, "for must be"],
    ["for that is null", { for: null }, TypeError, "for must be"],
    ["for with a lone surrogate", { for: "\udc00" }, TypeError, "for must be"],
    ["an empty for", { for: "" }, RangeError, "0 bytes"],
    ["for that is too long", { for: "é".repeat(128) }, RangeError, "256 bytes"],
    ["narrow that is a list", { narrow: [] }, TypeError, "must be an object"],
    [
      "narrow that is a Map",
      { narrow: new Map([["publish", []]]) },
      TypeError,
      "must be an object",
    ],
    ["narrow that is null", { narrow: null }, TypeError, "must be an object"],
    ["a misspelt right", { narrow: { publsih: [] } }, TypeError, '"publsih"'],
    ["wait, which is none", { narrow: { wait: true } }, TypeError, '"wait"'],
    ["a right that is a text", { narrow: { publish: "a" } }, TypeError, "narrow.publish must be"],
    ["a topic that is a number", { narrow: { subscribe: [7] } }, TypeError, "as a topic"],
    ["a topic that is a hole", { narrow: { serve: new Array(1) } }, TypeError, "as a topic"],
    ["an empty element", { narrow: { publish: [["a", ""]] } }, TypeError, "is empty"],
    ["a long topic", { narrow: { publish: [new Array(17).fill("a")] } }, RangeError, "17 elements"],
    [
      "more than three any",
      { narrow: { subscribe: [[any, any, any, any]] } },
      RangeError,
      "4 elements are any; the limit is 3",
    ],
    ["null within a topic", { narrow: { publish: [["a", null]] } }, TypeError, "element 1 is null"],
    [
      "more than 1 KiB",
      { narrow: { publish: [..."abcde"].map((x) => x.repeat(200)) } },
      RangeError,
      "limit is 1024",
    ],
    ["no expireIn", { expireIn: undefined }, TypeError, "must be a number"],
    ["expireIn that is a text", { expireIn: "1h" }, TypeError, "must be a number"],
    ["expireIn 0", { expireIn: 0 }, RangeError, "positive number"],
    ["expireIn below 0", { expireIn: -1 }, RangeError, "positive number"],
    ["expireIn NaN", { expireIn: NaN }, RangeError, "positive number"],
    ["no end", { expireIn: Infinity }, RangeError, "positive number"],
    ["an end beyond all dates", { expireIn: 8.64e15 }, RangeError, "end before"],
  ] as const
) {
  Deno.test(`createTicket refuses ${what}`, async () => {
    const wrong = { ...PAGE, ...options } as unknown as TicketOptions;
    await assertRejects<Error>(() => createTicket(KEY, wrong), type, problem);
  });
}

for (const options of [undefined, null, "page", []]) {
  Deno.test(`createTicket refuses ${JSON.stringify(options)} for options`, async () => {
    const wrong = options as unknown as TicketOptions;
    await assertRejects(() => createTicket(KEY, wrong), TypeError, "an object with name, for");
  });
}

Deno.test("createTicket takes an object without a prototype for options, and for what narrows", async () => {
  const narrow = Object.assign(Object.create(null), { publish: ["a"] });
  const options = Object.assign(Object.create(null), PAGE, { narrow });
  const { keyName } = await createTicket(KEY, options);
  assertEquals(readTicket(keyName)?.narrow.publish, [["a"]]);
});

Deno.test("createTicket refuses a key of 15 bytes, and takes one of 16", async () => {
  const short = RangeError;
  await assertRejects(() => createTicket("x".repeat(15), PAGE), short, "15 bytes");
  await assertRejects(() => createTicket(new Uint8Array(15), PAGE), short, "guess at its key");
  await assertRejects(() => createTicket("", PAGE), short, "empty");
  await assertRejects(() => createTicket(7 as unknown as string, PAGE), TypeError);
  await createTicket("x".repeat(16), PAGE);
});

Deno.test("createTicket takes what just fits, and BrokerHandshake reads that", async () => {
  const room = (await createTicket(KEY, { ...PAGE, narrow: { publish: [["a", "b"]] } })).keyName;
  const left = 1024 - room.length;
  const topics = [["a", "b"], ..."1234".split("").map((x) => x.repeat(Math.floor(left / 4) - 3))];
  const fits = await createTicket(KEY, { ...PAGE, narrow: { publish: topics } });
  assert(fits.keyName.length > 1016 && fits.keyName.length <= 1024, `${fits.keyName.length} bytes`);
  const { proven } = await meet(fits.keyName, bytesOf(fits.authkey), { date: fits.expires });
  assertEquals(proven?.ticket?.narrow.publish?.length, 5);
});

Deno.test("BrokerHandshake lets in who proves a ticket, and says of which key and what it says", async () => {
  const { keyName, authkey } = await sealed(KEY, TICKET);
  const { proven, asked, error, keyName: shown } = await meet(keyName, bytesOf(authkey));
  assertEquals([proven?.key.bytes, proven?.ticket, error], [KEY, TICKET, undefined]);
  assertEquals([asked, shown], [["page"], "page"]);
});

Deno.test("BrokerHandshake takes tickets of the single key", async () => {
  const { keyName, authkey } = await sealed(KEY, { ...TICKET, name: "" });
  const { proven } = await meet(keyName, bytesOf(authkey), { keys: { "": KEY } });
  assertEquals(proven?.ticket?.name, "");
});

Deno.test("BrokerHandshake takes the same steps and gives the same answer for the ticket of a key that it does not know", async () => {
  const ticket = await sealed(KEY, TICKET);
  const key = bytesOf(ticket.authkey);
  const unknown = await meet(ticket.keyName, key, { keys: {} });
  const wrong = await meet(ticket.keyName, key, { keys: { page: OTHER } });
  const expired = await meet(ticket.keyName, OTHER, { date: EXPIRES + 10 * TICKET_SKEW_MS });
  for (const { proven, isExpired, answer, asked, error } of [unknown, wrong, expired]) {
    assertEquals([proven, isExpired, [...answer]], [undefined, false, [Refusal.AUTH]]);
    assertEquals(asked, ["page"]);
    assert(error instanceof AuthError);
    assertEquals([error.expired, error.keyName], [false, "page"]);
    assertStringIncludes(error.message, 'the ticket of the key named "page"');
  }
});

Deno.test("BrokerHandshake tells who proves a ticket that it has expired, a minute late", async () => {
  const { keyName, authkey } = await sealed(KEY, TICKET);
  const at = (date: number) => meet(keyName, bytesOf(authkey), { date });
  const over = EXPIRES + TICKET_SKEW_MS;
  assertEquals((await at(over - 1)).proven?.ticket, TICKET);
  const { proven, isExpired, answer, error } = await at(over);
  assertEquals([proven, isExpired, [...answer]], [undefined, true, [Refusal.EXPIRED]]);
  assert(error instanceof AuthError);
  assertEquals([error.expired, error.keyName], [true, "page"]);
  assertStringIncludes(error.message, "has expired; get a new one");
});

Deno.test("BrokerHandshake takes no byte of a ticket's name for another", async () => {
  const { keyName, authkey } = await sealed(KEY, { ...TICKET, narrow: { publish: [["a"]] } });
  const key = bytesOf(authkey);
  for (let at = 1; at < keyName.length; at++) {
    const changed = String.fromCharCode(keyName.charCodeAt(at) ^ 1);
    const { proven } = await answerTo(keyName.slice(0, at) + changed + keyName.slice(at + 1), key);
    assertEquals(proven, undefined, `byte ${at}`);
    const cut = keyName.slice(0, at);
    assertEquals((await answerTo(cut, key)).proven, undefined, `${at} bytes of it`);
  }
});

for (
  const [what, change] of [
    ["more rights", (name: string) => name.replace('"a"', "null")],
    ["no narrowing", (name: string) => name.replace(',"publish":["a"]', "")],
    ["a later end", (name: string) => name.replace(`${EXPIRES}`, `${EXPIRES + 1e9}`)],
    ["another for", (name: string) => name.replace('"ann"', '"bob"')],
    ["another key's name", (name: string) => name.replace('"page"', '"root"')],
    ["a blank", (name: string) => `${name} `],
  ] as const
) {
  Deno.test(`BrokerHandshake refuses a ticket that was given ${what}`, async () => {
    const { keyName, authkey } = await sealed(KEY, { ...TICKET, narrow: { publish: [["a"]] } });
    const changed = change(keyName);
    assert(changed !== keyName && readTicket(changed) !== undefined, "it reads well");
    const keys = { page: KEY, root: KEY };
    assertEquals((await meet(changed, bytesOf(authkey), { keys })).proven, undefined);
  });
}

for (
  const [what, name] of [
    ["nothing", "~"],
    ["no JSON", "~{"],
    ["a list", '~["page"]'],
    ["null", "~null"],
    ["a text", '~"page"'],
    ["no name", `~{"expires":${EXPIRES}}`],
    ["a name that is no text", `~{"name":7,"expires":${EXPIRES}}`],
    ["no end", '~{"name":"page"}'],
    ["an end that is a text", `~{"name":"page","expires":"${EXPIRES}"}`],
    ["an end that is none", '~{"name":"page","expires":1e999}'],
    ["an end of half a millisecond", '~{"name":"page","expires":1796083200000.5}'],
    ["an end before all", '~{"name":"page","expires":-1}'],
    ["an empty for", `~{"name":"page","expires":${EXPIRES},"for":""}`],
    ["for that is null", `~{"name":"page","expires":${EXPIRES},"for":null}`],
    ["a right that is null", `~{"name":"page","expires":${EXPIRES},"publish":null}`],
    ["a topic that is none", `~{"name":"page","expires":${EXPIRES},"subscribe":[[""]]}`],
    ["a topic too long", `~{"name":"page","expires":${EXPIRES},"serve":["${"x".repeat(256)}"]}`],
    [
      "more than three of any name",
      `~{"name":"page","expires":${EXPIRES},"publish":[[null,null,null,null]]}`,
    ],
    ["what nobody knows", `~{"name":"page","expires":${EXPIRES},"wait":false}`],
    ["__proto__", `~{"name":"page","expires":${EXPIRES},"__proto__":{}}`],
    ["the depths", `~${"[".repeat(1000)}`],
  ] as const
) {
  Deno.test(`BrokerHandshake refuses a ticket that was made with the key and says ${what}`, async () => {
    assertEquals(readTicket(name), undefined);
    const { proven, answer, error } = await answerTo(name);
    assertEquals([proven, [...answer]], [undefined, [Refusal.AUTH]]);
    assert(error instanceof AuthError);
  });
}

Deno.test("BrokerHandshake takes blanks, escapes and any order in a ticket that was made so", async () => {
  const name = `~ { "for": "\\u0061nn", "expires": ${EXPIRES}, "name" : "page" }`;
  assertEquals((await answerTo(name)).proven?.ticket, TICKET);
});

Deno.test("BrokerHandshake takes no ticket of a key that is shorter than 16 bytes, nor of a ticket", async () => {
  const keys = { page: keyBytes("x".repeat(15)) };
  const name = ticketName(TICKET);
  const key = bytesOf(hmac(keys.page, label(name)));
  const { proven, answer } = await meet(name, key, { keys });
  assertEquals([proven, [...answer]], [undefined, [Refusal.AUTH]]);
  const of = ticketName({ ...TICKET, name: ticketName(TICKET) });
  const { asked, proven: none } = await answerTo(of, bytesOf(hmac(key, label(of))));
  assertEquals([asked, none], [[], undefined]);
});

for (
  const name of [
    `~${"\x1b".repeat(1000)}`,
    `~{"name":"${"x".repeat(1000)}"}`,
    "x".repeat(1024),
  ]
) {
  Deno.test(`BrokerHandshake never shows more of ${name.slice(0, 10)}… than a key's name may have`, () => {
    const broker = new BrokerHandshake(BROKER_ID, () => undefined);
    broker.challenge(hello({ name: new TextEncoder().encode(name) }));
    assertEquals(broker.keyName.length, 64);
  });
}
