/**
 * Attacks of those who have a key and break the rules of a session: it ends with the reason that the
 * protocol names, and costs nobody else anything.
 */
import { delay } from "@std/async/delay";
import {
  ANSWER_MS,
  type Assault,
  type Attack,
  FORBIDDEN,
  inParallel,
  QUEUE_BYTES,
  within,
} from "./attack.ts";
import {
  ackFrame,
  bytesValue,
  type Credentials,
  frame,
  longSize,
  number,
  openFrame,
  type Opening,
  payload,
  random,
  Reason,
  repeat,
  sized,
  small,
  topic,
  topicOf,
  Type,
} from "./raw_client.ts";

const AT_ONCE = 8;
const NEW = 0;
const RESUMED = 1;
const HUGE = 0xffff_ffff;
const GIB = 2 ** 30;
const TRICKLE_MS = 20;
/** What the broker announces as its window. */
const WINDOW_BYTES = 1024 * 1024;
const LARGE_BYTES = 64 * 1024;
const MINE = topic("mine");
const MESSAGE = payload({ n: small(1) });

/** A session that breaks a rule: what it does, and the reason for which it ends. */
interface Breach {
  readonly what: string;
  readonly reason: number;
  readonly frames: readonly Uint8Array[];
}

/** Opens a session for each breach, commits it, and reads the reason. */
async function commit(
  assault: Assault,
  breaches: readonly Breach[],
  credentials: Credentials = assault.keys.insider,
): Promise<void> {
  for (const { what, reason, frames } of breaches) {
    if (assault.isOver && assault.has(what)) continue;
    const client = await assault.opened(credentials);
    await client.send(...frames);
    await assault.expectGoodbye(client, what, reason);
  }
}

/** Announces far more than it sends. */
export const lengthBombs: Attack = {
  name: "length-bombs",
  what: "frames of every type and topics that announce 4 GiB; 2 GiB of a message, slowly",
  async run(assault) {
    const slow = trickle(assault);
    await assault.keepOn(2, async () => {
      await commit(assault, bombs());
      await bigMessage(assault);
    });
    await slow;
  },
  check: ({ counts, moved }) => ({
    "the sessions that broke the protocol were not counted": moved["endings.protocol"]! >=
      counts["a frame of type 0"]! + counts["a topic of 4 GiB in a PUBLISH"]!,
    "a message that is too big was not counted": moved["tooBig"]! >= counts["too big a message"]!,
  }),
};

function bombs(): Breach[] {
  const types = [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 255].map((type) => ({
    what: `a frame of type ${type}`,
    reason: Reason.PROTOCOL,
    frames: [longSize(HUGE), Uint8Array.of(type), random(100)],
  }));
  const open = { what: "a frame of type 2", reason: Reason.TOO_MANY_SUBSCRIPTIONS };
  const ends = (what: string, ...frames: Uint8Array[]) => ({
    what,
    reason: Reason.PROTOCOL,
    frames,
  });
  return [
    ...types,
    { ...open, frames: [longSize(HUGE), Uint8Array.of(Type.OPEN), random(100)] },
    ends("a frame of size 0", Uint8Array.of(0, Type.PUBLISH)),
    ends("a topic of 4 GiB in a PUBLISH", frame(Type.PUBLISH, longSize(HUGE), random(1000))),
    ends("a topic of 4 GiB in a SUBSCRIBE", frame(Type.SUBSCRIBE, longSize(HUGE), random(100))),
    ends("a topic that ends in its size", frame(Type.SUBSCRIBE, Uint8Array.of(255, 1))),
    ends("bytes behind a topic", frame(Type.SUBSCRIBE, MINE, MINE)),
    ends("an empty element", frame(Type.PUBLISH, sized(Uint8Array.of(0)), MESSAGE)),
    ends("a topic that is not UTF-8", frame(Type.SUBSCRIBE, sized(sized(Uint8Array.of(0xc0))))),
    ends("a message without a payload", frame(Type.PUBLISH, MINE)),
    {
      what: "an element of 4 GiB",
      reason: Reason.TOPIC_TOO_BIG,
      frames: [frame(Type.SUBSCRIBE, sized(longSize(HUGE), random(10)))],
    },
  ];
}

