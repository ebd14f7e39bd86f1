import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { clock } from "../base/clock.ts";
import {
  AuthError,
  BacklogError,
  type BrokerOptions,
  ConnectionLostError,
  ForbiddenError,
  type Gap,
  NetPubSub,
  ProtocolError,
  type TopicPath,
} from "../mod.ts";
import { authenticateClient } from "../protocol/authenticate.ts";
import { FrameType } from "../protocol/frame.ts";
import { encodeAck, encodeGap, encodeOpened } from "../protocol/frame_bodies.ts";
import { keyBytes } from "../protocol/handshake.ts";
import { FramePeer } from "./helpers/frame_peer.ts";
import { Scene, take } from "./helpers/scene.ts";
import { until } from "../tools/harness/until.ts";

/** Resolves with the first `count` messages of a topic. */
async function messages(
  bus: NetPubSub,
  topic: string | string[] | null,
  count: number,
): Promise<{ topic: TopicPath; message: object }[]> {
  using subscription = bus.subscribe(topic);
  await bus.flush();
  return await take(subscription, count);
}

const ADDRESSES: [string, BrokerOptions][] = [
  ["a Unix socket", {}],
  ["TCP", { address: "tcp://127.0.0.1:0" }],
  ["IPv6", { address: ["::1", 0] }],
];

for (const [name, options] of ADDRESSES) {
  Deno.test(`NetPubSub passes messages between clients over ${name}`, async () => {
    await using scene = await Scene.start(options);
    const alice = await scene.connected();
    const bob = await scene.connected();
    using subscription = bob.subscribe("greeting");
    await bob.flush();
    alice.publish(["greeting", "en"], { text: "hello", n: 1n });
    assertEquals(await take(subscription, 1), [
      { topic: ["greeting", "en"], message: { text: "hello", n: 1n }, info: {} },
    ]);
  });
}

Deno.test("NetPubSub publishes what a getter of a message publishes, before that message", async () => {
  await using scene = await Scene.start();
  const [alice, bob] = [await scene.connected(), await scene.connected()];
  const all = messages(bob, null, 4);
  await bob.flush();
  const data = new Uint8Array(70_000).fill(1);
  const talkative = {
    get n() {
      alice.publish("first", { n: 1 });
      return 2;
    },
  };
  alice.publish("third", {
    data,
    get n() {
      alice.publish("second", talkative);
      return 3;
    },
    after: data,
  });
  alice.publish("fourth", { n: 4 });
  assertEquals((await all).map(({ topic, message }) => [topic[0], (message as { n: number }).n]), [
    ["first", 1],
    ["second", 2],
    ["third", 3],
    ["fourth", 4],
  ]);
  const { message } = (await all)[2]!;
  assert(Object.values(message).every((value) => value === 3 || value.length === data.length));
});

Deno.test("NetPubSub.connect resolves once its subscriptions are in force", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  const bob = scene.client();
  using subscription = bob.subscribe("t");
  await bob.connect();
  alice.publish("t", { n: 1 });
  assertEquals((await take(subscription, 1))[0]!.message, { n: 1 });
});

Deno.test("NetPubSub delivers to exact, parent and catch-all subscribers, and to no other", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  const bob = scene.client();
  const heard: string[] = [];
  const done = Promise.withResolvers<void>();
  for (const topic of [["a", "b"], ["a"], [], ["a", "c"], ["b"]]) {
    bob.addSubscriber(topic, (path) => heard.push(`${topic} ${path}`));
  }
  bob.addSubscriber("done", () => done.resolve());
  await bob.connect();
  alice.publish(["a", "b"]);
  alice.publish("done");
  await done.promise;
  assertEquals(heard, ["a,b a,b", "a a,b", " a,b", " done"].slice(0, heard.length));
  assertEquals(heard.length, 3 + (heard.includes(" done") ? 1 : 0));
});

