/** Holds what docs/protocol.md says of handshakes, topics and single frames against a broker. */
import { assertEquals } from "@std/assert";
import {
  bytesOf,
  frame,
  hello,
  join,
  longSize,
  openFrame,
  proofOf,
  Reason,
  Refusal,
  sized,
  topic,
  topicOf,
  Type,
} from "../tools/attacks/raw_client.ts";
import {
  ASK,
  goodbye,
  KEY,
  MESSAGE,
  message,
  RawStage,
  READER,
  typesOf,
} from "./helpers/raw_stage.ts";

/** A UTF-16 surrogate, written as UTF-8 would be if it allowed that. */
const SURROGATE = Uint8Array.of(0xed, 0xa0, 0x80);

for (
  const [lowest, highest, code] of [
    [1, 1, Refusal.NONE],
    [0, 255, Refusal.NONE],
    [1, 2, Refusal.NONE],
    [2, 255, Refusal.VERSION],
    [0, 0, Refusal.VERSION],
    [2, 1, Refusal.VERSION],
  ] as const
) {
  const what = code === Refusal.NONE ? "chooses version 1" : "refuses";
  Deno.test(`Broker ${what} when a client speaks ${lowest} to ${highest}`, async () => {
    await using stage = await RawStage.start();
    const client = await stage.dialled();
    await client.send(hello({ lowest, highest }));
    const challenge = await client.challenge();
    assertEquals([challenge.code, challenge.version], [code, 1]);
    if (code !== Refusal.NONE) assertEquals(await client.frame(), undefined);
  });
}

Deno.test("Broker takes an OPEN that is sent in one write with the proof", async () => {
  await using stage = await RawStage.start();
  for (const [key, code] of [[KEY.key, Refusal.NONE], ["wrong", Refusal.AUTH]] as const) {
    const client = await stage.dialled();
    const ours = hello();
    await client.send(ours);
    const { bytes } = await client.challenge();
    await client.send(await proofOf(key, ours, bytes), openFrame(), ASK);
    assertEquals((await client.answer()).code, code);
    const types = code === Refusal.NONE ? [Type.OPENED, Type.ACK] : [undefined, undefined];
    assertEquals(await typesOf(client, 2), types);
  }
  assertEquals(stage.broker.stats().sessions, 1);
});

Deno.test("Broker takes what is sent right behind OPEN, however many sessions open at the time", async () => {
  await using stage = await RawStage.start();
  const clients = [];
  for (let n = 0; n < 40; n++) clients.push(await stage.client());
  const topics = Array.from({ length: 1024 }, (_, i) => topic("fleet", `${i}`));
  const open = openFrame({ topics });
  const behind = [frame(Type.UNSUBSCRIBE, topic("x")), message("x"), ASK];
  await Promise.all(clients.map((client) => client.send(open, ...behind)));
  for (const client of clients) {
    assertEquals(await typesOf(client, 2), [Type.OPENED, Type.ACK]);
  }
  assertEquals(stage.broker.stats().received, 40);
});

Deno.test("Broker ends a client that opens no session in time", async () => {
  await using stage = await RawStage.start({ authTimeout: 100 });
  assertEquals(await (await stage.client()).goodbye(), Reason.PROTOCOL);
});

Deno.test("Broker takes a topic that comes twice as one, in OPEN and in SUBSCRIBE", async () => {
  await using stage = await RawStage.start({ limits: { subscriptions: 3 } });
  const [a, b, c] = [topic("a"), topic("b"), topic("c")];
  const client = await stage.opened({ topics: [a, b, a] });
  const subscribe = frame(Type.SUBSCRIBE, a);
  await client.send(subscribe, subscribe, frame(Type.SUBSCRIBE, topic("d")));
  assertEquals(await client.flush(), true);
  // One UNSUBSCRIBE takes it back: there is room for another, and nothing of it comes.
  await client.send(frame(Type.UNSUBSCRIBE, a), frame(Type.SUBSCRIBE, c));
  assertEquals(await client.flush(), true);
  const publisher = await stage.opened();
  await publisher.send(message("a"), message("b"), message("c"));
  const got = [await client.frameOf(Type.PUBLISH), await client.frameOf(Type.PUBLISH)];
  assertEquals(got.map((one) => topicOf(one!.body)), [["b"], ["c"]]);
  // To take back what is not wanted is nothing.
  await client.send(frame(Type.UNSUBSCRIBE, a));
  assertEquals(await client.flush(), true);
});

