import { assert, assertEquals, assertRejects } from "@std/assert";
import { delay } from "@std/async/delay";
import { Account } from "../base/account.ts";
import { type Carrier, WebSocketStream } from "../io/websocket.ts";
import { ProtocolError } from "../errors.ts";

/** What one end wrote, and what it is given to read, in pieces of `size` bytes. */
class Script implements Carrier {
  readonly written: number[] = [];
  isClosed = false;
  #at = 0;
  readonly #bytes: Uint8Array;
  readonly #size: number;

  constructor(bytes: readonly number[], size = Infinity) {
    this.#bytes = Uint8Array.from(bytes);
    this.#size = size;
  }

  read(into: Uint8Array): Promise<number | null> {
    const count = Math.min(into.length, this.#size, this.#bytes.length - this.#at);
    if (count === 0) return Promise.resolve(null);
    into.set(this.#bytes.subarray(this.#at, this.#at += count));
    return Promise.resolve(count);
  }

  write(bytes: Uint8Array): Promise<number> {
    for (const byte of bytes) this.written.push(byte);
    return Promise.resolve(bytes.length);
  }

  closeWrite(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.isClosed = true;
  }
}

const MASK = [0x37, 0xfa, 0x21, 0x3d];

/** A frame of a client: its first byte, and its payload; `length` as the second byte and what follows says it. */
function frame(first: number, payload: readonly number[], length = lengthOf(payload.length)) {
  const [second, ...more] = length;
  return [
    first,
    0x80 | second!,
    ...more,
    ...MASK,
    ...payload.map((byte, i) => byte ^ MASK[i & 3]!),
  ];
}

function lengthOf(length: number): number[] {
  if (length < 126) return [length];
  if (length < 65536) return [126, length >> 8, length & 255];
  return [127, 0, 0, 0, 0, length >>> 24, length >> 16 & 255, length >> 8 & 255, length & 255];
}

const bytesOf = (text: string) => [...new TextEncoder().encode(text)];
const filled = (length: number) => Array.from({ length }, (_, i) => i * 7 & 255);
const BINARY = 0x82;

/** Reads all that a broker's end reads of these frames; what it wrote, as frames, and how it ended. */
async function readAll(frames: readonly number[], size: number, room: number) {
  const script = new Script(frames, size);
  const stream = new WebSocketStream(script, false);
  const payload: number[] = [];
  const into = new Uint8Array(room);
  let error: Error | undefined;
  try {
    for (let count; (count = await stream.read(into)) !== null;) {
      payload.push(...into.subarray(0, count));
    }
  } catch (thrown) {
    error = thrown as Error;
  }
  return { payload, written: script.written, error, closing: stream.closing };
}

/** A case: what comes, what is read of it, and the code with which it is closed, if it is. */
interface Case {
  readonly name: string;
  readonly frames: readonly number[];
  readonly payload?: readonly number[];
  /** Answers before a close. */
  readonly answers?: readonly number[];
  /** The code that the broker sends. */
  readonly code?: number;
  readonly says?: RegExp;
}

const close = (code: number, reason: readonly number[] = []) =>
  frame(0x88, [code >> 8, code & 255, ...reason]);
const long = filled(70_000);

/** After the sections of the Autobahn suite. */
const CASES: readonly Case[] = [
  ...[0, 1, 125, 126, 127, 128, 65_535, 65_536].map((length) => ({
    name: `1.2 a message of ${length} bytes`,
    frames: frame(BINARY, filled(length)),
    payload: filled(length),
  })),
  { name: "1.1 a text", frames: frame(0x81, bytesOf("hi")), code: 1003, says: /text/ },
  { name: "2.1 an empty ping", frames: frame(0x89, []), answers: [0x8a, 0] },
  {
    name: "2.3 a ping with bytes that are no UTF-8",
    frames: frame(0x89, [0, 255, 254]),
    answers: [0x8a, 3, 0, 255, 254],
  },
  {
    name: "2.4 a ping of 125 bytes",
    frames: frame(0x89, filled(125)),
    answers: [0x8a, 125, ...filled(125)],
  },
  {
    name: "2.5 a ping of 126 bytes",
    frames: frame(0x89, filled(126)),
    code: 1002,
    says: /126 bytes/,
  },
  { name: "2.7 a pong that nobody asked for", frames: frame(0x8a, filled(5)), payload: [] },
  ...[0x10, 0x20, 0x40, 0x70].map((bits) => ({
    name: `3 reserved bits ${bits.toString(16)}`,
    frames: [...frame(BINARY, [1]), ...frame(BINARY | bits, [2])],
    code: 1002,
    says: /reserved/,
  })),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => ({
    name: `4 opcode ${opcode}`,
    frames: frame(0x80 | opcode, []),
    code: 1002,
    says: /opcode/,
  })),
  {
    name: "5.1 a ping in two fragments",
    frames: [...frame(0x09, [1]), ...frame(0x80, [2])],
    code: 1002,
    says: /control frame is a fragment/,
  },
  {
    name: "5.3 a message in two fragments",
    frames: [...frame(0x02, [1, 2]), ...frame(0x80, [3])],
    payload: [1, 2, 3],
  },
  {
    name: "5.6 a ping between two fragments",
    frames: [...frame(0x02, [1, 2]), ...frame(0x89, [9]), ...frame(0x80, [3])],
    payload: [1, 2, 3],
    answers: [0x8a, 1, 9],
  },
  {
    name: "5.9 a continuation of nothing",
    frames: frame(0x80, [1]),
    code: 1002,
    says: /no message is continued/,
  },
  {
    name: "5.11 a continuation after the end",
    frames: [...frame(0x02, [1]), ...frame(0x80, [2]), ...frame(0x00, [3])],
    code: 1002,
    says: /no message is continued/,
  },
  {
    name: "5.18 a message within another",
    frames: [...frame(0x02, [1]), ...frame(BINARY, [2])],
    code: 1002,
    says: /within another/,
  },
  {
    name: "5.19 many fragments, some of them empty",
    frames: [
      ...frame(0x02, []),
      ...Array.from({ length: 20 }, (_, i) => frame(0x00, i % 3 ? [i] : [])).flat(),
      ...frame(0x80, []),
    ],
    payload: Array.from({ length: 20 }, (_, i) => i % 3 ? [i] : []).flat(),
  },
  { name: "7.1 a close", frames: close(1000), code: 1000 },
  { name: "7.1.3 a ping after a close", frames: [...close(1000), ...frame(0x89, [1])], code: 1000 },
  { name: "7.3.1 a close without a code", frames: frame(0x88, []), code: 1000 },
  { name: "7.3.2 a close with half a code", frames: frame(0x88, [3]), code: 1002, says: /half/ },
  { name: "7.3.5 a close of 125 bytes", frames: close(1000, bytesOf("x".repeat(123))), code: 1000 },
  {
    name: "7.3.6 a close of 126 bytes",
    frames: close(1000, bytesOf("x".repeat(124))),
    code: 1002,
    says: /126 bytes/,
  },
  {
    name: "7.5.1 a close whose reason is no UTF-8",
    frames: close(1000, [0xce, 0xba, 0xe1, 0xed, 0xa0, 0x80]),
    code: 1007,
    says: /UTF-8/,
  },
  ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].map((code) => ({
    name: `7.7 the code ${code}`,
    frames: close(code, bytesOf("κόσμε")),
    code,
  })),
  ...[0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535].map((code) => ({
    name: `7.9 the code ${code}`,
    frames: close(code),
    code: 1002,
    says: /code/,
  })),
  { name: "9.3 a message of 70,000 bytes", frames: frame(BINARY, long), payload: long },
  {
    name: "9.4 the same in fragments of 1,000 bytes",
    frames: Array.from(
      { length: 70 },
      (_, i) =>
        frame((i === 69 ? 0x80 : 0) | (i === 0 ? 2 : 0), long.slice(1000 * i, 1000 * (i + 1))),
    ).flat(),
    payload: long,
  },
  {
    name: "a length of two bytes that fits one",
    frames: frame(BINARY, [1], [126, 0, 1]),
    code: 1002,
    says: /more bytes than it needs/,
  },
  {
    name: "a length of eight bytes that fits two",
    frames: frame(BINARY, [1], [127, 0, 0, 0, 0, 0, 0, 255, 255]),
    code: 1002,
    says: /more bytes than it needs/,
  },
  {
    name: "a length of 2⁶³",
    frames: frame(BINARY, [1], [127, 128, 0, 0, 0, 0, 0, 0, 0]),
    code: 1002,
    says: /negative/,
  },
  {
    name: "a length of 2⁵³",
    frames: frame(BINARY, [1], [127, 0, 32, 0, 0, 0, 0, 0, 0]),
    code: 1009,
    says: /9007199254740992 bytes/,
  },
  { name: "a frame without a mask", frames: [BINARY, 1, 65], code: 1002, says: /not masked/ },
];