Deno.test("NetPubSub delivers a broadcast to every subscription of every other client once", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  const clients = [await scene.connected(), await scene.connected()];
  const counts = [0, 0];
  const all = Promise.withResolvers<void>();
  for (const [i, client] of clients.entries()) {
    for (const topic of ["x", "y", null]) {
      client.addSubscriber(topic, (path) => {
        assertEquals(path, []);
        counts[i]!++;
        if (counts[0]! + counts[1]! === 6) all.resolve();
      });
    }
    await client.flush();
  }
  alice.publish(null, { n: 1 });
  await all.promise;
  assertEquals(counts, [3, 3]);
});

Deno.test("NetPubSub hears its own message once, at once, and never from the broker", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  const bob = await scene.connected();
  const heard: unknown[] = [];
  alice.addSubscriber("t", (_topic, message) => heard.push(message));
  const echoed = messages(bob, "t", 1);
  await bob.flush();
  alice.publish("t", { n: 1 });
  assertEquals(heard, [{ n: 1 }]);
  await echoed;
  // What bob answers comes after anything that the broker could have sent back.
  const answer = messages(alice, "answer", 1);
  await alice.flush();
  bob.publish("answer");
  await answer;
  assertEquals(heard, [{ n: 1 }]);
});

Deno.test("NetPubSub keeps local messages at home", async (t) => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  const bob = await scene.connected();
  for (
    const publish of [
      () => alice.publish("t", { local: 1 }, { local: true }),
      () => alice.publish(["t", "*local"], { local: 1 }),
      () => alice.publish("*local", { local: 1 }),
    ]
  ) {
    await t.step(publish.toString(), async () => {
      const heard: unknown[] = [];
      using _own = alice.addSubscriber(null, (_topic, message) => heard.push(message));
      using subscription = bob.subscribe(null);
      await bob.flush();
      publish();
      alice.publish("end");
      assertEquals((await take(subscription, 1)).map(({ topic }) => topic), [["end"]]);
      assertEquals(heard, [{ local: 1 }, {}]);
    });
  }
});

Deno.test("NetPubSub takes values that cannot be sent in local messages only", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  const heard: unknown[] = [];
  alice.addSubscriber("t", (_topic, message) => heard.push(message));
  const f = () => {};
  assertThrows(() => alice.publish("t", { deep: { f } }), TypeError, "message.deep.f");
  assertEquals(heard, [], "all checks come before any delivery, at home too");
  alice.publish("t", { f }, { local: true });
  assertEquals(heard, [{ f }]);
});

Deno.test("NetPubSub refuses a message over the limit of the broker, and goes on", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  const bob = await scene.connected();
  using subscription = bob.subscribe("t");
  await bob.flush();
  const limit = 1024 * 1024;
  // One byte for the names' size, two for the name, one for the tag, five for the size.
  const data = new Uint8Array(limit - 9);
  const error = assertThrows(
    () => alice.publish("t", { d: new Uint8Array(data.length + 1) }),
    RangeError,
  );
  assert(error.message.includes("limit is 1048576"), error.message);
  alice.publish("t", { d: data });
  const [delivery] = await take(subscription, 1);
  assertEquals((delivery!.message as { d: Uint8Array }).d.length, data.length);
});

Deno.test("NetPubSub keeps each publisher's order at every subscriber", async () => {
  await using scene = await Scene.start();
  const publishers = [await scene.connected(), await scene.connected()];
  const subscribers = [await scene.connected(), await scene.connected()];
  const subscriptions = subscribers.map((bus) => bus.subscribe("t"));
  await Promise.all(subscribers.map((bus) => bus.flush()));
  for (let n = 0; n < 2000; n++) {
    for (const [who, bus] of publishers.entries()) bus.publish(["t", `${n % 7}`], { who, n });
    if (n % 100 === 0) await publishers[0]!.flush();
  }
  for (const subscription of subscriptions) {
    const next = [0, 0];
    for (const { message } of await take(subscription, 4000)) {
      const { who, n } = message as { who: 0 | 1; n: number };
      assertEquals(n, next[who]!++);
    }
  }
});

