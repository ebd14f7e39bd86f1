/** How a broker reads a stream: so much at a time that no server takes it for too slow. */
import {
  AckPolicy,
  DeliverPolicy,
  type JetStreamManager,
  jetstreamManager,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Pull } from "../nats/jetstream_pull.ts";
import { Proxy } from "../testing.ts";
import { NatsServer } from "../tools/harness/nats_server.ts";
import { randomOf } from "../tools/harness/random.ts";
import { until } from "../tools/harness/until.ts";
import { Machines } from "./helpers/machines.ts";
import { connected, natsTest } from "./helpers/nats.ts";

natsTest(
  "Brokers in stream mode catch up with a server that lets only 2 MB wait for a client",
  async () => {
    await using server = await NatsServer.start({ jetstream: true, config: "max_pending: 2MB" });
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
    const publish = await machines.publisher("publisher", 0, "x".repeat(250_000));
    publish(["a"]);
    await until(() => machines.seen["cut off"]!.length === 1);
    proxy.refuse(600_000);
    proxy.cut();
    await until(() => machines.all[1]!.uplink.state === "connecting");
    const { disconnects } = machines.all[1]!.uplink;
    for (let n = 2; n <= 200; n++) {
      publish(["a"]);
      if (n % 20 === 0) await until(() => machines.all[0]!.uplink.sent === n);
    }
    proxy.refuse(0);
    await until(() => machines.seen["cut off"]!.length === 200, 30_000);
    assertEquals(machines.all[1]!.uplink.disconnects, disconnects);
    assertEquals(machines.faults(), []);
    assertEquals(machines.gaps["cut off"], []);
  },
);

const STREAM = "PULLED";
/** What the requests of a pull may bring together. */
const AHEAD_BYTES = 1024 * 1024;
const LEAST_PENDING = "max_pending: 2MB";

/** The connections of a test, and a stream that they share. */
interface Stage extends AsyncDisposable {
  readonly server: NatsServer;
  readonly nc: NatsConnection;
  readonly manager: JetStreamManager;
  /** Messages of these lengths, as somebody else stores them. */
  store(lengths: readonly number[]): Promise<void>;
  /** A new consumer of all that is there. */
  pull(): Promise<{ pull: Pull; consumer: string }>;
}

async function start(): Promise<Stage> {
  const server = await NatsServer.start({ jetstream: true, config: LEAST_PENDING });
  const writer = await connected(server.url);
  const reader = await connected(server.url);
  const nc = reader.connection;
  const manager = await jetstreamManager(nc);
  await manager.streams.add({ name: STREAM, subjects: ["pulled.>"] });
  return {
    server,
    nc,
    manager,
    async store(lengths) {
      for (const length of lengths) {
        writer.connection.publish("pulled.a", new Uint8Array(length));
        await writer.connection.flush();
      }
    },
    async pull() {
      const { name: consumer } = await manager.consumers.add(STREAM, {
        name: crypto.randomUUID(),
        deliver_policy: DeliverPolicy.All,
        ack_policy: AckPolicy.None,
        max_deliver: 1,
        mem_storage: true,
      });
      return { pull: new Pull(nc, STREAM, consumer), consumer };
    },
    async [Symbol.asyncDispose]() {
      await writer[Symbol.asyncDispose]();
      await reader[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

natsTest(
  "Pull reads messages of every length in order, over a connection for which 2 MB may wait",
  async () => {
    await using stage = await start();
    const random = randomOf(20261130);
    const lengths = Array.from({ length: 600 }, (_, index) => {
      if (index < 200) return random.int(2) === 0 ? random.int(200) : 262_000 + random.int(300);
      if (index < 300) return 131_000; // Four of them are a little less than a request may bring.
      return random.pick([0, 5000, 500_000, 540_000, 1_000_000]);
    });
    await stage.store(lengths);
    const { pull } = await stage.pull();
    for (const [index, length] of lengths.entries()) {
      const { data, sequence, pending } = (await pull.next())!;
      assertEquals([data.length, sequence, pending], [
        length,
        index + 1,
        lengths.length - index - 1,
      ]);
    }
    await stage.store([7]);
    assertEquals((await pull.next())!.sequence, lengths.length + 1);
    pull.stop();
    assertEquals(await pull.next(), undefined);
    assertEquals([pull.isSilent, stage.nc.isClosed()], [false, false]);
  },
);

natsTest("Pull asks for no more than is taken", async () => {
  await using stage = await start();
  await stage.store(Array(40).fill(100_000));
  const { pull, consumer } = await stage.pull();
  const info = async () => await stage.manager.consumers.info(STREAM, consumer);
  const most = Math.floor(AHEAD_BYTES / 100_000);
  await until(async () => (await info()).delivered.consumer_seq >= most);
  await until(async () => (await info()).num_waiting === 0); // No request is left.
  assertEquals((await info()).delivered.consumer_seq, most);
  for (let n = 0; n < 40; n++) await pull.next();
  assertEquals((await info()).delivered.consumer_seq, 40);
  pull.stop();
});

natsTest(
  "Pull ends when the consumer is gone, when the server is silent, and with its connection",
  async () => {
    await using stage = await start();
    const gone = await stage.pull();
    const rejected = assertRejects(() => gone.pull.next(), Error, "Consumer Deleted");
    await stage.manager.consumers.delete(STREAM, gone.consumer);
    await rejected;
    const silent = await stage.pull();
    stage.server.pause();
    assertEquals(await silent.pull.next(), undefined);
    assert(silent.pull.isSilent);
    stage.server.resume();
    const closed = await stage.pull();
    const ended = closed.pull.next();
    await stage.nc.close();
    assertEquals([await ended, closed.pull.isSilent], [undefined, false]);
  },
);
