/** Brokers that are joined through a simulated stream that loses what a cluster may lose. */
import { assert, assertEquals } from "@std/assert";
import { readPacket } from "../nats/packet.ts";
import { JetStreamExchange } from "../nats/jetstream_exchange.ts";
import type { TopicPath } from "../topic.ts";
import { frameOf, type Message, messagesIn } from "./helpers/exchange.ts";
import { type Random, randomOf } from "./helpers/random.ts";

const PREFIX = "mpubsub.test";

interface Stored {
  readonly subject: string;
  readonly bytes: Uint8Array;
}

/** A stream that stores, or does not, and confirms what it stored, or does not. */
class FakeStream {
  readonly stored: Stored[] = [];
  readonly #ids = new Set<string>();
  readonly #random: Random;
  /** In how many of a hundred cases something goes wrong. */
  faults: number;

  constructor(random: Random, faults: number) {
    this.#random = random;
    this.faults = faults;
  }

  async publish(subject: string, bytes: Uint8Array, id: string): Promise<void> {
    const goesWrong = () => this.#random.int(100) < this.faults;
    await Promise.resolve();
    if (goesWrong()) throw new Error("there is no leader");
    if (!this.#ids.has(id)) this.stored.push({ subject, bytes: bytes.slice() });
    this.#ids.add(id);
    for (let n = this.#random.int(4); n > 0; n--) await Promise.resolve();
    if (goesWrong()) throw new Error("the confirmation was lost");
  }
}

/** A broker, which reads all of the stream, or what it wants of it. */
class Node {
  readonly exchange: JetStreamExchange;
  readonly id: string;
  readonly isFiltered: boolean;
  readonly timers: (() => void)[] = [];
  readonly delivered: Message[] = [];
  readonly lost: number[] = [];
  readonly counts = { sent: 0, received: 0, dropped: 0, lost: 0, gaps: 0, invalid: 0 };
  position = 0;

  constructor(index: number, isFiltered: boolean, queueBytes = 2 ** 20) {
    this.id = index.toString(16).padStart(16, "0");
    this.isFiltered = isFiltered;
    this.exchange = new JetStreamExchange({
      id: this.id,
      prefix: PREFIX,
      queueBytes,
      counts: this.counts,
      bus: {
        messageBytes: 2 ** 21,
        want: () => {},
        deliver: () => 0,
        lost: (_path, messages) => this.lost.push(messages),
        room: () => undefined,
      },
      isHere: () => false,
      say: () => {},
      deliver: (frames) => this.delivered.push(...messagesIn(frames)),
      read: () => {},
      later: (callback) => {
        this.timers.push(callback);
        return {
          [Symbol.dispose]: () => this.timers.splice(this.timers.indexOf(callback) >>> 0, 1),
        };
      },
      warn: () => {},
    });
  }

  /** Reads the next packet of the stream; whether there was one. */
  read({ stored }: FakeStream): boolean {
    const next = stored[this.position];
    if (next === undefined) return false;
    this.position++;
    const { subject, bytes } = next;
    const isWanted = this.exchange.wanted().some((pattern) =>
      pattern.endsWith(".>") ? subject.startsWith(pattern.slice(0, -1)) : pattern === subject
    );
    if (this.isFiltered && !isWanted) return true;
    const { header, body } = readPacket(bytes);
    this.exchange.packet(subject, header, body);
    return true;
  }
}

async function settle(): Promise<void> {
  for (let n = 0; n < 8; n++) await Promise.resolve();
}

const TOPICS: readonly TopicPath[] = [["a"], ["a", "b"], ["a", "c"], ["z"], []];

/** Runs a broker with two publishers, and others that read what they want. */
async function simulate(random: Random): Promise<void> {
  const stream = new FakeStream(random, random.pick([0, 5, 20]));
  const sender = new Node(0, false);
  const readers = [[["a"]], [["a", "b"], ["z"]], [[]]].map((wants, index) => {
    const node = new Node(index + 1, random.int(2) === 0);
    for (const path of wants) node.exchange.wants(path, true);
    return node;
  });
  const wire = {
    publish: (subject: string, bytes: Uint8Array, id: string) => stream.publish(subject, bytes, id),
  };
  sender.exchange.connected(wire);
  const publishers = [{}, {}];
  const published: Message[] = [];
  for (let step = 0; step < 300; step++) {
    const kind = random.int(100);
    if (kind < 70) {
      const who = random.int(2);
      const path = random.pick(TOPICS);
      const message = { path, from: `p${who}`, id: published.length };
      published.push(message);
      sender.exchange.take(frameOf(message), publishers[who]!);
    } else if (kind < 85) sender.timers.shift()?.();
    else if (kind < 88) {
      sender.exchange.disconnected();
      await settle();
      sender.exchange.connected(wire);
    } else random.pick(readers).read(stream);
    if (random.int(2) === 0) await settle();
  }
  stream.faults = 0;
  while (sender.exchange.queuedBytes > 0) {
    sender.timers.shift()?.();
    await settle();
  }
  for (const reader of readers) while (reader.read(stream));
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
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 1e9));
  for (let run = 0; run < 200; run++) {
    try {
      await simulate(randomOf(seed + run));
    } catch (error) {
      throw new Error(`seed ${seed + run}: ${error}`, { cause: error });
    }
  }
});