Deno.test("Broker denies a topic that comes twice in OPEN once, and each SUBSCRIBE", async () => {
  await using stage = await RawStage.start();
  const client = await stage.client(READER);
  const { denied } = await client.open({ topics: [topic("x"), topic("a"), topic("x")] });
  assertEquals(denied, 1);
  const subscribe = frame(Type.SUBSCRIBE, topic("x"));
  await client.send(subscribe, subscribe, ASK);
  assertEquals(await typesOf(client, 3), [Type.DENIED, Type.DENIED, Type.ACK]);
});

Deno.test("Broker ends a session with more different topics than the limit", async () => {
  await using stage = await RawStage.start({ limits: { subscriptions: 2 } });
  const client = await stage.opened({ topics: [topic("a"), topic("b")] });
  await client.send(frame(Type.SUBSCRIBE, topic("a")), frame(Type.SUBSCRIBE, topic("c")));
  assertEquals(await client.goodbye(), Reason.TOO_MANY_SUBSCRIPTIONS);
});

Deno.test("Broker ends a connection whose OPEN names more topics than the limit, also the same", async () => {
  await using stage = await RawStage.start({ limits: { subscriptions: 3 } });
  for (const names of [["a", "b", "c", "d"], ["a", "a", "a", "a"]]) {
    const client = await stage.client();
    await client.send(openFrame({ topics: names.map((name) => topic(name)) }));
    assertEquals(await client.goodbye(), Reason.TOO_MANY_SUBSCRIPTIONS);
  }
});

const SEVENTEEN = topic(..."abcdefghijklmnopq");
const LONGER = topic("x".repeat(256));
/** An element of any name. */
const ANY = "";
const FOUR_ANY = topic(ANY, ANY, "a", ANY, ANY);

for (
  const [what, reason, bytes] of [
    ["a frame of size 0", Reason.PROTOCOL, Uint8Array.of(0)],
    ["a frame of an unknown type", Reason.PROTOCOL, frame(18)],
    ["a frame of the broker's", Reason.PROTOCOL, frame(Type.LOST, new Uint8Array(8))],
    ["a second OPEN", Reason.PROTOCOL, openFrame()],
    ["an ASK with a body", Reason.PROTOCOL, frame(Type.ASK, new Uint8Array(1))],
    ["a PUBLISH without a payload", Reason.PROTOCOL, frame(Type.PUBLISH, topic("a"))],
    ["an empty element", Reason.PROTOCOL, frame(Type.PUBLISH, sized(sized()), MESSAGE)],
    ["four any in SUBSCRIBE", Reason.TOPIC_TOO_BIG, frame(Type.SUBSCRIBE, FOUR_ANY)],
    ["four any in UNSUBSCRIBE", Reason.TOPIC_TOO_BIG, frame(Type.UNSUBSCRIBE, FOUR_ANY)],
    ["a surrogate", Reason.PROTOCOL, frame(Type.SUBSCRIBE, sized(sized(SURROGATE)))],
    ["bytes behind a topic", Reason.PROTOCOL, frame(Type.SUBSCRIBE, topic("a"), topic("b"))],
    ["17 elements in PUBLISH", Reason.TOPIC_TOO_BIG, frame(Type.PUBLISH, SEVENTEEN, MESSAGE)],
    ["17 elements in SUBSCRIBE", Reason.TOPIC_TOO_BIG, frame(Type.SUBSCRIBE, SEVENTEEN)],
    ["256 bytes in PUBLISH", Reason.TOPIC_TOO_BIG, frame(Type.PUBLISH, LONGER, MESSAGE)],
    ["256 bytes in SUBSCRIBE", Reason.TOPIC_TOO_BIG, frame(Type.SUBSCRIBE, LONGER)],
    [
      "a SUBSCRIBE longer than any topic",
      Reason.PROTOCOL,
      frame(Type.SUBSCRIBE, topic("x".repeat(4200))),
    ],
    ["a GOODBYE without a reason", Reason.PROTOCOL, frame(Type.GOODBYE)],
    [
      "an ACK of what was not sent",
      Reason.PROTOCOL,
      frame(Type.ACK, Uint8Array.of(1), new Uint8Array(19)),
    ],
    [
      "an ACK of an ASK that was not sent",
      Reason.PROTOCOL,
      frame(Type.ACK, new Uint8Array(16), Uint8Array.of(1, 0, 0, 0)),
    ],
    [
      "an ACK of a call that was not sent",
      Reason.PROTOCOL,
      frame(Type.ACK, new Uint8Array(8), Uint8Array.of(1), new Uint8Array(11)),
    ],
  ] as const
) {
  Deno.test(`Broker ends a session for ${what}`, async () => {
    await using stage = await RawStage.start();
    const client = await stage.opened();
    await client.send(bytes);
    assertEquals(await client.goodbye(), reason);
  });
}

