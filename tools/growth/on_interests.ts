/** What clients can cause by what they want, and whom their messages reach. */
import type { BrokerKey } from "../../mod.ts";
import { frame, join, repeat, topic, Type } from "../attacks/raw_client.ts";
import { MANY, MESSAGE, NOTHING, sendAll, topics, withBroker } from "./memory_broker.ts";
import type { Operation } from "./operation.ts";

/** How often an operation is done that costs the same for each. */
const TIMES = 200;

/** SUBSCRIBE and UNSUBSCRIBE, so many times. */
function toggle(block: Uint8Array, times = TIMES): Uint8Array {
  return repeat(join(frame(Type.SUBSCRIBE, block), frame(Type.UNSUBSCRIBE, block)), times);
}

const SAME_TOPIC: Operation = {
  name: "SUBSCRIBE and UNSUBSCRIBE beside others at the same topic",
  of: "sessions",
  per: "change",
  from: 200,
  few: 50,
  prepare: (n) =>
    withBroker({}, async (memory) => {
      await memory.members(n, () => ({ topics: [topic("same")] }));
      const { client } = await memory.member();
      return { units: 2 * TIMES, run: () => sendAll(client, toggle(topic("same"))) };
    }),
};

const OTHER_TOPICS: Operation = {
  name: "SUBSCRIBE and UNSUBSCRIBE beside others at other topics",
  of: "topics",
  per: "change",
  from: 1000,
  few: 100,
  prepare: (n) =>
    withBroker({ limits: { subscriptions: MANY } }, async (memory) => {
      await memory.member({ topics: topics(n, "other") });
      const { client } = await memory.member();
      return { units: 2 * TIMES, run: () => sendAll(client, toggle(topic("other", "x"))) };
    }),
};

/** Of size 0: an element of any name. */
const ANY = "";

/** Topics with an element of any name, each below another topic. */
function anyTopics(count: number, ...above: readonly string[]): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => topic(...above, `t${i}`, ANY));
}

const ANY_TOPICS: Operation = {
  name: "SUBSCRIBE and UNSUBSCRIBE beside others, each with any at its end",
  of: "topics",
  per: "change",
  from: 1000,
  few: 100,
  prepare: (n) =>
    withBroker({ limits: { subscriptions: MANY } }, async (memory) => {
      await memory.member({ topics: anyTopics(n, "other") });
      const { client } = await memory.member();
      return { units: 2 * TIMES, run: () => sendAll(client, toggle(topic("other", "x", ANY))) };
    }),
};

/** Topics that each message meets the same two of, however many there are. */
const ANY_MET: Operation = {
  name: "messages whose topics meet any, after a change of what they meet",
  of: "topics with any",
  per: "change and message",
  from: 1000,
  few: 100,
  prepare: (n) =>
    withBroker({ limits: { subscriptions: MANY } }, async (memory) => {
      const { client: taker } = await memory.member({ topics: anyTopics(n, "met") });
      taker.ended();
      const { client } = await memory.member();
      const { client: changer } = await memory.member();
      const message = frame(Type.PUBLISH, topic("met", "t0", "x"), MESSAGE);
      return {
        units: 2 * TIMES,
        async run() {
          for (let i = 0; i < TIMES; i++) {
            for (const type of [Type.SUBSCRIBE, Type.UNSUBSCRIBE]) {
              await sendAll(changer, frame(type, topic("met", ANY, "x")));
              await sendAll(client, message);
            }
          }
        },
      };
    }),
};

/** A topic that comes and goes while others are in traffic; what a change costs the traffic. */
function changes(
  where: string,
  changed: Uint8Array,
  key?: BrokerKey,
  others: readonly Uint8Array[] = [],
): Operation {
  return {
    name: `an interest comes and goes ${where}`,
    of: "topics in traffic",
    per: "message, beside one without changes",
    isBeside: true,
    from: 250,
    few: 60,
    without: "time",
    prepare: (n) =>
      withBroker({
        limits: { subscriptions: MANY },
        ...(key !== undefined && { keys: [key] }),
      }, async (memory) => {
        const blocks = topics(n, "traffic");
        const { client: taker } = await memory.member({ topics: [...blocks, ...others] });
        taker.ended();
        const { client } = await memory.member();
        const { client: changer } = await memory.member({}, key);
        const all = join(...blocks.map((block) => frame(Type.PUBLISH, block, MESSAGE)));
        const change = async (type: number) => {
          await sendAll(changer, frame(type, changed));
          await sendAll(client, all);
        };
        await sendAll(client, all);
        const rounds = 8;
        return {
          units: 2 * rounds * n,
          async base() {
            for (let i = 0; i < 2 * rounds; i++) {
              await changer.flush();
              await sendAll(client, all);
            }
          },
          async run() {
            for (let i = 0; i < rounds; i++) {
              await change(Type.SUBSCRIBE);
              await change(Type.UNSUBSCRIBE);
            }
          },
        };
      }),
  };
}

