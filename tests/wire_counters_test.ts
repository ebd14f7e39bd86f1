/**
 * The numbers that are counted on the wire, each from just below its end, as the table of
 * `docs/protocol.md` has it.
 */
import { assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { COUNT_MAX } from "../base/count.ts";
import { ClientCounters, Counters } from "../broker/counters.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import {
  type ControlMessage,
  decodeControlMessage,
  encodeControlMessage,
} from "../nats/control_message.ts";
import { LossDetector } from "../nats/core_losses.ts";
import type { Interest, Interests } from "../nats/core_own_wants.ts";
import { CoreSender } from "../nats/core_sender.ts";
import { SentCounts } from "../nats/core_sent_counts.ts";
import { DroppedCounts } from "../nats/dropped_counts.ts";
import { type ExchangeContext, lose } from "../nats/exchange_context.ts";
import { HeldBytes } from "../nats/held_bytes.ts";
import { JetStreamSender } from "../nats/jetstream_sender.ts";
import { MESSAGES_MAX, readPacket, sealPacket } from "../nats/packet.ts";
import { Reassembly } from "../nats/reassembly.ts";
import { RemoteMemory } from "../nats/remote_memory.ts";
import { subjectOf } from "../nats/subject.ts";
import { encodeFrame, FrameType, Reason } from "../protocol/frame.ts";
import {
  decodeAck,
  decodeGap,
  decodeOpened,
  encodeAck,
  encodeGap,
  encodeOpened,
} from "../protocol/frame_bodies.ts";
import { FrameReader } from "../protocol/frame_reader.ts";
import { Inbox } from "../protocol/inbox.ts";
import { decodeMember, decodeRanges, encodeMember, encodeRanges } from "../protocol/job_bodies.ts";
import { Link } from "../protocol/link.ts";
import { Outbox } from "../protocol/outbox.ts";
import { Session, type SessionOptions, WINDOW_BYTES } from "../protocol/session.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { streamPair } from "../tools/harness/memory_streams.ts";
import { contextOf, frameOf, Heard, PREFIX } from "./helpers/exchange.ts";
import { FramePeer } from "./helpers/frame_peer.ts";
import { quiet } from "./helpers/quiet.ts";
import { FakeStream, Node } from "./helpers/stream_nodes.ts";
import { randomOf } from "../tools/harness/random.ts";

const ALL_32 = 2 ** 32;
const LIMITS = Array.from({ length: 18 }, () => 100_000);
const CALL = encodeFrame(FrameType.FINISHED, new Uint8Array(12));
const MESSAGE = encodeFrame(FrameType.PUBLISH, encodeTopic(["t"]), new Uint8Array(1));

/** Two sessions whose numbers go on from there, and how many frames each has got. */
class Pair {
  readonly got = [0, 0];
  readonly sessions: readonly [Session, Session];
  #lost: Promise<unknown> = Promise.resolve();

  constructor(start: SessionOptions) {
    const session = (index: 0 | 1) =>
      new Session({ frame: ({ frames }) => void (this.got[index]! += frames) }, undefined, start);
    this.sessions = [session(0), session(1)];
  }

  /** Connects them, as a client that opens or resumes a session does. */
  connect(): readonly [Link, Link] {
    const [client, broker] = this.sessions;
    client.detach();
    broker.detach();
    broker.outbox.acknowledge(client.taken);
    broker.outbox.rewind(client.taken);
    client.outbox.rewind(broker.taken);
    const links = streamPair().map((stream) => new Link(stream, LIMITS)) as [Link, Link];
    broker.attach(links[1]);
    client.attach(links[0]);
    const before = this.#lost;
    this.#lost = Promise.all([before, ...links.map(({ finished }) => finished)]);
    return links;
  }

  publish(): void {
    for (const session of this.sessions) {
      session.outbox.push(MESSAGE, 1);
      session.pump();
    }
  }

  async flush(): Promise<void> {
    await Promise.all(this.sessions.map((session) => session.flush()));
  }

  async end(): Promise<void> {
    for (const session of this.sessions) session.end();
    await this.#lost;
  }
}

