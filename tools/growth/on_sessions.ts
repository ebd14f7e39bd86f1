/** What clients can cause by coming and going, and by what is kept for them. */
import type { BrokerKey } from "../../mod.ts";
import {
  bytesValue,
  frame,
  openFrame,
  type Opening,
  payload,
  type RawClient,
  type RawCredentials,
  repeat,
  ticketOf,
  topic,
  Type,
} from "../attacks/raw_client.ts";
import {
  BYE,
  MANY,
  type Member,
  type MemoryBroker,
  MESSAGE,
  NOTHING,
  polled,
  sendAll,
  topics,
  withBroker,
} from "./memory_broker.ts";
import type { Operation } from "./operation.ts";

const HOUR_MS = 3_600_000;
/** Topics of each session of a fleet. */
const FLEET_TOPICS = 32;

/** The same for all members of a fleet. */
function fleet(): Opening {
  return { topics: topics(FLEET_TOPICS, "fleet") };
}

function forget(memory: MemoryBroker, members: readonly Member[]): Promise<void> {
  for (const { client } of members) client.send(BYE).then(() => client.close());
  return memory.left(members.length);
}

/** The sessions of a fleet, each with the same topics. */
const LEAVE: Operation = {
  name: "sessions with the same topics leave",
  of: `sessions with ${FLEET_TOPICS} topics`,
  per: "interest",
  from: 200,
  few: 40,
  prepare: (n) =>
    withBroker({}, async (memory) => {
      const members = await memory.members(n, fleet);
      return { units: n * FLEET_TOPICS, run: () => forget(memory, members) };
    }),
};

const VANISH: Operation = {
  ...LEAVE,
  name: "sessions with the same topics vanish, and are forgotten",
  prepare: (n) =>
    withBroker({ resumeWindow: 20 }, async (memory) => {
      const members = await memory.members(n, fleet);
      return {
        units: n * FLEET_TOPICS,
        run() {
          for (const { client } of members) client.close();
          return memory.left(n);
        },
      };
    }),
};

const JOIN: Operation = {
  ...LEAVE,
  name: "sessions with the same topics join",
  prepare: (n) =>
    withBroker({}, async (memory) => {
      const opening = openFrame(fleet());
      const clients: RawClient[] = [];
      for (let i = 0; i < n; i++) clients.push(await memory.authenticated());
      return {
        units: n * FLEET_TOPICS,
        async run() {
          for (const client of clients) {
            await client.send(opening);
            await client.frameOf(Type.OPENED);
          }
        },
      };
    }),
};

/** An OPEN whose topics cost something each. */
function open(name: string, topicsOf: (n: number) => Uint8Array[], key?: BrokerKey): Operation {
  return {
    name,
    of: "topics",
    per: "topic",
    from: 1000,
    few: 100,
    prepare: (n) =>
      withBroker({
        limits: { subscriptions: MANY },
        ...(key !== undefined && { keys: [key] }),
      }, async (memory) => {
        const client = await memory.authenticated(key);
        const opening = openFrame({ topics: topicsOf(n) });
        return {
          units: n,
          async run() {
            await client.send(opening);
            await client.frameOf(Type.OPENED);
          },
        };
      }),
  };
}

const OPENS: readonly Operation[] = [
  open("an OPEN with different topics", (n) => topics(n, "own")),
  open("an OPEN with topics that are denied", (n) => topics(n, "own"), NOTHING),
];

function resume(what: string, topicsOf: (n: number, time: number) => Uint8Array[]): Operation {
  return {
    name: `a session goes on, with ${what}`,
    of: "topics",
    per: "topic",
    from: 1000,
    few: 100,
    prepare: (n) =>
      withBroker({ limits: { subscriptions: MANY } }, async (memory) => {
        const { client, opened: { session } } = await memory.member({ topics: topicsOf(n, 0) });
        client.close();
        const again = await memory.authenticated();
        const opening = openFrame({ session, topics: topicsOf(n, 1) });
        return {
          units: n,
          async run() {
            await again.send(opening);
            await again.frameOf(Type.OPENED);
          },
        };
      }),
  };
}

const RESUMES: readonly Operation[] = [
  resume("the same topics", (n) => topics(n, "own")),
  resume(
    "other topics, 16 deep",
    (n, time) => topics(n, ...Array.from({ length: 15 }, (_, i) => `${time}, ${i}`)),
  ),
];

/** The same from many connections at once, which take their turns together. */
const MANY_ASK: Operation = {
  name: "ASK from many connections at once",
  of: "connections",
  per: "ASK",
  from: 20,
  few: 10,
  prepare: (n) =>
    withBroker({}, async (memory) => {
      const members = await memory.members(n, () => ({}));
      const asks = repeat(frame(Type.ASK), 2000);
      return {
        units: 2000 * n,
        async run() {
          await Promise.all(members.map(({ client }) => sendAll(client, asks)));
        },
      };
    }),
};

/** Fills the memory of a broker again and again. */
const MEMORY: Operation = {
  name: "messages when the memory is full, among detached sessions",
  of: "sessions with 64 KiB each",
  per: "message",
  from: 100,
  few: 100,
  prepare: (n) =>
    withBroker({ memory: n * 2 ** 16 }, async (memory) => {
      await memory.detached(n, (i) => ({ topics: topics(1, "fleet", `s${i}`) }));
      await memory.detached(1, () => ({ topics: [topic("large")] }));
      const { client } = await memory.member();
      const data = payload({ data: bytesValue(new Uint8Array(60_000)) });
      const some = repeat(frame(Type.PUBLISH, topic("large"), data), 8);
      const times = Math.ceil(2 * n * 2 ** 16 / some.length);
      const fill = async () => {
        for (let i = 0; i < times; i++) await sendAll(client, some);
      };
      await fill();
      return { units: 8 * times, run: fill };
    }),
};

