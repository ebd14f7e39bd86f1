/** What NatsUplink does in any mode. What each mode has to keep is in `conformance/`. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Broker, ForbiddenError } from "../mod.ts";
import { NatsUplink } from "../nats.ts";
import { NatsCluster, NatsServer } from "../tools/harness/nats_server.ts";
import { until } from "../tools/harness/until.ts";
import { Machine, Machines } from "./helpers/machines.ts";
import { connected, natsTest } from "./helpers/nats.ts";

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
      [{ servers: [] }, "Cannot use servers: it is empty"],
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
      "…: its subject in NATS would have 4115 bytes; the limit is 3072",
    );
  },
);

natsTest("Brokers take nothing that is not from a broker of the bus, and go on", async () => {
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

natsTest("Brokers of one bus say so when only one of them uses a stream", async () => {
  await using server = await NatsServer.start({ jetstream: true });
  const servers = server.url;
  const [core, stream] = [
    new Machine({ uplink: { servers } }),
    new Machine({ uplink: { servers, stream: "BUS" } }),
  ];
  await Promise.all([core.broker.start(), stream.broker.start()]);
  await until(() =>
    core.events.some((event) => event.includes("uses the stream BUS, and this one none"))
  );
  await until(() =>
    stream.events.some((event) => event.includes("uses no stream, and this one BUS"))
  );
  await Promise.all([core.stop(), stream.stop()]);
});

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

natsTest("NatsUplink moves to another node when its own says that it goes", async () => {
  await using cluster = await NatsCluster.start(2);
  const { nodes: [first], urls } = cluster;
  await using machines = await Machines.start([
    { uplink: { servers: urls } },
    { uplink: { servers: urls.toReversed() } },
  ]);
  await machines.subscriber("here", 0, [["a"]]);
  const publish = await machines.publisher("there", 1);
  const [moving] = machines.all;
  const before = moving!.uplink.server;
  Deno.kill(first!.pid, "SIGUSR2");
  await until(() => moving!.uplink.server !== before);
  await machines.joined();
  assertEquals(first!.state, "running"); // It has not closed the connection.
  publish(["a"]); // It may be between the nodes, and be lost; then that is told.
  await until(() => machines.seen.here!.length + machines.gaps.here!.length > 0);
  const told = machines.gaps.here!.length > 0 ? machines.missed("here") ?? 1 : 0;
  assertEquals(machines.seen.here!.length + told, 1);
  assertEquals(machines.all.map(({ uplink }) => uplink.disconnects), [1, 0]);
  assertEquals(moving!.events.filter((event) => event.startsWith("warning")), []);
});
