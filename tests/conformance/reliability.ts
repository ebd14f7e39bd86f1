/** The contract of the README, line by line: what is promised of messages, and what is told. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { delay } from "@std/async/delay";
import { formatEndpoint } from "../../io/address.ts";
import { listenAll } from "../../io/listener.ts";
import {
  BacklogError,
  Broker,
  type BrokerOptions,
  ConnectionLostError,
  type Gap,
  MessageError,
  NetPubSub,
  type NetPubSubOptions,
} from "../../mod.ts";
import { authenticateClient } from "../../protocol/authenticate.ts";
import { FrameType, Reason } from "../../protocol/frame.ts";
import {
  clientFrameLimits,
  decodeGoodbye,
  encodeOpened,
  Resumption,
} from "../../protocol/frame_bodies.ts";
import { Link } from "../../protocol/link.ts";
import { checkHistory, type Plan, Proxy, randomPlan, type Sighting } from "../../testing.ts";
import { withFreePort, withOtherPorts } from "../../tools/harness/free_ports.ts";
import { Peer } from "../../tools/harness/peer.ts";
import { until } from "../../tools/harness/until.ts";
import { TempFolder } from "../helpers/folder.ts";
import { Scene, take } from "../helpers/scene.ts";
import { type Transport, USUAL } from "../helpers/transports.ts";

/** What passes through a proxy, for clients whose connections are to break. */
class Fragile implements AsyncDisposable {
  readonly #on: Transport;
  readonly scene: Scene;
  readonly proxy: Proxy;
  readonly #clients: NetPubSub[] = [];

  private constructor(on: Transport, scene: Scene, proxy: Proxy) {
    this.#on = on;
    this.scene = scene;
    this.proxy = proxy;
  }

  static async start(on: Transport, options: BrokerOptions, plan?: Plan): Promise<Fragile> {
    const scene = await Scene.start({ ...on.broker, ...options }, on.client);
    const proxy = new Proxy({ target: scene.broker.address, ...(plan && { plan }) });
    await proxy.start();
    return new Fragile(on, scene, proxy);
  }

  get broker(): Broker {
    return this.scene.broker;
  }

