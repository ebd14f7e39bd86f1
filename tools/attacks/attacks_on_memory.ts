/**
 * Attacks that fill a broker's memory with what costs those who do it little. What is counted is printed
 * beside what is resident; the key of the pair, which is another, loses nothing.
 */
import { delay } from "@std/async/delay";
import { type Assault, type Attack, type BrokerSetup, type Facts, inParallel } from "./attack.ts";
import { bytesValue, frame, join, payload, type RawClient, topic, Type } from "./raw_client.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const MEMORY = 128 * MIB;
/** How much more than is counted may be resident: half, and the garbage of what was let go of. */
const RESIDENT_BYTES = 2 * MEMORY;
const BROKER: BrokerSetup = { memory: MEMORY };
const SHARING = 150;
const HALVES = 600;
const SESSIONS = 100;
const TOPICS = 1000;
/** So much is published in a second, so that the witness can take it. */
const MIB_PER_SECOND = 60;

function messageTo(name: string, bytes: number): Uint8Array {
  return frame(Type.PUBLISH, topic(name), payload({ data: bytesValue(new Uint8Array(bytes)) }));
}

/** What holds for all of them. */
function bounded({ memoryBytesMax, seconds }: Facts): Record<string, boolean> {
  return {
    "more was kept than `memory`": memoryBytesMax <= MEMORY * 17 / 16,
    // It takes a while to fill it.
    "the memory was never nearly full": memoryBytesMax > MEMORY * 3 / 4 || seconds < 5,
  };
}

/** Publishes that over and over, for clients that never read. */
function unread(name: string, what: string, listeners: number, some: Uint8Array): Attack {
  return {
    name,
    what,
    broker: BROKER,
    memoryBytes: RESIDENT_BYTES,
    async run(assault) {
      const { insider } = assault.keys;
      await inParallel(listeners, async () => {
        await assault.opened(insider, { topics: [topic("unread")] });
      });
      const publisher = await assault.opened(insider);
      const reading = publisher.ended();
      while (!assault.isOver && await Promise.race([publisher.send(some), assault.over])) {
        assault.count("MiB published", some.length / MIB);
        await delay(1000 * some.length / MIB / MIB_PER_SECOND);
      }
      assault.drop(publisher);
      await reading;
    },
    check: bounded,
  };
}

/** All but the last byte of a message, over each connection; those that are ended come again. */
const halfSent: Attack = {
  name: "half-sent",
  what: `${HALVES} messages of 1 MiB of which the last byte does not come`,
  broker: BROKER,
  memoryBytes: RESIDENT_BYTES,
  async run(assault) {
    const half = messageTo("half", MIB - KIB).subarray(0, -1);
    const open: RawClient[] = [];
    for (let n = 0; n < HALVES && !assault.isOver; n++) {
      const client = await assault.opened(assault.keys.insider);
      open.push(client);
      if (await client.send(half)) assault.count("halves");
    }
    await assault.over;
    for (const client of open) assault.drop(client);
  },
  check: (facts) => ({
    ...bounded(facts),
    "nobody was cut off": facts.moved["cutOff"]! > 0,
  }),
};

/** Sessions with as many topics as they may have, each with elements of its own. */
const ownTopics: Attack = {
  name: "own-topics",
  what: `${SESSIONS} sessions with ${TOPICS} topics of 16 elements, all different`,
  broker: BROKER,
  memoryBytes: RESIDENT_BYTES,
  async run(assault: Assault) {
    for (let n = 0; n < SESSIONS && !assault.isOver; n++) {
      const topics = Array.from(
        { length: TOPICS },
        (_, i) => topic(...Array.from({ length: 16 }, (_, depth) => `${n}-${i}-${depth}`)),
      );
      const isOpen = await assault.opened(assault.keys.insider, { topics }).then(
        () => true,
        () => false, // It was ended: then others have taken the room.
      );
      if (isOpen) assault.count("sessions");
    }
    await assault.over;
  },
  check: bounded,
};

/** All of them. */
export const memoryAttacks: readonly Attack[] = [
  unread(
    "shared-slices",
    `${SHARING} clients that never read, and share what waits for them`,
    SHARING,
    messageTo("unread", 64 * KIB),
  ),
  unread(
    "pinned-buffers",
    "messages for who never reads, each a quarter of the read buffer that it keeps",
    4,
    join(messageTo("unread", 66 * KIB), messageTo("nobody", 190 * KIB)),
  ),
  halfSent,
  ownTopics,
];
