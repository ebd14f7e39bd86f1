/** Brokers that are joined through real NATS servers. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Broker, ForbiddenError } from "../mod.ts";
import { DiscardPolicy, jetstreamManager, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { NatsUplink, type NatsUplinkOptions } from "../nats.ts";
import { patternOf } from "../nats/subject.ts";
import { NatsCluster, NatsServer } from "../tools/nats_server.ts";
import { Machine, Machines } from "./helpers/machines.ts";
import { connected, makeStream, MODES, natsTest } from "./helpers/nats.ts";
import { Peer } from "./helpers/peer.ts";
import { until } from "./helpers/until.ts";

for (const [mode, stream] of MODES) {
  const options = (servers: string | readonly string[]): NatsUplinkOptions => ({
    servers,
    ...(stream !== undefined && { stream }),
  });

  natsTest(
    `Brokers in ${mode} mode pass each message to each subscriber once, in order`,
    async () => {
      await using server = await NatsServer.start({ jetstream: true });
      const one = { uplink: options(server.url) };
      await using machines = await Machines.start([one, one, one]);
      for (const machine of [0, 1, 2]) {
        await machines.subscriber(`all ${machine}`, machine, [null]);
        await machines.subscriber(`some ${machine}`, machine, [["a"], ["b", "c"], ["x"]]);
      }
      const publishers = await Promise.all(
        [0, 1, 2].map((machine) => machines.publisher(`publisher ${machine}`, machine)),
      );
      const topics = [["a"], ["a", "b"], ["b", "c"], ["b", "c", "d", "e"], ["x"], ["x", "y"]];
      for (let i = 0; i < 600; i++) for (const publish of publishers) publish(topics[i % 6]!);
      await until(() => Object.values(machines.seen).every(({ length }) => length >= 1800));
      assertEquals(machines.faults(), []);
      for (const { uplink } of machines.all) {
        const { sent, received, lost, gaps, invalid, dropped } = uplink;
        assertEquals({ sent, received }, { sent: 600, received: 1200 });
        assertEquals({ lost, gaps, invalid, dropped }, {
          lost: 0,
          gaps: 0,
          invalid: 0,
          dropped: 0,
        });
      }
    },
  );

  natsTest(
    `Brokers in ${mode} mode pass a broadcast to each subscriber once per subscription`,
    async () => {
      await using server = await NatsServer.start({ jetstream: true });
      const one = { uplink: options(server.url) };
      await using machines = await Machines.start([one, one]);
      await machines.subscriber("two topics", 1, [["a"], ["b", "c"]]);
      await machines.subscriber("here", 0, [["a"]]);
      const publish = await machines.publisher("publisher", 0);
      publish(null);
      publish(["a"]);
      await until(() =>
        machines.seen["two topics"]!.length >= 3 && machines.seen.here!.length >= 2
      );
      assertEquals(machines.seen["two topics"]!.map(({ id }) => id), [1, 1, 2]);
      assertEquals(machines.seen.here!.map(({ id }) => id), [1, 2]);
    },
  );

  natsTest(
    `Brokers in ${mode} mode pass hostile and exotic topics and large messages as they are`,
    async () => {
      await using server = await NatsServer.start({ jetstream: true });
      const one = { uplink: options(server.url) };
      await using machines = await Machines.start([one, one]);
      const bob = await machines.all[1]!.client();
      const alice = await machines.all[0]!.client();
      const elements = [
        ...[
          "a.b",
          "*",
          ">",
          "a b",
          "%",
          "%2E",
          "_",
          "$JS",
          "\0",
          "\r\n",
          "\t",
          "ü",
          "日本",
          "🙂",
          "e\u0301",
        ],
        ...["\u2028", "\u202e", "\u00a0", "*broker?", "x".repeat(255), "🙂".repeat(63)],
      ];
      const paths = [...elements.map((element) => [element]), elements.slice(0, 15)];
      const got: [readonly string[], Uint8Array][] = [];
      bob.addSubscriber(null, (path, { data }) => got.push([path, data as Uint8Array]));
      await bob.flush();
      await machines.joined();
      const sizes = [0, 1, 254, 255, 65_000, 66_000, 200_000, 1_000_000];
      const data = (n: number) => Uint8Array.from({ length: sizes[n % 8]! }, (_, i) => i * (n + 1));
      for (const [n, path] of paths.entries()) alice.publish(path, { data: data(n) });
      await until(() => got.length >= paths.length);
      assertEquals(got.map(([path]) => path), paths);
      for (const [n, [, bytes]] of got.entries()) assertEquals(bytes, data(n));
    },
  );

  natsTest(
    `Brokers in ${mode} mode go on by themselves while NATS is away, and pass on what waited`,
    async () => {
      await using server = await NatsServer.start({ jetstream: true });
      const one = { uplink: options(server.url) };
      await using machines = await Machines.start([one, one]);
      await machines.subscriber("there", 1, [["a"]]);
      await machines.subscriber("here", 0, [["a"]]);
      const publish = await machines.publisher("publisher", 0);
      await server.kill();
      await until(() => machines.all.every(({ uplink }) => uplink.state === "connecting"));
      for (let i = 0; i < 1000; i++) publish(["a", String(i % 7)]);
      await until(() => machines.seen.here!.length === 1000);
      await until(() => machines.all[0]!.uplink.queuedBytes > 0);
      assert(machines.all[0]!.uplink.lag > 0);
      assertEquals(machines.seen.there!.length, 0);
      await server.restart();
      await until(() => machines.seen.there!.length >= 1000);
      assertEquals(machines.faults(), []);
      assertEquals(machines.gaps, { there: [], here: [] });
      await until(() => machines.all[0]!.uplink.queuedBytes === 0);
      assertEquals(machines.all[0]!.uplink.disconnects, 1);
      const kinds = machines.all[0]!.events.map((event) => event.split(":")[0]);
      assertEquals(kinds.filter((kind) => kind !== "unreachable" && kind !== "warning"), [
        ...["connected", "joined", "disconnected", "connected"],
      ]);
    },
  );

  natsTest(
    `Brokers in ${mode} mode tell how many messages were dropped because too many waited`,
    async () => {
      await using server = await NatsServer.start({ jetstream: true });
      const one = { uplink: { ...options(server.url), queueBytes: 2 ** 21 } };
      await using machines = await Machines.start([one, one]);
      await machines.subscriber("there", 1, [["a"]]);
      await machines.subscriber("elsewhere", 1, [["z"]]);
      await machines.subscriber("here", 0, [["a"]]);
      const publish = await machines.publisher("publisher", 0, "x".repeat(1000));
      publish(["a"]);
      await until(() => machines.seen.there!.length === 1);
      await server.kill();
      await until(() => machines.all.every(({ uplink }) => uplink.state === "connecting"));
      for (let i = 0; i < 6000; i++) publish(["a", String(i % 3)]);
      await until(() => machines.seen.here!.length === 6001);
      const { dropped } = machines.all[0]!.uplink;
      assert(dropped > 0);
      await server.restart();
      await until(() => machines.seen.there!.at(-1)?.id === 6001);
      await until(() => machines.missed("there") === dropped);
      assertEquals(machines.seen.there!.length, 6001 - dropped);
      assertEquals(machines.faults(["there"]).filter(({ kind }) => kind !== "lost"), []);
      assertEquals(machines.gaps.there![0], {
        direction: "in",
        reason: "cut off",
        missed: machines.gaps.there![0]!.missed!,
      });
      assertEquals(machines.gaps.elsewhere, []);
    },
  );

  natsTest(
    `Brokers in ${mode} mode pass on everything while interests widen and narrow`,
    async () => {
      await using cluster = await NatsCluster.start(3, { jetstream: true });
      const { urls } = cluster;
      await using machines = await Machines.start(
        urls.map((url) => ({ uplink: options(url) })),
      );
      await machines.subscriber("steady 1", 1, [["a", "b"]]);
      await machines.subscriber("steady 2", 2, [["a", "b"]]);
      const publish = [await machines.publisher("p 0", 0), await machines.publisher("p 1", 1)];
      const changing = await machines.all[1]!.client();
      const noise = () => {};
      let isDone = false;
      const changes = (async () => {
        const topics = [["a"], null, ["a", "b", "c"], ["a", "x"], ["a", "b"]];
        for (let round = 0; !isDone; round++) {
          const topic = topics[round % topics.length]!;
          changing.addSubscriber(topic, noise);
          await changing.flush();
          if (round % 2 === 0) await machines.joined();
          changing.removeSubscriber(topic, noise);
          await changing.flush();
          if (round % 3 === 0) await machines.joined();
        }
        return true;
      })();
      for (let i = 0; i < 400; i++) {
        for (let n = 0; n < 5; n++) for (const one of publish) one(["a", "b", String(n)]);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      isDone = true;
      await changes;
      await until(() => Object.values(machines.seen).every(({ length }) => length >= 4000));
      assertEquals(machines.faults(), []);
      assertEquals(machines.gaps, { "steady 1": [], "steady 2": [] });
      await machines.joined();
      assertEquals(machines.all.map(({ uplink }) => uplink.lost + uplink.gaps), [0, 0, 0]);
    },
  );
}

natsTest(
  "NatsUplink subscribes to the fewest topics that cover what its clients want",
  async () => {
    await using server = await NatsServer.start();
    const one = { uplink: { servers: server.url, bus: "few" } };
    await using machines = await Machines.start([one, one]);
    const client = await machines.all[0]!.client();
    const noise = () => {};
    const heard = async () => {
      const { connections } = await server.monitor("/connz?subs=1") as {
        connections: { subscriptions_list?: string[] }[];
      };
      const subjects = connections.flatMap(({ subscriptions_list }) => subscriptions_list ?? []);
      return subjects.filter((subject) => !/^(mpubsub\.few\.c|_INBOX)/.test(subject)).sort();
    };
    /** Waits until the server has these subscriptions, and no others. */
    const hears = async (...expected: string[]) => {
      const end = performance.now() + 10_000;
      let subjects = await heard();
      while (subjects.join() !== expected.join() && performance.now() < end) {
        subjects = await heard();
      }
      assertEquals(subjects, expected);
    };
    await hears();
    for (const topic of [["a", "b"], ["a", "c"], ["z"], ["a", "b", "c"]]) {
      client.addSubscriber(topic, noise);
    }
    const pattern = (...path: string[]) => patternOf("mpubsub.few", path);
    const three = ["mpubsub.few.b", pattern("a", "b"), pattern("a", "c"), pattern("z")];
    await hears(...three);
    client.addSubscriber("a", noise);
    await hears("mpubsub.few.b", pattern("a"), pattern("z"));
    client.addSubscriber(null, noise);
    await hears("mpubsub.few.b", pattern());
    client.removeSubscriber(null, noise);
    client.removeSubscriber("a", noise);
    await hears(...three);
    client.clearSubscribers();
    await hears();
  },
);