Deno.test("JetStreamExchange goes on without a packet whose broker is gone, and says so", async () => {
  const stream = new FakeStream(randomOf(1), 0);
  const sender = new Node(0, false);
  const reader = new Node(1, false);
  reader.exchange.wants([], true);
  let count = 0;
  sender.exchange.connected({
    // The second is lost, and the sender dies before it sends it again.
    publish: (subject, bytes, id) =>
      ++count === 2 ? Promise.reject(new Error("lost")) : stream.publish(subject, bytes, id),
  });
  for (const [id, path] of [["a"], ["b"], ["c"], ["d"]].entries()) {
    sender.exchange.take(frameOf({ path, from: "p", id }), stream);
  }
  await settle();
  while (reader.read(stream));
  assertEquals(reader.delivered.map(({ id }) => id), [0]);
  assertEquals(reader.timers.length, 1);
  reader.timers.shift()!();
  assertEquals(reader.delivered.map(({ id }) => id), [0, 2]);
  assertEquals(reader.lost, [0]);
  assertEquals(reader.counts.gaps, 1);
});

Deno.test("JetStreamExchange tells for which topics how many messages it dropped", async () => {
  const sender = new Node(0, false, 2 ** 20);
  const reader = new Node(1, false);
  const stream = new FakeStream(randomOf(1), 0);
  reader.exchange.wants(["a"], true);
  const start = performance.now();
  const total = 40;
  for (let id = 0; id < total; id++) {
    const path = [id % 2 === 0 ? "a" : "b"];
    sender.exchange.take(frameOf({ path, from: "p", id }, 60_000), stream);
  }
  const { dropped } = sender.counts;
  assert(dropped > 10);
  sender.exchange.connected({ publish: (...packet) => stream.publish(...packet) });
  assert(sender.exchange.waitingSince! >= start);
  while (sender.exchange.queuedBytes > 0) await settle();
  while (reader.read(stream));
  const told = reader.lost.reduce((sum, messages) => sum + messages, 0);
  const taken = reader.delivered.filter(({ path }) => path[0] === "a").length;
  assert(told > 0 && told < dropped);
  assertEquals(taken + told, total / 2);
});

Deno.test("JetStreamExchange drops a message of several packets whole, and tells of it once", async () => {
  const sender = new Node(0, false, 2 ** 21);
  const reader = new Node(1, false);
  const stream = new FakeStream(randomOf(1), 0);
  reader.exchange.wants(["a"], true);
  for (let id = 0; id < 2; id++) {
    sender.exchange.take(frameOf({ path: ["a"], from: "p", id }, 1_200_000), stream);
  }
  assertEquals(sender.counts.dropped, 1);
  sender.exchange.connected({ publish: (...packet) => stream.publish(...packet) });
  while (sender.exchange.queuedBytes > 0) await settle();
  while (reader.read(stream));
  assertEquals(reader.delivered.map(({ id }) => id), [1]);
  assertEquals(reader.lost, [1]);
});

Deno.test("JetStreamExchange holds no more than it may while many publishers wait for the stream", async () => {
  const queueBytes = 2 ** 20;
  const sender = new Node(0, false, queueBytes);
  const reader = new Node(1, false);
  const stream = new FakeStream(randomOf(1), 0);
  reader.exchange.wants([], true);
  const isBack = Promise.withResolvers<void>();
  sender.exchange.connected({
    publish: async (...packet) => {
      await isBack.promise;
      await stream.publish(...packet);
    },
  });
  const publishers = Array.from({ length: 100 }, () => ({}));
  for (let id = 0; id < 1000; id++) {
    const message = { path: [`${id % 7}`], from: `p${id % 100}`, id };
    sender.exchange.take(frameOf(message, 20_000), publishers[id % 100]!);
    assert(sender.exchange.queuedBytes <= queueBytes);
  }
  isBack.resolve();
  while (sender.exchange.queuedBytes > 0) await settle();
  while (reader.read(stream));
  const told = reader.lost.reduce((sum, messages) => sum + messages, 0);
  assert(told > 0);
  assertEquals(told, sender.counts.dropped);
  assertEquals(reader.delivered.length + told, 1000);
});