  /** A client whose connections go through the proxy; the first may break as well. */
  async connected(options: NetPubSubOptions = {}): Promise<NetPubSub> {
    const all = { ...this.#on.client, ...options };
    const client = new NetPubSub(this.proxy.address, this.broker.authkey, all);
    this.#clients.push(client);
    while (client.state !== "connected") await client.connect().catch(() => {});
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const now = { signal: AbortSignal.abort(new Error("the test is over")) };
    // Whatever is still pending has been looked at.
    await Promise.allSettled(this.#clients.map((client) => client.disconnect(now)));
    await this.proxy.close();
    await this.scene[Symbol.asyncDispose]();
  }
}

/** An address at which one broker follows another; clients of theirs outlive the first. */
class Place implements AsyncDisposable {
  readonly #folder: TempFolder;
  readonly #on: Transport;
  #address: string;
  readonly #brokers: Broker[] = [];
  readonly #clients: NetPubSub[] = [];

  private constructor(on: Transport, folder: TempFolder) {
    this.#on = on;
    this.#folder = folder;
    const { address = `unix://${folder.path}/bus.sock` } = on.broker;
    this.#address = String(address);
  }

  static async make(on: Transport): Promise<Place> {
    return new Place(on, await TempFolder.make());
  }

  async broker(options: BrokerOptions = {}): Promise<Broker> {
    const { tls } = this.#on.broker;
    const broker = await withOtherPorts(async () => {
      const address = withFreePort(this.#address);
      const broker = new Broker({ address, authkey: "k", tls, ...options });
      await broker.start();
      return broker;
    });
    this.#brokers.push(broker);
    this.#address = broker.address; // The next one gets the same port.
    return broker;
  }

  async connected(options: NetPubSubOptions = {}): Promise<NetPubSub> {
    const client = new NetPubSub(this.#address, "k", { ...this.#on.client, ...options });
    this.#clients.push(client);
    await client.connect();
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.disconnect()));
    await Promise.all(this.#brokers.map((broker) => broker.shutdown()));
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** Collects the gaps that a client is told. */
function gapsInto(gaps: Gap[]): NetPubSubOptions {
  return { onGap: (gap) => gaps.push(gap) };
}

/**
 * Tests all of it over a transport.
 *
 * What waits for long is tested over the usual one only.
 */
export function testReliability(on: Transport): void {
  const isUsual = on === USUAL;
  const startScene = (options: BrokerOptions = {}) =>
    Scene.start({ ...on.broker, ...options }, on.client);
  const startFragile = (options: BrokerOptions = {}, plan?: Plan) =>
    Fragile.start(on, options, plan);
  const reachable = ({ address, authkey }: Broker) => ({
    address,
    authkey,
    caCerts: on.client.tls?.caCerts ?? [],
  });
  const test = (name: string, fn: () => Promise<void>) => Deno.test(name + on.name, fn);
  const usual = (name: string, fn: () => Promise<void>) => isUsual && test(name, fn);

  test("NetPubSub delivers each message exactly once and in order over many lost connections", async () => {
    const seed = Date.now() % 100_000;
    const plan = randomPlan(seed, { bytes: 3000 + 5 * on.handshakeBytes });
    let isCalm = false;
    await using fragile = await startFragile({}, (n) => isCalm ? [] : plan(n));
    const gaps: Gap[] = [];
    const names = ["a", "b", "c"];
    const buses = await Promise.all(names.map(() => fragile.connected(gapsInto(gaps))));
    const ids = Array.from({ length: isUsual ? 2000 : 300 }, (_, id) => id);
    const seen: Record<string, Sighting[]> = {};
    for (const [i, bus] of buses.entries()) {
      const own = seen[names[i]!] = [] as Sighting[];
      bus.addSubscriber("t", ([, publisher = ""], { id }) => own.push({ publisher, id }));
    }
    await Promise.all(buses.map((bus) => bus.flush()));
    await Promise.all(buses.map(async (bus, i) => {
      for (const id of ids) {
        bus.publish(["t", names[i]!], { id });
        if (id % 50 === 0) await bus.flush();
        // Where each connection needs more bytes to begin, the plan may cut none.
        if (!isUsual && i === 0 && id % 100 === 75) fragile.proxy.cut();
      }
      await bus.flush();
    }));
    // Whoever is cut off in one handshake after the other waits for longer and longer.
    isCalm = true;
    await until(() => Object.values(seen).every(({ length }) => length >= 3 * ids.length));
    const published = Object.fromEntries(names.map((name) => [name, ids]));
    const { faults } = checkHistory({ published, seen });
    assertEquals(faults.slice(0, 3), [], `seed ${seed}`);
    assertEquals(gaps, [], `seed ${seed}`);
    const { cut } = fragile.proxy.stats();
    const { resumed } = fragile.broker.stats();
    const [cutMin, resumedMin] = isUsual ? [50, 20] : [2, 2];
    assert(cut > cutMin && resumed > resumedMin, `seed ${seed}: ${cut} cuts`);
  });

  test("NetPubSub keeps what is published while its connection is lost, and sends it after", async () => {
    await using fragile = await startFragile();
    const alice = await fragile.connected();
    const bob = await fragile.scene.connected();
    using subscription = bob.subscribe("t");
    await bob.flush();
    fragile.proxy.refuse(100);
    fragile.proxy.cut();
    await until(() => alice.state === "reconnecting");
    for (let n = 0; n < 100; n++) alice.publish("t", { n });
    assert(alice.pending > 0);
    await alice.flush();
    assertEquals(alice.pending, 0);
    const taken = await take(subscription, 100);
    assertEquals(taken.map(({ message }) => (message as { n: number }).n), [...Array(100).keys()]);
  });

  test("NetPubSub goes on after a resume although the acknowledgements of a whole window were lost", async () => {
    // What comes from the broker stops behind OPENED: the handshake is 91 bytes, OPENED 59.
    const plan: Plan = (connection) =>
      connection === 0 ? [{ kind: "freeze", direction: "down", after: 91 + 59 }] : [];
    await using fragile = await startFragile({}, plan);
    const alice = await fragile.connected();
    for (let n = 0; n < 100; n++) alice.publish("t", { data: FLOOD });
    await until(() => fragile.broker.stats().received >= 50);
    fragile.proxy.cut();
    await alice.flush();
    assertEquals([alice.pending, fragile.broker.stats().received], [0, 100]);
  });

  test("NetPubSub has its subscriptions of the time away in force after the return", async () => {
    await using fragile = await startFragile();
    const bob = await fragile.connected();
    const alice = await fragile.scene.connected();
    const heard: string[] = [];
    const old = bob.addSubscriber("old", () => heard.push("old"));
    await bob.flush();
    fragile.proxy.refuse(50);
    fragile.proxy.cut();
    await until(() => bob.state === "reconnecting");
    old[Symbol.dispose]();
    bob.addSubscriber("new", () => heard.push("new"));
    await bob.connect();
    alice.publish("old");
    alice.publish("new");
    await until(() => heard.length > 0);
    assertEquals(heard, ["new"]);
  });

  test("NetPubSub tells once that its session expired, and how many messages were sent again", async () => {
    await using fragile = await startFragile({ resumeWindow: 1 });
    const gaps: Record<string, Gap[]> = { alice: [], bob: [] };
    const alice = await fragile.connected(gapsInto(gaps.alice!));
    const bob = await fragile.connected(gapsInto(gaps.bob!));
    let heard = 0;
    bob.addSubscriber("t", () => heard++);
    await bob.flush();
    // Without an acknowledgement: less than 64 KiB, and nobody asks.
    for (let n = 0; n < 10; n++) alice.publish("t", { n });
    await until(() => heard === 10);
    fragile.proxy.refuse(100);
    fragile.proxy.cut();
    await until(() => alice.state === "reconnecting" && bob.state === "reconnecting");
    await until(() => fragile.broker.stats().sessions === 0);
    await Promise.all([alice.connect(), bob.connect()]);
    await alice.flush();
    assertEquals(gaps, {
      alice: [{ direction: "out", reason: "expired", resent: 10 }],
      bob: [{ direction: "in", reason: "expired" }],
    });
  });

  test("NetPubSub tells once of a new broker, and sends to it what the old one did not acknowledge", async () => {
    await using place = await Place.make(on);
    const gaps: Gap[] = [];
    const first = await place.broker();
    const alice = await place.connected(gapsInto(gaps));
    for (let n = 0; n < 5; n++) alice.publish("t", { n });
    await until(() => first.stats().received === 5);
    await Promise.all([first.shutdown(), first.shutdown()]); // The second is immediate.
    await until(() => alice.state === "reconnecting");
    alice.publish("t", { n: 5 });
    const second = await place.broker();
    await place.connected();
    await alice.connect();
    await alice.flush();
    assertEquals(gaps.map(({ direction, reason }) => [direction, reason]), [["out", "new broker"]]);
    assertEquals(second.stats().received, (gaps[0]!.resent ?? 0) + 1);
  });

  const FLOOD = new Uint8Array(20_000);
  const SMALL_QUEUE: BrokerOptions = { limits: { queueBytes: 2 * 2 ** 20 } };

  /** Publishes `count` messages of 20 kB, as fast as the broker takes them. */
  async function flood(bus: NetPubSub, count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      bus.publish("flood", { n, data: FLOOD });
      if (bus.pending > 2 ** 20) await bus.flush();
    }
  }

  /** The numbers of the messages that a subscription still yields, up to the last. */
  async function numbersUpTo(source: AsyncIterable<{ message: object }>, last: number) {
    const numbers: number[] = [];
    for await (const { message } of source) {
      numbers.push((message as { n: number }).n);
      if (numbers.at(-1) === last) break;
    }
    return numbers;
  }

  test("NetPubSub is told exactly how many messages were dropped because it took them too slowly", async () => {
    await using scene = await startScene(SMALL_QUEUE);
    const gaps: Gap[] = [];
    const alice = await scene.connected();
    const bob = await scene.connected(gapsInto(gaps));
    using slow = bob.subscribe("flood", { limit: 10, overflow: "wait" });
    await bob.flush();
    await flood(alice, 500);
    await alice.flush();
    const numbers = await numbersUpTo(slow, 499);
    assert(gaps.length > 0);
    assert(gaps.every(({ direction, reason }) => direction === "in" && reason === "overflow"));
    const missed = gaps.reduce((sum, gap) => sum + (gap.missed ?? 0), 0);
    assertEquals(numbers.length + missed, 500);
    assertEquals(numbers, numbers.toSorted((a, b) => a - b));
    assertEquals(scene.broker.stats().dropped, missed);
  });

  test("NetPubSub with overflow wait holds publishers back, and misses nothing", async () => {
    await using scene = await startScene({ ...SMALL_QUEUE, maxPatience: 60_000 });
    const gaps: Gap[] = [];
    const alice = await scene.connected(gapsInto(gaps));
    const bob = await scene.connected({ overflow: "wait", ...gapsInto(gaps) });
    const swift = await scene.connected(gapsInto(gaps));
    let swiftly = 0;
    swift.addSubscriber("flood", () => swiftly++);
    using slow = bob.subscribe("flood", { limit: 10, overflow: "wait" });
    await Promise.all([bob.flush(), swift.flush()]);
    const flooding = flood(alice, 500);
    await until(() => scene.broker.stats().waiting === 1);
    assert(alice.pending > 0 && swiftly < 500);
    const numbers = await numbersUpTo(slow, 499);
    await flooding;
    assertEquals(numbers, [...Array(500).keys()]);
    await until(() => swiftly === 500);
    assertEquals([gaps, scene.broker.stats().waits > 0], [[], true]);
    await until(() => scene.broker.stats().waiting === 0);
  });

  test("NetPubSub with overflow wait drops where the broker allows no patience", async () => {
    await using scene = await startScene(SMALL_QUEUE);
    const gaps: Gap[] = [];
    const alice = await scene.connected();
    const bob = await scene.connected({ overflow: "wait", ...gapsInto(gaps) });
    using slow = bob.subscribe("flood", { limit: 10, overflow: "wait" });
    await bob.flush();
    await flood(alice, 500);
    await alice.flush();
    const numbers = await numbersUpTo(slow, 499);
    assertEquals(numbers.length + gaps.reduce((sum, { missed = 0 }) => sum + missed, 0), 500);
    assertEquals(scene.broker.stats().waits, 0);
  });

  test("NetPubSub that waits longer than its patience is cut off, and told what it missed", async () => {
    await using fragile = await startFragile({ ...SMALL_QUEUE, maxPatience: 60_000 });
    const { broker, proxy } = fragile;
    const gaps: Gap[] = [];
    const alice = await fragile.scene.connected();
    const bob = await fragile.connected({ overflow: "wait", patience: 50, ...gapsInto(gaps) });
    using slow = bob.subscribe("flood", { limit: 10, overflow: "wait" });
    await bob.flush();
    proxy.refuse(60_000); // It does not come back before all is published.
    await flood(alice, 500);
    await alice.flush();
    assertEquals([broker.stats().cutOff, broker.stats().waiting], [1, 0]);
    proxy.refuse(1);
    await until(() => gaps.length > 0 && bob.state === "connected");
    const [gap] = gaps;
    assertEquals([gaps.length, gap!.direction, gap!.reason], [1, "in", "cut off"]);
    alice.publish("flood", { n: 500 });
    const numbers = await numbersUpTo(slow, 500);
    assertEquals(numbers.length + gap!.missed!, 501);
  });

  test("NetPubSub objects that publish to each other with wait never block for ever", async () => {
    await using scene = await startScene({ ...SMALL_QUEUE, maxPatience: 60_000 });
    const options = { overflow: "wait" as const, backlog: 2 ** 26 };
    const pair = [await scene.connected(options), await scene.connected(options)];
    const taken = await Promise.all(pair.map(async (bus) => {
      using others = bus.subscribe("flood", { limit: 10, overflow: "wait" });
      await bus.flush();
      const taking = numbersUpTo(others, 499);
      for (let n = 0; n < 500;) {
        try {
          bus.publish("flood", { n, data: FLOOD });
          n++;
        } catch (error) { // Its own subscription is full, and waits for room.
          assertInstanceOf(error, BacklogError);
          await delay(0);
        }
      }
      return await taking;
    }));
    // Each hears its own 500 and the other's 500.
    assertEquals(taken.map(({ length }) => length >= 500), [true, true]);
  });

  test("NetPubSub flushes and disconnects while a subscription of its own is full", async () => {
    await using scene = await startScene();
    const alice = await scene.connected();
    const bob = await scene.connected();
    using _full = bob.subscribe("t", { limit: 2, overflow: "wait" });
    await bob.flush();
    for (let n = 0; n < 100; n++) alice.publish("t", { n });
    await alice.flush();
    bob.publish("other");
    await bob.flush();
    bob.publish("other");
    await bob.disconnect();
    assertEquals(bob.state, "disconnected");
  });

  test("Broker notices a client that is frozen, and a client a broker, within two heartbeats and a bit", async () => {
    await using fragile = await startFragile({ heartbeat: 40 });
    const reasons: string[] = [];
    const bob = await fragile.connected({
      onState: (state, reason) => reasons.push(`${state}: ${reason?.message}`),
    });
    const started = performance.now();
    fragile.proxy.freeze(60_000);
    await until(() => fragile.broker.stats().detached === 1 && bob.state === "reconnecting");
    assertStringIncludes(reasons.at(-1)!, "nothing was heard for 2 heartbeats");
    assert(performance.now() - started >= 40, "not before");
    await bob.connect();
  });

  test("Broker and client keep an idle connection by heartbeats", async () => {
    await using fragile = await startFragile({ heartbeat: 20 });
    const bob = await fragile.connected();
    const { bytes } = fragile.proxy.stats();
    // An ACK is 14 bytes; so many are sent in ten heartbeats, by both sides.
    await until(() => fragile.proxy.stats().bytes - bytes >= 14 * 20);
    assertEquals([bob.state, fragile.proxy.stats().connections], ["connected", 1]);
  });

  test("Broker and client do not take a busy event loop for a dead peer", async () => {
    await using scene = await startScene({ heartbeat: 20 });
    const states: string[] = [];
    const bob = await scene.connected({ onState: (state) => states.push(state) });
    for (let round = 0; round < 3; round++) {
      const end = performance.now() + 100;
      while (performance.now() < end) continue;
      await bob.flush();
    }
    assertEquals([states, scene.broker.stats().detached], [["connecting", "connected"], 0]);
  });

  test("NetPubSub is acknowledged by heartbeats when there is nothing else to say", async () => {
    await using scene = await startScene({ heartbeat: 20 });
    const alice = await scene.connected();
    alice.publish("t");
    await until(() => alice.pending === 0);
  });

  test(
    "Broker ends a connection whose session goes on over another, and ignores what it still yields",
    async () => {
      await using scene = await startScene();
      const bob = await scene.connected();
      using heard = bob.subscribe("t");
      await bob.flush();
      await using old = await Peer.authenticate(reachable(scene.broker));
      const { session } = await old.sendOpen();
      await old.publish(["t"], Uint8Array.of(0));
      await take(heard, 1);
      await using next = await Peer.authenticate(reachable(scene.broker));
      const opened = await next.sendOpen([], { session });
      assertEquals([opened.outcome, opened.session, opened.taken], [
        Resumption.RESUMED,
        session,
        1,
      ]);
      // It may have closed already.
      await old.publish(["t"], Uint8Array.of(0)).catch(() => {});
      assertEquals(decodeGoodbye(await old.expect(FrameType.GOODBYE)).reason, Reason.REPLACED);
      assertEquals(scene.broker.stats().received, 1);
    },
  );

  test("Broker begins a new session for an id that it does not know", async () => {
    await using scene = await startScene();
    await using peer = await Peer.authenticate(reachable(scene.broker));
    const forged = new Uint8Array(16).fill(7);
    const opened = await peer.sendOpen([], { session: forged, taken: 3 });
    assertEquals([opened.outcome, opened.taken], [Resumption.NEW, 0]);
  });

  test("Broker ends a session whose client claims to have taken what was never sent", async () => {
    await using scene = await startScene();
    await using peer = await Peer.authenticate(reachable(scene.broker));
    const { session } = await peer.sendOpen();
    await using liar = await Peer.authenticate(reachable(scene.broker));
    await assertRejects(() => liar.sendOpen([], { session, taken: 1 }), Error, "of type 3, got 8");
    await until(() => scene.broker.stats().sessions === 0);
  });

  test("NetPubSub that is told that it was replaced gives up", async () => {
    const { address, tls } = on.broker;
    const { listeners: [listener], endpoints: [endpoint] } = await listenAll(address, {
      certificate: tls,
    });
    const states: string[] = [];
    const bus = new NetPubSub(formatEndpoint(endpoint!), "k", {
      ...on.client,
      onState: (state, reason) => states.push(`${state} ${reason?.message ?? ""}`.trim()),
    });
    const key = new TextEncoder().encode("k");
    const serving = (async () => {
      for await (const stream of listener!.connections(() => {})) {
        const authentication = {
          brokerId: new Uint8Array(16),
          keyOf: () => ({ bytes: key }),
          isBusy: () => false,
          delay: () => Promise.resolve(),
        };
        await authenticateClient(stream, authentication);
        const limits = { messageBytes: 9, topicElements: 9, elementBytes: 9, subscriptions: 9 };
        const link = new Link(stream, clientFrameLimits(limits), {
          frame() {
            const session = new Uint8Array(16).fill(1);
            const counts = { taken: 0, calls: 0, missed: 0, heartbeat: 1000, window: 2 ** 20 };
            const opened = { outcome: Resumption.NEW, session, ...counts, limits };
            link.send(FrameType.OPENED, encodeOpened(opened));
            link.end(Reason.REPLACED, "somebody else has it");
          },
          batch() {},
          next: () => undefined,
          idle() {},
          ask() {},
        });
        await link.finished;
      }
    })();
    const connecting = bus.connect().catch(() => {});
    const { closed } = bus;
    const error = await assertRejects(() => closed, ConnectionLostError, "somebody else has it");
    await connecting;
    assertEquals([bus.state, states.at(-1)], ["disconnected", `disconnected ${error.message}`]);
    await listener!.close();
    await serving;
  });

  test("NetPubSub tells a refused key while it reconnects, and goes on trying", async () => {
    await using place = await Place.make(on);
    const first = await place.broker();
    const states: string[] = [];
    const bus = await place.connected({
      onState: (state, reason) => states.push(`${state} ${reason?.name ?? ""}`.trim()),
    });
    await first.shutdown();
    await place.broker({ authkey: "another" });
    await until(() => states.includes("reconnecting AuthError"));
    assertEquals(bus.state, "reconnecting");
  });

  test("NetPubSub.publish throws BacklogError while reconnecting, before any delivery", async () => {
    await using fragile = await startFragile();
    const alice = await fragile.connected({ backlog: 10_000 });
    let heard = 0;
    alice.addSubscriber("t", () => heard++);
    fragile.proxy.refuse(60_000);
    fragile.proxy.cut();
    await until(() => alice.state === "reconnecting");
    let accepted = 0;
    const fill = () => {
      for (;; accepted++) alice.publish("t", { data: new Uint8Array(1000) });
    };
    assertThrows(fill, BacklogError, "limit is 10000");
    assertEquals([heard, accepted], [accepted, 9]);
    assert(alice.pending <= 10_000);
    fragile.proxy.refuse(1);
    await alice.flush();
    assertEquals([alice.pending, fragile.broker.stats().received], [0, 9]);
  });

  test(
    "NetPubSub makes room in a backlog that is smaller than what is acknowledged unasked",
    async () => {
      await using scene = await startScene();
      const alice = await scene.connected({ backlog: 20_000 });
      for (let n = 0; n < 100; n++) {
        alice.publish("t", { data: new Uint8Array(1000) });
        await until(() => alice.pending < 15_000);
      }
    },
  );

  test("NetPubSub.disconnect while reconnecting waits for what is pending, and gives up when told", async () => {
    await using fragile = await startFragile();
    const alice = await fragile.connected();
    fragile.proxy.refuse(60_000);
    fragile.proxy.cut();
    await until(() => alice.state === "reconnecting");
    alice.publish("t");
    const controller = new AbortController();
    const flushing = assertRejects(() => alice.flush(), ConnectionLostError, "was disconnected");
    const leaving = alice.disconnect({ signal: controller.signal });
    const { closed } = alice;
    const reason = new Error("no more time");
    controller.abort(reason);
    assertEquals(await assertRejects(() => leaving), reason);
    assertEquals(await assertRejects(() => closed), reason);
    assertEquals((await flushing).cause, reason);
    assertEquals([alice.state, alice.pending], ["disconnected", 0]);
  });

  usual(
    "NetPubSub.disconnect rejects after 10 s, and says how many messages were not delivered",
    async () => {
      await using fragile = await startFragile();
      const alice = await fragile.connected();
      fragile.proxy.refuse(60_000);
      fragile.proxy.cut();
      await until(() => alice.state === "reconnecting");
      for (let n = 0; n < 3; n++) alice.publish("t");
      const error = await assertRejects(() => alice.disconnect(), ConnectionLostError);
      assertStringIncludes(error.message, "3 messages were not delivered");
      assertEquals(error.undelivered, 3);
    },
  );

  test("NetPubSub ends disconnected however disconnect and connect follow each other", async () => {
    await using scene = await startScene();
    const bus = await scene.connected();
    const first = bus.disconnect();
    const again = assertRejects(() => bus.connect(), ConnectionLostError, "disconnect()");
    const last = bus.disconnect();
    await Promise.all([first, last, again]);
    assertEquals(bus.state, "disconnected");
    await bus.connect();
    bus.publish("t");
    const leaving = bus.disconnect();
    await bus.connect();
    await leaving;
    assertEquals(bus.state, "connected");
  });

  test("NetPubSub heeds the signal of each caller of connect and disconnect", async () => {
    await using fragile = await startFragile();
    const bus = await fragile.connected();
    fragile.proxy.refuse(60_000);
    fragile.proxy.cut();
    await until(() => bus.state === "reconnecting");
    const waiting = assertRejects(() => bus.connect());
    await assertRejects(() => bus.connect({ signal: AbortSignal.timeout(1) }), DOMException);
    assertEquals(bus.state, "reconnecting");
    bus.publish("t");
    const leaving = assertRejects(() => bus.disconnect(), DOMException);
    await assertRejects(() => bus.disconnect({ signal: AbortSignal.timeout(1) }), DOMException);
    await leaving;
    await waiting;
  });

  for (const when of ["connecting", "connected", "reconnecting"] as const) {
    test(`NetPubSub can be disconnected from within onState("${when}")`, async () => {
      await using fragile = await startFragile();
      const left = Promise.withResolvers<void>();
      const bus: NetPubSub = new NetPubSub(fragile.proxy.address, fragile.broker.authkey, {
        ...on.client,
        onState: (state) => {
          if (state === when) bus.disconnect().then(left.resolve, left.reject);
        },
      });
      const connecting = bus.connect().catch(() => {});
      await connecting;
      fragile.proxy.cut();
      await left.promise;
      assertEquals(bus.state, "disconnected");
      await until(() => fragile.broker.stats().connections === 0);
    });
  }

  test("Broker.shutdown passes on what is queued before it goes", async () => {
    await using scene = await startScene();
    const alice = await scene.connected();
    const bob = await scene.connected();
    using slow = bob.subscribe("flood", { limit: 10, overflow: "wait" });
    await bob.flush();
    await flood(alice, 200);
    await alice.flush();
    const going = scene.broker.shutdown();
    assertEquals(await numbersUpTo(slow, 199), [...Array(200).keys()]);
    await going;
  });

  test("NetPubSub comes back at once to a broker that was shut down and started again", async () => {
    await using place = await Place.make(on);
    const gaps: Gap[] = [];
    const first = await place.broker();
    const alice = await place.connected(gapsInto(gaps));
    alice.publish("t");
    await until(() => first.stats().received === 1);
    await first.shutdown();
    // Longer than it takes for attempts to come half a second apart, if they were to back off.
    await delay(1500);
    await place.broker();
    const started = performance.now();
    await alice.connect();
    assert(performance.now() - started < 500);
    assertEquals(gaps, [{ direction: "out", reason: "new broker" }], "all was acknowledged before");
  });

  test("NetPubSub is told of a message that the broker refuses, and goes on", async () => {
    await using place = await Place.make(on);
    const first = await place.broker();
    const errors: unknown[] = [];
    const alice = await place.connected({ onError: (error) => errors.push(error) });
    await first.shutdown();
    await until(() => alice.state === "reconnecting");
    alice.publish(["a", "b"], { data: new Uint8Array(2000) });
    alice.publish("t");
    const second = await place.broker({ limits: { messageBytes: 1000 } });
    await alice.connect();
    await alice.flush();
    await until(() => errors.length > 0);
    const [error] = errors;
    assertInstanceOf(error, MessageError);
    assertStringIncludes(error.message, "limit is 1000");
    assertEquals([error.topic, alice.state, second.stats().received], [["a", "b"], "connected", 1]);
  });

  test("Broker forgets a client that is away for a new one", async () => {
    await using scene = await startScene({ limits: { connections: 2 } });
    const peers = [];
    for (let n = 0; n < 4; n++) {
      const peer = await Peer.open(reachable(scene.broker), [["t"]]);
      peer.conn.close();
      await until(() => scene.broker.stats().detached === Math.min(n + 1, 2));
      peers.push(peer);
    }
    assertEquals(scene.broker.stats().sessions, 2);
    const bob = await scene.connected();
    const { sessions, detached } = scene.broker.stats();
    assertEquals([bob.state, sessions, detached], ["connected", 2, 1]);
  });

  test("Broker holds no more than its memory for all clients together", async () => {
    const memory = 4 * 2 ** 20;
    await using scene = await startScene({ memory });
    await using deaf = new AsyncDisposableStack();
    for (let n = 0; n < 8; n++) deaf.use(await Peer.open(reachable(scene.broker), [["flood"]]));
    const gaps: Gap[] = [];
    const alice = await scene.connected();
    const bob = await scene.connected(gapsInto(gaps));
    let heard = 0;
    bob.addSubscriber("flood", () => heard++);
    await bob.flush();
    let most = 0;
    for (let n = 0; n < 500; n++) {
      alice.publish("flood", { n, data: FLOOD });
      await alice.flush();
      most = Math.max(most, scene.broker.stats().memoryBytes);
    }
    assert(most <= memory, `${most} bytes`);
    await until(() => heard === 500);
    assertEquals(gaps, [], "who takes its messages loses none");
  });

  test("NetPubSub gets a message that fills the window through at once, behind a small one", async () => {
    const limits = { messageBytes: 4 * 2 ** 20 };
    await using scene = await startScene({ limits });
    const alice = await scene.connected();
    const bob = await scene.connected();
    const sizes: number[] = [];
    bob.addSubscriber("t", (_topic, { data }) => sizes.push(data.length));
    await bob.flush();
    for (const size of [100, 2 ** 20 - 20, 10, 2 ** 21]) {
      alice.publish("t", { data: new Uint8Array(size) });
    }
    // A heartbeat, which would acknowledge as well, is 15 s; until() waits for 10.
    await until(() => sizes.length === 4 && alice.pending === 0);
  });

  test("NetPubSub gets such a message through after a resume as well", async () => {
    await using fragile = await startFragile();
    const alice = await fragile.connected();
    const through = async () => {
      for (const size of [100, 2 ** 20 - 30]) alice.publish("t", { data: new Uint8Array(size) });
      await until(() => alice.pending === 0);
    };
    await through();
    fragile.proxy.cut();
    await until(() => alice.state === "reconnecting");
    await alice.connect();
    await through();
    assertEquals(fragile.broker.stats().resumed, 1);
  });

  test("NetPubSub that takes nothing is cut off after its patience, although it gives signs of life", async () => {
    await using scene = await startScene({ ...SMALL_QUEUE, heartbeat: 40, maxPatience: 400 });
    const alice = await scene.connected();
    const bob = await scene.connected({ overflow: "wait" });
    using _stuck = bob.subscribe("flood", { limit: 10, overflow: "wait" });
    await bob.flush();
    const flooding = flood(alice, 300).catch(() => {});
    await until(() => scene.broker.stats().waiting === 1);
    await until(() => scene.broker.stats().cutOff === 1);
    await bob.disconnect();
    await flooding;
  });

  test("NetPubSub finds its session at a broker that has as many clients as it may have", async () => {
    await using fragile = await startFragile({ limits: { connections: 2 } });
    const gaps: Gap[] = [];
    const alice = await fragile.connected(gapsInto(gaps));
    const other = await fragile.scene.connected();
    let heard = 0;
    alice.addSubscriber("t", () => heard++);
    await alice.flush();
    fragile.proxy.refuse(60);
    fragile.proxy.cut();
    await until(() => fragile.broker.stats().detached === 1);
    for (let n = 0; n < 10; n++) other.publish("t");
    await until(() => heard === 10);
    assertEquals([gaps, fragile.broker.stats().resumed], [[], 1]);
  });

  test("NetPubSub.disconnect ends at once after an attempt that failed in the middle of OPENED", async () => {
    // The handshake is 91 bytes; the second connection ends 10 bytes into OPENED.
    const plan: Plan = (n) => n === 1 ? [{ kind: "cut", direction: "down", after: 101 }] : [];
    await using fragile = await startFragile({}, plan);
    const states: string[] = [];
    const alice = await fragile.connected({ onState: (state) => states.push(state) });
    fragile.proxy.cut();
    await until(() => fragile.proxy.stats().cut === 2);
    await alice.disconnect();
    assertEquals(states, ["connecting", "connected", "reconnecting", "disconnected"]);
  });

  test("NetPubSub.disconnect heeds its signal while a broker that is frozen does not say goodbye", async () => {
    await using fragile = await startFragile();
    const alice = await fragile.connected();
    fragile.proxy.freeze(60_000);
    const started = performance.now();
    await alice.disconnect({ signal: AbortSignal.timeout(20) });
    assert(performance.now() - started < 900, "without it a second is waited");
  });

  test("NetPubSub keeps at home what is published once it is disconnected", async () => {
    await using scene = await startScene();
    const errors: unknown[] = [];
    const alice: NetPubSub = scene.client({
      onState(state) {
        if (state !== "disconnected") return;
        alice.publish("t", { atHome: () => "only what stays here may hold a function" });
      },
      onError: (error) => errors.push(error),
    });
    await alice.connect();
    await alice.disconnect();
    assertEquals([alice.pending, errors], [0, []]);
  });

  test(
    "Broker lets a client that waits open nobody's window by resuming without taking anything",
    async () => {
      await using scene = await startScene({ ...SMALL_QUEUE, maxPatience: 60_000 });
      const alice = await scene.connected({ backlog: 2 ** 27 });
      let session: Uint8Array | undefined;
      for (let round = 0; round < 10; round++) {
        await using peer = await Peer.authenticate(reachable(scene.broker));
        const opening = { session, wait: true, patience: 60_000 };
        session = (await peer.sendOpen([["flood"]], opening)).session;
        if (round === 0) {
          for (let n = 0; n < 500; n++) alice.publish("flood", { n, data: FLOOD });
        }
        await until(() => scene.broker.stats().waiting === 1);
      }
      const { queuedBytes, resumed, cutOff } = scene.broker.stats();
      assertEquals([resumed, cutOff], [9, 0]);
      assert(queuedBytes <= 4 * 2 ** 20, `${queuedBytes} bytes`);
      await assertRejects(() => alice.disconnect({ signal: AbortSignal.abort(new Error("now")) }));
    },
  );

  test("Broker cuts off a client that waits when twice its queue waits for it", async () => {
    await using scene = await startScene({ ...SMALL_QUEUE, maxPatience: 60_000 });
    await using peer = await Peer.authenticate(reachable(scene.broker));
    await peer.sendOpen([["flood"]], { wait: true, patience: 60_000 });
    // Each may fill a window before it is held back.
    const crowd = await Promise.all(
      Array.from({ length: 6 }, () => scene.connected({ backlog: 2 ** 27 })),
    );
    for (const bus of crowd) for (let n = 0; n < 100; n++) bus.publish("flood", { n, data: FLOOD });
    await Promise.all(crowd.map((bus) => bus.flush()));
    const { cutOff, queuedBytes } = scene.broker.stats();
    assertEquals([cutOff, queuedBytes], [1, 0]);
  });

  test(
    "Broker that shuts down takes nobody in, and waits for nobody who has not opened a session",
    async () => {
      await using broker = new Broker(on.broker);
      await broker.start();
      await using peer = await Peer.authenticate(reachable(broker));
      await until(() => broker.stats().connections === 1);
      const going = broker.shutdown();
      assertEquals(decodeGoodbye(await peer.expect(FrameType.GOODBYE)).reason, Reason.SHUTDOWN);
      peer.conn.close();
      await going;
    },
  );

  test("Broker tells what a client missed also when its first answer was lost", async () => {
    await using scene = await startScene({ ...SMALL_QUEUE, maxPatience: 30 });
    const alice = await scene.connected();
    let session: Uint8Array | undefined;
    {
      await using peer = await Peer.authenticate(reachable(scene.broker));
      session = (await peer.sendOpen([["flood"]], { wait: true, patience: 30 })).session;
      const flooding = flood(alice, 200);
      await until(() => scene.broker.stats().cutOff === 1);
      await flooding;
      await alice.flush();
    }
    for (let round = 0; round < 2; round++) {
      await using peer = await Peer.authenticate(reachable(scene.broker));
      const { outcome, missed } = await peer.sendOpen([], { session });
      assertEquals([outcome, missed], [Resumption.CUT_OFF, 200]);
    }
  });

  test(
    "Broker ends the connection of a client that was cut off and claims to have taken what was never sent",
    async () => {
      await using scene = await startScene({ ...SMALL_QUEUE, maxPatience: 30 });
      const alice = await scene.connected();
      await using peer = await Peer.authenticate(reachable(scene.broker));
      const { session } = await peer.sendOpen([["flood"]], { wait: true, patience: 30 });
      await Promise.all([flood(alice, 200), until(() => scene.broker.stats().cutOff === 1)]);
      await using liar = await Peer.authenticate(reachable(scene.broker));
      const lie = { session, taken: 1_000_000 };
      await assertRejects(() => liar.sendOpen([], lie), Error, "of type 3, got 8");
      await until(() => scene.broker.stats().endings.protocol === 1);
    },
  );

  for (const name of ["onState", "onGap"] as const) {
    test(`NetPubSub reports to onError what ${name} rejects with`, async () => {
      const errors: unknown[] = [];
      await using fragile = await startFragile({ resumeWindow: 1 });
      await fragile.connected({
        [name]: () => Promise.reject(new Error(name)),
        onError: (error) => errors.push((error as Error).message),
      });
      fragile.proxy.refuse(50);
      fragile.proxy.cut();
      await until(() => errors.length > 0);
      assertEquals(errors[0], name);
    });
  }

  for (
    const [what, script] of [
      ["disconnected", "await bus.connect(); bus.publish('t'); await bus.disconnect();"],
      ["unreferenced", "await bus.connect(); bus.unref();"],
      [
        "reconnecting and unreferenced",
        "await bus.connect(); bus.unref(); await broker.shutdown();",
      ],
      ["beside an unreferenced broker", "await bus.connect(); bus.unref(); broker.unref();"],
    ] as const
  ) {
    test(`NetPubSub that is ${what} lets its program end`, async () => {
      const mod = new URL("../../mod.ts", import.meta.url).href;
      const ends = what === "beside an unreferenced broker" ? "" : "await broker.shutdown();";
      const code = `
      import { Broker, NetPubSub } from ${JSON.stringify(mod)};
      const broker = new Broker(${JSON.stringify(on.broker)});
      await broker.start();
      const bus = new NetPubSub(broker.address, broker.authkey, ${JSON.stringify(on.client)});
      ${script}
      ${what === "unreferenced" ? "broker.unref();" : ends}
      console.log("end");
    `;
      // A broker that is not shut down leaves the folder of its socket.
      await using folder = await TempFolder.make();
      const { code: status, stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["eval", "--quiet", code],
        cwd: new URL("../../", import.meta.url),
        env: { TMPDIR: folder.path },
        signal: AbortSignal.timeout(10_000),
      }).output();
      assertEquals([status, new TextDecoder().decode(stdout)], [0, "end\n"]);
    });
  }
}
