/**
 * Attacks with elements of any name, by those who have a key: few bytes that make many nodes of the
 * tree of topics, that lead many messages elsewhere, or that meet all that their key grants.
 */
import { type Assault, type Attack, inParallel, MEMORY_BYTES } from "./attack.ts";
import { sendPaced } from "./attacks_by_work.ts";
import {
  frame,
  join,
  openFrame,
  payload,
  type RawClient,
  Reason,
  small,
  topic,
  Type,
} from "./raw_client.ts";

const MESSAGE = payload({ n: small(1) });
/** How many elements a topic may have, and how many of these may be of any name. */
const ELEMENTS = 16;
const ANYS = 3;
/** Of size 0: any name. */
const ANY = "";
/** To how many topics a session may subscribe. */
const TOPICS = 1024;
const CONNECTING = 16;

/** SUBSCRIBE to these, and UNSUBSCRIBE. */
function toggle(...blocks: readonly Uint8Array[]): Uint8Array {
  return join(
    ...blocks.flatMap((block) =>
      [Type.SUBSCRIBE, Type.UNSUBSCRIBE].map((type) => frame(type, block))
    ),
  );
}

/** All topics that stand for this one, or for one above it; the longest first. */
function* standingFor(path: readonly string[]): Generator<string[], void, undefined> {
  for (let length = path.length; length > 0; length--) {
    const whole = path.slice(0, length);
    let level: { topic: string[]; from: number }[] = [{ topic: whole, from: 0 }];
    for (let anys = 0; anys <= ANYS; anys++) {
      const next: typeof level = [];
      for (const { topic, from } of level) {
        yield topic;
        for (let at = from; at < length; at++) {
          next.push({ topic: topic.with(at, ANY), from: at + 1 });
        }
      }
      level = next;
    }
  }
}

const DEEP = Array.from({ length: ELEMENTS }, (_, depth) => `e${depth}`);

/** Sessions whose topics all stand for one, and others that make nodes beside these. */
const anyTree: Attack = {
  name: "any-tree",
  what:
    "64 sessions (in less than 5 s: 16), each with 1024 topics of up to 16 elements, three of them " +
    "of any name; messages to the topic that they stand for, and to 8000 (2000) for which most of " +
    "them stand, too, while one of them comes and goes",
  // Most sessions get all of these messages, some of which wait for them.
  memoryBytes: 3 * MEMORY_BYTES,
  async prepare(assault) {
    const all = [...standingFor(DEEP)];
    let left = assault.size(64, 16);
    await inParallel(CONNECTING, async () => {
      while (left-- > 0) {
        const n = left;
        const topics = Array.from({ length: TOPICS }, (_, i) => {
          const one = all[(n * TOPICS + i) % all.length]!;
          // Every other one leads elsewhere at its end.
          return topic(...i % 2 === 0 ? one : one.with(-1, `s${n}`));
        });
        const client = await assault.authenticated(assault.keys.insider);
        await client.send(openFrame({ topics }));
        await client.frameOf(Type.OPENED);
        client.ended().then(() => assault.drop(client));
        assault.count("sessions");
      }
    });
  },
  async run(assault) {
    const publisher = await assault.opened(assault.keys.insider);
    const changer = await assault.opened(assault.keys.insider);
    const wanderer = await assault.opened(assault.keys.insider);
    const message = frame(Type.PUBLISH, topic(...DEEP), MESSAGE);
    const others = join(
      ...Array.from(
        { length: assault.size(8000, 2000) },
        (_, i) => frame(Type.PUBLISH, topic(...DEEP.with(-1, `x${i}`)), MESSAGE),
      ),
    );
    const changed = toggle(topic(...DEEP.with(0, ANY).with(1, "x")));
    await Promise.all([
      sendPaced(assault, publisher, "messages", message, 200),
      sendPaced(assault, wanderer, "messages to others", others, 1 / assault.seconds),
      sendPaced(assault, changer, "changes / 2", changed, 100),
    ]);
  },
  check: ({ counts }) => ({
    "no session was opened": counts["sessions"]! > 0,
    "nothing was published": counts["messages"]! > 0,
  }),
};

/** Changes that each way of each message has to be found again for. */
const anyFirst: Attack = {
  name: "any-first",
  what: "2000 changes a second of topics that begin with any name, and messages to 5000 others",
  async run(assault) {
    const changer = await assault.opened(assault.keys.insider);
    const publisher = await assault.opened(assault.keys.insider);
    // Beside messages to its topics, what is changed gets none.
    const change = toggle(topic(ANY, "x"), topic(ANY, ANY, "x"));
    const traffic = Array.from(
      { length: 5000 },
      (_, i) => frame(Type.PUBLISH, topic("traffic", `t${i}`), MESSAGE),
    );
    await Promise.all([
      sendPaced(assault, changer, "changes / 4", change, 500),
      sendPaced(assault, publisher, "messages / 5000", join(...traffic), 4),
    ]);
  },
  check: ({ counts, seconds }) => ({
    "interests did not change": counts["changes / 4"]! > seconds * 500 / 4,
  }),
};

/** Subscribes twice to all that the key grants, and below it, which is more than a session may take. */
async function takeTooMuch(assault: Assault): Promise<void> {
  const client: RawClient = await assault.opened(assault.keys.many);
  await client.send(
    ...["x", "y"].map((name) => frame(Type.SUBSCRIBE, topic(ANY, ANY, name, "long".repeat(60)))),
  );
  await assault.expectGoodbye(client, "two shares", Reason.TOO_MANY_SUBSCRIPTIONS);
}

/** Topics that meet each of many grants, so that few bytes are thousands of topics. */
const anyGrants: Attack = {
  name: "any-grants",
  what:
    "a key with 4096 grants subscribes to topics that meet them all, ever others, 1 kB a second",
  memoryBytes: 2 * MEMORY_BYTES,
  async run(assault) {
    await takeTooMuch(assault);
    const client = await assault.opened(assault.keys.many);
    const toggles = join(
      ...Array.from({ length: 16 }, (_, i) => toggle(topic(ANY, ANY, `x${i}`))),
    );
    await sendPaced(assault, client, "toggles / 16", toggles, 1000 / toggles.length);
  },
  check: ({ counts, moved }) => ({
    "nothing was toggled": counts["toggles / 16"]! > 0,
    "nobody was ended for too much": moved["endings.subscriptions"]! > 0,
  }),
};

/** All of them. */
export const attacksWithAny: readonly Attack[] = [anyTree, anyFirst, anyGrants];