/** A message of 1 MiB and a byte: it is refused, and the session goes on. */
async function bigMessage(assault: Assault): Promise<void> {
  const client = await assault.opened(assault.keys.insider);
  await client.send(frame(Type.PUBLISH, topic("forbidden"), new Uint8Array(2 ** 20 + 1)));
  const refused = await within(ANSWER_MS, client.frameOf(Type.REFUSED));
  const isNamed = refused !== undefined && topicOf(refused.body)[0] === "forbidden";
  assault.expect("a message that is too big is not refused by name", isNamed);
  assault.expect("a refusal ended the session", await client.flush());
  assault.count("too big a message");
  assault.drop(client);
}

/** Announces 2 GiB and sends a little now and then: refused at once, and nothing is kept of it. */
async function trickle(assault: Assault): Promise<void> {
  await inParallel(AT_ONCE, async () => {
    const client = await assault.opened(assault.keys.insider);
    await client.send(longSize(2 * GIB), Uint8Array.of(Type.PUBLISH), topic("forbidden"));
    const refused = await within(ANSWER_MS, client.frameOf(Type.REFUSED));
    assault.expect("2 GiB were not refused at once", refused !== undefined);
    const some = random(LARGE_BYTES);
    while (!assault.isOver) {
      assault.expect("2 GiB ended the session", await client.send(some));
      assault.count("KiB of 2 GiB", some.length / 1024);
      await delay(TRICKLE_MS);
    }
    assault.drop(client);
  });
}

/** Wants to go on with sessions that are not its own. */
export const forgedResume: Attack = {
  name: "forged-resume",
  what: "ids of sessions made up, of another key; counts beyond what was sent",
  async run(assault) {
    const victim = await assault.authenticated(assault.keys.insider);
    const { session } = await victim.open({ topics: [MINE] });
    await assault.keepOn(AT_ONCE, async () => {
      await resume(assault, "a made-up session", assault.keys.insider, { session: random(16) });
      await resume(assault, "a session of another key", assault.keys.restricted, { session });
      await resume(assault, "a session of a key without a name", assault.keys.single, { session });
      await beyond(assault, 1000);
      await beyond(assault, 2n ** 64n - 1n);
    });
    assault.expect("a forged resume ended another's session", await victim.flush());
    await victim.send(frame(Type.GOODBYE, number(Reason.DONE, 1)));
  },
  check: ({ counts, moved }) => ({
    "nothing was forged": counts["a session of another key"]! > 0,
    "more sessions were resumed than the attacker's own": moved["resumed"]! === 0,
  }),
};

/** Asks for a session that is not its own: it gets a new one. */
async function resume(
  assault: Assault,
  what: string,
  credentials: Credentials,
  opening: Opening,
): Promise<void> {
  const client = await assault.authenticated(credentials);
  const { outcome, session, taken } = await client.open({ ...opening, taken: 7 });
  assault.expect(`${what} was resumed`, outcome === NEW);
  assault.expect(`${what} got its id`, session.toHex() !== opening.session?.toHex());
  assault.expect(`${what} told what was taken`, taken === 0);
  assault.count(what);
  // Every second one vanishes, and leaves a session that may come back.
  if (Math.random() < 0.5) await client.send(frame(Type.GOODBYE, number(Reason.DONE, 1)));
  assault.drop(client);
}

/** Says that it has taken more than was ever sent. */
async function beyond(assault: Assault, taken: number | bigint): Promise<void> {
  const first = await assault.authenticated(assault.keys.insider);
  const { session } = await first.open();
  assault.drop(first);
  const again = await assault.authenticated(assault.keys.insider);
  await again.send(openFrame({ session, taken }));
  await assault.expectGoodbye(again, "a count beyond what was sent", Reason.PROTOCOL);
}

