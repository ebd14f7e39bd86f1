import { createHmac } from "node:crypto";
import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  BrokerHandshake,
  CHALLENGE_HEAD_BYTES,
  ClientHandshake,
  HELLO_HEAD_BYTES,
  KEY_NAME_BYTES_MAX,
  keyBytes,
  keyNameBytes,
  PROOF_BYTES,
  Refusal,
} from "../protocol/handshake.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import { concat, toHex } from "../tools/harness/bytes.ts";
import { fromHex } from "./helpers/hex.ts";

const KEY = keyBytes("secret");
const BROKER_ID = fromHex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
const CHALLENGE_BYTES = 58;
const ANSWER_BYTES = 1 + PROOF_BYTES;

type Step = "hello" | "challenge" | "proof" | "answer";

interface Options {
  readonly clientKey?: Uint8Array<ArrayBuffer>;
  readonly keyName?: string;
  readonly keys?: Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
  /** What becomes of the bytes of a step on their way. */
  readonly onWay?: (step: Step, bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>;
}

/** A whole handshake; what the client gets, what the broker says, and all that went over the wire. */
async function handshake(options: Options = {}) {
  const { clientKey = KEY, keyName = "", keys = { "": KEY }, onWay = (_, bytes) => bytes } =
    options;
  const wire: Partial<Record<Step, Uint8Array<ArrayBuffer>>> = {};
  const asked: string[] = [];
  const client = new ClientHandshake(clientKey, keyName);
  const broker = new BrokerHandshake(BROKER_ID, (name) => {
    asked.push(name);
    const bytes = keys[name];
    return bytes && { bytes };
  });
  const pass = (step: Step, bytes: Uint8Array) => onWay(step, wire[step] = new Uint8Array(bytes));
  const hello = pass("hello", client.hello);
  broker.helloTail(hello);
  if (!broker.speaks(hello)) client.checkChallengeHead(broker.refuse(Refusal.VERSION));
  const challenge = pass("challenge", broker.challenge(hello));
  client.checkChallengeHead(challenge.subarray(0, CHALLENGE_HEAD_BYTES));
  const proof = pass("proof", await client.prove(challenge));
  const { proven, answer } = await broker.answer(proof);
  const granted = proven !== undefined;
  const answered = pass("answer", answer);
  const result = { client, broker, wire: wire as Required<typeof wire>, asked, granted };
  try {
    client.checkAnswer(answered[0]!);
    return { ...result, id: await client.verify(answered.slice(1)), error: undefined };
  } catch (error) { // What the client makes of the answer.
    return { ...result, id: undefined, error };
  }
}

function hmac(key: Uint8Array, ...parts: readonly (string | Uint8Array)[]): Uint8Array {
  const mac = createHmac("sha256", key);
  for (const part of parts) mac.update(part);
  return new Uint8Array(mac.digest());
}

Deno.test("ClientHandshake and BrokerHandshake agree with the same key, and the client learns the id", async () => {
  const { granted, id, broker } = await handshake();
  assert(granted);
  assertEquals(id, BROKER_ID);
  assertEquals(broker.keyName, "");
});

Deno.test("ClientHandshake and BrokerHandshake write what the protocol says, byte for byte", async () => {
  const nonce = Uint8Array.from({ length: 32 }, (_, i) => i);
  const client = new ClientHandshake(KEY, "ké", nonce);
  const broker = new BrokerHandshake(BROKER_ID, () => ({ bytes: KEY }));
  const hello = fromHex(
    "6d707562737562 0a 01 01 000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f" +
      "0300 6bc3a9",
  );
  const challenge = fromHex(
    "6d707562737562 0a 00 01 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff" +
      "202122232425262728292a2b2c2d2e2f 303132333435363738393a3b3c3d3e3f",
  );
  assertEquals(toHex(client.hello), toHex(hello));
  assertEquals(
    toHex(broker.challenge(client.hello, nonce.map((byte) => byte + 32))),
    toHex(challenge),
  );
  const proof = hmac(KEY, "mpubsub client\0", hello, challenge);
  assertEquals(toHex(await client.prove(challenge)), toHex(proof));
  const { answer } = await broker.answer(new Uint8Array(proof));
  const ours = hmac(KEY, "mpubsub broker\0", hello, challenge, proof);
  assertEquals(toHex(answer), toHex(concat(Uint8Array.of(0), ours)));
  const known = [
    "79b26b22f6c40bbb65306d8c1a7bcc54fdba50d4e7578dd4bb612af7b8bdee89",
    "eb2258e8454317d92a6919bcced66b7caf44e047e9945c0a66824e8b9176ca54",
  ];
  assertEquals([proof, ours].map(toHex), known.map(fromHex).map(toHex));
});

Deno.test("ClientHandshake and BrokerHandshake make new nonces each time", async () => {
  const [one, two] = [await handshake(), await handshake()];
  for (const step of ["hello", "challenge", "proof", "answer"] as const) {
    assertNotEquals(one.wire[step], two.wire[step]);
  }
});

Deno.test("BrokerHandshake refuses a client with another key, and tells nothing but that", async () => {
  const { granted, wire, error } = await handshake({ clientKey: keyBytes("Secret") });
  assertEquals(granted, false);
  assertEquals([...wire.answer], [Refusal.AUTH]);
  assert(error instanceof AuthError);
  assertStringIncludes(error.message, "the broker refused the key;");
});

Deno.test("BrokerHandshake takes the same steps for a name that it does not know", async () => {
  const wrong = await handshake({
    clientKey: keyBytes("wrong"),
    keyName: "ann",
    keys: { ann: KEY },
  });
  const unknown = await handshake({ clientKey: KEY, keyName: "bob", keys: { ann: KEY } });
  assertEquals([wrong.asked, unknown.asked], [["ann"], ["bob"]]);
  assertEquals(unknown.granted, false);
  assertEquals(unknown.wire.answer, wrong.wire.answer);
  assertEquals(unknown.wire.challenge.length, wrong.wire.challenge.length);
  assert(unknown.error instanceof AuthError);
  assertEquals(unknown.error.keyName, "bob");
  assertStringIncludes(unknown.error.message, 'the key named "bob"');
});

Deno.test("BrokerHandshake chooses the key by its name", async () => {
  const keys = { ann: keyBytes("a"), bob: keyBytes("b") };
  const { granted, broker } = await handshake({ clientKey: keys.bob, keyName: "bob", keys });
  assert(granted);
  assertEquals(broker.keyName, "bob");
  assertEquals((await handshake({ clientKey: keys.ann, keyName: "bob", keys })).granted, false);
});

Deno.test("BrokerHandshake takes a name that is not UTF-8 for one that it does not know", async () => {
  const client = new ClientHandshake(KEY, "x");
  client.hello[client.hello.length - 1] = 0xff;
  // What the name is shown as is a name that a key may have.
  const broker = new BrokerHandshake(BROKER_ID, () => ({ bytes: KEY }));
  const proof = await client.prove(new Uint8Array(broker.challenge(client.hello)));
  const { proven, answer } = await broker.answer(new Uint8Array(proof));
  assertEquals([broker.keyName, proven, [...answer]], ["\ufffd", undefined, [Refusal.AUTH]]);
});

Deno.test("BrokerHandshake takes a name as it is, with a byte order mark", async () => {
  const keys = { "": KEY, "\ufeff": keyBytes("marked"), x: KEY, "\ufeffx": keyBytes("marked") };
  for (const keyName of ["\ufeff", "\ufeffx"]) {
    assert((await handshake({ clientKey: keyBytes("marked"), keyName, keys })).granted);
    assertEquals((await handshake({ clientKey: KEY, keyName, keys })).granted, false);
  }
});

Deno.test("ClientHandshake takes a key name of 64 bytes and refuses 65", async () => {
  const name = "é".repeat(KEY_NAME_BYTES_MAX / 2);
  assert((await handshake({ keyName: name, keys: { [name]: KEY } })).granted);
  assertThrows(() => new ClientHandshake(KEY, `${name}x`), RangeError, "65 bytes; the limit is 64");
  assertThrows(() => keyNameBytes(`${name}x`), RangeError, "65 bytes; the limit is 64");
});

Deno.test("BrokerHandshake takes a key name of 1024 bytes and refuses 1025", () => {
  const broker = new BrokerHandshake(BROKER_ID, () => ({ bytes: KEY }));
  const head = new ClientHandshake(KEY, "").hello.slice(0, HELLO_HEAD_BYTES);
  head.set([0, 4], HELLO_HEAD_BYTES - 2);
  assertEquals(broker.helloTail(head), 1024);
  head.set([1, 4], HELLO_HEAD_BYTES - 2);
  assertThrows(() => broker.helloTail(head), ProtocolError, "1025 bytes; the limit is 1024");
});

for (
  const [lowest, highest, speaks] of [
    [1, 1, true],
    [0, 1, true],
    [1, 255, true],
    [0, 255, true],
    [0, 0, false],
    [2, 2, false],
    [2, 255, false],
    [2, 1, false],
    [1, 0, false],
  ] as const
) {
  Deno.test(`BrokerHandshake ${speaks ? "speaks" : "does not speak"} versions ${lowest} to ${highest}`, () => {
    const hello = new Uint8Array(new ClientHandshake(KEY, "").hello);
    hello.set([lowest, highest], 8);
    assertEquals(new BrokerHandshake(BROKER_ID, () => ({ bytes: KEY })).speaks(hello), speaks);
  });
}

const MAGIC = new TextEncoder().encode("mpubsub\n");

for (
  const [what, head, type, problem] of [
    ["busy", concat(MAGIC, Uint8Array.of(Refusal.BUSY, 1)), ConnectionLostError, "try again later"],
    [
      "another version",
      concat(MAGIC, Uint8Array.of(Refusal.VERSION, 7)),
      ProtocolError,
      "version 7",
    ],
    ["a version not offered", concat(MAGIC, Uint8Array.of(0, 2)), ProtocolError, "version 2"],
    ["an unknown refusal", concat(MAGIC, Uint8Array.of(99, 1)), ProtocolError, "unknown code 99"],
    ["HTTP", new TextEncoder().encode("HTTP/1.1 4"), ProtocolError, "not an mpubsub broker"],
    ["nothing but zeros", new Uint8Array(10), ProtocolError, "not an mpubsub broker"],
  ] as const
) {
  Deno.test(`ClientHandshake refuses ${what} in the place of a challenge`, () => {
    const client = new ClientHandshake(KEY, "");
    assertThrows<Error>(() => client.checkChallengeHead(head), type, problem);
  });
}

Deno.test("ClientHandshake understands the refusals that BrokerHandshake writes", () => {
  const client = new ClientHandshake(KEY, "");
  const broker = new BrokerHandshake(BROKER_ID, () => ({ bytes: KEY }));
  const check = (refusal: Refusal) => () => client.checkChallengeHead(broker.refuse(refusal));
  assertThrows(check(Refusal.BUSY), ConnectionLostError, "takes nobody now");
  assertThrows(check(Refusal.VERSION), ProtocolError, "version 1");
  assertEquals(broker.refuse(Refusal.BUSY).length, CHALLENGE_HEAD_BYTES);
});

Deno.test("BrokerHandshake refuses what does not begin as a hello", () => {
  const broker = new BrokerHandshake(BROKER_ID, () => ({ bytes: KEY }));
  const http = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*");
  assertThrows(
    () => broker.helloTail(http.subarray(0, HELLO_HEAD_BYTES)),
    ProtocolError,
    "does not speak mpubsub",
  );
});

for (
  const [step, length] of [
    ["hello", HELLO_HEAD_BYTES],
    ["challenge", CHALLENGE_BYTES],
    ["proof", PROOF_BYTES],
    ["answer", ANSWER_BYTES],
  ] as const
) {
  Deno.test(`ClientHandshake and BrokerHandshake do not agree when a byte of the ${step} is another`, async () => {
    for (let at = 0; at < length; at++) {
      const failed = await handshake({
        onWay: (now, bytes) => now === step ? tampered(bytes, at) : bytes,
      }).then(({ error }) => error, (error: unknown) => error);
      const expected = failed instanceof AuthError || failed instanceof ProtocolError;
      assert(expected, `byte ${at} of the ${step}: ${failed}`);
    }
  });
}

Deno.test("BrokerHandshake does not take its own proof for that of a client", async () => {
  const { broker, wire } = await handshake();
  assertEquals((await broker.answer(wire.proof)).proven !== undefined, true);
  assertEquals((await broker.answer(wire.answer.slice(1))).proven !== undefined, false);
});

Deno.test("ClientHandshake does not take its own proof for that of a broker", async () => {
  const { client, wire } = await handshake();
  await client.verify(wire.answer.slice(1));
  await assertRejects(() => client.verify(wire.proof), AuthError, "did not prove");
});

Deno.test("ClientHandshake is not fooled by a broker that sends everything back", async () => {
  const client = new ClientHandshake(KEY, "");
  const echo = concat(client.hello.subarray(0, 8), Uint8Array.of(0, 1), client.hello.subarray(10));
  const proof = await client.prove(echo);
  await assertRejects(() => client.verify(new Uint8Array(proof)), AuthError);
});

Deno.test("BrokerHandshake does not take the hello and proof of an earlier handshake", async () => {
  const { wire } = await handshake();
  const broker = new BrokerHandshake(BROKER_ID, () => ({ bytes: KEY }));
  broker.challenge(wire.hello);
  assertEquals((await broker.answer(wire.proof)).proven !== undefined, false);
});

Deno.test("ClientHandshake does not take the challenge and answer of an earlier handshake", async () => {
  const { wire } = await handshake();
  const client = new ClientHandshake(KEY, "");
  await client.prove(wire.challenge);
  await assertRejects(() => client.verify(wire.answer.slice(1)), AuthError);
});

for (const length of [0, 31, 33]) {
  Deno.test(`ClientHandshake and BrokerHandshake refuse a proof of ${length} bytes`, async () => {
    const { client, broker, wire } = await handshake();
    const cut = (proof: Uint8Array) => concat(proof, proof).slice(0, length);
    assertEquals((await broker.answer(cut(wire.proof))).proven !== undefined, false);
    await assertRejects(() => client.verify(cut(wire.answer.slice(1))), AuthError);
  });
}

Deno.test("keyBytes takes a string as its UTF-8 bytes, and bytes as they are", () => {
  assertEquals([...keyBytes("é😀")], [0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80]);
  assertEquals([...keyBytes("c2VjcmV0")], [...new TextEncoder().encode("c2VjcmV0")]);
  assertEquals([...keyBytes(Uint8Array.of(0, 255))], [0, 255]);
});

Deno.test("keyBytes copies what it is given", () => {
  const key = Uint8Array.of(1, 2);
  const bytes = keyBytes(key);
  key[0] = 9;
  assertEquals([...bytes], [1, 2]);
});

Deno.test("keyBytes refuses an empty key", () => {
  assertThrows(() => keyBytes(""), RangeError, "it is empty");
  assertThrows(() => keyBytes(new Uint8Array()), RangeError, "it is empty");
});

Deno.test("keyBytes and keyNameBytes refuse a lone surrogate, which would become another character", () => {
  for (const text of ["\ud800", "a\udfffb"]) {
    assertThrows(() => keyBytes(text), TypeError, "lone surrogate");
    assertThrows(() => keyNameBytes(text), TypeError, "lone surrogate");
  }
});

for (const key of [undefined, null, 1, [1, 2], new ArrayBuffer(2), new Uint16Array(2)]) {
  Deno.test(`keyBytes refuses ${Object.prototype.toString.call(key)} as a key`, () => {
    assertThrows(() => keyBytes(key as unknown as string), TypeError, "string or a Uint8Array");
  });
}

Deno.test("keyNameBytes takes nothing but a string", () => {
  for (const name of [5, null, {}, ["a"]]) {
    assertThrows(() => keyNameBytes(name as unknown as string), TypeError, "keyName");
  }
});

/** A copy in which one byte is another. */
function tampered(bytes: Uint8Array, at: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  copy[at]! ^= 1;
  return copy;
}
