/**
 * Brokers that are joined through a stream: a simulated one that loses what a cluster may lose, and
 * those of real servers.
 */
import { DiscardPolicy, jetstreamManager, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { assertEquals, assertRejects } from "@std/assert";
import { setUpStream } from "../nats/jetstream_setup.ts";
import { Packer } from "../nats/packer.ts";
import { sealPacket } from "../nats/packet.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { Proxy } from "../testing.ts";
import { NatsServer } from "../tools/harness/nats_server.ts";
import { Peer } from "../tools/harness/peer.ts";
import { type Random, randomOf } from "../tools/harness/random.ts";
import { until } from "../tools/harness/until.ts";
import type { TopicPath } from "../topic.ts";
import { testExchange } from "./conformance/exchange.ts";
import { testUplink } from "./conformance/uplink.ts";
import { frameOf, type Message, simulateTimes } from "./helpers/exchange.ts";
import { Machine, Machines } from "./helpers/machines.ts";
import { connected, makeStream, natsTest } from "./helpers/nats.ts";
import { drain, FakeStream, Node, settle } from "./helpers/stream_nodes.ts";

const TOPICS: readonly TopicPath[] = [["a"], ["a", "b"], ["a", "c"], ["z"], []];

/** Runs a broker with two publishers, and others that read what they want. */
async function simulate(random: Random): Promise<void> {
  const stream = new FakeStream(random, random.pick([0, 5, 20]));
  const sender = new Node(stream, 0);
  const readers = [[["a"]], [["a", "b"], ["z"]], [[]]].map((wants, index) => {
    const node = new Node(stream, index + 1, { isFiltered: random.int(2) === 0 });
    for (const path of wants) node.wants(path, true);
    return node;
  });
  sender.connect();
  const publishers = [{}, {}];
  const published: Message[] = [];
  for (let step = 0; step < 300; step++) {
    const kind = random.int(100);
    if (kind < 70) {
      const who = random.int(2);
      const path = random.pick(TOPICS);
      const message = { path, from: `p${who}`, id: published.length };
      published.push(message);
      sender.take(message, 0, publishers[who]!);
    } else if (kind < 85) sender.timers.shift()?.();
    else if (kind < 88) {
      sender.disconnect();
      await settle();
      sender.connect();
    } else random.pick(readers).read();
    if (random.int(2) === 0) await settle();
  }
  stream.faults = 0;
  while (sender.exchange.queuedBytes > 0) {
    sender.timers.shift()?.();
    await settle();
  }
  for (const reader of readers) while (reader.read());
  const wanted: readonly ((path: TopicPath) => boolean)[] = [
    (path) => path[0] === "a",
    (path) => path[1] === "b" || path[0] === "z",
    () => true,
  ];
  for (const [i, reader] of readers.entries()) {
    const isWanted = (path: TopicPath) => path.length === 0 || wanted[i]!(path);
    for (const from of ["p0", "p1"]) {
      const ids = (list: readonly Message[]) =>
        list.filter((one) => one.from === from && isWanted(one.path)).map(({ id }) => id);
      assertEquals(ids(reader.delivered), ids(published));
    }
    assertEquals(reader.lost, []);
  }
}

Deno.test("JetStreamExchange loses and doubles nothing, and keeps the order, whatever is sent again", async () => {
  await simulateTimes(200, simulate);
});

Deno.test("JetStreamExchange goes on without a packet whose broker is gone, and says so", async () => {
  const stream = new FakeStream(randomOf(1), 0);
  const sender = new Node(stream, 0);
  const reader = new Node(stream, 1);
  reader.wants([], true);
  let count = 0;
  sender.exchange.connected({
    // The second is lost, and the sender dies before it sends it again.
    publish: (subject, bytes, id) =>
      ++count === 2 ? Promise.reject(new Error("lost")) : stream.publish(subject, bytes, id),
  });
  for (const [id, path] of [["a"], ["b"], ["c"], ["d"]].entries()) {
    sender.take({ path, from: "p", id });
  }
  await settle();
  while (reader.read());
  assertEquals(reader.delivered.map(({ id }) => id), [0]);
  assertEquals(reader.timers.length, 1);
  reader.timers.shift()!();
  assertEquals(reader.delivered.map(({ id }) => id), [0, 2]);
  assertEquals(reader.lost, [{ path: [], messages: 0 }]);
  assertEquals(reader.counts.gaps, 1);
});

testExchange({
  name: "JetStreamExchange",
  lane: 1,
  join(count, queueBytes) {
    const stream = new FakeStream(randomOf(1), 0);
    const brokers = Array.from(
      { length: count },
      (_, index) => new Node(stream, index, { isFiltered: true, queueBytes }),
    );
    return { brokers, settle: () => drain(stream, brokers) };
  },
});

testUplink("stream", "BUS");

natsTest(
  "NatsUplink says so, and goes on trying, when the stream keeps something else",
  async () => {
    await using server = await NatsServer.start({ jetstream: true });
    await makeStream(server.url, "OTHER", ["orders.>"]);
    const machine = new Machine({ uplink: { servers: server.url, stream: "OTHER" } });
    await machine.broker.start();
    await until(() => machine.events.some((event) => event.startsWith("warning")));
    assertEquals(
      machine.events.find((event) => event.startsWith("warning")),
      "warning: The stream OTHER cannot be used now: it does not keep mpubsub.default.m.> and " +
        "mpubsub.default.b; give the name of another stream, or of a new one",
    );
    await machine.stop();
  },
);

natsTest("NatsUplink makes the stream with the limits that are documented", async () => {
  await using server = await NatsServer.start({ jetstream: true });
  await using machines = await Machines.start([{
    uplink: { servers: server.url, stream: "MADE" },
  }]);
  await machines.subscriber("one", 0, [["a"]]);
  await using nc = await connected(server.url);
  const { config } = await (await jetstreamManager(nc.connection)).streams.info("MADE");
  const { subjects, max_age, max_bytes, num_replicas, storage, discard, retention } = config;
  assertEquals({ subjects, max_age, max_bytes, num_replicas, storage, discard, retention }, {
    subjects: ["mpubsub.default.m.>", "mpubsub.default.b"],
    max_age: 24 * 3600 * 1e9,
    max_bytes: 2 ** 30,
    num_replicas: 1,
    storage: StorageType.File,
    discard: DiscardPolicy.Old,
    retention: RetentionPolicy.Limits,
  });
});

natsTest("Brokers in stream mode make the stream anew when it is deleted, and say so", async () => {
  await using server = await NatsServer.start({ jetstream: true });
  const one = { uplink: { servers: server.url, stream: "BUS" } };
  await using machines = await Machines.start([one, one]);
  await machines.subscriber("there", 1, [["a"]]);
  const publish = await machines.publisher("publisher", 0);
  publish(["a"]);
  await until(() => machines.seen.there!.length === 1);
  await using nc = await connected(server.url);
  await (await jetstreamManager(nc.connection)).streams.delete("BUS");
  publish(["a"]);
  await until(() => machines.seen.there!.length === 2);
  assertEquals(machines.faults(), []);
  assertEquals(machines.gaps.there, [{ direction: "in", reason: "cut off" }]);
});

natsTest(
  "Brokers in stream mode say so when the stream no longer has what one missed",
  async () => {
    await using server = await NatsServer.start({ jetstream: true });
    await using proxy = new Proxy({
      target: ["127.0.0.1", server.port],
      address: "tcp://127.0.0.1:0",
    });
    await proxy.start();
    const prefix = "mpubsub.default";
    await makeStream(server.url, "SMALL", [`${prefix}.m.>`, `${prefix}.b`], { max_msgs: 20 });
    await using machines = await Machines.start([
      { uplink: { servers: server.url, stream: "SMALL" } },
      { uplink: { servers: proxy.address.replace("tcp:", "nats:"), stream: "SMALL" } },
    ]);
    await machines.subscriber("cut off", 1, [["a"]]);
    const publish = await machines.publisher("publisher", 0);
    publish(["a"]);
    await until(() => machines.seen["cut off"]!.length === 1);
    proxy.refuse(600_000);
    proxy.cut();
    await until(() => machines.all[1]!.uplink.state === "connecting");
    for (let i = 0; i < 100; i++) publish(["a", String(i)]);
    await until(() => machines.all[0]!.uplink.sent === 101);
    proxy.refuse(0);
    await until(() => machines.seen["cut off"]!.at(-1)?.id === 101);
    assertEquals(machines.seen["cut off"]!.length, 21);
    assertEquals(machines.gaps["cut off"], [{ direction: "in", reason: "cut off" }]);
    assertEquals(machines.all[1]!.uplink.gaps, 1);
    assertEquals(machines.faults().filter(({ kind }) => kind !== "lost"), []);
  },
);

natsTest("Brokers in stream mode catch up exactly when one was cut off", async () => {
  await using server = await NatsServer.start({ jetstream: true });
  await using proxy = new Proxy({
    target: ["127.0.0.1", server.port],
    address: "tcp://127.0.0.1:0",
  });
  await proxy.start();
  await using machines = await Machines.start([
    { uplink: { servers: server.url, stream: "BUS" } },
    { uplink: { servers: proxy.address.replace("tcp:", "nats:"), stream: "BUS" } },
  ]);
  await machines.subscriber("cut off", 1, [["a"]]);
  const publish = await machines.publisher("publisher", 0);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 100; i++) publish(["a"]);
    await until(() => machines.seen["cut off"]!.length >= 350 * round + 100);
    proxy.refuse(600_000);
    proxy.cut();
    await until(() => machines.all[1]!.uplink.state === "connecting");
    for (let i = 0; i < 250; i++) publish(["a", String(i)]);
    await until(() => machines.all[0]!.uplink.sent === 350 * (round + 1));
    proxy.refuse(0);
  }
  await until(() => machines.seen["cut off"]!.length >= 1050);
  assertEquals(machines.faults(), []);
  assertEquals(machines.gaps["cut off"], []);
});

