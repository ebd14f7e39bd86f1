/**
 * Attacks of those who may publish to the NATS server that joins brokers: numbers and names that no
 * broker sends.
 */
import { delay } from "@std/async/delay";
import { type Assault, type Attack, type BrokerSetup, MEMORY_BYTES } from "./attack.ts";
import { packet, PACKET_SUBJECT, RawNats } from "./raw_nats.ts";

const BIG = 2n ** 60n;
/** Beyond this, numbers of JavaScript leave some out. */
const SAFE = 2n ** 53n;
/** Brokers know each other when they have said that they are there. */
const MEET_MS = 300;
const PAUSE_MS = 20;
/** A line of log for each second, and for each change of a broker that is believed. */
const LOG_PER_SECOND = 16 * 1024;
const LOG_AT_MOST = 256 * 1024;

/** Plain subjects join it to others. */
const CORE: BrokerSetup = { uplink: "core" };

/** A broker's id that nobody has. */
function randomId(): string {
  return crypto.getRandomValues(new Uint8Array(8)).toHex();
}

async function withNats(
  assault: Assault,
  act: (nats: RawNats) => Promise<void>,
): Promise<void> {
  using nats = await RawNats.connect(assault.nats!);
  await act(nats);
}

function beat(from: string, stream: string | null = null, sent: number = 1): object {
  return { type: "beat", from, stream, sent, wants: 0 };
}

/** Packets of a stream with numbers that no number of JavaScript is next to. */
export const forgedNumbers: Attack = {
  name: "forged-numbers",
  what: "packets of a stream with the numbers 2⁵³ + 100, 2⁶⁰ and 2⁶⁴ - 1, of several brokers",
  broker: { uplink: "stream" },
  run: (assault) =>
    withNats(assault, async (nats) => {
      do {
        for (const number of [SAFE - 1n, SAFE, SAFE + 100n, BIG, 2n ** 64n - 1n]) {
          for (const before of [0, 2, 255]) {
            const from = randomId();
            await nats.say(beat(from, "ABUSE"));
            const parts = { broker: from, lane: 1, number, before };
            await nats.publish(PACKET_SUBJECT, packet(parts));
            assault.count("packets");
          }
        }
        await delay(PAUSE_MS);
      } while (!assault.isOver);
    }),
  check: ({ moved }) => ({
    "the broker has read nothing of it": moved["uplink.received"]! + moved["uplink.invalid"]! > 0,
  }),
};

/** Counts from which so many messages follow that no client can be told. */
export const forgedCounts: Attack = {
  name: "forged-counts",
  what: "counts of 0, then packets with counts of 2⁵³ - 1, 2⁶⁰ and 2⁶⁴ - 1, of several brokers",
  broker: CORE,
  feignsLosses: true,
  run: (assault) =>
    withNats(assault, async (nats) => {
      do {
        for (const count of [SAFE - 1n, BIG, 2n ** 64n - 1n]) {
          const from = randomId();
          await nats.say(beat(from));
          await delay(PAUSE_MS);
          const ids = Array.from({ length: 64 }, (_, id) => [id, 0]);
          const told = { since: 1, answer: 1, sent: 0, counts: ids, isFull: true, part: 0 };
          await nats.say({ type: "counts", from, version: 0, ...told, more: false });
          await delay(PAUSE_MS);
          const counts = [0, 1, 2].map((depth) => ({ depth, count }));
          const parts = { broker: from, lane: 0, number: 1, counts };
          await nats.publish(PACKET_SUBJECT, packet(parts));
          assault.count("packets");
        }
      } while (!assault.isOver);
      await delay(MEET_MS);
    }),
  check: ({ moved }) => ({
    "the broker has read nothing of it": moved["uplink.received"]! + moved["uplink.invalid"]! > 0,
  }),
};