for (
  const [what, reason, bytes] of [
    ["17 elements", Reason.TOPIC_TOO_BIG, openFrame({ topics: [SEVENTEEN] })],
    ["four any", Reason.TOPIC_TOO_BIG, openFrame({ topics: [FOUR_ANY] })],
    ["256 bytes", Reason.TOPIC_TOO_BIG, openFrame({ topics: [LONGER] })],
    ["a count that no number holds", Reason.PROTOCOL, openFrame({ taken: 2n ** 53n })],
    ["too few bytes", Reason.PROTOCOL, frame(Type.OPEN, new Uint8Array(36))],
  ] as const
) {
  Deno.test(`Broker opens no session for an OPEN with ${what}`, async () => {
    await using stage = await RawStage.start();
    const client = await stage.client();
    await client.send(bytes);
    assertEquals(await client.goodbye(), reason);
    assertEquals(stage.broker.stats().sessions, 0);
  });
}

Deno.test("Broker takes an element of size 0 as one of any name, in OPEN, SUBSCRIBE and UNSUBSCRIBE", async () => {
  await using stage = await RawStage.start();
  const client = await stage.opened({ topics: [topic("a", ANY, "x")] });
  await client.send(frame(Type.SUBSCRIBE, topic(ANY, "y")));
  assertEquals(await client.flush(), true);
  const publisher = await stage.opened();
  const publish = async () => {
    for (
      const path of [["a", "b", "x"], ["a", "b"], ["c", "y", "z"], ["a", "x"], ["*broker", "y"]]
    ) {
      await publisher.send(frame(Type.PUBLISH, topic(...path), MESSAGE));
    }
    assertEquals(await publisher.flush(), true);
  };
  await publish();
  const got = [await client.frameOf(Type.PUBLISH), await client.frameOf(Type.PUBLISH)];
  assertEquals(got.map((one) => topicOf(one!.body)), [["a", "b", "x"], ["c", "y", "z"]]);
  await client.send(frame(Type.UNSUBSCRIBE, topic("a", ANY, "x")));
  assertEquals(await client.flush(), true);
  await publish();
  assertEquals(topicOf((await client.frameOf(Type.PUBLISH))!.body), ["c", "y", "z"]);
});

Deno.test("Broker denies a topic with any of which nothing is granted, and names it as it came", async () => {
  await using stage = await RawStage.start();
  const client = await stage.client(READER);
  const none = topic("b", ANY);
  const { denied } = await client.open({ topics: [none, topic(ANY, "x"), topic("a", ANY)] });
  assertEquals(denied, 1);
  await client.send(frame(Type.SUBSCRIBE, none));
  const { body } = (await client.frameOf(Type.DENIED))!;
  assertEquals([topicOf(body), body[none.length]], [["b", ANY], Reason.FORBIDDEN]);
  const publisher = await stage.opened();
  for (const path of [["b", "x"], ["a", "y"], ["a"], ["c", "x"], ["a", "x"]]) {
    await publisher.send(frame(Type.PUBLISH, topic(...path), MESSAGE));
  }
  const got = [await client.frameOf(Type.PUBLISH), await client.frameOf(Type.PUBLISH)];
  assertEquals(got.map((one) => topicOf(one!.body)), [["a", "y"], ["a", "x"]]);
});