natsTest("Brokers of different buses share one NATS and hear nothing of each other", async () => {
  await using server = await NatsServer.start();
  const uplink = { servers: server.url };
  await using machines = await Machines.start([{ uplink }, { uplink }]);
  await using others = await Machines.start([{ uplink: { ...uplink, bus: "other" } }]);
  await others.subscriber("stranger", 0, [null]);
  await machines.subscriber("friend", 1, [null]);
  const publish = await machines.publisher("publisher", 0);
  publish(["a"]);
  await until(() => machines.seen.friend!.length === 1);
  assertEquals(others.all[0]!.uplink.brokers, 0);
  assertEquals(others.seen.stranger, []);
});

natsTest("NatsUplink refuses options that cannot be", () => {
  const servers = "nats://127.0.0.1:4222";
  for (
    const [options, message] of [
      [{ servers: [] }, "Cannot use no server"],
      [{ servers: "http://127.0.0.1" }, `Cannot use the server "http://127.0.0.1"`],
      [{ servers: "nats://u:secret@127.0.0.1/x" }, `Cannot use the server "nats://…@127.0.0.1/x"`],
      [{ servers: "user:secret@127.0.0.1" }, `Cannot use the server "…@127.0.0.1"`],
      [{ servers: "nats://u:100%@h" }, `Cannot use the server "nats://…@h": write % in a user`],
      [{ servers: ["nats://a@h", "nats://b@h"] }, "they have different users"],
      [{ servers, bus: "a.b" }, `Cannot use "a.b" as the name of a bus`],
      [{ servers, stream: "a.b" }, `Cannot use "a.b" as the name of a stream`],
      [{ servers, queueBytes: 5 }, "Cannot use queueBytes 5"],
    ] as const
  ) {
    assertThrows(() => new NatsUplink(options), Error, message);
  }
  return Promise.resolve();
});

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
        "mpubsub.default.b; give another name, and it is made",
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

