/**
 * Attacks by messages: payloads that are meant to break whoever reads them, and messages that go where
 * they must not.
 */
import { delay } from "@std/async/delay";
import { type Assault, type Attack, FORBIDDEN } from "./attack.ts";
import {
  bytesOf,
  bytesValue,
  frame,
  join,
  longSize,
  payload,
  payloadOf,
  type RawClient,
  repeat,
  size,
  sized,
  small,
  topic,
  topicOf,
  TRUE,
  Type,
} from "./raw_client.ts";

/** The largest payload, in bytes. */
const MESSAGE_BYTES = 2 ** 20;
const DEPTH_MAX = 64;
/** Who listens acknowledges after so many messages. */
const ACK_FRAMES = 100;
const HUGE = 0xffff_ffff;
/** Tags of values. */
const ARRAY = 0xb4, MAP = 0xb2, SET = 0xb3, OBJECT = 0xb5;
const BIGINT = 0xac, STRING = 0xae, BYTES = 0xaf, TYPED = 0xb0, DATE = 0xb1;
const POISON = topic("pair", "poison");
/** Leaves the subscriber time for other messages: this is not about how many there are. */
const PAUSE_MS = 20;

/** Payloads that a reader must refuse, and those that are odd but right. */
interface Poison {
  readonly bad: readonly Uint8Array[];
  readonly odd: readonly Uint8Array[];
}

/** Publishes payloads that are meant to break whoever reads them. */
export const poison: Attack = {
  name: "poison",
  what: "payloads with deep nesting, huge counts, odd names, or 96 times their bytes in memory",
  riseMs: 500, // What the subscriber itself takes to read the largest.
  async run(assault) {
    const { bad, odd } = poisons();
    const client = await assault.opened(assault.keys.insider);
    const publish = async (kind: string, bytes: Uint8Array) => {
      await client.send(frame(Type.PUBLISH, POISON, bytes));
      // The largest fill the window.
      assault.expect("who publishes them is ended", await client.flush());
      assault.count(kind);
      assault.count("KiB", Math.round(bytes.length / 1024));
      await delay(PAUSE_MS);
    };
    do {
      for (const bytes of bad) await publish("bad payloads", bytes);
      for (const bytes of odd) await publish("odd payloads", bytes);
    } while (!assault.isOver);
    assault.drop(client);
  },
  check: ({ counts, subscriber }) => ({
    "the subscriber was not told of each bad payload": subscriber.errors === counts["bad payloads"],
    "the subscriber did not get each odd payload": subscriber.others["pair"] ===
      counts["odd payloads"],
  }),
};

function poisons(): Poison {
  return { bad: [...badPayloads()], odd: [...oddPayloads()] };
}

function tagged(tag: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return join(Uint8Array.of(tag), ...parts);
}

function one(value: Uint8Array): Uint8Array<ArrayBuffer> {
  return payload({ v: value });
}

/** Arrays, each the only element of the one before. */
function nested(depth: number): Uint8Array<ArrayBuffer> {
  return join(repeat(Uint8Array.of(ARRAY, 1), depth), small(0));
}

/** An array of what takes much more memory than it has bytes, as large as a message may be. */
function crowd(...value: readonly number[]): Uint8Array<ArrayBuffer> {
  const count = Math.floor((MESSAGE_BYTES - 100) / value.length);
  return one(join(tagged(ARRAY, size(count)), repeat(Uint8Array.from(value), count)));
}

function* badPayloads(): Generator<Uint8Array> {
  for (const tag of [MAP, SET, ARRAY, OBJECT, BYTES]) yield crowd(tag, 0);
  yield crowd(TYPED, 0, 0);
  // An object with the name "999", for which V8 makes room for a thousand elements.
  yield crowd(OBJECT, 4, 3, 0x39, 0x39, 0x39, 0);
  yield one(nested(DEPTH_MAX));
  yield one(nested(MESSAGE_BYTES / 2 - 8));
  yield one(join(repeat(tagged(OBJECT, sized(sized(bytesOf("v")))), 100_000), small(0)));
  yield one(join(repeat(Uint8Array.of(MAP, 1, 0), 100_000), small(0)));
  for (const tag of [ARRAY, MAP, SET, STRING, BYTES, BIGINT]) {
    yield one(tagged(tag, longSize(HUGE)));
  }
  for (const tag of [0xa9, 0xb6, 0xff]) yield one(Uint8Array.of(tag));
  yield one(tagged(TYPED, Uint8Array.of(8), longSize(HUGE)));
  yield one(tagged(TYPED, Uint8Array.of(8), sized(new Uint8Array(7))));
  yield one(tagged(TYPED, Uint8Array.of(11), sized(new Uint8Array(8))));
  yield one(tagged(DATE, repeat(Uint8Array.of(0xff), 8)));
  yield one(tagged(MAP, size(2), small(1), small(1), small(1), small(2)));
  yield one(tagged(SET, size(2), small(1), small(1)));
  yield one(tagged(STRING, sized(Uint8Array.of(0xc0, 0x80))));
  yield one(join(small(1), small(2)));
  yield payloadOf([["twice", small(1)], ["twice", small(2)]]);
  yield payloadOf([["__proto__", small(1)], ["__proto__", small(2)]]);
  yield payloadOf([[Uint8Array.of(0xff), small(1)]]);
  yield longSize(HUGE);
  yield join(longSize(MESSAGE_BYTES - 10), repeat(Uint8Array.of(0), MESSAGE_BYTES - 10));
  yield sized(bytesOf("\x05name"));
  yield repeat(Uint8Array.of(0xff), MESSAGE_BYTES);
}

