/**
 * Attacks of those who come over WebSockets: with HTTP that is none, with frames that are wrong or
 * bring nothing, and with what costs a peer over TCP nothing either.
 */
import { delay } from "@std/async/delay";
import {
  ANSWER_MS,
  type Assault,
  type Attack,
  type BrokerSetup,
  inParallel,
  QUEUE_BYTES,
  within,
} from "./attack.ts";
import {
  bytesOf,
  bytesValue,
  type Credentials,
  frame,
  hello,
  join,
  openFrame,
  type Opening,
  payload,
  RawClient,
  Refusal,
  repeat,
  topic,
  Type,
} from "./raw_client.ts";
import { CloseCode, Opcode, type RawWeb, statusOf, upgradeHead, webFrame } from "./raw_web.ts";

/** The same object, so that all of them share a broker. */
const WEB: BrokerSetup = { web: true };
const AT_ONCE = 16;
const SILENT = 300;
const SLOW = 100;
const HALF_OPEN = 10_000;
const DIALING = 64;
/** The limits of `docs/protocol.md` and `docs/limits.md`, not the library's constants. */
const HEAD_BYTES_MAX = 16 * 1024;
const HALF_OPEN_PER_ADDRESS = 2048;
const OVERHEAD_BYTES_MAX = 4096;
/** Honest clients that connect meanwhile, and connections that are ending. */
const OTHERS = 16;
const AUTH_MS = 5000;
const NOTICE_MS = 1500;
const FLOOD_BYTES = 128 * 1024;
const FLOODS = 8;
const HOARDERS = 4;
const HOARD_BYTES = 16 * 1024;

/** An authenticated client over a WebSocket, with a session. */
async function opened(
  assault: Assault,
  credentials: Credentials,
  opening: Opening = {},
): Promise<{ web: RawWeb; client: RawClient }> {
  const web = await assault.upgraded();
  if (web === undefined) throw new Error("The broker did not upgrade");
  const client = RawClient.over(web);
  const { code } = await client.authenticate(credentials);
  if (code !== Refusal.NONE) throw new Error(`The broker did not let a client in: ${code}`);
  await client.open(opening);
  return { web, client };
}

/** Waits until the broker has closed, which it must in time. */
async function expectClosed(assault: Assault, web: RawWeb, ms: number): Promise<void> {
  const began = performance.now();
  const ended = await within(ms, web.ended().then(() => true));
  assault.expect("one who gets nowhere was not closed in time", ended === true);
  assault.count("closed by the broker", ended === true ? 1 : 0);
  assault.most("ms until the last was", Math.round(performance.now() - began));
  assault.drop(web);
}

/** Begins, and says no more. */
const silentUpgrade: Attack = {
  name: "web-silent",
  what: `${SILENT} connections that say nothing, a part of a head, an upgrade, or half a frame`,
  broker: WEB,
  async run(assault) {
    const head = upgradeHead();
    const words = [
      bytesOf(""),
      head.subarray(0, 1),
      head.subarray(0, -2),
      head,
      join(head, webFrame(Opcode.BINARY, hello()).subarray(0, 20)),
      join(head, webFrame(Opcode.BINARY, hello())),
    ];
    await inParallel(SILENT, async (i) => {
      const web = await assault.dialWeb();
      if (web === undefined) return;
      await web.send(words[i % words.length]!);
      await expectClosed(assault, web, AUTH_MS + NOTICE_MS);
    });
    await assault.over;
  },
  check: ({ counts, moved }) => ({
    "one who says nothing was not counted":
      moved["refusals.timeout"]! >= counts["closed by the broker"]!,
  }),
};

/** Says a byte now and then. */
const slowHead: Attack = {
  name: "web-slow-head",
  what: `a head of one byte a second on ${SLOW} connections, for as long as they stay open`,
  broker: WEB,
  async run(assault) {
    await inParallel(SLOW, async () => {
      const web = await assault.dialWeb();
      if (web === undefined) return;
      drip(web, upgradeHead());
      await expectClosed(assault, web, AUTH_MS + NOTICE_MS);
    });
    await assault.over;
  },
  check: ({ counts, moved }) => ({
    "a slow head was not counted": moved["refusals.timeout"]! >= counts["closed by the broker"]!,
  }),
};

async function drip(web: RawWeb, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at++) {
    if (!await web.send(bytes.subarray(at, at + 1))) return;
    await delay(1000);
  }
}

