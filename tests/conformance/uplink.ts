/**
 * What brokers keep in each mode, joined through real NATS servers, of which some fail.
 */
import { assert, assertEquals } from "@std/assert";
import type { NatsUplinkOptions } from "../../nats.ts";
import { MessageError, type NetPubSub } from "../../mod.ts";
import { any } from "../../topic.ts";
import { NatsCluster, NatsServer } from "../../tools/harness/nats_server.ts";
import { until } from "../../tools/harness/until.ts";
import { Machine, Machines } from "../helpers/machines.ts";
import { connected, natsTest } from "../helpers/nats.ts";

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

/** Registers the tests that each mode has to pass; `stream` is the name of its stream, if it has one. */
export function testUplink(mode: string, stream?: string): void {
  // Without a stream the servers need not keep any, and a cluster is sooner ready.
  const jetstream = stream !== undefined;
  const options = (servers: string | readonly string[]): NatsUplinkOptions => ({
    servers,
    ...(stream !== undefined && { stream }),
  });

  natsTest(
    `Brokers in ${mode} mode pass each message to each subscriber once, in order`,
    async () => {
      await using server = await NatsServer.start({ jetstream });
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
      await using server = await NatsServer.start({ jetstream });
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

  /** Members of one group at some machines; which numbers each has done. */
  async function workers(
    machines: Machines,
    where: readonly number[],
    work: (id: number) => unknown = () => {},
  ): Promise<{ readonly done: number[][]; readonly buses: readonly NetPubSub[] }> {
    const done: number[][] = machines.all.map(() => []);
    const buses = await Promise.all(where.map(async (machine) => {
      const bus = await machines.all[machine]!.client();
      bus.addSubscriber(["a", any], (_topic, { id }) => {
        done[machine]!.push(id as number);
        return work(id as number);
      }, { group: "workers" });
      await bus.flush();
      return bus;
    }));
    return { done, buses };
  }

  /** Publishes until somebody has done one: the brokers know of the members. */
  async function known(publish: (topic: readonly string[]) => void, done: number[][]) {
    await until(() => {
      if (done.some(({ length }) => length > 0)) return true;
      publish(["a", "first"]);
      return false;
    });
  }

  natsTest(
    `Brokers in ${mode} mode share a message out among the members at its publisher's broker first`,
    async () => {
      await using server = await NatsServer.start({ jetstream });
      const one = { uplink: options(server.url) };
      await using machines = await Machines.start([one, one]);
      const { done } = await workers(machines, [0, 1]);
      await machines.subscriber("all", 1, [["a"]]);
      const publish = await machines.publisher("publisher", 0);
      for (let n = 0; n < 100; n++) publish(["a", "b"]);
      await until(() => machines.seen.all!.length === 100 && done[0]!.length === 100);
      assertEquals(done, [Array.from({ length: 100 }, (_, n) => n + 1), []]);
    },
  );

  natsTest(
    `Brokers in ${mode} mode give a message to one of the brokers that have members, in turn`,
    async () => {
      await using server = await NatsServer.start({ jetstream });
      const one = { uplink: options(server.url) };
      await using machines = await Machines.start([one, one, one]);
      const { done, buses } = await workers(machines, [1, 2]);
      const publish = await machines.publisher("publisher", 0);
      await known(publish, done);
      const early = machines.published.publisher!.length;
      for (let n = 0; n < 100; n++) {
        publish(["a", "b"]);
        await new Promise((resolve) => setTimeout(resolve)); // In a packet of its own.
      }
      const late = () => done.flat().filter((id) => id > early).toSorted((a, b) => a - b);
      await until(() => late().length >= 100);
      assertEquals(late(), Array.from({ length: 100 }, (_, n) => early + n + 1), "each once");
      assert(done[1]!.length > 30 && done[2]!.length > 30, "both have a part");
      // One has none any more: the other gets all.
      await buses[0]!.disconnect();
      const before = done.map(({ length }) => length);
      for (let n = 0; n < 50; n++) publish(["a", "b"]);
      await until(() => done[2]!.length === before[2]! + 50);
      assertEquals(done[1]!.length, before[1]);
      assertEquals(machines.all[0]!.broker.stats().jobs.abandoned, 0);
    },
  );

  natsTest(
    `Brokers in ${mode} mode tell a publisher of what members at another broker do not finish`,
    async () => {
      await using server = await NatsServer.start({ jetstream });
      const one = { uplink: options(server.url) };
      await using machines = await Machines.start([one, one]);
      const { done, buses } = await workers(machines, [1], () => new Promise(() => {}));
      const told: (readonly string[])[] = [];
      const bus = await machines.all[0]!.client({
        onError(error) {
          if (error instanceof MessageError) told.push(error.topic as string[]);
        },
      });
      let id = 0;
      const publish = (topic: readonly string[]) => bus.publish(topic, { id: ++id });
      await known(publish, done);
      for (let n = 0; n < 20; n++) publish(["a", `${n}`]);
      await until(() => machines.all[1]!.broker.stats().jobs.waiting >= 5);
      const shutdown = machines.all[1]!.broker.shutdown();
      const expected = Array.from({ length: 20 }, (_, n) => `${n}`);
      await until(() => {
        const topics = told.map(([, last]) => last);
        return expected.every((n) => topics.includes(n));
      });
      await shutdown;
      // What it does never ends.
      await buses[0]!.disconnect({ signal: AbortSignal.abort() }).catch(() => {});
    },
  );

  natsTest(
    `Brokers in ${mode} mode tell a publisher when a broker is gone that had its messages`,
    async () => {
      await using server = await NatsServer.start({ jetstream });
      const prefix = "mpubsub.default";
      await using machines = await Machines.start([{ uplink: options(server.url) }]);
      await using other = await connected(server.url);
      const told: string[] = [];
      const bus = await machines.all[0]!.client({
        onError: (error) => told.push(`${(error as MessageError).topic} ${error}`),
      });
      // Nobody listens there: that is known at once.
      const said = (from: string, topic: string[]) =>
        JSON.stringify({ from, groups: [{ group: "workers", topic }] });
      await until(() => {
        if (told.length > 0) return true;
        other.connection.publish(`${prefix}.g`, said("eeee", ["c"]));
        bus.publish("c", {});
        return false;
      }, 4000);
      assert(/^c .*no member of/.test(told[0]!), told[0]);
      told.length = 0;
      // This one takes a packet, and is not heard any more.
      let packets = 0;
      other.connection.subscribe(`${prefix}.j.ffff`, {
        callback: (_error, message) => {
          packets++;
          message.respond(Uint8Array.of(1));
        },
      });
      await until(() => {
        if (packets > 0) return true;
        other.connection.publish(`${prefix}.g`, said("ffff", ["a"]));
        bus.publish(["a", "b"], {});
        return false;
      });
      const gone = () => told.filter((one) => /^a,b .*had it is gone/.test(one)).length;
      await until(() => gone() === packets, 15_000);
      // What no broker says is counted, and changes nothing.
      const { invalid } = machines.all[0]!.uplink;
      const wrong = [
        "",
        "{",
        "[]",
        '{"from":1,"groups":[]}',
        '{"from":"ffff","groups":[{"group":"g","topic":[1]}]}',
        '{"from":"ffff","groups":[{"group":"g","topic":["*local"]}, 7]}',
      ];
      for (const bytes of wrong) {
        for (const subject of ["g", `l.${machines.all[0]!.uplink.bus}`]) {
          other.connection.publish(`${prefix}.${subject}`, bytes);
        }
      }
      await until(() => machines.all[0]!.uplink.invalid >= invalid + wrong.length);
    },
  );

  natsTest(
    `Brokers in ${mode} mode bring what matches a topic with any, once, while such topics come and go`,
    async () => {
      await using server = await NatsServer.start({ jetstream });
      const one = { uplink: options(server.url) };
      await using machines = await Machines.start([one, one]);
      const bob = await machines.all[1]!.client();
      const alice = await machines.all[0]!.client();
      const got: string[] = [];
      const listen = (...topic: (string | typeof any)[]) =>
        bob.addSubscriber(topic, (path) => got.push(path.join("/")));
      listen("a", any, "x");
      listen("a", "b", any);
      const early = listen(any, "y");
      listen("end");
      await bob.flush();
      await machines.joined();
      const publish = async () => {
        got.length = 0;
        for (const topic of ["a/b/x", "a/c/x", "a/c", "a/b", "z/y", "z", "z/z", "end"]) {
          alice.publish(topic.split("/"));
        }
        await until(() => got.includes("end"));
        return got.join(" ");
      };
      assertEquals(await publish(), "a/b/x a/b/x a/c/x z/y end");
      early.remove(); // It stood for everything there; the others remain.
      await bob.flush();
      await machines.joined();
      assertEquals(await publish(), "a/b/x a/b/x a/c/x end");
    },
  );

  natsTest(
    `Brokers in ${mode} mode pass hostile and exotic topics and large messages as they are`,
    async () => {
      await using server = await NatsServer.start({ jetstream });
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
      await using server = await NatsServer.start({ jetstream });
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
      await using server = await NatsServer.start({ jetstream });
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
      await using cluster = await NatsCluster.start(3, { jetstream });
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

  natsTest(
    `Brokers in ${mode} mode tell a subscriber of a message that is larger than its broker allows`,
    async () => {
      await using server = await NatsServer.start({ jetstream });
      const uplink = options(server.url);
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
      await until(() => machines.seen.small!.length === 2 && machines.missed("small") === 2);
      assertEquals(machines.all[1]!.uplink.lost, 2);
    },
  );

  natsTest(
    `Brokers in ${mode} mode tell of messages that NATS does not allow, and pass on the others`,
    async () => {
      const config = `authorization { users: [{
      user: u, password: p, permissions: { publish: { deny: ["mpubsub.default.m.secret.>"] } }
    }] }`;
      await using server = await NatsServer.start({ jetstream, config });
      const servers = server.url.replace("//", "//u:p@");
      const one = { uplink: options(servers) };
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

  natsTest(
    `Broker.shutdown in ${mode} mode passes on what its clients said last, and says goodbye`,
    async () => {
      await using server = await NatsServer.start({ jetstream });
      const uplink = options(server.url);
      await using machines = await Machines.start([{ uplink }, { uplink }]);
      await machines.subscriber("there", 1, [["a"]]);
      const publish = await machines.publisher("publisher", 0);
      // A broker takes at most 10 s to end, in which a busy machine passes on many more than these.
      for (let i = 0; i < 500; i++) publish(["a", String(i % 50)]);
      await machines.all[0]!.stop();
      await until(() => machines.seen.there!.length === 500);
      assertEquals(machines.faults(), []);
      await until(() => machines.all[1]!.uplink.brokers === 0);
      assertEquals(machines.gaps.there, []);
    },
  );

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
      await using cluster = await NatsCluster.start(3, { jetstream });
      const { urls } = cluster;
      await using machines = await Machines.start(
        urls.map((url) => ({
          uplink: options([url, ...urls.filter((other) => other !== url)]),
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

  natsTest(
    `Broker.shutdown in ${mode} mode ends at once with the second call when NATS is frozen`,
    async () => {
      await using server = await NatsServer.start({ jetstream });
      const uplink = options([server.url, server.url]);
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