Deno.test("NetPubSub delivers what subscribers publish in the order of the publishing", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  const bob = await scene.connected();
  using subscription = bob.subscribe(null);
  await bob.flush();
  const own: number[] = [];
  alice.addSubscriber("t", (_topic, { n }) => {
    if (n < 8) {
      alice.publish("t", { n: 2 * n });
      alice.publish("t", { n: 2 * n + 1 });
    }
  });
  alice.addSubscriber("t", (_topic, { n }) => own.push(n));
  alice.publish("t", { n: 1 });
  const order = Array.from({ length: 15 }, (_, i) => i + 1);
  assertEquals(own, order);
  const there = (await take(subscription, 15)).map(({ message }) => (message as { n: number }).n);
  assertEquals(there, order);
});

Deno.test("NetPubSub registers a topic once, however many subscribe to it here", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  const bob = await scene.connected();
  const first = bob.addSubscriber("t", () => {});
  const second = bob.addSubscriber("t", () => {});
  await bob.flush();
  const delivered = async () => {
    const before = scene.broker.stats().delivered;
    alice.publish("t");
    await alice.flush();
    return scene.broker.stats().delivered - before;
  };
  assertEquals(await delivered(), 1);
  first[Symbol.dispose]();
  await bob.flush();
  assertEquals(await delivered(), 1);
  second[Symbol.dispose]();
  await bob.flush();
  assertEquals(await delivered(), 0);
});

Deno.test("NetPubSub.connect rejects with AuthError for another key or an unknown name", async () => {
  await using scene = await Scene.start({ authkey: "right" });
  for (const [key, options] of [["wrong", {}], ["right", { keyName: "nobody" }]] as const) {
    const bus = new NetPubSub(scene.broker.address, key, options);
    const closed = bus.closed;
    const error = await assertRejects(() => bus.connect(), AuthError);
    assertEquals(error.keyName, "keyName" in options ? options.keyName : "");
    assertEquals(bus.state, "disconnected");
    await assertRejects(() => closed, AuthError);
  }
  assertEquals(scene.broker.stats().refused, 2);
  await (await scene.connected()).flush();
});

Deno.test("NetPubSub.connect rejects when nobody answers", async () => {
  const bus = new NetPubSub("unix:///tmp/mpubsub-nobody.sock", "key");
  await assertRejects(() => bus.connect(), ConnectionLostError, "no broker answers");
  const tcp = new NetPubSub(["127.0.0.1", 1], "key");
  await assertRejects(() => tcp.connect(), ConnectionLostError, "tcp://127.0.0.1:1");
});

Deno.test("NetPubSub.connect gives up when its signal aborts", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const bus = new NetPubSub(["127.0.0.1", listener.addr.port], "key");
  const controller = new AbortController();
  const connecting = bus.connect({ signal: controller.signal });
  assertEquals(bus.state, "connecting");
  const second = assertRejects(() => bus.connect());
  using _conn = await listener.accept();
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => connecting), reason);
  assertStrictEquals(await second, reason);
  assertEquals(bus.state, "disconnected");
  assertStrictEquals(await assertRejects(() => bus.connect({ signal: controller.signal })), reason);
});

Deno.test("NetPubSub.disconnect ends an attempt to connect", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const bus = new NetPubSub(["127.0.0.1", listener.addr.port], "key");
  const connecting = assertRejects(() => bus.connect(), ConnectionLostError, "disconnect()");
  using _conn = await listener.accept();
  await bus.disconnect();
  await connecting;
  assertEquals(bus.state, "disconnected");
});

Deno.test("NetPubSub.disconnect sends what is pending, and can be followed by connect", async () => {
  await using scene = await Scene.start();
  const alice = scene.client();
  const bob = await scene.connected();
  for (let round = 0; round < 3; round++) {
    using subscription = bob.subscribe("t");
    await bob.flush();
    await alice.connect();
    const { closed } = alice;
    for (let n = 0; n < 1000; n++) alice.publish("t", { n });
    assert(alice.pending > 0);
    await Promise.all([alice.disconnect(), alice.disconnect()]);
    await closed;
    assertEquals([alice.state, alice.pending], ["disconnected", 0]);
    assertEquals((await take(subscription, 1000)).length, 1000);
  }
});