/** Sends heads that are no good: what each is answered. */
const heads: Attack = {
  name: "web-heads",
  what: "heads of 20 KiB, in one line or many, and requests for what is not there",
  broker: WEB,
  async run(assault) {
    const long = "x".repeat(HEAD_BYTES_MAX + 4096);
    const bombs: readonly (readonly [status: number, head: Uint8Array])[] = [
      [431, upgradeHead(`Cookie: ${long}`)],
      [431, upgradeHead(...Array.from({ length: 2500 }, (_, i) => `a${i}: b`))],
      [431, bytesOf(`GET /${long}`)],
      [404, bytesOf("GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n")],
      [426, bytesOf("GET /bus HTTP/1.1\r\nHost: localhost\r\n\r\n")],
      [403, upgradeHead("Origin: https://elsewhere.example")],
      [400, upgradeHead("Host: another")],
      [505, bytesOf("GET /bus HTTP/1.0\r\n\r\n")],
      [400, bytesOf("\r\n".repeat(20))],
    ];
    await assault.keepOn(AT_ONCE, async () => {
      for (const [status, head] of bombs) {
        const web = await assault.dialWeb();
        if (web === undefined) continue;
        await web.send(head);
        const answer = statusOf(await within(ANSWER_MS, web.head()) ?? "");
        assault.expect(`a head got ${answer}, not ${status}`, answer === status);
        assault.count("refused");
        assault.drop(web);
      }
    });
  },
  check: ({ counts, moved }) => ({
    "nothing was refused": counts["refused"]! > 0,
    "a refusal was not counted": moved["refusals.protocol"]! >= counts["refused"]! / 2,
  }),
};

/** Sends wrong frames before it is authenticated, and after; each is closed with its code. */
const wrongFrames: Attack = {
  name: "web-frames",
  what: "a length of 2⁶³ and just below, frames without a mask, long pings, before a key and after",
  broker: WEB,
  async run(assault) {
    const bombs: readonly (readonly [code: number, bytes: Uint8Array])[] = [
      [CloseCode.PROTOCOL, webFrame(Opcode.BINARY, undefined, { length: 2n ** 63n })],
      [CloseCode.PROTOCOL, webFrame(Opcode.BINARY, undefined, { length: 2n ** 64n - 1n })],
      [CloseCode.TOO_BIG, webFrame(Opcode.BINARY, undefined, { length: 2n ** 63n - 1n })],
      [CloseCode.PROTOCOL, webFrame(Opcode.BINARY, hello(), { isMasked: false })],
      [CloseCode.PROTOCOL, webFrame(Opcode.PING, undefined, { length: 126 })],
      [CloseCode.PROTOCOL, webFrame(Opcode.CONTINUATION, hello())],
      [CloseCode.PROTOCOL, webFrame(Opcode.CLOSE, bytesOf("\x03"))],
    ];
    await assault.keepOn(AT_ONCE, async () => {
      for (const [code, bytes] of bombs) {
        const web = await assault.upgraded();
        await closedWith(assault, web, bytes, code);
        const client = await opened(assault, assault.keys.insider);
        await closedWith(assault, client.web, bytes, code);
      }
    });
  },
  check: ({ counts }) => ({ "no frame was refused": counts["closed with a code"]! > 0 }),
};

async function closedWith(
  assault: Assault,
  web: RawWeb | undefined,
  bytes: Uint8Array,
  code: number,
): Promise<void> {
  if (web === undefined) return;
  await web.send(bytes);
  const given = await within(ANSWER_MS, web.closeCode());
  assault.expect(`a wrong frame was closed with ${given}, not with ${code}`, given === code);
  assault.count("closed with a code");
  assault.drop(web);
}

/** Announces a message that never ends: of it no more is held than of what comes over TCP. */
const longMessages: Attack = {
  name: "web-long-messages",
  what: "one message of 2⁵² bytes, and one of fragments without end, which carry frames of the bus",
  broker: WEB,
  memoryBytes: QUEUE_BYTES * 4, // What the witness does not take in time.
  async run(assault) {
    const some = repeat(frame(Type.PUBLISH, topic("web", "long"), payload({})), 1000);
    const part = webFrame(Opcode.CONTINUATION, some, { isFinal: false });
    await inParallel(FLOODS, async (i) => {
      const { web } = await opened(assault, assault.keys.insider);
      const reading = web.ended();
      if (i % 2 === 0) {
        await web.send(webFrame(Opcode.BINARY, some, { isFinal: false }));
        assault.count("MiB in fragments", await assault.flood(web, part) * part.length / 2 ** 20);
      } else {
        // With a mask of zeros, so that what follows stands as it is.
        await web.send(join(Uint8Array.of(0x82, 0xff), Uint8Array.of(0, 16, 0, 0, 0, 0, 0, 0)));
        await web.send(new Uint8Array(4));
        assault.count("MiB in one", await assault.flood(web, some) * some.length / 2 ** 20);
      }
      assault.drop(web);
      await reading;
    });
  },
  check: ({ counts, moved }) => ({
    "nothing was sent": counts["MiB in fragments"]! > 0 && counts["MiB in one"]! > 0,
    "what was sent did not arrive": moved["received"]! > 0,
  }),
};