Deno.test("Broker takes a topic of 16 elements of 255 bytes, in short sizes and in long ones", async () => {
  await using stage = await RawStage.start();
  const element = bytesOf("x".repeat(255));
  const long = Array.from({ length: 16 }, () => join(longSize(255), element));
  const block = join(longSize(16 * 260), ...long);
  const client = await stage.opened({ topics: [block] });
  const publisher = await stage.opened();
  const one = join(longSize(6), longSize(1), bytesOf("a"));
  await publisher.send(frame(Type.PUBLISH, block, MESSAGE), frame(Type.PUBLISH, one, MESSAGE));
  assertEquals(await publisher.flush(), true);
  assertEquals(topicOf((await client.frameOf(Type.PUBLISH))!.body).length, 16);
  assertEquals(stage.broker.stats().received, 2);
});

Deno.test("Broker refuses messages to reserved topics only, and brings them to nobody", async () => {
  await using stage = await RawStage.start();
  const topics = [topic(), topic("a", "*local"), topic("*broker", "nothing")];
  const listener = await stage.opened({ topics });
  const publisher = await stage.opened();
  const reserved = [["a", "*local"], ["*local"], ["*broker"], ["*broker", "nothing"]];
  const free = [["*local", "a"], ["a", "*broker"], ["a", "*local", "b"]];
  for (const path of [...reserved, ...free]) {
    await publisher.send(frame(Type.PUBLISH, topic(...path), MESSAGE));
  }
  for (const path of reserved) {
    const { body } = (await publisher.frameOf(Type.REFUSED))!;
    assertEquals(topicOf(body), path);
    assertEquals(body[topic(...path).length], Reason.FORBIDDEN);
  }
  for (const path of free) {
    assertEquals(topicOf((await listener.frameOf(Type.PUBLISH))!.body), path);
  }
});

Deno.test("Broker brings a broadcast to who subscribes to anything but the broker's own", async () => {
  await using stage = await RawStage.start();
  const watcher = await stage.opened({ topics: [topic("*broker", "nothing")] });
  const other = await stage.opened({ topics: [topic("a", "*local")] });
  const publisher = await stage.opened();
  await publisher.send(frame(Type.PUBLISH, topic(), MESSAGE));
  await publisher.flush();
  assertEquals(await typesOf(other, 1), [Type.PUBLISH]);
  await watcher.send(ASK);
  assertEquals(await typesOf(watcher, 1), [Type.ACK]);
});

Deno.test("Broker names the topic of a large message while its frame may be read, else the root", async () => {
  const limits = { messageBytes: 100, topicElements: 2, elementBytes: 10 };
  await using stage = await RawStage.start({ limits });
  const largestBlock = 5 + 2 * (5 + 10);
  const publisher = await stage.opened();
  const block = topic("a");
  const room = largestBlock + limits.messageBytes - block.length;
  const cases: [number, string[]][] = [
    [limits.messageBytes + 1, ["a"]],
    [room, ["a"]],
    [room + 1, []],
    [100_000, []],
  ];
  for (const [payload, path] of cases) {
    await publisher.send(frame(Type.PUBLISH, block, new Uint8Array(payload)));
    const { body } = (await publisher.frameOf(Type.REFUSED))!;
    assertEquals(topicOf(body), path, `${payload} bytes`);
    assertEquals(body[topic(...path).length], Reason.TOO_BIG);
  }
  assertEquals(await publisher.flush(), true);
});

for (const reason of [...Object.values(Reason), 99]) {
  Deno.test(`Broker forgets the session of a client that says GOODBYE ${reason}`, async () => {
    await using stage = await RawStage.start();
    const client = await stage.client();
    const { session } = await client.open();
    await client.send(goodbye(reason));
    await client.ended();
    const again = await stage.client();
    assertEquals((await again.open({ session })).outcome, 0);
  });
}
