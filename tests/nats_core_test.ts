/**
 * Brokers that are joined through plain subjects: over a simulated NATS that loses what NATS may lose,
 * and over real servers.
 */
import { assert, assertEquals } from "@std/assert";
import {
  type ControlMessage,
  decodeControlMessage,
  encodeControlMessage,
} from "../nats/control_message.ts";
import { CoreExchange } from "../nats/core_exchange.ts";
import type { Wire } from "../nats/core_wire.ts";
import { Packer } from "../nats/packer.ts";
import { readPacket, sealPacket } from "../nats/packet.ts";
import { patternOf } from "../nats/subject.ts";
import { Proxy } from "../testing.ts";
import { NatsServer } from "../tools/harness/nats_server.ts";
import type { Random } from "../tools/harness/random.ts";
import { until } from "../tools/harness/until.ts";
import type { TopicPath } from "../topic.ts";
import { type SimulatedBroker, testExchange } from "./conformance/exchange.ts";
import { testUplink } from "./conformance/uplink.ts";
import {
  contextOf,
  frameOf,
  Heard,
  type Message,
  PREFIX,
  simulateTimes,
} from "./helpers/exchange.ts";
import { Machine, Machines } from "./helpers/machines.ts";
import { connected, natsTest } from "./helpers/nats.ts";

/** What is waited for this long does not happen here. */
const LONG_MS = 1000;

/** What is on its way to a broker. */
type Parcel = () => void;

/** A server, and the brokers that are connected to it. */
class FakeNats {
  readonly nodes: Node[] = [];

  /** Puts a message on its way to all that subscribe to its subject. */
  publish(from: Node, subject: string, bytes: Uint8Array): void {
    for (const node of this.nodes) {
      if (node === from || !node.isConnected || node.deafTo.has(from)) continue;
      for (const pattern of node.subscriptions) {
        if (matches(pattern, subject)) node.inbox.push(() => node.hear(subject, bytes));
      }
    }
  }
}

function matches(pattern: string, subject: string): boolean {
  if (pattern === subject) return true;
  return pattern.endsWith(".>") && subject.startsWith(pattern.slice(0, -1));
}

/** A broker. */
class Node extends Heard implements SimulatedBroker {
  readonly exchange: CoreExchange;
  readonly id: string;
  readonly subscriptions: string[] = [];
  /** What is on its way to it, and what is on its way from it, in order. */
  inbox: Parcel[] = [];
  outbox: Parcel[] = [];
  #flushes: PromiseWithResolvers<void>[] = [];
  isConnected = false;
  /** Those of whom it hears nothing although both are connected. */
  readonly deafTo = new Set<Node>();
  readonly published = new Map<string, number>();
  readonly wantedByOthers = new Set<string>();
  /** What goes on after a rest. */
  rests: (() => void)[] = [];
  readonly #nats: FakeNats;

  constructor(nats: FakeNats, index: number, queueBytes: number, messageBytes = 1000) {
    super();
    this.#nats = nats;
    this.id = index.toString(16).padStart(16, "0");
    const want = (path: TopicPath, wanted: boolean) => {
      if (wanted) this.wantedByOthers.add(JSON.stringify(path));
      else this.wantedByOthers.delete(JSON.stringify(path));
    };
    this.exchange = new CoreExchange(contextOf(this, {
      id: this.id,
      queueBytes,
      messageBytes,
      want,
      say: (message, to) => this.#say(message, to),
      later: (callback, ms) => {
        if (ms < LONG_MS) this.rests.push(callback);
        return { cancel() {} };
      },
    }));
    nats.nodes.push(this);
  }

  #say(message: ControlMessage, to?: string): void {
    if (!this.isConnected) return;
    const bytes = encodeControlMessage(message);
    const subject = to === undefined ? `${PREFIX}.c` : `${PREFIX}.c.${to}`;
    this.outbox.push(() => this.#nats.publish(this, subject, bytes));
  }

