import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { writeAll } from "../base/bytes.ts";
import { Broker, type BrokerOptions } from "../broker.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import { NetPubSub } from "../net.ts";
import { encodeFrame, FrameType, Reason } from "../protocol/frame.ts";
import {
  decodeAck,
  decodeGap,
  decodeGoodbye,
  decodeRefused,
  encodeAck,
} from "../protocol/frame_bodies.ts";
import { encodeTopic, topicEnd } from "../protocol/topic_block.ts";
import { decode } from "../tools/harness/payload.ts";
import { dialBroker, openOf, Peer, readUpTo } from "../tools/harness/peer.ts";
import { until } from "../tools/harness/until.ts";
import { TempFolder } from "./helpers/folder.ts";

const LIMITS = { messageBytes: 2 ** 20, topicElements: 16, elementBytes: 255, subscriptions: 1024 };

/**
 * A broker with a publisher and a subscriber that pass a message to each other, before and after
 * what happens in `body`: whatever that is, it must not disturb them.
 */
async function undisturbed(
  body: (broker: Broker, errors: unknown[]) => Promise<void>,
  options: BrokerOptions = {},
): Promise<void> {
  const errors: unknown[] = [];
  await using broker = new Broker({ ...options, onError: (error) => errors.push(error) });
  await broker.start();
  await using publisher = new NetPubSub(broker.address, broker.authkey);
  await using subscriber = new NetPubSub(broker.address, broker.authkey);
  using subscription = subscriber.subscribe("pulse");
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const pulse = subscription[Symbol.asyncIterator]();
  const beat = async (n: number) => {
    publisher.publish("pulse", { n });
    assertEquals((await pulse.next()).value?.message, { n });
  };
  await beat(1);
  await body(broker, errors);
  await beat(2);
}

/** The GOODBYE with which the broker ends a session. */
async function goodbye(peer: Peer): Promise<{ reason: number; text: string }> {
  for (;;) {
    const frame = await peer.next();
    if (frame === undefined) throw new Error("the broker closed without GOODBYE");
    if (frame.type !== FrameType.GOODBYE) continue;
    assertEquals(await peer.next(), undefined, "GOODBYE is the last frame");
    peer.conn.close();
    return decodeGoodbye(frame.body);
  }
}

Deno.test("Broker makes up an address and a key, and tells the address once it listens", async () => {
  const told: string[] = [];
  await using broker = new Broker({ onListen: ({ address }) => told.push(address) });
  assertThrows(() => broker.address, Error, "start()");
  await broker.start();
  assertEquals(told, [broker.address]);
  assert(broker.address.startsWith("unix://"));
  assertEquals(broker.authkey.length, 32);
  assertNotEquals(broker.authkey, new Broker().authkey);
  const path = broker.address.slice(7);
  assertEquals((await Deno.stat(path)).mode! & 0o777, 0o600);
  await broker.shutdown();
  await broker.shutdown();
  await broker.finished;
  await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
  await assertRejects(() => broker.start(), Error, "shut down");
});

Deno.test("Broker closes a client that sends nothing for authTimeout", async () => {
  await undisturbed(async (broker) => {
    using silent = await dialBroker(broker);
    assertEquals((await readUpTo(silent, 1)).length, 0);
    assertEquals(broker.stats().refused, 1);
  }, { authTimeout: 1000 });
});

Deno.test("Broker closes a client that trickles its handshake past authTimeout", async () => {
  await undisturbed(async (broker) => {
    using slow = await dialBroker(broker);
    await writeAll(slow, new TextEncoder().encode("mpubsub\n\x01"));
    assertEquals((await readUpTo(slow, 1)).length, 0);
  }, { authTimeout: 1000 });
});

Deno.test("Broker tells nothing to a client with a wrong key but that it was refused", async () => {
  await undisturbed(async (broker, errors) => {
    const { ClientHandshake } = await import("../protocol/handshake.ts");
    using conn = await dialBroker(broker);
    const handshake = new ClientHandshake(new TextEncoder().encode("wrong"), "");
    await writeAll(conn, handshake.hello);
    await writeAll(conn, await handshake.prove(await readUpTo(conn, 58)));
    assertEquals([...await readUpTo(conn, 100)], [3]);
    assertEquals(errors.map((error) => (error as Error).name), ["AuthError"]);
  });
});