Deno.test("The count of ASKs begins anew after 32 bits, and each is answered", async () => {
  const pair = new Pair({ asks: ALL_32 - 4 });
  for (let connection = 0; connection < 2; connection++) {
    pair.connect();
    for (let n = 0; n < 10; n++) {
      pair.publish();
      await pair.flush();
    }
  }
  assertEquals(pair.got, [20, 20]);
  await pair.end();
});

Deno.test("A session tells the low 32 bits of the ASKs that have arrived, and reads them", async () => {
  const [ours, theirs] = streamPair();
  const session = new Session({ frame() {} }, undefined, { asks: ALL_32 - 2 });
  const link = new Link(ours, LIMITS);
  session.attach(link);
  const peer = new FramePeer(theirs);
  const answered: number[] = [];
  for (let n = 0; n < 4; n++) {
    await peer.send(FrameType.ASK);
    answered.push(decodeAck(await peer.expect(FrameType.ACK)).asks);
  }
  assertEquals(answered, [ALL_32 - 1, 0, 1, 2]);
  for (const asks of [ALL_32 - 1, 0, 1]) {
    const flushed = session.flush();
    await peer.expect(FrameType.ASK);
    await peer.send(FrameType.ACK, encodeAck(0, asks));
    await flushed;
  }
  session.end();
  theirs.close();
  await link.finished;
});

for (
  const [what, asks] of [["goes back", ALL_32 - 1], ["answers what was not asked", 1]] as const
) {
  Deno.test(`An ACK that ${what} breaks the protocol also where the count of ASKs begins anew`, async () => {
    const [ours, theirs] = streamPair();
    const session = new Session({ frame() {} }, undefined, { asks: ALL_32 - 1 });
    const link = new Link(ours, LIMITS);
    session.attach(link);
    const peer = new FramePeer(theirs);
    const flushed = session.flush();
    await peer.expect(FrameType.ASK);
    await peer.send(FrameType.ACK, encodeAck(0, 0));
    await flushed;
    await peer.send(FrameType.ACK, encodeAck(0, asks));
    assertEquals((await peer.goodbye()).reason, Reason.PROTOCOL);
    session.end();
    await link.finished;
  });
}

Deno.test("A session takes, acknowledges and resumes up to its last frame, and ends with the next", async () => {
  const pair = new Pair({ frames: COUNT_MAX - 5 });
  pair.connect();
  for (let n = 0; n < 3; n++) pair.publish();
  await pair.flush();
  pair.publish();
  await quiet();
  const [client, broker] = pair.connect();
  pair.publish();
  await pair.flush();
  assertEquals(pair.sessions.map(({ taken }) => taken), [COUNT_MAX, COUNT_MAX]);
  assertEquals(pair.sessions.map(({ outbox }) => outbox.acknowledged), [COUNT_MAX, COUNT_MAX]);
  assertEquals(pair.got, [5, 5]);
  pair.sessions[0].outbox.push(MESSAGE, 1);
  pair.sessions[0].pump();
  const flushed = assertRejects(() => pair.sessions[0].flush(), ConnectionLostError);
  const { reason, error } = await broker.finished;
  assertEquals(reason, Reason.PROTOCOL);
  assertInstanceOf(error, ProtocolError);
  assertEquals(
    error.message,
    `Cannot count a frame: a session has at most ${COUNT_MAX} of them`,
  );
  assertInstanceOf((await client.finished).error, ProtocolError);
  await pair.end();
  await flushed;
});

Deno.test("A session counts calls up to the last one, beside messages, and ends with the next", async () => {
  const pair = new Pair({ frames: COUNT_MAX - 3 });
  pair.connect();
  const call = () => {
    for (const session of pair.sessions) {
      session.call(CALL);
      session.pump();
    }
  };
  for (let n = 0; n < 3; n++) call();
  pair.publish();
  await pair.flush();
  const taken = pair.sessions.map(({ taken, takenCalls }) => [taken, takenCalls]);
  assertEquals(taken, [[COUNT_MAX - 2, COUNT_MAX], [COUNT_MAX - 2, COUNT_MAX]]);
  const [client] = pair.sessions;
  const { link } = client;
  client.call(CALL);
  client.pump();
  assertInstanceOf((await link!.finished).error, ProtocolError);
  await pair.end();
});

