/** What a broker publishes of itself. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type BrokerReport,
  type ClientEvent,
  type ClientStats,
  ForbiddenError,
  type GroupStats,
  NetPubSub,
  type TopicStats,
} from "../mod.ts";
import { Background } from "../base/background.ts";
import { Rounds } from "../base/rounds.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { BrokerTopics } from "../broker/broker_topics.ts";
import { TopicCounts } from "../broker/topic_counts.ts";
import { Scene, take } from "./helpers/scene.ts";
import { until } from "../tools/harness/until.ts";

interface Clients {
  clients: ClientStats[];
  total: number;
}
interface Topics {
  topics: TopicStats[];
  other: { messages: number; bytes: number };
  period: number;
}

/** The first of these reports that is as wanted. */
async function report<R>(
  bus: NetPubSub,
  kind: string,
  isWanted: (report: R) => boolean = () => true,
) {
  using reports = bus.subscribe(["*broker", kind]);
  for await (const { message } of reports) {
    if (isWanted(message as R)) return message as R;
  }
  throw new Error("no report came");
}

Deno.test("Broker publishes what it counts to *broker while somebody subscribes to that", async () => {
  await using scene = await Scene.start();
  const [watcher, other] = [await scene.connected(), await scene.connected({ name: "other" })];
  other.addSubscriber(null, () => {});
  other.publish("a", {});
  await other.flush();
  const stats = await report<BrokerReport>(watcher, "stats");
  assertEquals([stats.received, stats.sessions, stats.address], [1, 2, scene.broker.address]);
  assert(stats.uptime > 0);
  const { clients, total } = await report<Clients>(watcher, "clients");
  assertEquals(total, 2);
  const told = clients.find(({ client }) => client === 2)!;
  assertEquals(told, {
    client: 2,
    name: "other",
    keyName: "",
    for: null,
    address: null,
    connected: true,
    subscriptions: 1,
    received: 1,
    delivered: 0,
    dropped: 0,
    refusedMessages: 0,
    queuedBytes: 0,
    waiting: false,
  });
});

Deno.test("Broker publishes the traffic by topic, the busiest first, over changes of interests", async () => {
  await using scene = await Scene.start();
  const [watcher, other] = [await scene.connected(), await scene.connected()];
  using reports = watcher.subscribe(["*broker", "topics"]);
  await take(reports, 1);
  const busy = report<Topics>(watcher, "topics", ({ topics }) => topics.length === 2);
  for (let n = 0; n < 30; n++) {
    other.publish(["a", "b"], { n });
    if (n % 3 === 0) other.publish("c", { n });
    if (n === 10) other.addSubscriber("c", () => {});
  }
  watcher.addSubscriber("a", () => {});
  await other.flush();
  const { topics, other: rest, period } = await busy;
  assertEquals(rest, { messages: 0, bytes: 0 });
  assert(period > 0);
  assertEquals(topics.map(({ topic }) => topic), [["a", "b"], ["c"]]);
  assertEquals(topics.map(({ messages }) => messages), [30, 10]);
  assertEquals(topics.map(({ subscribers }) => subscribers), [1, 1]);
  assert(topics.every(({ messages, bytes }) => bytes >= 8 * messages));
});

Deno.test("Broker lists the busy topics among thousands of others, and sums those up", async () => {
  await using scene = await Scene.start();
  const [watcher, other] = [await scene.connected(), await scene.connected()];
  using reports = watcher.subscribe(["*broker", "topics"]);
  const watching = reports[Symbol.asyncIterator]();
  await watching.next();
  for (let n = 0; n < 9000; n++) {
    other.publish(`t${n}`, {});
    if (n > 4500) other.publish("hot", {});
  }
  await other.flush();
  let all = 0;
  let hot = 0;
  for (;;) {
    const { value } = await watching.next();
    const { topics, other } = value!.message as unknown as Topics;
    assert(topics.length <= 256);
    all += topics.reduce((sum, { messages }) => sum + messages, other.messages);
    hot += topics.find(({ topic }) => topic[0] === "hot")?.messages ?? 0;
    if (all >= 9000 + 4499) break;
  }
  assertEquals([all, hot], [9000 + 4499, 4499]);
});

