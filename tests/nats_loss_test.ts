/** What becomes of messages between brokers when NATS, or the way to it, fails. */
import { assert, assertEquals } from "@std/assert";
import { Proxy } from "../testing.ts";
import { NatsCluster, NatsServer } from "../tools/nats_server.ts";
import { Machine, Machines } from "./helpers/machines.ts";
import { makeStream, MODES, natsTest } from "./helpers/nats.ts";
import { until } from "./helpers/until.ts";

/** Publishes for so many milliseconds, a few messages at a time. */
async function publishFor(
  ms: number,
  publishers: readonly ((topic: readonly string[]) => void)[],
): Promise<void> {
  const end = performance.now() + ms;
  for (let i = 0; performance.now() < end; i++) {
    for (let n = 0; n < 3; n++) {
      for (const publish of publishers) publish(["a", String((i + n) % 9)]);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Resolves when each subscriber has seen each message once and in order, or was told of it. */
async function complete(machines: Machines, mayMiss: boolean): Promise<void> {
  const total = Object.values(machines.published).reduce((sum, { length }) => sum + length, 0);
  const names = Object.keys(machines.seen);
  const missing = (name: string) => total - machines.seen[name]!.length;
  await until(
    () =>
      names.every((name) =>
        missing(name) === (mayMiss ? machines.missed(name) ?? missing(name) : 0)
      ),
    30_000,
  );
  const faults = machines.faults();
  assertEquals(faults.filter(({ kind }) => kind !== "lost"), []);
  for (const name of names) {
    const lost = faults.filter(({ subscriber }) => subscriber === name).length;
    if (!mayMiss) assertEquals([lost, machines.gaps[name]], [0, []], name);
    else if (lost > 0) assert(machines.gaps[name]!.length > 0, `${name} lost ${lost} in silence`);
  }
}

for (const [mode, stream] of MODES) {
  const promise = stream === undefined ? "lose nothing in silence" : "lose nothing";

  for (
    const [what, disturb] of [
      ["the NATS node of one is killed, and comes back", async ({ nodes: [first] }) => {
        await first!.kill();
        await new Promise((resolve) => setTimeout(resolve, 500));
        await first!.restart();
      }],
      ["all of NATS is started again", async ({ nodes }) => {
        await Promise.all(nodes.map((node) => node.kill()));
        await Promise.all(nodes.map((node) => node.restart()));
      }],
      ["the NATS node of one goes in order, as a lame duck", ({ nodes: [first] }) => {
        Deno.kill(first!.pid, "SIGUSR2");
        return Promise.resolve();
      }],
    ] as readonly [string, (cluster: NatsCluster) => Promise<void>][]
  ) {
    natsTest(`Brokers in ${mode} mode ${promise} when ${what}`, async () => {
      await using cluster = await NatsCluster.start(3, { jetstream: true });
      const { urls } = cluster;
      await using machines = await Machines.start(
        urls.map((url) => ({
          uplink: {
            servers: [url, ...urls.filter((other) => other !== url)],
            ...(stream !== undefined && { stream }),
          },
        })),
      );
      for (const machine of [0, 1, 2]) {
        await machines.subscriber(`all ${machine}`, machine, [null]);
        await machines.subscriber(`some ${machine}`, machine, [["a"]]);
      }
      const publishers = await Promise.all(
        [0, 1, 2].map((machine) => machines.publisher(`publisher ${machine}`, machine)),
      );
      await publishFor(500, publishers);
      await Promise.all([disturb(cluster), publishFor(1200, publishers)]);
      await machines.joined();
      await publishFor(200, publishers);
      await complete(machines, stream === undefined);
    });
  }
}

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

for (const [mode, stream] of MODES) {
  natsTest(
    `Broker.shutdown in ${mode} mode ends at once with the second call when NATS is frozen`,
    async () => {
      await using server = await NatsServer.start({ jetstream: true });
      const uplink = { servers: [server.url, server.url], ...(stream !== undefined && { stream }) };
      await using machines = await Machines.start([{ uplink }, { uplink }]);
      const bob = await machines.subscriber("there", 1, [["a"]]);
      const alice = await machines.all[0]!.client();
      const connecting = new Machine({ uplink });
      server.pause();
      await connecting.broker.start();
      for (let i = 0; i < 100; i++) alice.publish("a", {});
      await alice.flush();
      await Promise.all([alice.disconnect(), bob.disconnect()]);
      assert(machines.all[0]!.uplink.queuedBytes > 0);
      for (const { broker } of [...machines.all, connecting]) {
        const start = performance.now();
        const stopped = broker.shutdown();
        broker.shutdown();
        await stopped;
        assert(performance.now() - start < 2000);
      }
      assertEquals(connecting.events.filter((event) => !event.startsWith("connected")), []);
    },
  );
}

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

natsTest(
  "Brokers in core mode tell exactly how many messages one missed that was cut off",
  async () => {
    await using server = await NatsServer.start();
    await using proxy = new Proxy({
      target: ["127.0.0.1", server.port],
      address: "tcp://127.0.0.1:0",
    });
    await proxy.start();
    await using machines = await Machines.start([
      { uplink: { servers: server.url } },
      { uplink: { servers: proxy.address.replace("tcp:", "nats:") } },
    ]);
    await machines.subscriber("cut off", 1, [["a"]]);
    await machines.subscriber("elsewhere", 1, [["z"]]);
    const publish = await machines.publisher("publisher", 0);
    for (let i = 0; i < 100; i++) publish(["a"]);
    await until(() => machines.seen["cut off"]!.length === 100);
    proxy.refuse(600_000);
    proxy.cut();
    await until(() => machines.all[1]!.uplink.state === "connecting");
    for (let i = 0; i < 250; i++) publish(["a", "b"]);
    await until(() => machines.all[0]!.uplink.sent === 350);
    proxy.refuse(0);
    await until(() => machines.missed("cut off") === 250);
    for (let i = 0; i < 10; i++) publish(["a"]);
    await until(() => machines.seen["cut off"]!.length === 110);
    assertEquals(machines.gaps["cut off"], [{ direction: "in", reason: "cut off", missed: 250 }]);
    assertEquals(machines.gaps.elsewhere, []);
    assertEquals(machines.all[1]!.uplink.lost, 250);
    assertEquals(machines.faults(["cut off"]).filter(({ kind }) => kind !== "lost"), []);
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