Deno.test("A broker takes the largest number of a member that 32 bits hold", () => {
  const member = { number: ALL_32 - 1, concurrency: 2 ** 40, group: "g", topic: encodeTopic([]) };
  const read = decodeMember(encodeMember(member)).member;
  assertEquals([read.number, read.concurrency], [ALL_32 - 1, ALL_32 - 1]);
  const ranges = [{ first: COUNT_MAX, count: ALL_32 - 1 }];
  assertEquals(decodeRanges(encodeRanges(ranges)), ranges);
});

Deno.test("The numbers of a session begin anew with a new session", async () => {
  const pair = new Pair({ frames: COUNT_MAX });
  for (const session of pair.sessions) session.restart();
  pair.connect();
  pair.publish();
  await pair.flush();
  assertEquals(pair.sessions.map(({ taken }) => taken), [1, 1]);
  await pair.end();
});

Deno.test("Inbox counts no more bytes than are not acknowledged, however many a session has", () => {
  const inbox = new Inbox(WINDOW_BYTES, { frame() {} });
  const reader = new FrameReader(LIMITS);
  const arrive = () => {
    reader.space().set(MESSAGE);
    reader.wrote(MESSAGE.length);
    while (reader.next()) inbox.arrived(reader);
  };
  for (let n = 0; n < 100; n++) {
    arrive();
    arrive();
    assertEquals(inbox.taken.bytes - inbox.acknowledged.bytes, 2 * MESSAGE.length);
    const place = n % 2 === 0 ? inbox.withhold(1, MESSAGE.length) : undefined;
    inbox.acknowledge();
    if (place !== undefined) inbox.release(place);
    inbox.acknowledge();
    assertEquals(inbox.taken.bytes, 0);
  }
  assertEquals(inbox.taken.count, 200);
});

Deno.test("A GAP tells at most 2⁵³ − 1 messages", () => {
  for (const [missed, told] of [[[COUNT_MAX - 1, 1], COUNT_MAX], [[COUNT_MAX, 10], COUNT_MAX]]) {
    const outbox = new Outbox(WINDOW_BYTES);
    for (const count of missed as number[]) outbox.miss(count);
    assertEquals(decodeGap(outbox.next()!.subarray(2)), told);
  }
});

Deno.test("OPENED and LOST tell at most 2⁵³ − 1 messages, and what says more that nobody knows", () => {
  const limits = { messageBytes: 1, topicElements: 1, elementBytes: 1, subscriptions: 1 };
  const rest = {
    outcome: 2,
    session: new Uint8Array(16),
    taken: 0,
    calls: 0,
    heartbeat: 10,
    window: 1,
    limits,
  };
  const heard = new Heard();
  const { bus, counts } = contextOf(heard, { id: "x", messageBytes: 1 });
  for (const count of [COUNT_MAX - 1, COUNT_MAX, 2 ** 53]) {
    const told = Math.min(count, COUNT_MAX);
    assertEquals(decodeOpened(encodeOpened({ ...rest, missed: count })).missed, told);
    assertEquals(decodeGap(encodeGap(count)), told);
    lose({ counts, bus }, [], count);
    assertEquals(counts.lost, COUNT_MAX - (count < COUNT_MAX ? 1 : 0));
  }
  const raw = new Uint8Array(8);
  new DataView(raw.buffer).setBigUint64(0, 2n ** 53n, true);
  assertEquals(decodeGap(raw), undefined);
});

Deno.test("What a broker counts is exact up to 2⁵³ − 1, and does not begin anew", () => {
  const client = new ClientCounters(new Counters());
  client.count("delivered", COUNT_MAX - 1);
  client.count("delivered", 1);
  assertEquals(client.snapshot().delivered, COUNT_MAX);
  for (let n = 0; n < 10; n++) client.count("delivered", 1);
  assertEquals(client.snapshot().delivered, COUNT_MAX);
});

/** What a sender of packets needs of its broker, and what it was warned of. */
function senderContext(warnings: string[]): ExchangeContext {
  return contextOf(new Heard(), {
    id: "0".repeat(16),
    messageBytes: 1000,
    warn: (message) => warnings.push(message),
  });
}