Deno.test("Broker keeps what it publishes of itself from the catch-all and from broadcasts", async () => {
  await using scene = await Scene.start();
  const [watcher, other] = [await scene.connected(), await scene.connected()];
  const heard: unknown[] = [];
  other.addSubscriber(null, (topic) => heard.push(topic));
  await other.flush();
  await report(watcher, "stats");
  watcher.publish("end");
  await until(() => heard.length > 0);
  assertEquals(heard, [["end"]]);
});

Deno.test("Broker publishes nothing of itself to whom a key does not grant that", async () => {
  await using scene = await Scene.start({
    keys: [
      { name: "ops", key: "k1", subscribe: ["*broker"] },
      { name: "ann", key: "k2", subscribe: ["a"] },
    ],
  });
  const { address } = scene.broker;
  await using ops = new NetPubSub(address, "k1", { keyName: "ops" });
  await using ann = new NetPubSub(address, "k2", { keyName: "ann", onError() {} });
  await Promise.all([ops.connect(), ann.connect()]);
  ann.addSubscriber(["*broker", "stats"], () => {});
  await assertRejects(() => ann.flush(), ForbiddenError);
  const { clients } = await report<Clients>(ops, "clients");
  assertEquals(clients.map(({ keyName }) => keyName).sort(), ["ann", "ops"]);
});

Deno.test("Broker tells of fewer clients where a message may not hold all", async () => {
  await using scene = await Scene.start({ limits: { messageBytes: 1500 } });
  const watcher = await scene.connected();
  for (let n = 0; n < 30; n++) await scene.connected();
  const { clients, total } = await report<Clients>(watcher, "clients");
  assertEquals(total, 31);
  assert(clients.length > 2 && clients.length < 31, `${clients.length}`);
});

Deno.test("Broker stops publishing of itself when nobody listens, and begins anew", async () => {
  await using scene = await Scene.start();
  const watcher = await scene.connected();
  await report(watcher, "stats");
  await watcher.flush();
  await report(watcher, "clients");
});

Deno.test("Broker tells onClient of each client that comes, comes back, and leaves", async () => {
  const events: ClientEvent[] = [];
  await using scene = await Scene.start({
    keys: [{ name: "ann", key: "k" }],
    onClient: (event) => void events.push(event),
    address: "tcp://127.0.0.1:0",
  });
  const ann = new NetPubSub(scene.broker.address, "k", { name: "Ann", keyName: "ann" });
  await ann.connect();
  await ann.disconnect();
  await until(() => events.length === 2);
  const told = { client: 1, name: "Ann", keyName: "ann", address: "127.0.0.1" };
  assertEquals(events, [{ type: "joined", ...told }, { type: "left", ...told }]);
});

Deno.test("BrokerTopics asks many clients, and who gets many topics, in turns with everything else", async () => {
  const EACH = ["stats", "clients", "groups", "topics"];
  let [time, asked, longest, before] = [0, 0, 0, 0];
  const published: string[] = [];
  // Each step takes a turn.
  const background = new Background(new TimeSlice(new Rounds(() => time += 10)));
  const topicCounts = new TopicCounts();
  const pass = () => {
    for (let n = 0; n < 300; n++) topicCounts.count([`${n}`], 1, 1);
  };
  const topics = new BrokerTopics({
    background,
    topicCounts,
    messageBytes: 2 ** 20,
    isWanted: () => true,
    subscribers([first]) {
      if (first !== "*broker") asked++;
      return 1;
    },
    stats: () => ({}) as BrokerReport,
    *clients() {
      for (let client = 1; client <= 5000; client++) {
        asked++;
        yield { client, received: client, delivered: 0, dropped: 0 } as ClientStats;
      }
    },
    *groups() {
      for (let members = 1; members <= 1000; members++) {
        asked++;
        yield { members, waiting: 0, unfinished: 0, topic: [], oldest: 0 } as unknown as GroupStats;
      }
    },
    publish: (path) => published.push(path.at(-1)!),
  });
  topics.watch();
  for (; published.length < 8; before = asked) {
    pass();
    await new Promise((resolve) => setTimeout(resolve));
    longest = Math.max(longest, asked - before);
  }
  assertEquals(published, [...EACH, ...EACH]);
  assert(asked >= 2 * 5000 + 256, `${asked} asked`);
  assert(longest <= 64, `${longest} asked in a turn`);
  topics.end();
  background.end();
});
