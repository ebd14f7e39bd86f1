/** Groups at a broker, with clients that speak the wire's own words. */
import { assert, assertEquals } from "@std/assert";
import { Account } from "../base/account.ts";
import { Broker, type BrokerOptions } from "../broker.ts";
import { JobRun } from "../broker/group_jobs.ts";
import { FrameType, Reason } from "../protocol/frame.ts";
import {
  decodeAck,
  decodeGoodbye,
  decodeRefused,
  encodeAck,
  LIMITS_MAX,
} from "../protocol/frame_bodies.ts";
import {
  decodeJob,
  encodeMember,
  encodeNumber,
  encodeRanges,
  type JobRange,
} from "../protocol/job_bodies.ts";
import { decodeTopic, encodeTopic, topicEnd } from "../protocol/topic_block.ts";
import { Peer } from "../tools/harness/peer.ts";
import { until } from "../tools/harness/until.ts";

/** What a JOB says. */
interface SeenJob {
  readonly member: number;
  readonly redelivered: number;
  readonly topic: string;
  readonly text: string;
}

/** A client with members. */
class Worker implements AsyncDisposable {
  readonly peer: Peer;
  readonly session: Uint8Array;
  /** How many have come. */
  #jobs = 0;
  #asks = 0;

  private constructor(peer: Peer, session: Uint8Array) {
    this.peer = peer;
    this.session = session;
  }

  static async start(broker: Broker, ...topics: readonly string[][]): Promise<Worker> {
    const peer = await Peer.authenticate(broker);
    const { session } = await peer.sendOpen(topics);
    return new Worker(peer, session);
  }

  /** Becomes a member; resolves when the broker has taken that. */
  async join(member: number, { topic = ["job"], group = "workers", concurrency = 1 } = {}) {
    const body = encodeMember({ number: member, concurrency, group, topic: encodeTopic(topic) });
    await this.peer.send(FrameType.JOIN, body);
    await this.sync();
  }

  async leave(member: number): Promise<void> {
    await this.peer.send(FrameType.LEAVE, encodeNumber(member));
    await this.sync();
  }

  /** Resolves when the broker has taken all that was sent. */
  async sync(): Promise<void> {
    this.#asks++;
    await this.peer.send(FrameType.ASK);
    await this.peer.expect(FrameType.ACK);
  }

  /** How many messages the broker acknowledges when it is asked. */
  async acknowledged(): Promise<number> {
    await this.peer.send(FrameType.ASK);
    for (const wanted = ++this.#asks;;) {
      const { type, body } = (await this.peer.next())!;
      if (type !== FrameType.ACK) continue;
      const { messages, asks } = decodeAck(body);
      if (asks === wanted) return messages;
    }
  }

  async publish(topic: readonly string[], ...texts: readonly string[]): Promise<void> {
    for (const text of texts) await this.peer.publish(topic, new TextEncoder().encode(text));
  }

  async job(): Promise<SeenJob> {
    const body = await this.peer.expect(FrameType.JOB);
    this.#jobs++;
    const { member, redelivered, topic } = decodeJob(body, 0, body.length);
    const payload = topicEnd(body, topic, body.length);
    const path = decodeTopic(body, topic, payload, LIMITS_MAX);
    const text = new TextDecoder().decode(body.subarray(payload));
    return { member, redelivered, topic: path.join("/"), text };
  }

  async texts(count: number): Promise<string[]> {
    const texts = [];
    for (let n = 0; n < count; n++) texts.push((await this.job()).text);
    return texts;
  }

