import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { writeAll } from "../base/bytes.ts";
import { formatEndpoint } from "../io/address.ts";
import type { Connection } from "../io/connection.ts";
import { dial } from "../io/dial.ts";
import { listen, type Listener } from "../io/listener.ts";
import { Broker, NetPubSub } from "../mod.ts";
import { checkHistory, type Fault, Proxy, randomPlan } from "../testing.ts";
import { until } from "../tools/harness/until.ts";
import { WS, WSS } from "./helpers/transports.ts";

/** A proxy before something that sends back whatever comes. */
class Echo implements AsyncDisposable {
  readonly proxy: Proxy;
  readonly #listener: Listener;
  readonly #serving: Promise<void>;
  readonly #dialled: Connection[] = [];
  readonly #echoes = new Set<Promise<void>>();

  private constructor(listener: Listener, proxy: Proxy) {
    this.#listener = listener;
    this.proxy = proxy;
    this.#serving = this.#serve();
  }

  static async start(faults: readonly Fault[] | "refuse"): Promise<Echo> {
    const listener = await listen(undefined);
    const target = formatEndpoint(listener.endpoint);
    const proxy = new Proxy({ target, plan: () => faults });
    await proxy.start();
    return new Echo(listener, proxy);
  }

  async #serve(): Promise<void> {
    for await (const stream of this.#listener.connections(() => {})) {
      this.#echoes.add(echo(stream));
    }
  }

  /** A connection through the proxy, which goes with this. */
  async dial(): Promise<Connection> {
    const connection = await dial(this.proxy.address, new AbortController().signal);
    this.#dialled.push(connection);
    return connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#dialled) connection.close();
    await this.proxy.close();
    await this.#listener.close();
    await Promise.all([this.#serving, ...this.#echoes]);
  }
}

async function echo(stream: Connection): Promise<void> {
  const bytes = new Uint8Array(1024);
  try {
    for (;;) {
      const count = await stream.read(bytes);
      if (count === null) break;
      for (let at = 0; at < count;) at += await stream.write(bytes.subarray(at, count));
    }
  } catch { // The proxy cut it.
  }
  stream.close();
}

/** How many bytes come before the end. */
async function countBytes(stream: Connection): Promise<number> {
  const bytes = new Uint8Array(1024);
  let total = 0;
  for (;;) {
    const count = await stream.read(bytes).catch(() => null);
    if (count === null) return total;
    total += count;
  }
}

Deno.test("Proxy cuts a connection after exactly so many bytes of a direction", async () => {
  for (const direction of ["up", "down"] as const) {
    await using server = await Echo.start([{ kind: "cut", direction, after: 700 }]);
    const stream = await server.dial();
    const counting = countBytes(stream);
    await writeAll(stream, new Uint8Array(1000)).catch(() => {}); // It may be cut meanwhile.
    const count = await counting;
    assert(direction === "down" ? count === 700 : count <= 700, `${count} bytes ${direction}`);
    assertEquals(server.proxy.stats().cut, 1);
  }
});

Deno.test("Proxy closes half of a connection, and leaves the other", async () => {
  await using server = await Echo.start([{ kind: "half", direction: "up", after: 500 }]);
  const stream = await server.dial();
  await writeAll(stream, new Uint8Array(1000));
  assertEquals(await countBytes(stream), 500, "the echo saw the end, sent all back and closed");
  assertEquals(server.proxy.stats().cut, 0);
});

Deno.test("Proxy freezes a direction without a word, and lets it go on after the time", async () => {
  const freeze: Fault = { kind: "freeze", direction: "down", after: 100, ms: 50 };
  await using server = await Echo.start([freeze]);
  const stream = await server.dial();
  const started = performance.now();
  await writeAll(stream, new Uint8Array(300));
  await stream.closeWrite();
  assertEquals(await countBytes(stream), 300);
  assert(performance.now() - started >= 45);
});

Deno.test("Proxy delays what comes, and keeps its order", async () => {
  await using server = await Echo.start([{ kind: "delay", direction: "up", after: 0, ms: 30 }]);
  const stream = await server.dial();
  const started = performance.now();
  await writeAll(stream, Uint8Array.of(1, 2, 3));
  const bytes = new Uint8Array(3);
  assertEquals([await stream.read(bytes), [...bytes]], [3, [1, 2, 3]]);
  assert(performance.now() - started >= 25);
});

Deno.test("Proxy refuses connections as planned, and for a while when told", async () => {
  await using planned = await Echo.start("refuse");
  const refused = await planned.dial();
  assertEquals(await countBytes(refused), 0);
  assertEquals(planned.proxy.stats().refused, 1);

  await using server = await Echo.start([]);
  server.proxy.refuse(60_000);
  const early = await server.dial();
  assertEquals(await countBytes(early), 0);
  server.proxy.refuse(1);
  await until(() => server.proxy.stats().refused === 1);
});

Deno.test("Proxy cuts and freezes all connections when told", async () => {
  await using server = await Echo.start([]);
  const streams = [await server.dial(), await server.dial()];
  for (const stream of streams) {
    await writeAll(stream, Uint8Array.of(1));
    await stream.read(new Uint8Array(1));
  }
  server.proxy.freeze(60_000);
  await writeAll(streams[0]!, Uint8Array.of(1));
  server.proxy.cut();
  for (const stream of streams) assertEquals(await countBytes(stream), 0);
  assertEquals(server.proxy.stats(), { connections: 2, cut: 2, refused: 0, bytes: 4 });
});

Deno.test("Proxy tells its address once it listens, and closes twice as once", async () => {
  const proxy = new Proxy({ target: "127.0.0.1:1" });
  assertThrows(() => proxy.address, Error, "start()");
  await proxy.start();
  assert(proxy.address.length > 0);
  await Promise.all([proxy.close(), proxy.close()]);
});

Deno.test("randomPlan is the same for the same seed, and keeps to its bounds", () => {
  const options = { bytes: 5000, kinds: ["cut", "freeze", "refuse"] as const, ms: 20 };
  const plans = (seed: number) =>
    Array.from({ length: 200 }, (_, n) => randomPlan(seed, options)(n));
  assertEquals(plans(7), plans(7));
  assertNotEquals(plans(7), plans(8));
  const faults = plans(7).flatMap((plan) => plan === "refuse" ? [] : plan);
  assert(faults.length > 100 && faults.length < 400);
  assert(faults.every(({ after, ms = 0 }) => after < 5000 && ms >= 1 && ms <= 20));
  const early = faults.filter(({ after }) => after < 400).length / faults.length;
  assert(early > 0.15 && early < 0.5, `${early} are early`);
});

const IDS = [1, 2, 3, 4];

function faultsOf(...seen: readonly (readonly [publisher: string, id: number])[]) {
  const sightings = seen.map(([publisher, id]) => ({ publisher, id }));
  const history = { published: { p: IDS, q: [1] }, seen: { s: sightings } };
  return checkHistory(history).faults.map(({ kind, publisher, id }) => `${publisher}${id} ${kind}`);
}

Deno.test("checkHistory finds nothing wrong with all of it in order, however publishers interleave", () => {
  assertEquals(faultsOf(["p", 1], ["q", 1], ["p", 2], ["p", 3], ["p", 4]), []);
});

Deno.test("checkHistory names what was lost", () => {
  assertEquals(faultsOf(["p", 1], ["p", 2], ["p", 4]), ["p3 lost", "q1 lost"]);
});

Deno.test("checkHistory calls what is seen again a repetition, never an inversion", () => {
  const seen = [["p", 1], ["p", 2], ["p", 3], ["p", 2], ["p", 3], ["p", 4], ["q", 1]] as const;
  assertEquals(faultsOf(...seen), ["p2 repeated", "p3 repeated"]);
});

Deno.test("checkHistory names what is first seen after a later one", () => {
  const seen = [["p", 1], ["p", 3], ["p", 2], ["p", 4], ["q", 1]] as const;
  assertEquals(faultsOf(...seen), ["p2 inverted"]);
});

Deno.test("checkHistory names what nobody published", () => {
  const all = IDS.map((id) => ["p", id] as const);
  assertEquals(faultsOf(...all, ["q", 1], ["p", 9], ["x", 1]), ["p9 unknown", "x1 unknown"]);
});

Deno.test("checkHistory counts", () => {
  const seen = { s: [{ publisher: "p", id: 1 }, { publisher: "p", id: 1 }], t: [] };
  const { counts, published, seen: total } = checkHistory({ published: { p: [1, 2] }, seen });
  assertEquals(counts, { lost: 3, repeated: 1, inverted: 0, unknown: 0 });
  assertEquals([published, total], [2, 2]);
});

Deno.test("checkHistory takes any number of faults", () => {
  const ids = Array.from({ length: 300_000 }, (_, id) => id);
  assertEquals(checkHistory({ published: { p: ids }, seen: { s: [] } }).counts.lost, 300_000);
});

for (const { name, broker: options, client } of [WS, WSS]) {
  Deno.test(`Proxy passes WebSockets on at an address like theirs, and breaks them anywhere${name}`, async () => {
    await using broker = new Broker(options);
    await broker.start();
    const cutInHead: Fault = { kind: "cut", direction: "up", after: 10 };
    await using proxy = new Proxy({
      target: broker.address,
      plan: (number) => number === 1 ? [cutInHead] : [],
    });
    await proxy.start();
    const port = /:(\d+)\/bus$/.exec(proxy.address)?.[1];
    assertEquals(proxy.address, broker.address.replace(/:\d+/, `:${port}`));
    assertNotEquals(proxy.address, broker.address);
    await using bus = new NetPubSub(proxy.address, broker.authkey, { ...client, onState() {} });
    await bus.connect();
    proxy.cut();
    bus.publish("t", { n: 1 });
    await bus.flush();
    const { connections, cut } = proxy.stats();
    assertEquals([connections, cut], [3, 2]);
    assertEquals(broker.stats().received, 1);
  });
}
