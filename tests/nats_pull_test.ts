/** How a broker reads a stream: so much at a time that no server takes it for too slow. */
import {
  AckPolicy,
  DeliverPolicy,
  type JetStreamManager,
  jetstreamManager,
} from "@nats-io/jetstream";
import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/nats-core";
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
/** How many requests there are at a time, and what each may bring. */
const REQUESTS = 3;
const REQUEST_BYTES = 288 * 1024;
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
      if (index < 300) return 98_250; // Four of them are a little less than a request may bring.
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
  const most = REQUESTS * Math.floor(REQUEST_BYTES / 100_000);
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

/** How NATS says that a message is the nth of a stream, and of a consumer. */
function placeOf(n: unknown): string {
  return `$JS.ACK.S.C.1.${n}.${n}.0.0`;
}

/** A connection whose server is the test. */
class FakeConnection {
  readonly requests: { readonly reply: string; readonly batch: number; readonly bytes?: number }[] =
    [];
  readonly #listeners = new Map<string, (error: Error | null, message: Msg) => void>();
  #delivered = 0;
  readonly #closed = Promise.withResolvers<void>();

  subscribe(
    subject: string,
    { callback }: { callback: (error: Error | null, message: Msg) => void },
  ): { unsubscribe(): void } {
    this.#listeners.set(subject, callback);
    return { unsubscribe: () => this.#listeners.delete(subject) };
  }

  publish(_subject: string, options: string, { reply }: { reply: string }): void {
    const { batch, max_bytes: bytes } = JSON.parse(options);
    this.requests.push({ reply, batch, bytes });
  }

  closed(): Promise<void> {
    return this.#closed.promise;
  }

  isClosed(): boolean {
    return false;
  }

  #tell(reply: string, message: Partial<Msg>): void {
    const subject = reply.replace(/[^.]+$/, "*");
    this.#listeners.get(subject)?.(null, { data: new Uint8Array(0), ...message } as Msg);
  }

  message(reply: string, place = placeOf(++this.#delivered)): void {
    this.#tell(reply, { subject: "s.a", reply: place });
  }

  status(reply: string, code: number, description: string): void {
    this.#tell(reply, { subject: reply, headers: { code, description } as MsgHdrs });
  }
}

function fakePull(): { connection: FakeConnection; pull: Pull } {
  const connection = new FakeConnection();
  const pull = new Pull(connection as unknown as NatsConnection, "S", "C");
  return { connection, pull };
}

Deno.test("Pull makes three requests at a time, also when a server says late that one is over", async () => {
  const { connection, pull } = fakePull();
  const { requests } = connection;
  assertEquals(requests.map(({ bytes }) => bytes), Array(REQUESTS).fill(REQUEST_BYTES));
  for (let round = 0; round < 10; round++) {
    const { reply, batch } = requests.at(-REQUESTS)!;
    for (let n = 0; n < batch; n++) {
      connection.message(reply);
      await pull.next();
    }
    assertEquals(requests.length, REQUESTS + 1 + round, "a request that is over is made again");
    connection.status(reply, 409, "Batch Completed");
    assertEquals(requests.length, REQUESTS + 1 + round, "the one that follows is not over");
  }
  pull.stop();
});

Deno.test("Pull asks again when a request is over, once what it brought is taken", async () => {
  const { connection, pull } = fakePull();
  const { requests } = connection;
  const [first, second] = requests as [typeof requests[number], typeof requests[number]];
  connection.status(first.reply, 408, "Request Timeout");
  assertEquals([requests.length, requests.at(-1)!.bytes], [REQUESTS + 1, REQUEST_BYTES]);
  connection.message(second.reply);
  connection.status(second.reply, 409, "Message Size Exceeds MaxBytes");
  assertEquals(requests.length, REQUESTS + 1);
  await pull.next();
  assertEquals([requests.length, requests.at(-1)!.bytes], [REQUESTS + 2, REQUEST_BYTES]);
  pull.stop();
});

Deno.test("Pull asks for one message of any length when none fits, and for nothing else meanwhile", async () => {
  for (const comes of [true, false]) {
    const { connection, pull } = fakePull();
    const { requests } = connection;
    for (const { reply } of requests.slice()) {
      assertEquals(requests.length, REQUESTS, "the others are under way");
      connection.status(reply, 409, "Message Size Exceeds MaxBytes");
    }
    const long = requests.at(-1)!;
    assertEquals([requests.length, long.batch, long.bytes], [REQUESTS + 1, 1, undefined]);
    if (comes) {
      connection.message(long.reply);
      await pull.next();
    } else connection.status(long.reply, 408, "Request Timeout");
    const further = requests.slice(REQUESTS + 1);
    assertEquals(further.map(({ bytes }) => bytes), Array(REQUESTS).fill(REQUEST_BYTES));
    pull.stop();
  }
});

Deno.test("Pull ends with what a server says else, after what has come, and when something is missing", async () => {
  for (
    const [code, description] of [
      [409, "Consumer Deleted"],
      [409, "Leadership Change"],
      [409, "Exceeded MaxRequestBatch of 1"],
      [400, "Bad Request"],
    ] as const
  ) {
    const { connection, pull } = fakePull();
    const { reply } = connection.requests[0]!;
    connection.message(reply);
    connection.status(reply, code, description);
    assertEquals((await pull.next())?.sequence, 1);
    await assertRejects(() => pull.next(), Error, description);
  }
  const { connection, pull } = fakePull();
  const { reply } = connection.requests[0]!;
  connection.message(reply);
  connection.message(reply, placeOf(3));
  assertEquals((await pull.next())?.sequence, 1);
  assertEquals(await pull.next(), undefined, "2 is read again by somebody else");
});

Deno.test("Pull ends when it cannot tell where a message stands", async () => {
  for (const place of ["", "s.b", placeOf("x"), placeOf(2n ** 53n)]) {
    const { connection, pull } = fakePull();
    connection.message(connection.requests[0]!.reply, place);
    await assertRejects(() => pull.next(), Error, "NATS says that the place of a message is");
  }
  const { connection, pull } = fakePull();
  const long = placeOf(1).replace("S.C", "domain.hash.S.C") + ".random";
  connection.message(connection.requests[0]!.reply, long);
  assertEquals((await pull.next())?.sequence, 1);
  pull.stop();
});
