/**
 * What a broker counts as memory, beside what its process takes, and who loses when that is too much.
 */
import { assert, assertEquals } from "@std/assert";
import { concat, writeAll } from "../base/bytes.ts";
import { fromBase64 } from "../base/base64.ts";
import { Broker, type BrokerOptions, createTicket } from "../broker.ts";
import { encodeFrame, FrameType, Reason } from "../protocol/frame.ts";
import { decodeGoodbye } from "../protocol/frame_bodies.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { Peer, type Reachable } from "../tools/harness/peer.ts";
import { type BrokerFigures, MeasuredBroker, mib } from "../tools/harness/processes.ts";
import { until } from "../tools/harness/until.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
/** Neither what is counted with the base, nor what is resident, is larger than the other by more. */
const FACTOR = 1.5;

function messageTo(topic: string, bytes: number): Uint8Array {
  return encodeFrame(FrameType.PUBLISH, encodeTopic([topic]), new Uint8Array(bytes));
}

/** Clients with raw connections, which end with the test. */
class Clients implements AsyncDisposable {
  readonly #broker: Reachable;
  readonly #stack = new AsyncDisposableStack();

  constructor(broker: Reachable) {
    this.#broker = broker;
  }

  async open(
    topics: readonly string[][] = [],
    key: string | Uint8Array = this.#broker.authkey,
    name = "",
  ): Promise<Peer> {
    const peer = this.#stack.use(await Peer.authenticate(this.#broker, key, name));
    await peer.sendOpen(topics);
    return peer;
  }