/** A packet that no broker sends, as it would come to a broker that reads a stream. */
function poison(change: (view: DataView) => void, before: Uint8Array[] = []): Uint8Array {
  const packer = new Packer<{ subject: string }>();
  packer.addAll(frameOf({ path: ["a"], from: "p", id: 1 }), () => ({ subject: "s" }));
  const counts = [{ depth: 1, count: 1 }];
  const seal = { broker: "f".repeat(16), lane: 1, number: 1, counts, before };
  const bytes = new Uint8Array(sealPacket(packer.next(true)!, seal));
  change(new DataView(bytes.buffer));
  return bytes;
}

const POISON: readonly Uint8Array[] = [
  poison(
    (view) => view.setBigUint64(12, 2n ** 53n + 100n, true),
    Array.from({ length: 15 }, () => encodeTopic(["z"])),
  ),
  poison((view) => view.setBigUint64(12, 2n ** 53n + 100n, true)),
  poison((view) => view.setBigUint64(12, 2n ** 60n, true)),
  poison((view) => view.setBigUint64(12, 2n ** 64n - 1n, true)),
  poison((view) => view.setBigUint64(27, 2n ** 60n, true)),
  poison((view) => view.setUint32(20, 2 ** 32 - 1, true)),
  poison((view) => view.setUint8(24, 255)),
  poison((view) => view.setUint8(25, 255)),
  poison((view) => view.setUint8(1, 255)),
  new Uint8Array(0),
  new Uint8Array(100).fill(255),
];

