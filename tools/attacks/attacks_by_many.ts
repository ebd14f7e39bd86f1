/**
 * Attacks over many connections at once: what all of them take together is as little as one would, and
 * who comes with little to do does not wait for each of them.
 */
import { type Assault, type Attack, inParallel, MEMORY_BYTES, QUEUE_BYTES } from "./attack.ts";
import {
  frame,
  join,
  openFrame,
  payload,
  Reason,
  repeat,
  small,
  topic,
  Type,
} from "./raw_client.ts";

const LINKS = 40;
const FLOOD_BYTES = 128 * 1024;
const MESSAGE = payload({ n: small(1) });
/** The limits of `docs/protocol.md` and `docs/limits.md`, not the library's constants. */
const SUBSCRIPTIONS_MAX = 1024;
const ELEMENTS_MAX = 16;
/** The longest OPEN: so many topics of 16 elements of 255 bytes, with their sizes in the long form. */
const OPEN_BYTES_MAX = SUBSCRIPTIONS_MAX * (5 + 16 * (5 + 255));
/** How many clients resume their sessions over and over. */
const RESUMING = 16;

/** Many connections that send the same as fast as the broker takes it, so much at a time. */
function flood(name: string, what: string, ...frames: readonly Uint8Array[]): Attack {
  const some = join(...frames);
  const bytes = repeat(some, Math.ceil(FLOOD_BYTES / some.length));
  return {
    name: `many-${name}`,
    what: `${what} over ${LINKS} connections, each ${FLOOD_BYTES} bytes ahead of the broker`,
    memoryBytes: MEMORY_BYTES + 3 * QUEUE_BYTES, // What the witness does not take in time.
    async run(assault) {
      await inParallel(LINKS, async () => {
        const client = await assault.opened(assault.keys.insider);
        while (!assault.isOver) {
          await client.send(bytes);
          const isTaken = await Promise.race([client.flush(), assault.over]);
          assault.expect("a client that may do so was ended", isTaken !== false);
          if (isTaken) assault.count("KiB", bytes.length / 1024);
        }
        assault.drop(client);
      });
    },
    check: ({ counts }) => ({ "nothing was sent": counts["KiB"]! > 0 }),
  };
}

const elsewhere = topic("nobody", "wants", "this");

/** Floods of what is small. */
export const manyFloods: readonly Attack[] = [
  flood(
    "subscriptions",
    "SUBSCRIBE and UNSUBSCRIBE",
    frame(Type.SUBSCRIBE, elsewhere),
    frame(Type.UNSUBSCRIBE, elsewhere),
  ),
  flood("requests", "ASK", frame(Type.ASK)),
  flood("messages", "small messages", frame(Type.PUBLISH, elsewhere, MESSAGE)),
];

/** As many topics as there may be, each as deep as it may be. */
function deepTopics(): Uint8Array[] {
  return Array.from(
    { length: SUBSCRIPTIONS_MAX },
    (_, i) => topic(`t${i}`, ...Array.from({ length: ELEMENTS_MAX - 1 }, (_, j) => `el${j}`)),
  );
}

/** Resumes sessions over and over, each time with other topics than before. */
export const resumeFlood: Attack = {
  name: "resume-flood",
  what:
    `${RESUMING} clients that resume their sessions over and over, with other topics each time, ` +
    `${SUBSCRIPTIONS_MAX} that are ${ELEMENTS_MAX} deep`,
  async run(assault) {
    const deep = deepTopics();
    await inParallel(RESUMING, async (i) => {
      const topicSets = [deep, [topic(`r${i}`)]];
      let { session } = await openNext(assault, { topics: topicSets[1]! });
      for (let n = 0; !assault.isOver; n++) {
        ({ session } = await openNext(assault, { session, topics: topicSets[n % 2]! }));
        assault.count("sessions resumed");
      }
    });
  },
  check: ({ moved }) => ({ "no session was resumed": moved["resumed"]! > 0 }),
};

async function openNext(
  assault: Assault,
  opening: { session?: Uint8Array; topics: readonly Uint8Array[] },
): Promise<{ session: Uint8Array }> {
  const client = await assault.authenticated(assault.keys.insider);
  const { session } = await client.open(opening);
  assault.drop(client);
  return { session };
}

/** An OPEN as long as it may be that names the shortest topic over and over. */
export const repeatedRoots: Attack = {
  name: "repeated-roots",
  what: `OPEN with ${OPEN_BYTES_MAX} times the root, over 2 connections at a time`,
  async run(assault) {
    const topics = [repeat(topic(), OPEN_BYTES_MAX)];
    const opening = openFrame({ topics, topicCount: OPEN_BYTES_MAX });
    await assault.keepOn(2, async () => {
      const client = await assault.authenticated(assault.keys.insider);
      await client.send(opening);
      await assault.expectGoodbye(client, "OPEN", Reason.TOO_MANY_SUBSCRIPTIONS);
    });
  },
};