natsTest(
  "Brokers tell a subscriber of a message that is larger than its broker allows",
  async () => {
    await using server = await NatsServer.start();
    const uplink = { servers: server.url };
    await using machines = await Machines.start([
      { uplink },
      { uplink, broker: { limits: { messageBytes: 1000 } } },
    ]);
    await machines.subscriber("small", 1, [["a"]]);
    const alice = await machines.all[0]!.client();
    alice.publish("a", { publisher: "alice", id: 1 });
    alice.publish("a", { publisher: "alice", id: 2, data: new Uint8Array(2000) });
    alice.publish("a", { publisher: "alice", id: 3, data: new Uint8Array(1_000_000) });
    alice.publish("a", { publisher: "alice", id: 4 });
    await until(() => machines.seen.small!.length === 2);
    assertEquals(machines.missed("small"), 2);
    assertEquals(machines.all[1]!.uplink.lost, 2);
  },
);

natsTest(
  "Broker refuses a topic that is too long for NATS, and its publisher is told",
  async () => {
    await using server = await NatsServer.start();
    await using machines = await Machines.start([{ uplink: { servers: server.url } }]);
    const errors: unknown[] = [];
    const alice = await machines.all[0]!.client({ onError: (error) => errors.push(error) });
    const long = Array.from({ length: 16 }, () => "x".repeat(255));
    alice.addSubscriber(long, () => {});
    alice.publish(long, {});
    alice.publish(long.slice(0, 11), {});
    await alice.flush();
    await until(() => errors.length > 0);
    assertInstanceOf(errors[0], ForbiddenError);
    assertStringIncludes(
      errors[0].message,
      "…: its subject in NATS would have 4115 bytes, the limit is 3072",
    );
  },
);

