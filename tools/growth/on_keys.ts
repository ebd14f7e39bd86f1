/** What keys with many grants can cause, and who sets them. */
import type { BrokerKey } from "../../mod.ts";
import { frame, join, repeat, topic, Type } from "../attacks/raw_client.ts";
import { MANY, type MemoryBroker, MESSAGE, sendAll, withBroker } from "./memory_broker.ts";
import type { Operation, Trial } from "./operation.ts";

const TIMES = 200;
/** Of size 0: an element of any name. */
const ANY = "";
/** How many topics a key may grant; the largest `n` is four times the smallest. */
const GRANTS = 1000;

/** So many topics, none above another. */
function granted(count: number, above = "granted"): string[][] {
  return Array.from({ length: count }, (_, i) => [above, `t${i}`]);
}

function keyWith(rights: Omit<BrokerKey, "name" | "key">, name = "key"): BrokerKey {
  return { name, key: `the secret of ${name}`, ...rights };
}

/** A broker with keys, and what is done with it. */
function withKeys(
  keys: readonly BrokerKey[],
  prepare: (memory: MemoryBroker) => Trial | Promise<Trial>,
): Promise<Trial> {
  return withBroker({ keys, limits: { subscriptions: MANY } }, prepare);
}

/** Sets new keys, with other rights. */
function setting(
  what: string,
  facts: Pick<Operation, "of" | "per" | "from" | "few">,
  keysOf: (n: number, turn: number) => BrokerKey[],
): Operation {
  return {
    ...facts,
    name: `setKeys with ${what}`,
    prepare: (n) =>
      withKeys(keysOf(n, 0), ({ broker }) => {
        const keys = keysOf(n, 1);
        return { units: n, run: () => broker.setKeys(keys) };
      }),
  };
}

const SETTINGS: readonly Operation[] = [
  setting(
    "many keys",
    { of: "keys with 4 grants", per: "key", from: 500, few: 100 },
    (n, turn) =>
      Array.from(
        { length: n },
        (_, i) => keyWith({ publish: granted(4, `k${i}, turn ${turn}`) }, `key ${i}`),
      ),
  ),
  setting(
    "a key that may publish to many topics",
    { of: "grants", per: "grant", from: GRANTS, few: 100 },
    (n, turn) => [keyWith({ publish: granted(n, `turn ${turn}`) })],
  ),
  setting(
    "a key that may subscribe to many topics",
    { of: "grants", per: "grant", from: GRANTS, few: 100 },
    (n, turn) => [keyWith({ subscribe: granted(n, `turn ${turn}`) })],
  ),
];

/** New rights for sessions that are there. */
function narrowing(
  name: string,
  facts: Pick<Operation, "of" | "per" | "from" | "few">,
  grantsOf: (n: number) => string[][],
): Operation {
  return {
    ...facts,
    name,
    async prepare(n) {
      const last = ["what comes last"];
      const before = keyWith({ subscribe: [...grantsOf(n), last] });
      return await withKeys([before], async (memory) => {
        const topics = [...granted(n), last].map((path) => topic(...path));
        const { client } = await memory.member({ topics }, before);
        const keys = [keyWith({ subscribe: grantsOf(n) })];
        return {
          units: n,
          async run() {
            memory.broker.setKeys(keys);
            await client.frameOf(Type.DENIED); // Rights are applied topic by topic.
          },
        };
      });
    },
  };
}

const NARROWINGS: readonly Operation[] = [
  narrowing(
    "setKeys with other rights for a session",
    { of: "topics of the session", per: "topic", from: GRANTS, few: 100 },
    () => [["granted"]],
  ),
  narrowing(
    "setKeys with other rights, which grant each topic of a session by itself",
    { of: "topics of the session, and grants", per: "topic", from: 250, few: 50 },
    (n) => granted(n),
  ),
];

/** Frames of a client whose key has many grants. */
function frames(
  name: string,
  per: string,
  unitsOf: (n: number) => number,
  framesOf: (n: number) => Uint8Array,
): Operation {
  return {
    name,
    of: "grants",
    per,
    from: GRANTS,
    few: 100,
    async prepare(n) {
      const key = keyWith({ publish: granted(n), subscribe: granted(n) });
      return await withKeys([key], async (memory) => {
        const { client } = await memory.member({}, key);
        const bytes = framesOf(n);
        return { units: unitsOf(n), run: () => sendAll(client, bytes) };
      });
    },
  };
}

/** The first who gets the granted topics of one waits until their places are there. */
const FIRST: Operation = {
  name: "a key subscribes to the root for the first time",
  of: "grants, 16 deep",
  per: "grant",
  from: 1000,
  few: 50,
  async prepare(n) {
    const rest = Array.from({ length: 15 }, (_, i) => `e${i}`);
    const key = keyWith({ subscribe: Array.from({ length: n }, (_, i) => [`t${i}`, ...rest]) });
    return await withKeys([key], async (memory) => {
      const { client } = await memory.member({}, key);
      return { units: n, run: () => sendAll(client, frame(Type.SUBSCRIBE, topic())) };
    });
  },
};

function changesOf(block: Uint8Array, times: number): Uint8Array {
  return repeat(join(frame(Type.SUBSCRIBE, block), frame(Type.UNSUBSCRIBE, block)), times);
}

const TOGGLES = 10;
const OF_CLIENTS: readonly Operation[] = [
  frames(
    "a key subscribes to the root, and takes that back",
    "grant",
    (n) => 2 * TOGGLES * n,
    () => changesOf(topic(), TOGGLES),
  ),
  frames(
    "a key subscribes to what meets each of its topics, ever others with any",
    "grant",
    (n) => 2 * TOGGLES * n,
    (n) =>
      join(
        ...Array.from({ length: TOGGLES }, (_, i) => changesOf(topic(ANY, ANY, `x${n} ${i}`), 1)),
      ),
  ),
  frames(
    "a key subscribes to the last of its topics",
    "change",
    () => 2 * TIMES,
    (n) => changesOf(topic("granted", `t${n - 1}`), TIMES),
  ),
  frames(
    "a key subscribes to what it does not grant",
    "change",
    () => 2 * TIMES,
    () => changesOf(topic("denied"), TIMES),
  ),
  frames(
    "a key publishes to the last of its topics, two by turns",
    "message",
    () => 2 * TIMES,
    (n) =>
      repeat(
        join(
          frame(Type.PUBLISH, topic("granted", `t${n - 1}`), MESSAGE),
          frame(Type.PUBLISH, topic("granted", `t${n - 2}`), MESSAGE),
        ),
        TIMES,
      ),
  ),
  frames(
    "a key publishes what it does not grant",
    "message",
    () => TIMES,
    () => repeat(frame(Type.PUBLISH, topic("denied"), MESSAGE), TIMES),
  ),
];

/** All of them. */
export const ON_KEYS: readonly Operation[] = [
  ...SETTINGS,
  ...NARROWINGS,
  FIRST,
  ...OF_CLIENTS,
];