const CHANGES: readonly Operation[] = [
  changes("elsewhere", topic("elsewhere", "one")),
  changes("at a sibling of the topics", topic("traffic", "other")),
  changes("elsewhere, with any at its end", topic("elsewhere", ANY)),
  // It makes each message cross an any, which costs half of its way; so that is not compared.
  {
    ...changes("elsewhere, with any at its beginning", topic(ANY, "one")),
    per: "message, without those beside no changes",
    isBeside: false,
  },
  changes(
    "elsewhere, with any beside names",
    topic("elsewhere", ANY),
    undefined,
    [topic("elsewhere", "one")],
  ),
  changes(
    "elsewhere, while the topics meet any",
    topic("elsewhere", "one"),
    undefined,
    [topic("traffic", ANY)],
  ),
  changes("elsewhere, denied", topic("elsewhere", "one"), NOTHING),
  changes("at the root, denied", topic(), NOTHING),
];

/** What a key that grants nothing can do to the routes. */
function denied(among: string, key?: BrokerKey): Operation {
  return {
    name: `a denied SUBSCRIBE, broadcast and UNSUBSCRIBE among detached sessions${among}`,
    of: "sessions with 8 topics",
    per: "round",
    from: 200,
    few: 50,
    prepare: (n) =>
      withBroker({ keys: [NOTHING] }, async (memory) => {
        await memory.detached(n, (i) => ({ topics: topics(8, "fleet", `s${i}`) }), key);
        const { client } = await memory.member({}, NOTHING);
        const block = topic("denied");
        const round = join(
          frame(Type.SUBSCRIBE, block),
          frame(Type.PUBLISH, topic(), MESSAGE),
          frame(Type.UNSUBSCRIBE, block),
        );
        return { units: TIMES, run: () => sendAll(client, repeat(round, TIMES)) };
      }),
  };
}

const DENIALS: readonly Operation[] = [denied(""), denied(" whose topics are denied", NOTHING)];

const BROADCASTS: Operation = {
  name: "broadcasts among detached sessions",
  of: "sessions",
  per: "delivery",
  from: 200,
  few: 50,
  prepare: (n) =>
    withBroker({}, async (memory) => {
      await memory.detached(n, (i) => ({ topics: topics(4, "fleet", `s${i}`) }));
      const { client } = await memory.member();
      const broadcast = frame(Type.PUBLISH, topic(), MESSAGE);
      return { units: 16 * n, run: () => sendAll(client, repeat(broadcast, 16)) };
    }),
};

const BROADCAST_AND_CHANGE: Operation = {
  name: "a broadcast after a change, beside a session that wants only *broker",
  of: "topics of that session",
  per: "broadcast",
  from: 250,
  few: 100,
  prepare: (n) =>
    withBroker({ limits: { subscriptions: MANY } }, async (memory) => {
      await memory.member({ topics: topics(n, "*broker", "x") });
      const { client } = await memory.member();
      const broadcast = frame(Type.PUBLISH, topic(), MESSAGE);
      const round = join(
        frame(Type.SUBSCRIBE, topic("own")),
        broadcast,
        frame(Type.UNSUBSCRIBE, topic("own")),
        broadcast,
      );
      return { units: 2 * TIMES, run: () => sendAll(client, repeat(round, TIMES)) };
    }),
};

const COUNTED_TOPICS: Operation = {
  name: "messages to topics that do not come again, while the broker counts topics",
  of: "topics",
  per: "topic",
  from: 5000,
  few: 2000,
  prepare: (n) =>
    withBroker({}, async (memory) => {
      const { client: watcher } = await memory.member({ topics: [topic("*broker", "topics")] });
      await watcher.frameOf(Type.PUBLISH);
      const { client } = await memory.member();
      const frames = join(
        ...topics(n, "many").map((block) => frame(Type.PUBLISH, block, MESSAGE)),
      );
      return { units: n, run: () => sendAll(client, frames) };
    }),
};

const DISTINCT: Operation = {
  name: "messages to topics that do not come again",
  of: "topics",
  per: "topic",
  from: 20_000,
  few: 1000,
  prepare: (n) =>
    withBroker({}, async (memory) => {
      const { client: taker } = await memory.member({ topics: [topic("many")] });
      taker.ended();
      const { client } = await memory.member();
      const parts = topics(n, "many").map((block) => frame(Type.PUBLISH, block, MESSAGE));
      return {
        units: n,
        async run() {
          // By parts, which fit the window.
          for (let i = 0; i < n; i += 5000) {
            await sendAll(client, join(...parts.slice(i, i + 5000)));
          }
        },
      };
    }),
};

/** All of them. */
export const ON_INTERESTS: readonly Operation[] = [
  SAME_TOPIC,
  OTHER_TOPICS,
  ANY_TOPICS,
  ANY_MET,
  ...CHANGES,
  ...DENIALS,
  BROADCASTS,
  BROADCAST_AND_CHANGE,
  COUNTED_TOPICS,
  DISTINCT,
];