natsTest("Brokers take nothing that is not of a broker of the bus, and go on", async () => {
  await using server = await NatsServer.start();
  const uplink = { servers: server.url };
  await using machines = await Machines.start([{ uplink }, { uplink }]);
  await machines.subscriber("one", 1, [null]);
  const publish = await machines.publisher("publisher", 0);
  await using nc = await connected(server.url);
  const garbage = [
    ...["", "{}", "[]", "null", `{"type":"beat","from":"x"}`, "x".repeat(5000)],
    `{"type":"wants","from":"0123456789abcdef","version":1,"base":null,"add":[[0,["", 1]]],` +
    `"remove":[],"part":0,"more":false}`,
  ];
  const hostile = garbage.map((text) => new TextEncoder().encode(text));
  for (let n = 0; n < 64; n++) hostile.push(crypto.getRandomValues(new Uint8Array(n)));
  for (let n = 0; n < 64; n++) {
    const packet = crypto.getRandomValues(new Uint8Array(25 + n));
    packet.set([1, 0], 0);
    packet[24] = 0;
    hostile.push(packet);
  }
  for (const bytes of hostile) {
    for (const subject of ["c", "b", "m.a._", "m._", "m.%._", "m.%2Abroker.stats._"]) {
      nc.connection.publish(`mpubsub.default.${subject}`, bytes);
    }
  }
  await nc.connection.flush();
  publish(["a"]);
  await until(() => machines.seen.one!.length === 1);
  assert(machines.all[1]!.uplink.invalid > 100);
  assertEquals(machines.seen.one, [{ publisher: "publisher", id: 1 }]);
});

