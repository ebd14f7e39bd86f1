/**
 * Attacks of those who have a key and do what they may, or may not, as fast as they can, and do not
 * read what they are answered: the broker keeps little for them, and the others get their turn.
 */
import { delay } from "@std/async/delay";
import {
  type Assault,
  type Attack,
  FORBIDDEN,
  inParallel,
  MEMORY_BYTES,
  METERED_RATE,
  QUEUE_BYTES,
} from "./attack.ts";
import {
  bytesOf,
  bytesValue,
  type Credentials,
  frame,
  join,
  openFrame,
  payload,
  type RawClient,
  Reason,
  repeat,
  small,
  topic,
  Type,
} from "./raw_client.ts";

const FLOODS = 2;
const FLOOD_BYTES = 64 * 1024;
/** The limits of `docs/protocol.md` and `docs/limits.md`, not the library's constants. */
const SUBSCRIPTIONS_MAX = 1024;
const ELEMENTS_MAX = 16;
const ELEMENT_BYTES_MAX = 255;
/** Bytes of a size in its long form. */
const LONG_BYTES = 5;
const MESSAGE = payload({ n: small(1) });
/**
 * How many sessions with the largest topics there are at most, and what each takes: what is subscribed
 * to does not count as `memory`.
 */
const LARGE_SESSIONS = 16;
const LARGE_SESSION_BYTES = 24 * 2 ** 20;
const HOARDERS = 4;
const HOARD_BYTES = 8 * 1024;
/** So many bytes a second fill a hoarder's queue in a few seconds. */
const HOARD_RATE = 2000;
const METERED_SENT = 2000;
/** Who listens acknowledges after so many frames. */
const ACK_FRAMES = 100;
const DISTINCT = 50_000;

/** As many frames as fit in one write. */
function fill(...frames: readonly Uint8Array[]): { bytes: Uint8Array; frames: number } {
  const some = join(...frames);
  const times = Math.ceil(FLOOD_BYTES / some.length);
  return { bytes: repeat(some, times), frames: times * frames.length };
}

/**
 * Sends these frames for as long as the time lasts, over a new connection when the broker ended the
 * one before. Reads nothing.
 */
async function floodWith(
  assault: Assault,
  what: string,
  credentials: Credentials,
  ...frames: readonly Uint8Array[]
): Promise<void> {
  const { bytes, frames: each } = fill(...frames);
  while (!assault.isOver) {
    const client = await assault.opened(credentials);
    assault.count(what, await assault.flood(client, bytes) * each);
    if (!assault.isOver) assault.count("connections that the broker ended");
    assault.drop(client);
  }
}

/** Subscribes and unsubscribes. */
export const subscribeFlood: Attack = {
  name: "subscribe-flood",
  what: "SUBSCRIBE and UNSUBSCRIBE as fast as possible, unread",
  async run(assault) {
    const topics = Array.from({ length: 500 }, (_, i) => topic("mine", `t${i}`));
    await inParallel(
      FLOODS,
      () =>
        floodWith(
          assault,
          "frames",
          assault.keys.restricted,
          ...topics.map((block) => frame(Type.SUBSCRIBE, block)),
          ...topics.map((block) => frame(Type.UNSUBSCRIBE, block)),
        ),
    );
  },
  check: ({ counts }) => ({
    "nothing was sent": counts["frames"]! > 0,
    "a client that may subscribe was ended": !("connections that the broker ended" in counts),
  }),
};

/** Subscribes to what it may not, and does not read that. */
export const deniedFlood: Attack = {
  name: "denied-flood",
  what: "SUBSCRIBE to a denied topic and back, as fast as possible, unread",
  async run(assault) {
    const flood = (denied: Uint8Array) =>
      floodWith(
        assault,
        "frames",
        assault.keys.restricted,
        frame(Type.SUBSCRIBE, denied),
        frame(Type.UNSUBSCRIBE, denied),
      );
    // The answers name the topic: long ones fill what lies between soon.
    const long = topic(...Array.from({ length: ELEMENTS_MAX }, wideElement));
    await Promise.all([flood(topic("denied")), flood(long)]);
  },
  check: ({ seconds, moved }) => ({
    "nobody was denied": moved["deniedSubscriptions"]! > 0,
    // It takes a while to fill what the system holds between the two.
    "who does not read was not ended": moved["endings.notReading"]! > 0 || seconds < 3,
  }),
};

/** So many topics as large as they may be are within what the subscriptions of a session may take. */
const LARGE_TOPICS = 512;