natsTest(
  "Brokers in stream mode pass over what they cannot read, count it, and go on, whenever they read it",
  async () => {
    await using server = await NatsServer.start({ jetstream: true });
    await using proxy = new Proxy({
      target: ["127.0.0.1", server.port],
      address: "tcp://127.0.0.1:0",
    });
    await proxy.start();
    await using machines = await Machines.start([
      { uplink: { servers: server.url, stream: "BUS" } },
      { uplink: { servers: proxy.address.replace("tcp:", "nats:"), stream: "BUS" } },
    ]);
    await machines.subscriber("here", 0, [["a"]]);
    await machines.subscriber("cut off", 1, [["a"]]);
    const publish = await machines.publisher("publisher", 0);
    proxy.refuse(600_000);
    proxy.cut();
    await until(() => machines.all[1]!.uplink.state === "connecting");
    await using nc = await connected(server.url);
    for (const bytes of POISON) nc.connection.publish("mpubsub.default.m.a._", bytes);
    await nc.connection.flush();
    publish(["a"]);
    await until(() => machines.all[0]!.uplink.invalid === POISON.length);
    proxy.refuse(0);
    await until(() => machines.seen["cut off"]!.length === 1);
    assertEquals(machines.all[1]!.uplink.invalid, POISON.length);
    const restarted = new Machine({ uplink: { servers: server.url, stream: "BUS" } });
    await restarted.broker.start();
    await until(() => restarted.uplink.brokers === 2);
    await restarted.stop();
    publish(["a"]);
    await until(() => Object.values(machines.seen).every(({ length }) => length === 2));
    assertEquals(machines.faults(), []);
  },
);

natsTest("A client that reads nothing does not hold up the others of its broker", async () => {
  await using server = await NatsServer.start({ jetstream: true });
  const uplink = { servers: server.url, stream: "BUS" };
  const limits = { queueBytes: 2 ** 21 };
  await using machines = await Machines.start([{ uplink }, { uplink, broker: { limits } }]);
  await machines.subscriber("quick", 1, [["a"]]);
  await using _stuck = await Peer.open(machines.all[1]!.broker, [["a"]]);
  const alice = await machines.all[0]!.client();
  for (let id = 1; id <= 200; id++) {
    alice.publish("a", { publisher: "alice", id, data: new Uint8Array(100_000) });
    if (id % 50 === 0) await alice.flush();
  }
  await until(() => machines.seen.quick!.length === 200);
  assertEquals(machines.gaps.quick, []);
});

natsTest(
  "setUpStream makes a stream once although several brokers do it at the same moment",
  async () => {
    await using server = await NatsServer.start({ jetstream: true });
    await using stack = new AsyncDisposableStack();
    const clients = await Promise.all(Array.from({ length: 6 }, () => connected(server.url)));
    for (const client of clients) stack.use(client);
    const manager = await jetstreamManager(clients[0]!.connection);
    for (let round = 0; round < 100; round++) {
      if (round > 0) await manager.streams.delete("BUS");
      await Promise.all(clients.map(({ connection }) => setUpStream(connection, "BUS", ["bus.>"])));
    }
    const taken = setUpStream(clients[0]!.connection, "OTHER", ["bus.a"]);
    await assertRejects(() => taken, Error, "overlap");
  },
);