const END = `This broker has sent ${COUNT_MAX} packets, and can number no more; start it again`;

Deno.test("A broker numbers packets for a stream up to 2⁵³ − 1, keeps what follows, and says so", async () => {
  const warnings: string[] = [];
  const sender = new JetStreamSender(senderContext(warnings), COUNT_MAX - 2);
  const stream = new FakeStream(randomOf(1), 0);
  const reader = new Node(stream, 1);
  reader.wants(["a"], true);
  sender.connected({ publish: (...packet) => stream.publish(...packet) });
  for (let id = 0; id < 3; id++) {
    assertEquals(warnings.includes(END), id === 2);
    sender.take(frameOf({ path: ["a"], from: "p", id }), sender);
    await quiet();
    while (reader.read());
  }
  assertEquals(stream.stored.map(({ bytes }) => readPacket(bytes).header.number), [
    COUNT_MAX - 1,
    COUNT_MAX,
  ]);
  assertEquals(reader.delivered.map(({ id }) => id), [0, 1]);
  assertEquals(sender.queuedBytes > 0, true);
});

Deno.test("A broker numbers packets to others up to 2⁵³ − 1, keeps what follows, and says so", async () => {
  const warnings: string[] = [];
  const context = senderContext(warnings);
  const counts = new SentCounts(context.bus, PREFIX);
  counts.hold(["a"]);
  const sender = new CoreSender(context, counts, COUNT_MAX - 2);
  const numbers: number[] = [];
  sender.connected({
    publish: (_subject, bytes) => numbers.push(readPacket(bytes).header.number),
    subscribe: () => ({ unsubscribe() {} }),
    flush: () => Promise.resolve(),
  });
  for (let id = 0; id < 3; id++) {
    assertEquals(warnings.includes(END), id === 2);
    sender.take(frameOf({ path: ["a"], from: "p", id }));
    await quiet();
  }
  assertEquals(numbers, [COUNT_MAX - 1, COUNT_MAX]);
  assertEquals([sender.number, sender.queuedBytes > 0], [COUNT_MAX, true]);
  // What no longer fits is dropped, and the number stays one that others can read.
  for (let id = 0; id < 50; id++) sender.take(frameOf({ path: ["a"], from: "p", id }, 50_000));
  assertEquals([sender.number, context.counts.dropped > 0], [COUNT_MAX, true]);
});

Deno.test("More dropped messages than 32 bits hold are told in several packets", () => {
  const [a, all] = [["a"], []].map((path) => ({ subject: subjectOf(PREFIX, path) }));
  const dropped = new DroppedCounts(all!);
  dropped.add(a!, MESSAGES_MAX - 1);
  dropped.add(a!, 3);
  const reader = new Node(new FakeStream(randomOf(1), 0), 1);
  reader.wants(["a"], true);
  const told: number[] = [];
  for (let packet = dropped.take(); packet !== undefined; packet = dropped.take()) {
    told.push(packet.messages);
    const seal = { broker: "f".repeat(16), lane: 1, number: told.length };
    reader.hear(packet.route.subject, sealPacket(packet, seal).slice());
  }
  assertEquals(told, [MESSAGES_MAX, 2]);
  assertEquals(reader.missed, MESSAGES_MAX + 2);
  dropped.add(a!, COUNT_MAX);
  dropped.add(a!, 10);
  assertEquals(dropped.take()!.messages, MESSAGES_MAX);
});