/** Subscribes to too much, and to topics as large as they may be, or larger. */
export const hugeSubscriptions: Attack = {
  name: "huge-subscriptions",
  what:
    "1025 topics, in an OPEN or one by one; 512 topics 16 deep and 255 bytes wide, and 1024; 17 deep",
  memoryBytes: LARGE_SESSIONS * LARGE_SESSION_BYTES,
  async run(assault) {
    const { insider } = assault.keys;
    const large = largest();
    let sessions = 0;
    await assault.keepOn(2, async () => {
      const small = Array.from({ length: SUBSCRIPTIONS_MAX + 1 }, (_, i) => topic(`s${i}`));
      const subscribe = join(...small.map((block) => frame(Type.SUBSCRIBE, block)));
      await ends(assault, "SUBSCRIBE to 1025", Reason.TOO_MANY_SUBSCRIPTIONS, subscribe);
      await opens(assault, "OPEN with 1025", Reason.TOO_MANY_SUBSCRIPTIONS, small);
      const deep = topic(...new Array<string>(ELEMENTS_MAX + 1).fill("x"));
      await ends(assault, "17 deep", Reason.TOPIC_TOO_BIG, frame(Type.SUBSCRIBE, deep));
      if (++sessions > LARGE_SESSIONS) return;
      const client = await assault.authenticated(insider);
      vary(large);
      await client.send(openFrame({ topics: large.slice(0, LARGE_TOPICS) }));
      await client.frameOf(Type.OPENED);
      assault.expect(`${LARGE_TOPICS} large topics are not allowed`, await client.flush());
      assault.count(`OPEN with ${LARGE_TOPICS} large topics`);
      assault.drop(client);
      // Of these there may be as many, but not so many bytes.
      await opens(assault, "OPEN with 1024 large topics", Reason.TOO_MANY_SUBSCRIPTIONS, large);
    });
  },
  check: ({ counts, moved }) => ({
    "nobody subscribed to too much": counts["OPEN with 1025"]! > 0,
    "who subscribed to too much was not counted": moved["endings.subscriptions"]! > 0,
    "who went too deep was not counted": moved["endings.topics"]! > 0,
  }),
};

async function ends(
  assault: Assault,
  what: string,
  reason: number,
  bytes: Uint8Array,
): Promise<void> {
  const client = await assault.opened(assault.keys.insider);
  await client.send(bytes);
  await assault.expectGoodbye(client, what, reason);
}

async function opens(
  assault: Assault,
  what: string,
  reason: number,
  topics: readonly Uint8Array[],
): Promise<void> {
  const client = await assault.authenticated(assault.keys.insider);
  await client.send(openFrame({ topics }));
  await assault.expectGoodbye(client, what, reason);
}

/** As many topics as a client may subscribe to, each as large as it may be. */
function largest(): Uint8Array[] {
  return Array.from(
    { length: SUBSCRIPTIONS_MAX },
    () => topic(...Array.from({ length: ELEMENTS_MAX }, wideElement)),
  );
}

/** Makes other topics of these, which differ in their first element. */
function vary(blocks: readonly Uint8Array[]): void {
  for (const block of blocks) block.set(bytesOf(crypto.randomUUID()), 2 * LONG_BYTES);
}

function wideElement(): string {
  return crypto.randomUUID().repeat(8).slice(0, ELEMENT_BYTES_MAX);
}

/** Publishes what it may not, and does not read that. */
export const refusedFlood: Attack = {
  name: "refused-flood",
  what: "forbidden, reserved and oversized messages as fast as possible, unread",
  // A queue of refusals for each, which are small: what each takes beside its bytes counts.
  memoryBytes: 3 * 4 * QUEUE_BYTES,
  async run(assault) {
    const { restricted, insider } = assault.keys;
    await Promise.all([
      floodWith(
        assault,
        "forbidden messages",
        restricted,
        frame(Type.PUBLISH, topic("x"), FORBIDDEN),
        frame(Type.PUBLISH, topic(), FORBIDDEN),
      ),
      floodWith(
        assault,
        "reserved messages",
        insider,
        frame(Type.PUBLISH, topic("*broker"), FORBIDDEN),
        frame(Type.PUBLISH, topic("*broker", "stats"), FORBIDDEN),
        frame(Type.PUBLISH, topic("x", "*local"), FORBIDDEN),
      ),
      floodWith(
        assault,
        "oversized messages",
        insider,
        frame(Type.PUBLISH, topic("big"), FORBIDDEN, new Uint8Array(2 ** 20)),
      ),
    ]);
  },
  check: ({ moved, queuedBytesMax, witness }) => ({
    "nothing was refused": moved["forbidden"]! > 0 && moved["tooBig"]! > 0,
    "a refused message was seen": witness.forbidden === 0,
    "more was queued than one queue for each": queuedBytesMax <= 4 * QUEUE_BYTES,
  }),
};