/** Connections beyond the limit: each new one replaces the oldest. */
const ADMISSION: Operation = {
  name: "connections that say nothing, beyond the limit",
  of: "connections that may be there",
  per: "connection",
  from: 250,
  few: 40,
  prepare: (n) =>
    withBroker({ limits: { halfOpenPerAddress: n } }, async (memory) => {
      const refused = () => memory.broker.stats().refusals.crowded;
      const dial = async (count: number) => {
        for (let i = 0; i < count; i++) (await memory.dial()).ended();
      };
      await dial(n);
      return {
        units: 2 * n,
        async run() {
          await dial(2 * n);
          await polled(() => refused() >= 2 * n);
        },
      };
    }),
};

/** Clients that are away beyond the limit: for each new one another is forgotten. */
const AWAY: Operation = {
  name: "clients that come and vanish, beyond the limit",
  of: "clients that there may be",
  per: "client",
  from: 250,
  few: 40,
  prepare: (n) =>
    withBroker({ limits: { connections: n } }, async (memory) => {
      await memory.detached(n, () => ({}));
      return {
        units: 2 * n,
        async run() {
          const forgotten = memory.left(2 * n);
          for (let i = 0; i < 2 * n; i++) (await memory.member()).client.close();
          await forgotten;
        },
      };
    }),
};

/** A key whose clients have no place until those of another key give theirs up. */
const NEWCOMER: BrokerKey = { name: "newcomer", key: "of the newcomers" };

/** Clients of another key at a broker that is full: each takes the place of one that is connected. */
const FULL: Operation = {
  name: "clients of another key, when one key has all places",
  of: "clients that there may be",
  per: "client",
  from: 250,
  few: 40,
  prepare: (n) =>
    withBroker({ limits: { connections: n }, keys: [NEWCOMER] }, async (memory) => {
      await memory.members(n, () => ({}));
      return {
        units: n / 2,
        async run() {
          const forgotten = memory.left(n / 2);
          for (let i = 0; i < n / 2; i++) await memory.member({}, NEWCOMER);
          await forgotten;
        },
      };
    }),
};

/** A key of which clients have tickets. */
const PAGE: BrokerKey = { name: "page", key: "the key of the pages" };

/** A ticket of it for somebody. */
function pageOf(who: string): Promise<RawCredentials> {
  const says = { name: PAGE.name, expires: Date.now() + HOUR_MS, for: who };
  return ticketOf({ name: PAGE.name, key: String(PAGE.key) }, says);
}

/** Clients for whom tickets are, each somebody else; they take the places of one who has all. */
const OF_ONE: Operation = {
  name: "clients with tickets for others, when one has all places of a key",
  of: "clients that the key may have",
  per: "client",
  from: 250,
  few: 40,
  prepare: (n) =>
    withBroker({ keys: [{ ...PAGE, connections: n }] }, async (memory) => {
      await memory.members(n, () => ({}), await pageOf("one"));
      const others = await Promise.all(
        Array.from({ length: n / 2 }, (_, i) => pageOf(`other ${i}`)),
      );
      return {
        units: n / 2,
        async run() {
          const forgotten = memory.left(n / 2);
          for (const other of others) await memory.member({}, other);
          await forgotten;
        },
      };
    }),
};

/** The first report after a SUBSCRIBE, which comes at once. */
function report(
  what: string,
  facts: Pick<Operation, "of" | "per" | "from" | "few">,
  prepare: (memory: MemoryBroker, n: number) => Promise<void>,
): Operation {
  return {
    ...facts,
    name: `the broker's report of its ${what}`,
    prepare: (n) =>
      withBroker({ limits: { subscriptions: MANY } }, async (memory) => {
        await prepare(memory, n);
        const { client } = await memory.member();
        return {
          units: n,
          async run() {
            await client.send(frame(Type.SUBSCRIBE, topic("*broker", what)));
            await client.frameOf(Type.PUBLISH);
          },
        };
      }),
  };
}

const REPORT = report(
  "clients",
  { of: "clients", per: "client", from: 300, few: 50 },
  async (memory, n) => void await memory.members(n, () => ({})),
);

const TOPICS_REPORT: Operation = {
  name: "the broker's report of topics",
  of: "topics that messages passed for",
  per: "topic",
  from: 500,
  few: 200,
  prepare: (n) =>
    withBroker({}, async (memory) => {
      const { client: watcher } = await memory.member({ topics: [topic("*broker", "topics")] });
      await watcher.frameOf(Type.PUBLISH);
      const { client } = await memory.member();
      await sendAll(
        client,
        ...topics(n, "many").map((block) => frame(Type.PUBLISH, block, MESSAGE)),
      );
      return { units: n, run: async () => void await watcher.frameOf(Type.PUBLISH) };
    }),
};

/** All of them. */
export const ON_SESSIONS: readonly Operation[] = [
  LEAVE,
  VANISH,
  JOIN,
  ...OPENS,
  ...RESUMES,
  MANY_ASK,
  MEMORY,
  ADMISSION,
  AWAY,
  FULL,
  OF_ONE,
  REPORT,
  TOPICS_REPORT,
];