Deno.test("A count of the messages of a topic stays at 2⁵³ − 1, and messages still pass then", () => {
  const { bus } = senderContext([]);
  const counts = new SentCounts(bus, PREFIX);
  const sent = counts.hold(["a"]);
  sent.count = COUNT_MAX - 3;
  const topic = encodeTopic(["a"]);
  const route = counts.routeOf(topic, 0, topic.length)!;
  const interest = { id: 1, path: ["a"] } as unknown as Interest;
  const lost: number[] = [];
  const losses = new LossDetector({
    interests: { get: () => interest, size: 1 } as unknown as Interests,
    memory: new RemoteMemory(2 ** 30),
    reassembly: new Reassembly("f", 1000, new HeldBytes(1000)),
    lost: (_path, messages) => lost.push(messages),
  });
  const answer = { type: "counts", from: "f".repeat(16), version: 1, since: 1, answer: 1 } as const;
  const full = { sent: 1, isFull: true, part: 0, more: false };
  losses.take({ ...answer, ...full, counts: [[1, sent.count]] });
  const told: number[] = [];
  for (const messages of [1, 1, 1, 1, 5]) {
    const { count, depth } = counts.add(route, messages)[0]!;
    told.push(count);
    assertEquals(losses.check([interest], { counts: [{ count, depth }], messages }), true);
  }
  assertEquals(told, [COUNT_MAX - 2, COUNT_MAX - 1, COUNT_MAX, COUNT_MAX, COUNT_MAX]);
  assertEquals(lost, []);
});

Deno.test("docs/protocol.md has a row for each counter that is tried here", async () => {
  const page = await Deno.readTextFile(new URL("../docs/protocol.md", import.meta.url));
  const [, section = ""] = page.split("\n## Counters\n");
  const [before] = section.split("\n## ") as [string];
  const rows = [...before.matchAll(/^\| ([^|]*[^| ]) +\|/gm)].map(([, cell]) => cell);
  assertEquals(rows.filter((cell) => !/^(counter|-+)$/.test(cell!)), [
    "counted frames of a session, each lane and direction",
    "ASKs on one connection, each direction",
    "messages that a broker dropped for a client",
    "messages that other brokers lost",
    "jobs of a session",
    "members of a session",
    "what a broker counts of itself",
    "packets of a broker, or of one of its lanes to a stream",
    "messages in a packet",
    "messages to a topic that others want",
    "versions, answers, numbers of topics and parts",
    "place in a stream",
  ]);
});

const FROM = "00ff00ff00ff00ff";
const PART = { part: 0, more: false };
/** What a broker says, with a number in one place. */
const NUMBERED: Readonly<Record<string, (n: number) => ControlMessage>> = {
  "sent of beat": (sent) => ({ type: "beat", from: FROM, stream: null, sent, wants: 0 }),
  "wants of beat": (wants) => ({ type: "beat", from: FROM, stream: null, sent: 0, wants }),
  "got of ask": (got) => ({ type: "ask", from: FROM, got }),
  "got of got": (got) => ({ type: "got", from: FROM, got }),
  "version of wants": (n) => wantsOf({ version: n }),
  "base of wants": (n) => wantsOf({ base: n }),
  "number of a topic in wants": (n) => wantsOf({ add: [[n, ["a"]]] }),
  "number of a removed topic": (n) => wantsOf({ remove: [n] }),
  "part of wants": (n) => wantsOf({ part: n }),
  "version of counts": (n) => countsOf({ version: n }),
  "since of counts": (n) => countsOf({ since: n }),
  "answer of counts": (n) => countsOf({ answer: n }),
  "sent of counts": (n) => countsOf({ sent: n }),
  "number of a topic in counts": (n) => countsOf({ counts: [[n, 1]] }),
  "count of a topic": (n) => countsOf({ counts: [[1, n]] }),
  "part of counts": (n) => countsOf({ part: n }),
};

function wantsOf(fields: object): ControlMessage {
  return {
    type: "wants",
    from: FROM,
    version: 1,
    base: 0,
    add: [],
    remove: [],
    ...PART,
    ...fields,
  };
}

function countsOf(fields: object): ControlMessage {
  const numbers = { version: 1, since: 1, answer: 1, sent: 1 };
  return { type: "counts", from: FROM, ...numbers, counts: [], isFull: true, ...PART, ...fields };
}

for (const [what, of] of Object.entries(NUMBERED)) {
  Deno.test(`The ${what} goes up to 2⁵³ − 1, and a broker refuses more`, () => {
    for (const n of [COUNT_MAX - 1, COUNT_MAX]) {
      assertEquals(decodeControlMessage(encodeControlMessage(of(n))), of(n));
    }
    const beyond = encodeControlMessage(of(2 ** 53));
    assertThrows(() => decodeControlMessage(beyond), ProtocolError, "unknown kind");
  });
}