/** Opens the same session again and again. */
export const duplicates: Attack = {
  name: "duplicate-session",
  what: "the same session opened over one connection after the other, the old ones still open",
  async run(assault) {
    await inParallel(AT_ONCE, async () => {
      let old = await assault.authenticated(assault.keys.insider);
      const { session } = await old.open({ topics: [MINE] });
      while (!assault.isOver) {
        const next = await assault.authenticated(assault.keys.insider);
        const opened = await next.open({ session, topics: [MINE] });
        assault.expect("an open session was not resumed", opened.outcome === RESUMED);
        await assault.expectGoodbye(old, "replaced", Reason.REPLACED);
        old = next;
      }
      assault.expect("the last connection does not go on", await old.flush());
      assault.drop(old);
    });
  },
  check: ({ counts, moved }) => ({
    "no session was replaced": counts["replaced"]! > 0,
    "a resumed session was not counted": moved["resumed"]! === counts["replaced"]!,
  }),
};

/** What no client may call itself. */
const WRONG_NAMES = [
  ["a name of 65 bytes", random(65).fill(0x78)],
  ["a name of 255 bytes", random(255).fill(0x78)],
  ["a name that is not UTF-8", Uint8Array.of(0x78, 0xff)],
] as const;

/** Speaks out of turn. */
export const outOfTurn: Attack = {
  name: "out-of-turn",
  what:
    "frames before OPEN, an OPEN with a name that cannot be, OPEN twice, the broker's own frames, " +
    "acknowledgements that cannot be",
  async run(assault) {
    await assault.keepOn(2, async () => {
      for (const type of [1, 3, 4, 5, 6, 7, 9, 10, 11, 12]) {
        if (assault.isOver && assault.has(`type ${type} before OPEN`)) continue;
        const client = await assault.authenticated(assault.keys.insider);
        await client.send(
          frame(type, ...type === Type.ACK ? [number(0, 8), number(0, 8), number(0, 4)] : []),
        );
        await assault.expectGoodbye(client, `type ${type} before OPEN`, Reason.PROTOCOL);
      }
      for (const [what, name] of WRONG_NAMES) {
        const client = await assault.authenticated(assault.keys.insider);
        await client.send(openFrame({ name }));
        await assault.expectGoodbye(client, what, Reason.PROTOCOL);
      }
      await commit(assault, [
        breach("OPEN twice", openFrame()),
        breach("an OPENED of a client's", frame(Type.OPENED, random(60))),
        breach("a GAP of a client's", frame(Type.GAP, number(1, 8))),
        breach("a REFUSED of a client's", frame(Type.REFUSED, MINE, number(6, 1))),
        breach("a DENIED of a client's", frame(Type.DENIED, MINE, number(6, 1))),
        breach("an ACK beyond what was sent", ackFrame(1, 0)),
        breach("an ACK far beyond what was sent", ackFrame(2n ** 64n - 1n, 0)),
        breach("an ACK of requests that were not made", ackFrame(0, 1)),
        breach("a short ACK", frame(Type.ACK, number(0, 8))),
        breach("a GOODBYE without a reason", frame(Type.GOODBYE)),
      ]);
      await acknowledgeBack(assault);
    });
  },
  check: ({ counts, moved }) => ({
    "nobody spoke out of turn": counts["OPEN twice"]! > 0,
    "who spoke out of turn was not counted": moved["endings.protocol"]! >= counts["OPEN twice"]!,
  }),
};

function breach(what: string, ...frames: Uint8Array[]): Breach {
  return { what, reason: Reason.PROTOCOL, frames };
}