Deno.test("Broker closes a client that sends garbage, before and after authentication", async (t) => {
  const garbage = crypto.getRandomValues(new Uint8Array(5000));
  garbage[0] = 0;
  await t.step("before", () =>
    undisturbed(async (broker) => {
      using conn = await dialBroker(broker);
      await writeAll(conn, garbage).catch(() => {}); // It may close before it has read all.
      assertEquals((await readUpTo(conn, 1)).length, 0);
      assertEquals(broker.stats().refused, 1);
    }));
  await t.step("after", () =>
    undisturbed(async (broker) => {
      await using peer = await Peer.open(broker);
      await writeAll(peer.conn, garbage);
      assertEquals((await goodbye(peer)).reason, Reason.PROTOCOL);
    }));
});

Deno.test("Broker refuses a recorded handshake that is played again", async () => {
  await undisturbed(async (broker) => {
    const { ClientHandshake } = await import("../protocol/handshake.ts");
    const handshake = new ClientHandshake(new Uint8Array(broker.authkey), "");
    using first = await dialBroker(broker);
    await writeAll(first, handshake.hello);
    const proof = await handshake.prove(await readUpTo(first, 58));
    await writeAll(first, proof);
    assertEquals((await readUpTo(first, 33))[0], 0);
    using second = await dialBroker(broker);
    await writeAll(second, handshake.hello);
    await readUpTo(second, 58);
    await writeAll(second, proof);
    assertEquals([...await readUpTo(second, 100)], [3]);
  });
});

Deno.test("Broker refuses a client that reflects the broker's own challenge", async () => {
  await undisturbed(async (broker) => {
    // The client's nonce is the broker's of another connection, and so is the proof that it sends.
    using first = await dialBroker(broker);
    using second = await dialBroker(broker);
    const hello = (nonce: Uint8Array) =>
      Uint8Array.of(...new TextEncoder().encode("mpubsub\n"), 1, 1, ...nonce, 0, 0);
    await writeAll(first, hello(new Uint8Array(32)));
    const challenge = await readUpTo(first, 58);
    await writeAll(second, hello(challenge.subarray(26)));
    const mirrored = await readUpTo(second, 58);
    await writeAll(second, mirrored.subarray(26));
    assertEquals([...await readUpTo(second, 100)], [3]);
    await writeAll(first, challenge.subarray(26));
    assertEquals([...await readUpTo(first, 100)], [3]);
  });
});

Deno.test("Broker refuses a message of 1 MiB + 1, and goes on with the session", async () => {
  await undisturbed(async (broker) => {
    await using peer = await Peer.open(broker);
    await using other = await Peer.open(broker, [["t"]]);
    const tell = async (size: number) => {
      await peer.publish(["t"], new Uint8Array(size));
      await peer.send(FrameType.ASK); // Nobody may send on before a window is acknowledged.
    };
    const refusal = async () => decodeRefused(await peer.expect(FrameType.REFUSED), LIMITS);
    const take = async (counted: number) => {
      const { length } = await other.expect(FrameType.PUBLISH);
      await other.send(FrameType.ACK, encodeAck(counted, 0));
      return length;
    };
    await tell(1024 * 1024);
    assertEquals(await take(1), 1024 * 1024 + 3);
    for (const size of [1024 * 1024 + 1, 2 ** 22]) {
      await tell(size);
      const { reason, text } = await refusal();
      assertEquals(reason, Reason.TOO_BIG);
      assertStringIncludes(text, "limit is 1048576");
    }
    await tell(1);
    assertEquals(await take(2), 4);
    let ack = decodeAck(await peer.expect(FrameType.ACK));
    while (ack.asks < 4) ack = decodeAck(await peer.expect(FrameType.ACK));
    assertEquals(ack.messages, 4, "those that were refused are counted");
    assertEquals(broker.stats().refusedMessages, 2);
  });
});