for (const { name, frames, payload, answers = [], code, says } of CASES) {
  Deno.test(`WebSocketStream at the broker takes, or refuses by the letter: ${name}`, async () => {
    const sizes = frames.length > 2000 ? [Infinity, 997] : [Infinity, 1, 2, 3, 7];
    for (const [i, size] of sizes.entries()) {
      const { written, error, ...read } = await readAll(frames, size, [4096, 1, 16][i % 3]!);
      if (payload !== undefined) assertEquals(read.payload, payload);
      assertEquals(written.slice(0, answers.length), answers);
      const end = written.slice(answers.length);
      if (code === undefined) assertEquals(end, []);
      else {
        assertEquals(end[0], 0x88);
        assertEquals(end[1], end.length - 2);
        assertEquals(end[2]! << 8 | end[3]!, code);
      }
      if (says === undefined) assertEquals(error, undefined);
      else {
        assert(error instanceof ProtocolError, String(error));
        assert(says.test(error.message), error.message);
      }
    }
  });
}

Deno.test("WebSocketStream.closing is what the other side has said", async () => {
  const { closing } = await readAll(close(4321, bytesOf("κόσμε")), Infinity, 100);
  assertEquals(closing, { code: 4321, reason: "κόσμε" });
});

Deno.test("WebSocketStream gives what was read behind the head first", async () => {
  const script = new Script(frame(BINARY, [4, 5]));
  const first = Uint8Array.from(frame(BINARY, [1, 2, 3]));
  const stream = new WebSocketStream(script, false, first);
  const into = new Uint8Array(4);
  const got: number[] = [];
  for (let count; (count = await stream.read(into)) !== null;) {
    got.push(...into.subarray(0, count));
  }
  assertEquals(got, [1, 2, 3, 4, 5]);
});