natsTest("Broker.shutdown passes on what its clients said last, and says goodbye", async () => {
  for (const stream of [undefined, "BUS"]) {
    await using server = await NatsServer.start({ jetstream: true });
    const uplink = { servers: server.url, ...(stream !== undefined && { stream }) };
    await using machines = await Machines.start([{ uplink }, { uplink }]);
    await machines.subscriber("there", 1, [["a"]]);
    const publish = await machines.publisher("publisher", 0);
    for (let i = 0; i < 5000; i++) publish(["a", String(i % 50)]);
    await machines.all[0]!.stop();
    await until(() => machines.seen.there!.length === 5000);
    assertEquals(machines.faults(), []);
    await until(() => machines.all[1]!.uplink.brokers === 0);
    assertEquals(machines.gaps.there, []);
  }
});

natsTest(
  "Brokers in core mode tell each other of more topics than one message of NATS holds",
  async () => {
    await using server = await NatsServer.start();
    const uplink = { servers: server.url };
    await using machines = await Machines.start([{ uplink }]);
    const client = await machines.all[0]!.client();
    const noise = () => {};
    const long = Array.from({ length: 11 }, () => "x".repeat(230));
    for (let n = 0; n < 1000; n++) client.addSubscriber([String(n), ...long], noise);
    await machines.subscriber("one", 0, [["a"]]);
    const other = new Machine({ uplink });
    await other.broker.start();
    await until(() =>
      machines.all[0]!.uplink.brokers === 1 && machines.all[0]!.uplink.unaware === 0
    );
    const bob = await other.client();
    machines.published.bob = [1];
    bob.publish("a", { publisher: "bob", id: 1 });
    await until(() => machines.seen.one!.length === 1);
    await other.stop();
  },
);

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

natsTest("Brokers of one bus say so when only one of them uses a stream", async () => {
  await using server = await NatsServer.start({ jetstream: true });
  const servers = server.url;
  const [core, stream] = [
    new Machine({ uplink: { servers } }),
    new Machine({ uplink: { servers, stream: "BUS" } }),
  ];
  await Promise.all([core.broker.start(), stream.broker.start()]);
  await until(() =>
    core.events.some((event) => event.includes("uses the stream BUS, this one none"))
  );
  await until(() => stream.events.some((event) => event.includes("uses no stream, this one BUS")));
  await Promise.all([core.stop(), stream.stop()]);
});

for (const [mode, stream] of MODES) {
  natsTest(
    `Brokers in ${mode} mode tell of messages that NATS does not allow, and pass on the others`,
    async () => {
      const config = `authorization { users: [{
      user: u, password: p, permissions: { publish: { deny: ["mpubsub.default.m.secret.>"] } }
    }] }`;
      await using server = await NatsServer.start({ jetstream: true, config });
      const servers = server.url.replace("//", "//u:p@");
      const one = { uplink: { servers, ...(stream !== undefined && { stream }) } };
      await using machines = await Machines.start([one, one]);
      await machines.subscriber("there", 1, [null]);
      const publish = await machines.publisher("publisher", 0);
      for (let i = 0; i < 10; i++) {
        publish(["open"]);
        publish(["secret"]);
      }
      await until(() => machines.seen.there!.length + (machines.missed("there") ?? 0) === 20);
      assertEquals(machines.seen.there!.length, 10);
      assertEquals(machines.faults().filter(({ kind }) => kind !== "lost"), []);
    },
  );
}

natsTest("NatsUplink is for one broker, which it does not leave for another", async () => {
  await using server = await NatsServer.start();
  const uplink = new NatsUplink({ servers: server.url });
  const [first, second] = [new Broker({ uplink }), new Broker({ uplink })];
  await first.start();
  await assertRejects(() => second.start(), Error, "a NatsUplink is for one broker");
  await second.shutdown();
  await until(() => first.stats().uplink!.state === "connected");
  await first.shutdown();
  const small = new Broker({
    uplink: new NatsUplink({ servers: server.url, queueBytes: 2 ** 20 }),
  });
  await assertRejects(() => small.start(), RangeError, "queueBytes is 1048576");
});

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