  async finish(...ranges: readonly JobRange[]): Promise<void> {
    await this.peer.send(FrameType.ACK, encodeAck(0, 0, this.#jobs));
    await this.peer.send(FrameType.FINISHED, encodeRanges(ranges));
  }

  async giveBack(...ranges: readonly JobRange[]): Promise<void> {
    await this.peer.send(FrameType.RETURNED, encodeRanges(ranges));
  }

  /** Why the broker refused a message. */
  async refusal(): Promise<{ topic: string; reason: number; text: string }> {
    const { topic, ...rest } = decodeRefused(await this.peer.expect(FrameType.REFUSED), LIMITS_MAX);
    return { topic: topic.join("/"), ...rest };
  }

  async goodbye(): Promise<number> {
    return decodeGoodbye(await this.peer.expect(FrameType.GOODBYE)).reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.peer[Symbol.asyncDispose]();
  }
}

async function brokerOf(options: BrokerOptions = {}): Promise<Broker> {
  const broker = new Broker(options);
  await broker.start();
  return broker;
}

function one(first: number, count = 1): JobRange {
  return { first, count };
}

Deno.test("Broker gives each message to the member with the fewest unfinished, in turn among equals", async () => {
  await using broker = await brokerOf();
  await using a = await Worker.start(broker);
  await using b = await Worker.start(broker);
  await using publisher = await Worker.start(broker);
  await a.join(7, { concurrency: 3 });
  await b.join(1, { concurrency: 2 });
  await publisher.publish(["job", "x"], "1", "2", "3", "4", "5", "6");
  assertEquals(await a.job(), { member: 7, redelivered: 0, topic: "job/x", text: "1" });
  assertEquals(await b.texts(2), ["2", "4"]);
  assertEquals(await a.texts(2), ["3", "5"]);
  assertEquals(broker.stats().jobs.waiting, 1);
  await b.finish(one(2));
  assertEquals(await b.texts(1), ["6"]);
  const { members, unfinished, waiting } = broker.stats().jobs;
  assertEquals({ members, unfinished, waiting }, { members: 2, unfinished: 5, waiting: 0 });
});

Deno.test("Broker gives a message to one of each group, and to all who are in none", async () => {
  await using broker = await brokerOf();
  await using a = await Worker.start(broker);
  await using plain = await Worker.start(broker, ["job"]);
  await a.join(1, { group: "one", concurrency: 9 });
  await a.join(2, { group: "two", concurrency: 9 });
  await a.join(3, { group: "two", topic: ["job", "x"], concurrency: 9 });
  await plain.publish(["job", "x"], "1");
  await plain.publish([], "all");
  const jobs = [await a.job(), await a.job(), await a.job()].map(({ member }) => member);
  assertEquals(jobs.sort(), [1, 2, 3]);
  const broadcast = [await a.job(), await a.job(), await a.job()].map(({ member }) => member);
  assertEquals(broadcast.sort(), [1, 2, 3]);
  await a.publish(["job"], "2");
  assertEquals((await plain.peer.expect(FrameType.PUBLISH)).length > 0, true);
});

Deno.test("Broker gives a member its own messages, too", async () => {
  await using broker = await brokerOf();
  await using a = await Worker.start(broker);
  await a.join(1);
  await a.publish(["job"], "mine");
  assertEquals(await a.texts(1), ["mine"]);
});

Deno.test("Broker gives what a member had to others when its session ends, and not before", async () => {
  await using broker = await brokerOf({ resumeWindow: 200 });
  const a = await Worker.start(broker);
  await using b = await Worker.start(broker);
  await using publisher = await Worker.start(broker);
  await a.join(1, { concurrency: 4 });
  await publisher.publish(["job"], "1", "2");
  assertEquals(await a.texts(2), ["1", "2"]);
  a.peer.conn.close();
  await until(() => broker.stats().detached === 1);
  await b.join(1, { concurrency: 4 });
  await publisher.publish(["job"], "3", "4", "5");
  assertEquals(await b.texts(3), ["3", "4", "5"], "who is not connected gets nothing new");
  await b.finish(one(1, 3));
  assertEquals(await b.job(), { member: 1, redelivered: 1, topic: "job", text: "1" });
  assertEquals((await b.job()).text, "2");
  const { redelivered, unfinished, members } = broker.stats().jobs;
  assertEquals({ redelivered, unfinished, members }, { redelivered: 2, unfinished: 2, members: 1 });
});

Deno.test("Broker keeps the jobs of a member that comes back, and takes what it finished meanwhile", async () => {
  await using broker = await brokerOf();
  const a = await Worker.start(broker);
  await using publisher = await Worker.start(broker);
  await a.join(1, { concurrency: 2 });
  await publisher.publish(["job"], "1", "2", "3");
  assertEquals(await a.texts(2), ["1", "2"]);
  a.peer.conn.close();
  await until(() => broker.stats().detached === 1);
  const again = await Peer.authenticate(broker);
  const head = new Uint8Array(38);
  head.set(a.session);
  head[24] = 1; // Of two calls it has taken one.
  const member = encodeMember({
    number: 1,
    concurrency: 2,
    group: "workers",
    topic: encodeTopic(["job"]),
  });
  await again.send(FrameType.OPEN, head, encodeNumber(0), member);
  assertEquals((await again.expect(FrameType.OPENED))[0], 1);
  const body = await again.expect(FrameType.JOB);
  assertEquals(new TextDecoder().decode(body.subarray(-1)), "2");
  await again.send(FrameType.FINISHED, encodeRanges([one(1)]));
  const next = await again.expect(FrameType.JOB);
  assertEquals(new TextDecoder().decode(next.subarray(-1)), "3");
  assertEquals(broker.stats().jobs.redelivered, 0);
  again.conn.close();
});

Deno.test("Broker gives up a message whose third member is lost, and tells its publisher", async () => {
  await using broker = await brokerOf({ resumeWindow: 0 });
  await using publisher = await Worker.start(broker);
  let worker = await Worker.start(broker);
  await worker.join(1);
  await publisher.publish(["job", "poison"], "x");
  for (let n = 0; n < 3; n++) {
    assertEquals((await worker.job()).redelivered, n);
    const next = await Worker.start(broker);
    await next.join(1);
    worker.peer.conn.close();
    worker = next;
  }
  await using last = worker;
  const { topic, reason, text } = await publisher.refusal();
  assertEquals([topic, reason], ["job/poison", Reason.ABANDONED]);
  assert(text.includes("workers") && text.includes("three members"), text);
  assertEquals(broker.stats().jobs.abandoned, 1);
  await publisher.publish(["job"], "next");
  assertEquals(await last.texts(1), ["next"]);
});

Deno.test("Broker keeps what waits for resumeWindow when no member is left", async () => {
  await using broker = await brokerOf({ resumeWindow: 300 });
  await using publisher = await Worker.start(broker);
  await using a = await Worker.start(broker);
  await using b = await Worker.start(broker);
  await a.join(1);
  await publisher.publish(["job"], "1", "2", "3");
  await a.job();
  await a.leave(1);
  await a.giveBack(one(1));
  await a.sync();
  await publisher.publish(["job"], "nobody");
  await publisher.sync();
  await b.join(5, { concurrency: 1 });
  assertEquals(await b.texts(1), ["1"]);
  await b.finish(one(1));
  assertEquals(await b.texts(1), ["2"]);
  await b.leave(5);
  const refused = await publisher.refusal();
  assertEquals([refused.topic, refused.reason], ["job", Reason.ABANDONED]);
  await b.finish(one(2));
  await until(() => broker.stats().jobs.groups === 0);
  assertEquals(broker.stats().jobs.abandoned, 1);
});

Deno.test("Broker refuses what a full group cannot take, and tells its publisher", async () => {
  await using broker = await brokerOf({ limits: { queueBytes: 2 ** 21 }, maxPatience: 0 });
  await using publisher = await Worker.start(broker);
  await using a = await Worker.start(broker);
  await a.join(1);
  const texts = Array.from({ length: 6 }, (_, n) => `${n}`.repeat(600_000));
  await publisher.publish(["job"], ...texts);
  for (let n = 0; n < 2; n++) {
    const { topic, reason } = await publisher.refusal();
    assertEquals([topic, reason], ["job", Reason.GROUP_FULL]);
  }
  assertEquals(broker.stats().jobs.refused, 2);
  const seen = [];
  for (let n = 1; n <= 4; n++) {
    seen.push((await a.job()).text[0]);
    await a.finish(one(n));
  }
  assertEquals(seen, ["0", "1", "2", "3"]);
});

Deno.test("Broker holds a publisher back while a group is full, for at most maxPatience", async () => {
  await using broker = await brokerOf({ limits: { queueBytes: 2 ** 21 }, maxPatience: 100 });
  await using publisher = await Worker.start(broker);
  await using a = await Worker.start(broker);
  await a.join(1);
  await publisher.publish(["job"], ...Array.from({ length: 5 }, (_, n) => `${n}`.repeat(600_000)));
  const { reason } = await publisher.refusal();
  assertEquals(reason, Reason.GROUP_FULL);
  assertEquals(await publisher.acknowledged(), 5);
  assertEquals([broker.stats().jobs.refused, broker.stats().jobs.waiting], [1, 3]);
  // Nothing has moved since: nobody is held back again in vain.
  await publisher.publish(["job"], "5".repeat(600_000));
  assertEquals(await publisher.acknowledged(), 6);
  assertEquals(broker.stats().jobs.refused, 2);
});

Deno.test("Broker never holds back a member that publishes to its own group", async () => {
  await using broker = await brokerOf({ limits: { queueBytes: 2 ** 21 } });
  await using a = await Worker.start(broker);
  await a.join(1);
  await a.publish(["job"], ...Array.from({ length: 5 }, (_, n) => `${n}`.repeat(600_000)));
  await a.peer.send(FrameType.ASK);
  await a.job();
  const ack = await a.peer.expect(FrameType.ACK);
  assertEquals(ack[0], 5);
});

for (
  const [what, reason, type, body] of [
    ["finishes what it does not have", Reason.PROTOCOL, FrameType.FINISHED, encodeRanges([one(2)])],
    ["finishes too many", Reason.PROTOCOL, FrameType.FINISHED, encodeRanges([one(1, 2)])],
    [
      "gives back what it does not have",
      Reason.PROTOCOL,
      FrameType.RETURNED,
      encodeRanges([one(9)]),
    ],
    ["finishes nothing", Reason.PROTOCOL, FrameType.FINISHED, new Uint8Array(0)],
    ["joins with a number that is used", Reason.PROTOCOL, FrameType.JOIN, memberOf({})],
    ["joins without concurrency", Reason.PROTOCOL, FrameType.JOIN, memberOf({ concurrency: 0 })],
    ["joins a group without a name", Reason.PROTOCOL, FrameType.JOIN, memberOf({ group: "" })],
    ["leaves in three bytes", Reason.PROTOCOL, FrameType.LEAVE, new Uint8Array(3)],
    ["sends a JOB", Reason.PROTOCOL, FrameType.JOB, new Uint8Array(20)],
  ] as const
) {
  Deno.test(`Broker ends a session whose client ${what}`, async () => {
    await using broker = await brokerOf();
    const a = await Worker.start(broker);
    await using b = await Worker.start(broker);
    await a.join(1);
    await b.publish(["job"], "x");
    await a.job();
    await a.peer.send(type, body);
    assertEquals(await a.goodbye(), reason);
    a.peer.conn.close();
    await b.join(1);
    assertEquals((await b.job()).redelivered, 1, "others get what it had");
  });
}

function memberOf({ concurrency = 1, group = "workers" }): Uint8Array {
  return encodeMember({ number: 1, concurrency, group, topic: encodeTopic(["job"]) });
}

Deno.test("Broker keeps nothing of groups that are over, nor of their jobs", async () => {
  await using broker = await brokerOf({ resumeWindow: 0 });
  const before = broker.stats().memoryBytes;
  const publisher = await Worker.start(broker);
  for (let round = 0; round < 3; round++) {
    const worker = await Worker.start(broker);
    await worker.join(1, { concurrency: 2 });
    await worker.join(2, { topic: ["job", "x"], group: "others" });
    await publisher.publish(["job", "x"], ...Array.from({ length: 2000 }, (_, n) => `${n}`));
    await publisher.publish(["job"], "y".repeat(100_000));
    await publisher.sync().catch(() => {}); // REFUSED may come before.
    await worker.job();
    await worker.finish(one(1));
    worker.peer.conn.close();
    await until(() => broker.stats().jobs.groups === 0);
  }
  publisher.peer.conn.close();
  await until(() => broker.stats().sessions === 0);
  await until(() => broker.stats().memoryBytes === before);
  const { jobs } = broker.stats();
  assertEquals([jobs.members, jobs.waiting, jobs.unfinished], [0, 0, 0]);
  assert(jobs.abandoned > 3000, `${jobs.abandoned} abandoned`);
});

Deno.test("Broker counts calls apart from messages, and sends what was not taken again", async () => {
  await using broker = await brokerOf();
  await using a = await Worker.start(broker, ["plain"]);
  await using publisher = await Worker.start(broker);
  await a.join(1, { concurrency: 2 });
  await publisher.publish(["job"], "1");
  await publisher.publish(["plain"], "2");
  const seen = [(await a.peer.next())!.type, (await a.peer.next())!.type].sort();
  assertEquals(seen, [FrameType.PUBLISH, FrameType.JOB].sort());
  await a.peer.send(FrameType.ACK, encodeAck(1, 0, 1));
  await a.peer.send(FrameType.ACK, encodeAck(1, 0, 2));
  assertEquals(await a.goodbye(), Reason.PROTOCOL);
});

Deno.test("Broker keeps no bytes of what it has given up, and counts what is left for the member", async () => {
  await using broker = await brokerOf({ limits: { queueBytes: 2 ** 22 }, memory: 2 ** 24 });
  await using hoarder = await Worker.start(broker);
  await using publisher = await Worker.start(broker);
  for (let n = 1; n <= 40; n++) await hoarder.join(n);
  for (let n = 1; n <= 40; n++) {
    await publisher.publish(["job"], "x".repeat(1_000_000));
    await hoarder.job();
    await hoarder.peer.send(FrameType.ACK, encodeAck(0, 0, n));
    const { memoryBytes } = broker.stats();
    assert(memoryBytes < 1.1 * 2 ** 24, `${memoryBytes} bytes are kept`);
  }
  const { abandoned, unfinished } = broker.stats().jobs;
  assert(abandoned >= 20, `${abandoned} were given up`);
  assertEquals(unfinished, 40 - abandoned);
  assertEquals((await publisher.refusal()).reason, Reason.ABANDONED);
  await hoarder.finish(one(1, 40));
  await publisher.publish(["job"], "next");
  assertEquals((await hoarder.job()).text, "next", "who finishes them goes on");
  await hoarder.finish(one(41));
  await until(() => broker.stats().jobs.unfinished === 0);
});

Deno.test("JobRun lets go of its bytes with its last job, whoever still knows it", () => {
  const account = new Account();
  const share = { owner: {}, of: undefined, bytes: 0 };
  const run = new JobRun(
    new Uint8Array(1000),
    2,
    ITSELF,
    { account, shareOf: () => share },
    undefined,
  );
  run.release();
  assertEquals([run.buffer.length, share.bytes > 1000], [1000, true]);
  run.release();
  assertEquals([run.buffer.length, share.bytes, account.bytes], [0, 0, 0]);
});

/** What the broker publishes itself. */
const ITSELF = { withhold: () => () => {} };