Deno.test("WebSocketStream of a client refuses what is masked", async () => {
  const stream = new WebSocketStream(new Script(frame(BINARY, [1])), true);
  await assertRejects(() => stream.read(new Uint8Array(9)), ProtocolError, "is masked");
});

for (const isClient of [true, false]) {
  const who = isClient ? "client" : "broker";
  Deno.test(`WebSocketStream of a ${who} writes what the other end reads, and leaves the bytes as they are`, async () => {
    for (const length of [0, 1, 125, 126, 65_535, 65_536, 65_537, 300_000]) {
      const script = new Script([]);
      const stream = new WebSocketStream(script, isClient);
      const bytes = Uint8Array.from(filled(length));
      let at = 0;
      do at += await stream.write(bytes.subarray(at)); while (at < length);
      assertEquals([...bytes], filled(length));
      const other = new WebSocketStream(new Script(script.written, 10_000), !isClient);
      const got: number[] = [];
      const into = new Uint8Array(5000);
      for (let count; (count = await other.read(into)) !== null;) {
        for (const byte of into.subarray(0, count)) got.push(byte);
      }
      assertEquals(got, filled(length));
    }
  });
}

Deno.test("WebSocketStream writes a message in one piece; that of a broker is short, for pages get it whole", async () => {
  for (
    const [isClient, length, count] of [
      [false, 10, 10],
      [false, 16_384, 16_384],
      [false, 16_385, 16_384],
      [false, 300_000, 16_384],
      [true, 65_536, 65_536],
      [true, 65_537, 65_536],
    ] as const
  ) {
    const script = new Script([]);
    const write = script.write.bind(script);
    const pieces: Uint8Array[] = [];
    script.write = (piece) => {
      pieces.push(piece);
      return write(piece);
    };
    const bytes = Uint8Array.from(filled(length));
    assertEquals(await new WebSocketStream(script, isClient).write(bytes), count);
    assertEquals(pieces.length, 1);
  }
});

Deno.test("WebSocketStream.closeWrite of a broker closes, and that of a client goes on", async () => {
  const [broker, client] = [new Script([]), new Script([])];
  await new WebSocketStream(broker, false).closeWrite();
  await new WebSocketStream(client, true).closeWrite();
  assertEquals(broker.written, [0x88, 2, 3, 232]);
  assertEquals(client.written, []);
});

const FAREWELLS = [
  ["done", 1000],
  ["away", 1001],
  ["refused", 1008],
  ["busy", 1013],
  ["answer", 1000],
] as const;