function* oddPayloads(): Generator<Uint8Array> {
  const evil = tagged(OBJECT, payload({ polluted: TRUE, toString: small(1) }));
  // Several times: names that come again are read in another way than new ones.
  for (let i = 0; i < 4; i++) {
    yield payloadOf([["__proto__", evil]]);
    yield payloadOf([["constructor", tagged(OBJECT, payload({ prototype: evil }))]]);
    yield payloadOf([["__proto__", evil], ["constructor", evil], ["polluted", TRUE]]);
    yield payloadOf(["hasOwnProperty", "toString", "valueOf", "then", ""].map((n) => [n, TRUE]));
    yield one(tagged(OBJECT, payloadOf([["__proto__", evil]])));
    yield one(tagged(MAP, size(1), tagged(STRING, sized(bytesOf("__proto__"))), evil));
  }
  yield one(nested(DEPTH_MAX - 1));
  yield one(bytesValue(new Uint8Array(MESSAGE_BYTES - 100)));
  yield one(tagged(BIGINT, sized(repeat(Uint8Array.of(0xff), MESSAGE_BYTES / 4))));
  yield one(join(tagged(ARRAY, size(500_000)), new Uint8Array(500_000)));
  yield manyNames(60_000);
  yield one(tagged(OBJECT, manyNames(60_000)));
  yield one(join(tagged(SET, size(1000)), ...Array.from({ length: 1000 }, distinctBigint)));
}

function manyNames(count: number): Uint8Array<ArrayBuffer> {
  const members = Array.from({ length: count }, (_, i) => [String(i), small(1)] as const);
  return payloadOf(members);
}

/** A big integer of 10 bytes whose low 8 bytes are zero: JavaScript engines may not tell them apart. */
function distinctBigint(_: unknown, i: number): Uint8Array<ArrayBuffer> {
  const magnitude = new Uint8Array(10);
  magnitude[8] = i;
  magnitude[9] = (i >> 8) + 1;
  return tagged(BIGINT, sized(magnitude));
}

/** Publishes and subscribes beyond the rights of its key. */
export const rights: Attack = {
  name: "rights",
  what: "a key for [mine] that publishes and subscribes elsewhere, while others publish there",
  async run(assault) {
    const { restricted, insider, metered } = assault.keys;
    const topics = [topic(), topic("pair"), topic("secret"), topic("*broker"), topic("mine")];
    const listener = await assault.authenticated(restricted);
    const opened = await listener.open({ topics });
    assault.expect(`${opened.denied} of its topics were denied, not 3`, opened.denied === 3);
    const deaf = await assault.opened(metered, { topics: [topic(), topic("metered")] });
    const [publisher, other] = [await assault.opened(restricted), await assault.opened(insider)];
    const listening = [listen(assault, listener, ["mine"]), listen(assault, deaf, [])];
    const reading = [publisher.ended(), other.ended()];
    while (!assault.isOver) {
      await trespass(assault, publisher);
      await tempt(assault, other);
      await delay(2);
    }
    for (const client of [publisher, other]) await client.send(frame(Type.ASK));
    await delay(200);
    for (const client of [publisher, other, listener, deaf]) assault.drop(client);
    await Promise.all([...listening, ...reading]);
  },
  check: ({ counts, moved, witness, subscriber }) => ({
    "a forbidden message was seen": witness.forbidden + subscriber.forbidden === 0,
    "what may be published was not seen": witness.gaps > 0 ||
      witness.others["mine"] === counts["messages to [mine]"]! + counts["granted messages"]!,
    "a forbidden message was not refused": moved["forbidden"] === counts["forbidden messages"],
    "what is granted was not received": counts["received of [mine]"]! >=
      counts["messages to [mine]"]!,
    "a broadcast was not received": counts["received broadcasts"] === counts["broadcasts"],
    "a denied subscription was not counted": moved["deniedSubscriptions"]! === 3 + 2,
  }),
};

/** Publishes once to each topic that is not its own; and once to its own. */
async function trespass(assault: Assault, publisher: RawClient): Promise<void> {
  const topics = [
    topic(),
    topic("secret"),
    topic("pair"),
    topic("mine2"),
    topic("min"),
    topic("Mine"),
    topic("x", "mine"),
    topic("*broker"),
    topic("*broker", "mine"),
    topic("*broker", "stats"),
    topic("mine", "*local"),
  ];
  await publisher.send(...topics.map((block) => frame(Type.PUBLISH, block, FORBIDDEN)));
  assault.count("forbidden messages", topics.length);
  await publisher.send(frame(Type.PUBLISH, topic("mine", "own"), payload({ n: small(1) })));
  assault.count("granted messages");
}

/** Publishes to topics that others may not read, and to some that they may. */
async function tempt(assault: Assault, other: RawClient): Promise<void> {
  const message = payload({ n: small(2) });
  for (const block of [topic("secret"), topic("secret", "mine"), topic("mine2")]) {
    await other.send(frame(Type.PUBLISH, block, message));
    assault.count("messages to others");
  }
  await other.send(frame(Type.PUBLISH, topic("mine", "other"), message));
  assault.count("messages to [mine]");
  await other.send(frame(Type.PUBLISH, topic(), message));
  assault.count("broadcasts");
}

/** Reads what a client gets, which may begin with these elements or be a broadcast. */
async function listen(
  assault: Assault,
  client: RawClient,
  granted: readonly string[],
): Promise<void> {
  for (let count = 1;; count++) {
    const message = await client.frameOf(Type.PUBLISH);
    if (message === undefined) return;
    if (count % ACK_FRAMES === 0) await client.acknowledge();
    const [first] = topicOf(message.body);
    if (first === undefined && granted.length > 0) assault.count("received broadcasts");
    else if (granted.includes(first!)) assault.count(`received of [${first}]`);
    else assault.expect(`a key received [${first}] that may not`, false);
  }
}