Deno.test("Broker ends the session of a client that breaks a rule, with the reason", async (t) => {
  const block = encodeTopic;
  const many = Array.from({ length: 5 }, (_, i) => block([`${i}`]));
  const cases: [string, number, (peer: Peer) => Promise<void>][] = [
    ["no OPEN first", Reason.PROTOCOL, (p) => p.send(FrameType.SUBSCRIBE, block(["t"]))],
    ["an ASK before OPEN", Reason.PROTOCOL, (p) => p.send(FrameType.ASK)],
    ["a second OPEN", Reason.PROTOCOL, async (p) => {
      await p.sendOpen();
      await p.send(FrameType.OPEN, ...openOf());
    }],
    ["an OPEN that is too short", Reason.PROTOCOL, (p) => p.send(FrameType.OPEN)],
    ["a frame of the broker's", Reason.PROTOCOL, (p) => p.send(FrameType.OPENED)],
    [
      "a broken topic",
      Reason.PROTOCOL,
      (p) => p.send(FrameType.OPEN, ...openOf(Uint8Array.of(2, 1, 0xff))),
    ],
    [
      "too many topics at once",
      Reason.TOO_MANY_SUBSCRIPTIONS,
      (p) => p.send(FrameType.OPEN, ...openOf(...many)),
    ],
    ["one topic too many", Reason.TOO_MANY_SUBSCRIPTIONS, async (p) => {
      await p.sendOpen(["1", "2", "3", "4"].map((topic) => [topic]));
      await p.send(FrameType.SUBSCRIBE, many[0]!);
    }],
    ["a message without payload", Reason.PROTOCOL, async (p) => {
      await p.sendOpen();
      await p.publish(["t"], new Uint8Array(0));
    }],
    ["an ACK past what was sent", Reason.PROTOCOL, async (p) => {
      await p.sendOpen();
      await p.send(FrameType.ACK, encodeAck(1, 0));
    }],
  ];
  for (const [name, reason, misbehave] of cases) {
    await t.step(name, () =>
      undisturbed(async (broker, errors) => {
        await using peer = await Peer.authenticate(broker);
        await misbehave(peer);
        assertEquals((await goodbye(peer)).reason, reason);
        await until(() => errors.length > 0 && broker.stats().sessions === 2);
        assertEquals(errors.length, 1);
        assert(errors[0] instanceof ProtocolError);
      }, { limits: { subscriptions: 4 } }));
  }
});

Deno.test("Broker takes as many subscriptions as the limit, and counts a repeated one once", async () => {
  await undisturbed(async (broker) => {
    await using peer = await Peer.open(broker, [["a"], ["b"], ["c"], ["d"]]);
    await peer.send(FrameType.SUBSCRIBE, encodeTopic(["a"]));
    await peer.send(FrameType.UNSUBSCRIBE, encodeTopic(["b"]));
    await peer.send(FrameType.SUBSCRIBE, encodeTopic(["e"]));
    await peer.send(FrameType.ASK);
    await peer.expect(FrameType.ACK);
  }, { limits: { subscriptions: 4 } });
});

Deno.test("Broker tells its limits, and the client applies them", async () => {
  const limits = { messageBytes: 100, topicElements: 2, elementBytes: 5, subscriptions: 3 };
  await using broker = new Broker({ limits });
  await broker.start();
  {
    await using peer = await Peer.authenticate(broker);
    assertEquals((await peer.sendOpen()).limits, limits);
  }
  await using bus = new NetPubSub(broker.address, broker.authkey);
  await bus.connect();
  bus.publish(["12345", "b"]);
  assertThrows(() => bus.publish(["a", "b", "c"]), RangeError, "limit is 2 elements");
  assertThrows(() => bus.publish("123456"), RangeError, "limit is 5 bytes");
  assertThrows(() => bus.publish("a", { data: new Uint8Array(100) }), RangeError, "limit is 100");
  for (const topic of ["a", "b", "c"]) bus.addSubscriber(topic, () => {});
  assertThrows(() => bus.addSubscriber("d", () => {}), RangeError, "limit is 3");
  await bus.flush();
  assertEquals(bus.state, "connected");
});

Deno.test("Broker refuses a message to a reserved topic, and tells which", async () => {
  await undisturbed(async (broker) => {
    await using peer = await Peer.open(broker);
    for (const topic of [["*broker", "x"], ["x", "*local"]]) {
      await peer.publish(topic, Uint8Array.of(0));
      const refused = decodeRefused(await peer.expect(FrameType.REFUSED), LIMITS);
      assertEquals([refused.topic, refused.reason], [topic, Reason.FORBIDDEN]);
    }
  });
});