/** Acknowledges two messages, and then only one. */
async function acknowledgeBack(assault: Assault): Promise<void> {
  const credentials = assault.keys.restricted;
  const subscriber = await assault.opened(credentials, { topics: [MINE] });
  const publisher = await assault.opened(credentials);
  await publisher.send(repeat(frame(Type.PUBLISH, MINE, MESSAGE), 2));
  for (let i = 0; i < 2; i++) await within(ANSWER_MS, subscriber.frameOf(Type.PUBLISH));
  await subscriber.send(ackFrame(2, 0), ackFrame(1, 0));
  await assault.expectGoodbye(subscriber, "an ACK that goes back", Reason.PROTOCOL);
  assault.drop(publisher);
}

/** Sends requests and acknowledgements as fast as it can. */
export const ackFlood: Attack = {
  name: "ack-flood",
  what: "ASK and ACK as fast as possible, unread; acknowledgements of refusals one by one",
  async run(assault) {
    const asks = repeat(frame(Type.ASK), LARGE_BYTES / 2);
    const acks = repeat(ackFrame(0, 0), LARGE_BYTES / 16);
    const send = async (what: string, bytes: Uint8Array, each: number) => {
      const client = await assault.opened(assault.keys.restricted);
      assault.count(what, await assault.flood(client, bytes) * (bytes.length / each));
    };
    await Promise.all([
      send("ASK", asks, frame(Type.ASK).length),
      send("ACK", acks, ackFrame(0, 0).length),
      acknowledgeOneByOne(assault),
    ]);
  },
  check: ({ counts }) => ({
    "nothing was asked": counts["ASK"]! > 0,
    "nothing was acknowledged": counts["refusals acknowledged one by one"]! > 0,
  }),
};

/** As many refusals as fit in a window, and an ACK for each of them. */
async function acknowledgeOneByOne(assault: Assault): Promise<void> {
  const client = await assault.opened(assault.keys.restricted);
  const batch = 8192;
  const refused = repeat(frame(Type.PUBLISH, topic("x"), FORBIDDEN), batch);
  for (let count = 0; !assault.isOver;) {
    await client.send(refused);
    for (let i = 0; i < batch; i++) await client.frameOf(Type.REFUSED);
    const acks = Array.from({ length: batch }, () => ackFrame(++count, 0));
    await client.send(...acks);
    const isThere = await within(ANSWER_MS, client.flush());
    assault.expect("acknowledgements one by one ended the session", isThere === true);
    assault.count("refusals acknowledged one by one", batch);
  }
  assault.drop(client);
}

/** Sends although it is held back. */
export const beyondWindow: Attack = {
  name: "beyond-window",
  what: "a subscriber that holds back and takes nothing, and publishers that go on all the same",
  memoryBytes: 3 * QUEUE_BYTES,
  async run(assault) {
    const { holder } = assault.keys;
    const held = topic("held");
    const data = bytesValue(new Uint8Array(LARGE_BYTES));
    const large = frame(Type.PUBLISH, held, payload({ data }));
    const subscriber = await assault.opened(holder, {
      policy: 1,
      patience: HUGE,
      topics: [held],
    });
    const publisher = await assault.opened(holder);
    const limit = 2 * QUEUE_BYTES;
    let sent = 0;
    while (sent < limit && await within(ANSWER_MS, publisher.send(large))) sent += large.length;
    assault.note("MiB sent", Math.round(sent / 2 ** 20));
    await assault.expectGoodbye(publisher, "sent beyond its window", Reason.PROTOCOL);
    await assault.expectGoodbye(subscriber, "took nothing", Reason.CUT_OFF);
    await assault.over;
  },
  check: ({ moved, queuedBytesMax, witness }) => ({
    "nobody held back": moved["waits"]! > 0,
    "more was taken than a queue and two windows": (witness.others["held"] ?? 0) <=
      (QUEUE_BYTES + 2 * WINDOW_BYTES) / LARGE_BYTES,
    "who took nothing was not cut off": moved["cutOff"] === 1,
    // That of who holds back and that of the witness, and what was under way when the first was full.
    "more was queued than two queues": queuedBytesMax <= 2 * QUEUE_BYTES + 8 * WINDOW_BYTES,
  }),
};