/** Subscribes to everything, reads nothing, acknowledges nothing. */
export const hoarders: Attack = {
  name: "hoarders",
  what: `${HOARDERS} clients that subscribe to everything, ask to hold back, and never read`,
  memoryBytes: (HOARDERS + 1) * 2 * QUEUE_BYTES,
  async run(assault) {
    const { insider } = assault.keys;
    const opening = { policy: 1, patience: 0xffff_ffff, topics: [topic()] };
    await inParallel(HOARDERS, async () => {
      await assault.opened(insider, opening);
    });
    const publisher = await assault.opened(insider);
    const reading = publisher.ended();
    const data = bytesValue(new Uint8Array(HOARD_BYTES));
    const message = frame(Type.PUBLISH, topic("hoard"), payload({ data }));
    const some = repeat(message, HOARD_RATE / 100);
    while (!assault.isOver && await Promise.race([publisher.send(some), assault.over])) {
      assault.count("MiB published", some.length / 2 ** 20);
      await delay(10);
    }
    assault.drop(publisher);
    await reading;
  },
  check: ({ moved, queuedBytesMax }) => ({
    "nothing was delivered": moved["delivered"]! > 0,
    "a key held others back that may not": moved["waits"] === 0,
    "more was queued than one queue for each": queuedBytesMax <= (HOARDERS + 2) * QUEUE_BYTES,
  }),
};

/** Publishes to a topic of its own each time. */
export const topicFlood: Attack = {
  name: "topic-flood",
  what:
    `messages to ${DISTINCT} topics, all different, some 4 KiB long; broadcasts that are denied`,
  // Sessions that another attack has left get all of them, too, as far as their queues have room.
  memoryBytes: 2 * MEMORY_BYTES,
  async run(assault) {
    const { insider, restricted } = assault.keys;
    await Promise.all([
      publishAll(assault, insider, "short topics", (i) => topic("pair", `t${i}`)),
      publishAll(
        assault,
        insider,
        "long topics",
        (i) => topic("pair", `t${i}`, ...Array.from({ length: ELEMENTS_MAX - 2 }, wideElement)),
      ),
      churnRoutes(assault, restricted),
    ]);
  },
  check: ({ counts }) => ({
    "nothing was published": counts["short topics"]! > 0 && counts["long topics"]! > 0,
  }),
};

/** Publishes to different topics, and waits each time until the broker has that. */
async function publishAll(
  assault: Assault,
  credentials: Credentials,
  what: string,
  topicAt: (i: number) => Uint8Array,
): Promise<void> {
  const client = await assault.opened(credentials);
  const batch = 100;
  for (let i = 0; i < DISTINCT && !assault.isOver; i += batch) {
    const frames = Array.from(
      { length: batch },
      (_, j) => frame(Type.PUBLISH, topicAt(i + j), MESSAGE),
    );
    await client.send(...frames);
    if (!await client.flush()) break;
    assault.count(what, batch);
  }
  assault.drop(client);
}

/** Lets the broker work out anew, each time, who would get a message that it then refuses. */
async function churnRoutes(assault: Assault, credentials: Credentials): Promise<void> {
  const other = topic("mine", "other");
  const { bytes, frames } = fill(
    frame(Type.SUBSCRIBE, other),
    frame(Type.PUBLISH, topic(), FORBIDDEN),
    frame(Type.UNSUBSCRIBE, other),
    frame(Type.PUBLISH, topic(), FORBIDDEN),
  );
  const client = await assault.opened(credentials);
  const reading = client.ended();
  assault.count("frames that change routes", await assault.flood(client, bytes) * frames);
  assault.drop(client);
  await reading;
}

/** Publishes faster than its key allows. */
export const tooFast: Attack = {
  name: "too-fast",
  what:
    `${METERED_SENT} messages a second over two connections of a key that allows ${METERED_RATE}`,
  async run(assault) {
    await inParallel(2, async () => {
      const client = await assault.opened(assault.keys.metered);
      const refusals = countReasons(assault, client);
      const some = repeat(frame(Type.PUBLISH, topic("metered"), MESSAGE), METERED_SENT / 2 / 50);
      while (!assault.isOver) {
        await client.send(some);
        assault.count("messages", METERED_SENT / 2 / 50);
        await delay(20);
      }
      await delay(100);
      assault.drop(client);
      await refusals;
    });
  },
  check: ({ seconds, counts, moved, witness }) => ({
    "more came through than the key allows":
      (witness.others["metered"] ?? 0) <= METERED_RATE * (seconds + 2),
    "none came through": witness.others["metered"]! > 0,
    "what came through and what was refused is not what was sent": witness.gaps > 0 ||
      witness.others["metered"]! + moved["tooFast"]! === counts["messages"],
    "those that were refused were not told so": counts["refused as too fast"] === moved["tooFast"],
  }),
};

async function countReasons(assault: Assault, client: RawClient): Promise<void> {
  for (let count = 1;; count++) {
    const refused = await client.frameOf(Type.REFUSED);
    if (refused === undefined) return;
    if (count % ACK_FRAMES === 0) await client.acknowledge();
    // The topic block, which says how long it is, and then the reason.
    const reason = refused.body[1 + refused.body[0]!];
    assault.count(reason === Reason.TOO_FAST ? "refused as too fast" : "refused otherwise");
  }
}