Deno.test("Broker holds little for a client that asks and is refused without end and never reads", async () => {
  await undisturbed(async (broker) => {
    await using deaf = await Peer.open(broker);
    const requests = new Uint8Array(20_000 * 2).map((_, i) => i % 2 === 0 ? 1 : FrameType.ASK);
    const forbidden = encodeFrame(
      FrameType.PUBLISH,
      encodeTopic(["*broker", "x"]),
      Uint8Array.of(0),
    );
    const messages = new Uint8Array(20_000 * forbidden.length);
    for (let n = 0; n < 20_000; n++) messages.set(forbidden, n * forbidden.length);
    await writeAll(deaf.conn, requests);
    await writeAll(deaf.conn, messages);
    await until(() => broker.stats().refusedMessages === 20_000);
    assert(broker.stats().queuedBytes <= 2 ** 21, `${broker.stats().queuedBytes} bytes`);
  }, { limits: { queueBytes: 2 ** 21 } });
});

Deno.test("Broker cuts off a client that waits, is refused without end and never reads", async () => {
  await undisturbed(async (broker) => {
    await using deaf = await Peer.authenticate(broker);
    await deaf.sendOpen([], { wait: true, patience: 60_000 });
    const topic = encodeTopic(["*broker", "x".repeat(200)]);
    const forbidden = encodeFrame(FrameType.PUBLISH, topic, Uint8Array.of(0));
    const messages = new Uint8Array(1000 * forbidden.length);
    for (let n = 0; n < 1000; n++) messages.set(forbidden, n * forbidden.length);
    // It may be closed meanwhile.
    while (broker.stats().cutOff === 0) await writeAll(deaf.conn, messages).catch(() => {});
    await until(() => broker.stats().queuedBytes < 2 ** 20);
  }, { limits: { queueBytes: 2 ** 21 }, maxPatience: 60_000 });
});

Deno.test("Broker drops the oldest messages of a client that does not read, and tells it how many", async () => {
  await undisturbed(async (broker) => {
    await using deaf = await Peer.open(broker, [["flood"]]);
    await using source = new NetPubSub(broker.address, broker.authkey);
    await source.connect();
    const data = new Uint8Array(500_000);
    for (let n = 0; n < 20; n++) source.publish("flood", { n, data });
    await source.flush();
    const { dropped, queuedBytes } = broker.stats();
    assert(dropped > 10 && queuedBytes <= 2 ** 21, `${dropped} dropped, ${queuedBytes} queued`);
    const seen: unknown[] = [];
    let missed = 0;
    for (let counted = 1; seen.at(-1) !== 19; counted++) {
      const { type, body } = (await deaf.next())!;
      if (type === FrameType.GAP) missed += decodeGap(body)!;
      else if (type === FrameType.PUBLISH) {
        seen.push(decode(body.subarray(topicEnd(body, 0, body.length))).n);
      }
      await deaf.send(FrameType.ACK, encodeAck(counted, 0));
    }
    assertEquals([seen.length + missed, missed], [20, dropped]);
    assertEquals(seen, seen.toSorted((a, b) => Number(a) - Number(b)), "in order");
  }, { limits: { queueBytes: 2 ** 21 } });
});

Deno.test("Broker takes no more clients than the limit, and says that it is busy", async () => {
  await using broker = new Broker({ limits: { connections: 2 } });
  await broker.start();
  const clients = [1, 2, 3].map(() => new NetPubSub(broker.address, broker.authkey));
  await clients[0]!.connect();
  await clients[1]!.connect();
  await assertRejects(() => clients[2]!.connect(), ConnectionLostError, "try again later");
  await clients[0]!.disconnect();
  await until(() => broker.stats().sessions === 1);
  await clients[2]!.connect();
  for (const client of clients) await client.disconnect();
});

Deno.test("Broker closes the oldest connection when too many are not authenticated", async () => {
  await using broker = new Broker({ limits: { halfOpen: 2 }, authTimeout: 60_000 });
  await broker.start();
  using oldest = await dialBroker(broker);
  using _second = await dialBroker(broker);
  using _third = await dialBroker(broker);
  assertEquals((await readUpTo(oldest, 1)).length, 0);
  assertEquals(broker.stats().refusals.crowded, 1);
  assertEquals(broker.stats().connections, 2);
});