Deno.test("NetPubSub.flush waits until the broker has everything", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  for (let n = 0; n < 5000; n++) alice.publish("t", { n });
  assert(alice.pending > 5000);
  await alice.flush();
  assertEquals(alice.pending, 0);
  assertEquals(scene.broker.stats().received, 5000);
});

Deno.test("NetPubSub.flush rejects when disconnected and when its signal aborts", async () => {
  await using scene = await Scene.start();
  const alice = scene.client();
  await assertRejects(() => alice.flush(), ConnectionLostError, "disconnected");
  await alice.connect();
  await assertRejects(() => alice.flush({ signal: AbortSignal.abort("no") }));
});

Deno.test("NetPubSub.publish throws BacklogError past backlog, before any delivery", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected({ backlog: 1000 });
  let heard = 0;
  alice.addSubscriber("t", () => heard++);
  alice.publish("t", { data: new Uint8Array(5000) });
  const error = assertThrows(() => alice.publish("t"), BacklogError);
  assertEquals([error.limit, heard], [1000, 1]);
  await alice.flush();
  alice.publish("t");
  assertEquals(heard, 2);
});

Deno.test("NetPubSub waits for a broker that is gone, and is local once it was disconnected", async () => {
  await using scene = await Scene.start();
  const states: string[] = [];
  const alice = scene.client({
    onState: (state, reason) => states.push(`${state} ${reason?.name ?? ""}`.trim()),
  });
  await alice.connect();
  const { closed } = alice;
  await scene.broker.shutdown();
  await until(() => alice.state === "reconnecting");
  assertThrows(() => alice.publish("t", { f: () => {} }), TypeError);
  alice.publish("t");
  await assertRejects(() => alice.disconnect({ signal: AbortSignal.abort(new Error("now")) }));
  await assertRejects(() => closed);
  assertEquals(states.slice(0, 3), ["connecting", "connected", "reconnecting ConnectionLostError"]);
  let heard = 0;
  alice.addSubscriber("t", () => heard++);
  alice.publish("t", { f: () => {} });
  assertEquals(heard, 1);
});

Deno.test("NetPubSub refuses what is the broker's own to publish", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  assertThrows(() => alice.publish(["*broker", "x"]), ForbiddenError);
  await alice.flush();
});

Deno.test("NetPubSub refuses options, keys and addresses that are none", () => {
  assertThrows(() => new NetPubSub("nonsense", "key"), TypeError, "tcp://127.0.0.1:7411");
  assertThrows(() => new NetPubSub(["127.0.0.1", 70000], "key"), RangeError);
  assertThrows(() => new NetPubSub(["127.0.0.1", 1], ""), RangeError, "empty");
  assertThrows(() => new NetPubSub(["127.0.0.1", 1], "k", { backlog: 0 }), RangeError, "backlog");
  assertThrows(
    () => new NetPubSub(["127.0.0.1", 1], "k", { keyName: "n".repeat(65) }),
    RangeError,
    "limit is 64",
  );
});

Deno.test("NetPubSub.setBroker changes the broker, while disconnected", async () => {
  await using scene = await Scene.start();
  await using bus = new NetPubSub(["127.0.0.1", 1], "other");
  await assertRejects(() => bus.connect(), ConnectionLostError);
  bus.setBroker(scene.broker.address, scene.broker.authkey);
  await bus.connect();
  assertThrows(() => bus.setBroker(["127.0.0.1", 1], "x"), Error, "disconnect it first");
});