Deno.test("WebSocketStream.closeWrite says why with a code, and a client closes to answer", async () => {
  for (const [why, code] of FAREWELLS) {
    const script = new Script([]);
    await new WebSocketStream(script, false).closeWrite(why);
    assertEquals(script.written, [0x88, 2, code >> 8, code & 255]);
  }
  const script = new Script([]);
  await new WebSocketStream(script, true).closeWrite("answer");
  assertEquals(script.written.slice(0, 2), [0x88, 0x82]);
});

Deno.test("WebSocketStream answers the latest of many pings after what is being written", async () => {
  const pings = Array.from({ length: 100 }, (_, i) => frame(0x89, [i])).flat();
  const gate = Promise.withResolvers<void>();
  const script = new Script([...pings, ...frame(BINARY, [1])]);
  const write = script.write.bind(script);
  script.write = async (bytes) => {
    const copy = bytes.slice();
    await gate.promise;
    return write(copy);
  };
  const stream = new WebSocketStream(script, false);
  const written = stream.write(Uint8Array.of(7));
  assertEquals(await stream.read(new Uint8Array(10_000)), 1);
  gate.resolve();
  await written;
  await stream.closeWrite();
  assertEquals(script.written, [BINARY, 1, 7, 0x8a, 1, 99, 0x88, 2, 3, 232]);
});

Deno.test("WebSocketStream.read returns 0 for what brings no message, so that others have their turn", async () => {
  const vain = [...frame(0x89, [1]), ...frame(0x8a, [2]), ...frame(0x02, []), ...frame(0x80, [])];
  const script = new Script([...vain, ...frame(BINARY, [3])], vain.length);
  const stream = new WebSocketStream(script, false);
  const into = new Uint8Array(100);
  assertEquals([await stream.read(into), await stream.read(into)], [0, 1]);
  assertEquals(await stream.read(into), null);
});

/** How many arrays of bytes are made meanwhile. */
async function arraysMade(act: () => Promise<void>): Promise<number> {
  const { Uint8Array } = globalThis;
  let made = 0;
  globalThis.Uint8Array = new Proxy(Uint8Array, {
    construct(target, args, newTarget) {
      made++;
      return Reflect.construct(target, args, newTarget);
    },
  });
  try {
    await act();
  } finally {
    globalThis.Uint8Array = Uint8Array;
  }
  return made;
}

for (const [what, first] of [["pings", 0x89], ["pongs", 0x8a]] as const) {
  Deno.test(`WebSocketStream makes no arrays for each of many ${what}, however long they are`, async () => {
    const flood = Array.from({ length: 1000 }, (_, i) => frame(first, filled(i % 126))).flat();
    const last = frame(BINARY, [7]);
    const stream = new WebSocketStream(new Script([...flood, ...last]), false);
    const into = new Uint8Array(flood.length + last.length);
    const made = await arraysMade(async () => assertEquals(await stream.read(into), 1));
    assert(made < 10, `${made} arrays`);
  });
}

Deno.test("WebSocketStream.trim drops nothing of a ping that is to be answered, or has begun", async () => {
  const first = frame(0x89, [1, 2, 3]);
  const second = frame(0x89, [4, 5]);
  const script = new Script([...first, ...second], first.length + second.length - 1);
  const gate = Promise.withResolvers<void>();
  const write = script.write.bind(script);
  script.write = (bytes) => gate.promise.then(() => write(bytes));
  const stream = new WebSocketStream(script, false);
  const writing = stream.write(Uint8Array.of(9));
  const into = new Uint8Array(100);
  assertEquals(await stream.read(into), 0);
  stream.trim();
  gate.resolve();
  await writing;
  assertEquals(await stream.read(into), 0);
  await delay(0); // The second one is answered behind the first.
  assertEquals(
    script.written,
    [BINARY, 1, 9, 0x8a, 3, 1, 2, 3, 0x8a, 2, 4, 5],
  );
});

Deno.test("WebSocketStream counts what it keeps of what is written, until it is trimmed or closed", async () => {
  const gate = Promise.withResolvers<number>();
  const script = new Script([]);
  script.write = () => gate.promise;
  const account = new Account();
  const stream = new WebSocketStream(script, false);
  stream.count(account);
  const writing = stream.write(new Uint8Array(10_000));
  assert(account.bytes >= 10_000, `${account.bytes} bytes`);
  stream.trim(); // It is being written.
  assert(account.bytes >= 10_000, `${account.bytes} bytes`);
  gate.resolve(10_004);
  await writing;
  stream.trim();
  assertEquals(account.bytes, 0);
  await stream.write(new Uint8Array(100)).catch(() => {});
  stream.uncount();
  assertEquals(account.bytes, 0);
});