/** Sends frames that bring nothing. */
function emptyFlood(name: string, what: string, first: Uint8Array, more: Uint8Array): Attack {
  const some = repeat(more, Math.ceil(FLOOD_BYTES / more.length));
  return {
    name,
    what:
      `${what} over ${FLOODS} connections that read and ${FLOODS} that do not, and without a key`,
    broker: WEB,
    async run(assault) {
      const { insider } = assault.keys;
      await Promise.all([
        inParallel(2 * FLOODS, async (i) => {
          const { web } = await opened(assault, insider);
          const reading = i < FLOODS ? web.ended() : undefined;
          await web.send(first);
          assault.count("MiB", await assault.flood(web, some) * some.length / 2 ** 20);
          assault.drop(web);
          await reading;
        }),
        assault.keepOn(AT_ONCE, async () => {
          const web = await assault.upgraded();
          if (web === undefined) return;
          await web.send(first);
          await web.send(some);
          await expectClosed(assault, web, NOTICE_MS);
        }),
      ]);
    },
    check: ({ counts, moved }) => ({
      "nothing was sent": counts["MiB"]! > 0,
      [`who sends more than ${OVERHEAD_BYTES_MAX} bytes without a key was not counted`]:
        moved["refusals.protocol"]! + moved["refusals.lost"]! >= counts["closed by the broker"]!,
    }),
  };
}

/** No two in a row of the same length, so that nothing can be used again. */
const pings = emptyFlood(
  "web-pings",
  "pings as fast as they are taken",
  bytesOf(""),
  join(
    webFrame(Opcode.PING, bytesOf("you?")),
    webFrame(Opcode.PING),
    webFrame(Opcode.PING, bytesOf("?")),
  ),
);
const emptyFragments = emptyFlood(
  "web-fragments",
  "fragments without a byte in them, without end",
  webFrame(Opcode.BINARY, undefined, { isFinal: false }),
  webFrame(Opcode.CONTINUATION, undefined, { isFinal: false }),
);

/** Connects, upgrades and says nothing. */
const halfOpen: Attack = {
  name: "web-half-open",
  what: `${HALF_OPEN} connections that upgrade and say no more`,
  broker: WEB,
  async run(assault) {
    let tried = 0;
    const head = upgradeHead();
    await inParallel(DIALING, async () => {
      while (!assault.isOver && tried < HALF_OPEN) {
        tried++;
        const web = await assault.dialWeb();
        if (web === undefined) continue;
        assault.count("connected");
        await web.send(head);
        web.ended().then(() => assault.drop(web));
      }
    });
    assault.note("tried", tried);
    await assault.over;
  },
  check: ({ counts, moved, halfOpenMax }) => ({
    "nobody connected": counts["connected"]! > 0,
    "more were half-open than may be": halfOpenMax <= HALF_OPEN_PER_ADDRESS + OTHERS,
    // A busy machine may not come to the limit in a second.
    "none had to go for a newer one": halfOpenMax < HALF_OPEN_PER_ADDRESS ||
      moved["refusals.crowded"]! > 0,
  }),
};

/** Reads nothing of what it asks for. */
const neverReading: Attack = {
  name: "web-never-reading",
  what: `${HOARDERS} clients that subscribe to a flood and never read, not even why they are ended`,
  broker: WEB,
  memoryBytes: (HOARDERS + 1) * 2 * QUEUE_BYTES,
  async run(assault) {
    const { insider } = assault.keys;
    await inParallel(HOARDERS, async () => {
      await opened(assault, insider, { topics: [topic("hoard")] });
    });
    const { client } = await opened(assault, insider);
    const reading = client.ended();
    const data = bytesValue(new Uint8Array(HOARD_BYTES));
    const message = frame(Type.PUBLISH, topic("hoard"), payload({ data }));
    while (!assault.isOver && await Promise.race([client.send(message, message), assault.over])) {
      assault.count("MiB published", 2 * message.length / 2 ** 20);
      await delay(1);
    }
    // Breaks a rule, and does not read that it did.
    await inParallel(HOARDERS, async () => {
      const broken = await opened(assault, insider, { topics: [topic("hoard")] });
      await broken.client.send(openFrame());
    });
    client.close();
    await reading;
  },
  check: ({ moved, queuedBytesMax }) => ({
    "nothing was delivered": moved["delivered"]! > 0,
    "more was queued than one queue for each": queuedBytesMax <= (2 * HOARDERS + 2) * QUEUE_BYTES,
  }),
};

/** Attacks over WebSockets. */
export const attacksOverWeb: readonly Attack[] = [
  silentUpgrade,
  slowHead,
  heads,
  wrongFrames,
  longMessages,
  pings,
  emptyFragments,
  halfOpen,
  neverReading,
];