Deno.test("Broker serves 200 clients at once", async () => {
  await using broker = new Broker();
  await broker.start();
  const clients = Array.from(
    { length: 200 },
    () => new NetPubSub(broker.address, broker.authkey),
  );
  const all = Promise.withResolvers<void>();
  let heard = 0;
  for (const client of clients) {
    client.addSubscriber("hello", () => {
      if (++heard === 200 * 200) all.resolve();
    });
  }
  await Promise.all(clients.map((client) => client.connect()));
  assertEquals(broker.stats().sessions, 200);
  for (const [from, client] of clients.entries()) client.publish("hello", { from });
  await all.promise;
  await Promise.all(clients.map((client) => client.disconnect()));
});

Deno.test("Broker.shutdown that is called by onClient while it goes on is the same shutdown", async () => {
  let inner: Promise<void> | undefined;
  await using broker = new Broker({
    onClient: ({ type }) => {
      if (type === "left") inner = broker.shutdown();
    },
  });
  await broker.start();
  const peer = await Peer.open(broker);
  await peer[Symbol.asyncDispose]();
  await until(() => broker.stats().detached === 1);
  const outer = broker.shutdown();
  assertStrictEquals(inner, outer);
  await outer;
});

Deno.test("Broker.shutdown tells its clients and frees everything; a second call is immediate", async () => {
  await using broker = new Broker({ address: "127.0.0.1:0" });
  await broker.start();
  using _half = await dialBroker(broker);
  await using peer = await Peer.open(broker);
  const stopping = broker.shutdown();
  assertEquals((await goodbye(peer)).reason, Reason.SHUTDOWN);
  broker.shutdown();
  await stopping;
  assertEquals(broker.stats().connections, 0);
});

Deno.test("Broker replaces the socket of a dead broker, never that of a live one or a file", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/bus.sock`;
  const address = `unix://${path}`;
  {
    // A socket that nobody listens on: what a killed broker leaves.
    using _dead = Deno.listen({ transport: "unix", path: `${path}.x` });
    await Deno.rename(`${path}.x`, path);
  }
  await using broker = new Broker({ address });
  await broker.start();
  await assertRejects(() => new Broker({ address }).start(), Deno.errors.AddrInUse, "live broker");
  await using client = new NetPubSub(address, broker.authkey);
  await client.connect();
  await Deno.writeTextFile(`${folder.path}/file`, "precious");
  await assertRejects(
    () => new Broker({ address: `unix://${folder.path}/file` }).start(),
    Deno.errors.AlreadyExists,
  );
  assertEquals(await Deno.readTextFile(`${folder.path}/file`), "precious");
});

Deno.test("Broker leaves the socket of another that took its path", async () => {
  await using folder = await TempFolder.make();
  const address = `unix://${folder.path}/bus.sock`;
  await using first = new Broker({ address });
  await first.start();
  // So that the next socket does not get the same inode.
  await Deno.rename(`${folder.path}/bus.sock`, `${folder.path}/old.sock`);
  await using second = new Broker({ address });
  await second.start();
  await first.shutdown();
  await using client = new NetPubSub(address, second.authkey);
  await client.connect();
});

Deno.test("Broker refuses options that are out of range", () => {
  assertThrows(() => new Broker({ authkey: "" }), RangeError, "empty");
  assertThrows(() => new Broker({ address: "x" }), TypeError, "tcp://");
  assertThrows(() => new Broker({ limits: { messageBytes: 0 } }), RangeError, "messageBytes 0");
  assertThrows(() => new Broker({ limits: { topicElements: 17 } }), RangeError, "1 to 16");
  assertThrows(() => new Broker({ authTimeout: -1 }), RangeError, "authTimeout");
});

Deno.test("Broker warns when it listens beyond loopback", async () => {
  const errors: unknown[] = [];
  await using broker = new Broker({
    address: "0.0.0.0:0",
    onError: (error) => errors.push(error),
  });
  await broker.start();
  assertStringIncludes(String(errors[0]), "without TLS");
});