Deno.test("NetPubSub survives a payload that another client made wrong", async () => {
  const errors: unknown[] = [];
  await using scene = await Scene.start();
  const bob = await scene.connected({ onError: (error) => errors.push(error) });
  using subscription = bob.subscribe("t");
  await bob.flush();
  const { Peer } = await import("../tools/harness/peer.ts");
  await using mallory = await Peer.open(scene.broker);
  await mallory.publish(["t"], Uint8Array.of(1, 2, 3));
  await mallory.publish(["t"], Uint8Array.of(0));
  assertEquals(await take(subscription, 1), [{ topic: ["t"], message: {}, info: {} }]);
  assertInstanceOf(errors[0], ProtocolError);
});

Deno.test("NetPubSub reads no further while a subscription that waits is full", async () => {
  await using scene = await Scene.start();
  const alice = await scene.connected();
  const bob = await scene.connected();
  using slow = bob.subscribe("t", { limit: 10, overflow: "wait" });
  await bob.flush();
  for (let n = 0; n < 1000; n++) alice.publish("t", { n });
  await alice.flush();
  let n = 0;
  for await (const { message } of slow) {
    assertEquals(message, { n: n++ });
    if (n === 1000) break;
  }
  assertEquals(slow.dropped, 0);
});

Deno.test("NetPubSub goes on after a notice that it cannot read, and tells that messages were lost", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const gaps: Gap[] = [];
  await using client = new NetPubSub(["127.0.0.1", listener.addr.port], "key", {
    onGap: (gap) => gaps.push(gap),
  });
  client.addSubscriber("t", () => {});
  const connected = client.connect();
  const conn = await listener.accept();
  const key = { bytes: keyBytes("key") };
  await authenticateClient(conn, {
    brokerId: new Uint8Array(16),
    keyOf: () => key,
    isBusy: () => false,
    delay: async () => {},
  });
  const broker = new FramePeer(conn);
  await broker.expect(FrameType.OPEN);
  const limits = { messageBytes: 1000, topicElements: 16, elementBytes: 255, subscriptions: 4 };
  const opened = {
    outcome: 0,
    session: new Uint8Array(16).fill(1),
    taken: 0,
    calls: 0,
    missed: 0,
    limits,
  };
  await broker.send(
    FrameType.OPENED,
    encodeOpened({ ...opened, heartbeat: 15_000, window: 2 ** 20 }),
  );
  await connected;
  const absurd = new Uint8Array(8).fill(0xff);
  for (const body of [absurd, new Uint8Array(3), encodeGap(7)]) {
    await broker.send(FrameType.GAP, body);
    await broker.send(FrameType.LOST, body);
  }
  const flushed = client.flush();
  await broker.expect(FrameType.ASK);
  await broker.send(FrameType.ACK, encodeAck(0, 1));
  await flushed;
  const [unknown, lost] = [{ direction: "in", reason: "overflow" }, {
    direction: "in",
    reason: "cut off",
  }] as const;
  assertEquals(gaps, [
    ...[unknown, lost, unknown, lost],
    ...[{ ...unknown, missed: 7 }, { ...lost, missed: 7 }],
  ]);
  assertEquals(client.state, "connected");
  const left = client.disconnect();
  await broker.goodbye();
  await left;
});

Deno.test("NetPubSub hears others during a loop over many messages that are there", async () => {
  await using scene = await Scene.start();
  const [alice, bob] = [await scene.connected(), await scene.connected()];
  bob.addSubscriber("question", () => bob.publish("answer"));
  let answered = false;
  alice.addSubscriber("answer", () => answered = true);
  await Promise.all([alice.flush(), bob.flush()]);
  using jobs = alice.subscribe("job");
  for (let n = 1; n <= 5000; n++) alice.publish("job", { n }, { local: true });
  const { now } = clock;
  let worked = 0;
  clock.now = () => now() + worked;
  try {
    alice.publish("question");
    for await (const { message } of jobs) {
      worked += 1; // Each takes a millisecond, as far as the library can tell.
      if (answered || (message as { n: number }).n === 5000) break;
    }
  } finally {
    clock.now = now;
  }
  assert(answered, "the loop was over before the answer came");
});