/** One broker that comes and goes, each time with another name of a stream. */
export const logFlood: Attack = {
  name: "log-flood",
  what: "a broker that comes with a long name of its stream, and goes, as fast as possible",
  broker: CORE,
  memoryBytes: 2 * MEMORY_BYTES, // What it hears is long.
  run: (assault) =>
    withNats(assault, async (nats) => {
      const from = randomId();
      for (let i = 0; !assault.isOver; i++) {
        await nats.say(beat(from, `${i} `.padEnd(32 * 1024, "x")));
        await nats.say({ type: "bye", from });
        assault.count("times that it came and went");
        if (i % 10 === 0) await delay(1);
      }
    }),
  check: ({ seconds, logged }) => ({
    [`the broker logged ${logged} characters`]: logged <= LOG_AT_MOST + seconds * LOG_PER_SECOND,
  }),
};

/** As many brokers as a bus may have; each sends packets that name some before them that never come. */
const HOLDERS = 4096;
/** The longest message that fits a packet, but for its header and its frame. */
const LONG_BYTES = 255 * 1024;
/** Packets under way whose topics take the most room of what a header may have. */
const LONG_NAMES = Array.from(
  { length: 15 },
  () => Array.from({ length: 16 }, () => "1234567"),
);
/** A broker has 64 lanes: one for long packets, one for those with many names. */
const LANE_PAIRS = 32;
/** What waits for other packets at most, by default, in `docs/limits.md`. */
const HELD_BYTES = 64 * 2 ** 20;
/** What all lanes take that are remembered, and what waits for NATS now and then. */
const LANES_BYTES = 32 * 2 ** 20;

/** Packets that wait for others, of so many brokers that what each may hold is not enough. */
export const packetsWithGaps: Attack = {
  name: "packets-with-gaps",
  what: `packets of a stream of ${HOLDERS} brokers that wait for others, long ones and many names`,
  broker: { uplink: "stream" },
  feignsLosses: true,
  memoryBytes: 1.5 * HELD_BYTES + MEMORY_BYTES,
  run: (assault) =>
    withNats(assault, async (nats) => {
      const brokers = Array.from({ length: HOLDERS }, randomId);
      for (let round = 0; !assault.isOver; round++) {
        for (const broker of brokers) {
          if (assault.isOver) break;
          await nats.say(beat(broker, "ABUSE"));
          // A packet that names some waits for one of them; what comes before those has come.
          const [lane, other] = [1 + round % LANE_PAIRS, 1 + LANE_PAIRS + round % LANE_PAIRS];
          const packets = [
            { broker, lane, number: 1 },
            { broker, lane, number: 3, before: 2, bytes: LONG_BYTES },
            { broker, lane: other, number: 1 },
            { broker, lane: other, number: 99, names: LONG_NAMES },
          ];
          for (const parts of packets) await nats.publish(PACKET_SUBJECT, packet(parts));
          assault.count("packets that wait", 2);
        }
      }
    }),
  check: ({ moved }) => ({
    "nothing was given up": moved["uplink.gaps"]! > 0,
    "the uplink holds more than it may": moved["uplink.heldBytes"]! <= HELD_BYTES + LANES_BYTES,
  }),
};

/** How many topics one broker wants, in one message; each has elements that no other one has. */
const DEEP_TOPICS = 800;
/** What other brokers may want takes no more, by default, in `docs/scaling.md`. */
const WANTED_BYTES = 256 * 2 ** 20;

/** Topics that take two hundred times as much as they are long. */
export const deepWants: Attack = {
  name: "deep-wants",
  what: `many brokers that each want ${DEEP_TOPICS} topics of 16 elements`,
  broker: CORE,
  memoryBytes: 3 * WANTED_BYTES + MEMORY_BYTES,
  run: (assault) =>
    withNats(assault, async (nats) => {
      const rest = Array.from({ length: 15 }, () => "x");
      for (let broker = 0; !assault.isOver; broker++) {
        const add = Array.from(
          { length: DEEP_TOPICS },
          (_, id) => [id, [`${broker}.${id}`, ...rest]],
        );
        const parts = { version: 1, base: null, add, remove: [], part: 0, more: false };
        await nats.say({ type: "wants", from: randomId(), ...parts });
        assault.count("topics", DEEP_TOPICS);
        await delay(PAUSE_MS);
      }
    }),
  check: ({ moved, seconds }) => ({
    // It takes a while to want so much.
    "nothing was refused": moved["uplink.invalid"]! > 0 || seconds < 5,
    "the uplink holds more than it may": moved["uplink.heldBytes"]! <= WANTED_BYTES,
  }),
};