  connect(): void {
    this.isConnected = true;
    this.subscriptions.push(`${PREFIX}.c`, `${PREFIX}.c.${this.id}`);
    const wire: Wire = {
      publish: (subject, bytes) => {
        const copy = bytes.slice();
        this.outbox.push(() => this.#nats.publish(this, subject, copy));
      },
      subscribe: (subject) => {
        let isHere = true;
        this.outbox.push(() => isHere && this.subscriptions.push(subject));
        return {
          unsubscribe: () => {
            isHere = false;
            this.outbox.push(() => {
              const place = this.subscriptions.indexOf(subject);
              if (place >= 0) this.subscriptions.splice(place, 1);
            });
          },
        };
      },
      flush: () => {
        const flush = Promise.withResolvers<void>();
        this.#flushes.push(flush);
        this.outbox.push(() => this.inbox.push(() => flush.resolve()));
        return flush.promise;
      },
    };
    this.beat();
    this.exchange.connected(wire);
  }

  /** Loses the connection, and what was on its way. */
  disconnect(): void {
    this.isConnected = false;
    this.inbox = [];
    this.outbox = [];
    this.subscriptions.length = 0;
    for (const { reject } of this.#flushes.splice(0)) reject(new Error("cut"));
    this.exchange.disconnected();
  }

  beat(): void {
    this.#say({ type: "beat", from: this.id, stream: null, ...this.exchange.beat });
    this.exchange.tick();
  }

  hear(subject: string, bytes: Uint8Array): void {
    if (subject.startsWith(`${PREFIX}.c`)) return this.exchange.hear(decodeControlMessage(bytes));
    const { header, body } = readPacket(bytes);
    this.exchange.packet(header, body);
  }

  wants(path: TopicPath, wants: boolean): void {
    this.exchange.wants(path, wants);
  }

  /** Takes a message, as its broker would: only what others want comes to the exchange. */
  take(message: Message, bytes = 0): void {
    const { path } = message;
    const prefixes = Array.from({ length: path.length + 1 }, (_, n) => path.slice(0, n));
    const isWanted = prefixes.some((prefix) => this.wantedByOthers.has(JSON.stringify(prefix)));
    if (isWanted || path.length === 0) this.exchange.take(frameOf(message, bytes));
  }

  publish(path: TopicPath): void {
    const key = JSON.stringify(path);
    const id = (this.published.get(key) ?? 0) + 1;
    this.published.set(key, id);
    this.take({ path, from: this.id, id });
  }

  /** Moves the first thing on its way, after a rest; whether there was one. */
  step(isOut: boolean): boolean {
    for (const rest of this.rests.splice(0)) rest();
    const parcel = (isOut ? this.outbox : this.inbox).shift();
    parcel?.();
    return parcel !== undefined;
  }
}

/** Lets promises settle, which is how the exchange goes on. */
async function settle(): Promise<void> {
  for (let n = 0; n < 4; n++) await Promise.resolve();
}

/** Moves everything that is on its way, until nothing is; beats in between. */
async function drain(nodes: readonly Node[], beats = 6): Promise<void> {
  for (let n = 0; n < beats; n++) {
    for (const node of nodes) node.beat();
    let moved = true;
    while (moved) {
      moved = false;
      for (const node of nodes) {
        for (const isOut of [true, false]) while (node.step(isOut)) moved = true;
      }
      await settle();
    }
  }
}

const TOPICS: readonly TopicPath[] = [["a"], ["a", "b"], ["a", "c"], ["a", "b", "x"], ["z"], []];

/** Whether what is published to a path is for those who want the other. */
function isBelow(path: TopicPath, wanted: TopicPath): boolean {
  return path.length === 0 || wanted.every((element, i) => path[i] === element);
}

/** Runs brokers, each of which wants one topic all the time and others now and then. */
async function simulate(random: Random, faults: boolean): Promise<void> {
  const nats = new FakeNats();
  const nodes = [0, 1, 2].map((index) => new Node(nats, index, random.pick([2000, 2 ** 20])));
  const steady = nodes.map(() => random.pick(TOPICS.slice(0, 5)));
  for (const [i, node] of nodes.entries()) {
    node.connect();
    node.wants(steady[i]!, true);
  }
  await settle();
  await drain(nodes);
  for (const node of nodes) {
    node.delivered.length = node.lost.length = 0;
  }
  const wants = nodes.map(() => new Set<TopicPath>());
  for (let step = 0; step < 400; step++) {
    const i = random.int(nodes.length);
    const node = nodes[i]!;
    const other = random.pick(nodes);
    const topic = random.pick(TOPICS);
    const kind = random.int(100);
    if (kind < 50) { for (let n = random.int(4); n >= 0; n--) node.publish(topic); }
    else if (kind < 58 && !wants[i]!.has(topic)) {
      wants[i]!.add(topic);
      node.wants(topic, true);
    } else if (kind < 66 && wants[i]!.delete(topic)) node.wants(topic, false);
    else if (kind < 70) node.beat();
    else if (kind < 73 && faults && node.isConnected) node.disconnect();
    else if (kind < 78 && !node.isConnected) node.connect();
    else if (kind < 80 && faults && node !== other) node.deafTo.add(other);
    else if (kind < 84) node.deafTo.delete(other);
    for (let n = random.int(12); n > 0; n--) random.pick(nodes).step(random.int(2) === 0);
    await settle();
  }
  for (const node of nodes) {
    node.deafTo.clear();
    if (!node.isConnected) node.connect();
  }
  await settle();
  await drain(nodes);
  for (const [i, node] of nodes.entries()) check(nodes, node, steady[i]!, faults);
  for (const node of nodes) node.disconnect();
}

/** Holds what a broker heard and was told against what was published. */
function check(nodes: readonly Node[], node: Node, steady: TopicPath, faults: boolean): void {
  const isTold = node.lost.some(({ messages }) => messages === 0);
  assert(!isTold, "nobody was gone: all numbers are known");
  const last = new Map<string, number>();
  for (const { path, from, id } of node.delivered) {
    const key = JSON.stringify([from, path]);
    assert(id > (last.get(key) ?? 0), `${key}: ${id} after ${last.get(key)}`);
    last.set(key, id);
  }
  let published = 0;
  for (const other of nodes) {
    if (other === node) continue;
    for (const [key, count] of other.published) {
      if (isBelow(JSON.parse(key), steady)) published += count;
    }
  }
  const delivered = node.delivered.filter(({ path }) => isBelow(path, steady)).length;
  const lost = node.missed;
  assert(delivered + lost >= published, `${published} published, ${delivered} + ${lost}`);
  if (!faults && node.counts.dropped === 0 && nodes.every(({ counts }) => counts.dropped === 0)) {
    assertEquals([delivered, lost], [published, 0]);
  }
}

for (const faults of [false, true]) {
  const what = faults
    ? "tells of each message that is lost, doubles none and keeps their order"
    : "loses and doubles nothing while interests change";
  Deno.test(`CoreExchange ${what}`, async () => {
    await simulateTimes(150, (random) => simulate(random, faults));
  });
}

testExchange({
  name: "CoreExchange",
  lane: 0,
  join(count, queueBytes, messageBytes) {
    const nats = new FakeNats();
    const brokers = Array.from(
      { length: count },
      (_, index) => new Node(nats, index, queueBytes, messageBytes),
    );
    return { brokers, settle: () => drain(brokers) };
  },
});

testUplink("core");

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
      return subjects.filter((subject) => !/^(mpubsub\.few\.[cgjlr](\.|$)|_INBOX)/.test(subject))
        .sort();
    };
    /** Waits until the server has these subscriptions, and no others. */
    const hears = async (...expected: string[]) => {
      let subjects: string[] = [];
      await until(
        async () => (subjects = await heard()).join() === expected.join(),
        10_000,
        () => `${expected}; there are ${subjects}`,
      );
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

natsTest("No client gives up for what a broker that is none counts", async () => {
  await using server = await NatsServer.start();
  const uplink = { servers: server.url };
  await using machines = await Machines.start([{ uplink }, { uplink }]);
  await machines.subscriber("one", 1, [["a"]]);
  const publish = await machines.publisher("publisher", 0);
  await using nc = await connected(server.url);
  const from = "f".repeat(16);
  const max = Number.MAX_SAFE_INTEGER;
  const say = (message: ControlMessage) =>
    nc.connection.publish("mpubsub.default.c", encodeControlMessage(message));
  say({ type: "beat", from, stream: null, sent: 0, wants: 0 });
  for (let since = 1; since < 4; since++) {
    for (const count of [1, max]) {
      const counts = Array.from({ length: 8 }, (_, id) => [id, count] as const);
      const rest = { isFull: true, part: 0, more: false };
      say({ type: "counts", from, version: 0, since, answer: 1, sent: 0, counts, ...rest });
    }
  }
  const packer = new Packer<{ subject: string }>();
  packer.addAll(frameOf({ path: ["a"], from: "p", id: 1 }), () => ({ subject: "s" }));
  const counts = [{ depth: 1, count: 1 }];
  const packet = new Uint8Array(
    sealPacket(packer.next(true)!, { broker: from, number: 1, counts }),
  );
  new DataView(packet.buffer).setBigUint64(27, 2n ** 60n, true);
  nc.connection.publish("mpubsub.default.m.a._", packet);
  await nc.connection.flush();
  await until(() => machines.all[1]!.uplink.invalid === 1);
  publish(["a"]);
  await until(() => machines.seen.one!.length === 1);
  await until(() => machines.gaps.one!.some(({ missed }) => missed === max));
  assert(machines.gaps.one!.every(({ missed = 0 }) => missed <= max));
  assertEquals(machines.all[1]!.uplink.lost, max);
});