  /** One with a ticket of the broker's key, narrowed to so many topics. */
  async openWithTicket(who: string, topics: number): Promise<Peer> {
    const subscribe = Array.from({ length: topics }, (_, n) => [`${n}`, who]);
    const { keyName, authkey } = await createTicket(this.#broker.authkey, {
      name: "",
      for: who,
      narrow: { subscribe },
      expireIn: 3_600_000,
    });
    return await this.open([], fromBase64(authkey), keyName);
  }

  async many(count: number, topics: readonly string[][] = []): Promise<Peer[]> {
    const peers: Peer[] = [];
    while (peers.length < count) peers.push(await this.open(topics));
    return peers;
  }

  /** A client publishes all that, and has it acknowledged. */
  async publish(messages: number, bytes: Uint8Array): Promise<void> {
    const publisher = await this.open();
    for (let n = 0; n < messages; n++) await writeAll(publisher.conn, bytes);
    await flushed(publisher);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** A broker in a process of its own, what it holds, and its clients. */
class Measured implements AsyncDisposable {
  readonly clients: Clients;
  readonly #broker: MeasuredBroker;
  readonly #next: () => Promise<BrokerFigures>;

  private constructor(
    { broker, ...reachable }: Reachable & { readonly broker: MeasuredBroker },
    next: () => Promise<BrokerFigures>,
  ) {
    this.clients = new Clients(reachable);
    this.#broker = broker;
    this.#next = next;
  }

  static async start(): Promise<Measured> {
    let latest = Promise.withResolvers<BrokerFigures>();
    const module = new URL("helpers/measured_broker.ts", import.meta.url).href;
    const started = await MeasuredBroker.start(module, { address: "tcp://127.0.0.1:0" }, {
      onFigures: (figures) => {
        latest.resolve(figures);
        latest = Promise.withResolvers();
      },
      flags: ["--v8-flags=--max-semi-space-size=1,--expose-gc"],
    });
    await latest.promise; // It listens to signals now.
    return new Measured(started, () => latest.promise);
  }

  /** What it holds, without garbage. */
  async figures(): Promise<BrokerFigures> {
    this.#broker.collect();
    await this.#next();
    return await this.#next();
  }

  /** What it holds when it has taken all, and gives nothing back. */
  async settled(): Promise<BrokerFigures> {
    let now = await this.figures(), before: typeof now;
    do [before, now] = [now, await this.figures()]; while (
      now.stats.memoryBytes !== before.stats.memoryBytes || now.rss < before.rss
    );
    return now;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.clients[Symbol.asyncDispose]();
    await this.#broker[Symbol.asyncDispose]();
  }
}

/** Resolves when the broker has taken all that a client has sent. */
async function flushed(peer: Peer): Promise<void> {
  await peer.send(FrameType.ASK);
  await peer.expect(FrameType.ACK);
}

/** All but the last bytes of a message. */
function halfOf(bytes: number): Uint8Array {
  return messageTo("half", bytes).subarray(0, -1);
}

/** What is held by the clients of a broker. */
const HELD: Record<string, (clients: Clients) => Promise<unknown>> = {
  "slices that 150 queues share": async (clients) => {
    await clients.many(150, [["a"]]);
    await clients.publish(960, messageTo("a", 64 * KIB));
  },
  "slices that are a quarter of the read buffer that they keep": async (clients) => {
    await clients.many(2, [["a"]]);
    const parts = [messageTo("a", 66 * KIB), messageTo("nobody", 190 * KIB)];
    const publisher = await clients.open();
    for (let n = 0; n < 1200; n++) await writeAll(publisher.conn, parts[n % 2]!);
    await flushed(publisher);
  },
  "small messages, each copied into six queues": async (clients) => {
    await clients.many(6, [["a"]]);
    const many = concat(
      ...Array.from({ length: 10_000 }, (_, n) => messageTo(n % 2 ? "a" : "nobody", 40)),
    );
    await clients.publish(80, many);
  },
  "messages of which the last byte does not come": async (clients) => {
    for (const peer of await clients.many(150)) await writeAll(peer.conn, halfOf(MIB));
  },
  "long topics, each client its own": async (clients) => {
    for (let n = 0; n < 50; n++) {
      const topics = Array.from(
        { length: 500 },
        (_, i) => Array.from({ length: 16 }, (_, depth) => `${n}-${i}-${depth}`),
      );
      await clients.open(topics);
    }
  },
};

Deno.test("Broker counts as much memory as it takes", async (t) => {
  for (const [what, hold] of Object.entries(HELD)) await t.step(what, () => compare(hold));
});

async function compare(hold: (clients: Clients) => Promise<unknown>): Promise<void> {
  await using measured = await Measured.start();
  const base = (await measured.figures()).rss;
  await hold(measured.clients);
  const { rss, stats: { memoryBytes } } = await measured.settled();
  const counted = base + memoryBytes;
  const text = `${mib(base)} and ${mib(memoryBytes)} counted, ${mib(rss)} resident`;
  assert(memoryBytes > base, text);
  assert(rss <= FACTOR * counted && counted <= FACTOR * rss, text);
}

Deno.test("Broker counts what it keeps of tickets as memory, and gives that back", async () => {
  await using measured = await Measured.start();
  const before = await measured.settled();
  const { clients } = measured;
  const peers: Peer[] = [];
  for (let n = 0; n < 1000; n++) peers.push(await clients.openWithTicket(`${n}`, 60));
  const after = await measured.settled();
  const counted = after.stats.memoryBytes - before.stats.memoryBytes;
  const heap = after.heap - before.heap;
  const text = `${mib(counted)} counted, ${mib(heap)} in the heap`;
  assert(heap <= FACTOR * counted && counted <= FACTOR * heap, text);
  for (const peer of peers) await peer.send(FrameType.GOODBYE, Uint8Array.of(Reason.DONE));
  await until(async () => (await measured.figures()).stats.sessions === 0);
  assertEquals((await measured.settled()).stats.memoryBytes, before.stats.memoryBytes);
});

const KEYS = [
  { name: "greedy", key: "greedy key", publish: [null], subscribe: [null] },
  { name: "modest", key: "modest key", publish: [null], subscribe: [null] },
];

async function withBroker(
  options: BrokerOptions,
  use: (broker: Broker, clients: Clients) => Promise<void>,
): Promise<void> {
  await using broker = new Broker({ keys: KEYS, onError() {}, ...options });
  await broker.start();
  await using clients = new Clients(broker);
  await use(broker, clients);
}

Deno.test("Broker ends who has half sent most when its memory is full, and another key loses nothing", async () => {
  await withBroker({ memory: 16 * MIB }, async (broker, clients) => {
    await clients.open([["a"]], "modest key", "modest");
    const publisher = await clients.open([], "modest key", "modest");
    for (let n = 0; n < 60; n++) await writeAll(publisher.conn, messageTo("a", 64 * KIB));
    await writeAll(publisher.conn, halfOf(MIB));
    const greedy: Peer[] = [];
    for (let n = 0; n < 30; n++) {
      const peer = await clients.open([], "greedy key", "greedy");
      greedy.push(peer);
      await writeAll(peer.conn, halfOf(MIB)).catch(() => {});
      assert(broker.stats().memoryBytes <= 18 * MIB, mib(broker.stats().memoryBytes));
    }
    await until(() => broker.stats().memoryBytes <= 16 * MIB);
    const { cutOff, dropped, queuedBytes } = broker.stats();
    assert(cutOff >= 10 && dropped === 0 && queuedBytes > 60 * 64 * KIB);
    const told = await Promise.any(greedy.map((peer) => peer.expect(FrameType.GOODBYE)));
    assertEquals(decodeGoodbye(told).reason, Reason.CUT_OFF);
    await writeAll(publisher.conn, new Uint8Array(1));
    await flushed(publisher); // Its half of a message is whole now.
  });
});

Deno.test("Broker ends a client whose topics take more memory than they may, and takes as much as that", async () => {
  const topics = Array.from({ length: 4 }, (_, n) => [`${n}`]); // Each takes 340 + 431 bytes.
  await withBroker({ limits: { subscriptionBytes: 4 * 771 } }, async (broker, clients) => {
    const peer = await clients.open(topics);
    await peer.send(FrameType.SUBSCRIBE, encodeTopic(["1"]));
    await flushed(peer);
    await peer.send(FrameType.SUBSCRIBE, encodeTopic(["a"]));
    const { reason, text } = decodeGoodbye(await peer.expect(FrameType.GOODBYE));
    assertEquals([reason, text], [
      Reason.TOO_MANY_SUBSCRIPTIONS,
      "Cannot subscribe: the limit is 3084 bytes of memory for all topics",
    ]);
    await using other = await Peer.authenticate(broker);
    await other.sendOpen([...topics, ["a"]]).then(
      () => assert(false),
      () => {}, // It gets a GOODBYE in place of OPENED.
    );
    await until(() => broker.stats().endings.subscriptions === 2);
  });
});

Deno.test("Broker forgets whose topics fill its memory, and what they took", async () => {
  await withBroker({ memory: 4 * MIB }, async (broker, clients) => {
    await clients.open([["a"]], "modest key", "modest");
    await clients.publish(8, messageTo("a", 100 * KIB));
    for (let n = 0; n < 4; n++) {
      const topics = Array.from({ length: 1000 }, (_, i) => [`${n}`, `${i}`]);
      await clients.open(topics, "greedy key", "greedy").catch(() => {});
    }
    await until(() => broker.stats().memoryBytes <= 4 * MIB);
    const { dropped, cutOff, sessions, queuedBytes } = broker.stats();
    assert(dropped === 0 && queuedBytes > 800 * KIB && cutOff > 0, "modest loses nothing");
    assert(sessions < 6, `${sessions} sessions`);
  });
});
