import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { writeAll } from "../base/bytes.ts";
import { Turn } from "../base/turn.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import { encodeFrame, type Frame, FrameType, Reason } from "../protocol/frame.ts";
import { decodeAck, encodeAck, encodeGap } from "../protocol/frame_bodies.ts";
import type { HeldFrame } from "../protocol/inbox.ts";
import { type ByteStream, Link } from "../protocol/link.ts";
import { Session, type SessionHandler, WINDOW_BYTES } from "../protocol/session.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { concat } from "../tools/harness/bytes.ts";
import { streamPair } from "../tools/harness/memory_streams.ts";
import { type Random, randomOf } from "../tools/harness/random.ts";
import { until } from "../tools/harness/until.ts";
import { stillClock } from "../tools/harness/still_clock.ts";
import { Clock } from "./helpers/clock.ts";
import { FramePeer } from "./helpers/frame_peer.ts";
import { quiet } from "./helpers/quiet.ts";
import { Walks } from "./helpers/walks.ts";

const SEED = 20261124;
const MESSAGE_BYTES = 400_000;
/** After so many an ACK comes unasked, as `docs/protocol.md` has it. */
const ACK_BYTES = 64 * 1024;
/** All that the sessions of these tests take. */
const FRAME_LIMITS = Array.from(
  { length: FrameType.REFUSED },
  (_, type) => type === FrameType.PUBLISH ? MESSAGE_BYTES : 256,
);
const TOPIC = encodeTopic(["t"]);

/** A PUBLISH that tells which it is; if it is longer than 270 bytes, it has this length. */
function frameOf(n: number, length = 0): Uint8Array {
  const payload = new Uint8Array(Math.max(4, length - 6 - TOPIC.length)).fill(n);
  new DataView(payload.buffer).setUint32(0, n);
  return encodeFrame(FrameType.PUBLISH, TOPIC, payload);
}

function framesOf(count: number, length?: number): Uint8Array[] {
  return Array.from({ length: count }, (_, n) => frameOf(n, length));
}

/** What an owner of a session gets. */
class Owner implements SessionHandler {
  /** All frames, whole. */
  readonly frames: Uint8Array[] = [];
  readonly oversizes: number[] = [];
  full = false;

  frame(
    { buffer, start, end, oversize }: Pick<Frame, "buffer" | "start" | "end" | "oversize">,
  ): void {
    this.frames.push(buffer.slice(start, end));
    this.oversizes.push(oversize);
  }

  held({ bytes, oversize }: HeldFrame): void {
    this.frame({ buffer: bytes, start: 0, end: bytes.length, oversize });
  }
}

function linkOf(stream: ByteStream): Link {
  return new Link(stream, FRAME_LIMITS, {
    frame() {},
    batch() {},
    next: () => undefined,
    idle() {},
    ask() {},
  });
}

/** The other side of a session. */
class Peer extends FramePeer {
  /** What the session answers to an ASK; all that was sent before has then arrived. */
  async ask(): Promise<{ count: number; asks: number }> {
    await this.send(FrameType.ASK);
    return await this.ack();
  }

  /** The ACK that comes next. */
  async ack(): Promise<{ count: number; asks: number }> {
    const { messages: count, asks } = decodeAck(await this.expect(FrameType.ACK));
    return { count, asks };
  }

  async write(...frames: readonly Uint8Array[]): Promise<void> {
    for (const frame of frames) await writeAll(this.stream, frame);
  }
}

/** Gives a session a connection, whose other side it returns. */
function attach(session: Session): { link: Link; peer: Peer } {
  const [ours, theirs] = streamPair();
  const link = linkOf(ours);
  session.attach(link);
  return { link, peer: new Peer(theirs) };
}

/** A session with a connection whose other side the test plays. */
function setUp(handler: Partial<SessionHandler> = {}) {
  const owner = Object.assign(new Owner(), handler);
  const session = new Session(owner);
  return { session, owner, ...attach(session) };
}

/** Lets go of everything. */
async function end(session: Session, peer?: FramePeer): Promise<void> {
  const { link } = session;
  session.end();
  peer?.stream.close();
  await link?.finished;
}

/** Two sessions, and what their owners got. */
function pairOf() {
  const [clientOwner, brokerOwner] = [new Owner(), new Owner()];
  const client = new Session(clientOwner);
  const broker = new Session(brokerOwner);
  return { client, broker, clientOwner, brokerOwner };
}

/** Connects both, as a client that opens or resumes a session does; resolves when that is lost. */
function connect(client: Session, broker: Session, streams = streamPair()): Promise<void> {
  client.detach();
  broker.detach();
  broker.outbox.acknowledge(client.taken);
  broker.outbox.rewind(client.taken);
  client.outbox.rewind(broker.taken);
  const [one, two] = streams.map(linkOf) as [Link, Link];
  broker.attach(two);
  client.attach(one);
  return Promise.all([one.finished, two.finished]).then(() => {});
}

/** Ends both; `lost` is what {@linkcode connect} returned. */
async function endBoth(client: Session, broker: Session, lost: Promise<void>): Promise<void> {
  client.end();
  broker.end();
  await lost;
}

function publish(session: Session, ...frames: readonly Uint8Array[]): void {
  for (const frame of frames) {
    session.outbox.push(frame, 1);
    session.pump();
  }
}

function assertSame(actual: readonly Uint8Array[], expected: readonly Uint8Array[], told = "") {
  const [a, b] = [concat(...actual), concat(...expected)];
  const isSame = a.length === b.length && a.every((byte, i) => byte === b[i]);
  assert(isSame, `${told}: got ${actual.length} frames, ${expected.length} were sent`);
}

/** Whether a promise has been fulfilled. */
function watch(promise: Promise<unknown>): { done: boolean } {
  const state = { done: false };
  promise.then(() => state.done = true, () => {});
  return state;
}

Deno.test("Session counts the frames of each direction apart, messages and notices", async () => {
  const { session, owner, link, peer } = setUp();
  const gap = encodeFrame(FrameType.GAP, encodeGap(3));
  publish(session, frameOf(1), gap, frameOf(2));
  link.send(FrameType.SUBSCRIBE, TOPIC);
  await peer.expect(FrameType.SUBSCRIBE);
  const subscribe = encodeFrame(FrameType.SUBSCRIBE, TOPIC);
  const arriving = peer.write(frameOf(3), subscribe, gap);
  for (let i = 0; i < 3; i++) await peer.next();
  await arriving;
  assertEquals(await peer.ask(), { count: 2, asks: 1 });
  assertEquals([session.taken, session.outbox.unacknowledged], [2, 3]);
  assertEquals(owner.frames, [frameOf(3), subscribe, gap]);
  await peer.send(FrameType.ACK, encodeAck(2, 0));
  await peer.ask();
  assertEquals(session.outbox.unacknowledged, 1);
  await end(session, peer);
});

Deno.test("Session acknowledges after 64 KiB of counted frames and not before", async () => {
  const { session, peer } = setUp();
  const half = ACK_BYTES / 2;
  await peer.write(frameOf(0, half), frameOf(1, half - 1));
  assertEquals(await peer.ask(), { count: 2, asks: 1 });
  await peer.write(frameOf(2, half), frameOf(3, half));
  assertEquals(await peer.ack(), { count: 4, asks: 1 });
  await peer.write(frameOf(4, half));
  assertEquals(await peer.ask(), { count: 5, asks: 2 });
  await end(session, peer);
});

Deno.test("Session answers several ASK of one read with one ACK", async () => {
  const { session, peer } = setUp();
  const ask = encodeFrame(FrameType.ASK);
  await peer.write(concat(ask, frameOf(1), ask));
  assertEquals(await peer.ack(), { count: 1, asks: 2 });
  await end(session, peer);
});

Deno.test("Session answers with few ACK what was asked while it could not write", async () => {
  const { session, peer } = setUp();
  publish(session, frameOf(1, 50_000));
  for (let i = 0; i < 1000; i++) await peer.send(FrameType.ASK);
  await peer.expect(FrameType.PUBLISH);
  let acks = 0;
  for (let asks = 0; asks < 1000; acks++) asks = (await peer.ack()).asks;
  assert(acks < 10, `${acks} ACK wait for a side that reads nothing`);
  await end(session, peer);
});

Deno.test("Session acknowledges when it has sent nothing else for a heartbeat", async () => {
  const { session, peer } = setUp();
  await peer.write(frameOf(1));
  await quiet();
  session.idle();
  assertEquals(await peer.ack(), { count: 1, asks: 0 });
  session.idle();
  assertEquals(await peer.ack(), { count: 1, asks: 0 });
  await end(session, peer);
});

Deno.test("Session lets its handler finish a read before it acknowledges it", async () => {
  using _clock = stillClock(); // On a busy machine a read may be taken in several turns.
  const events: string[] = [];
  const { session, peer } = setUp({
    batch() {
      events.push("batch");
      session.withhold(1, frameOf(2).length);
    },
  });
  await peer.write(concat(frameOf(1), frameOf(2), encodeFrame(FrameType.ASK)));
  assertEquals(await peer.ack(), { count: 1, asks: 1 });
  assertEquals(events, ["batch"]);
  await end(session, peer);
});

Deno.test("Session tells its handler the length of a message that is too long, and counts it", async () => {
  const { session, owner, peer } = setUp();
  const frame = frameOf(1, MESSAGE_BYTES + 10);
  await peer.write(frame, frameOf(2));
  assertEquals(await peer.ack(), { count: 1, asks: 0 });
  assertEquals(await peer.ask(), { count: 2, asks: 1 });
  assertEquals(owner.oversizes, [MESSAGE_BYTES + 10 - 6, 0]);
  assertEquals(owner.frames, [frame.subarray(0, 6), frameOf(2)]);
  await end(session, peer);
});

for (
  const [what, acks, problem] of [
    ["goes back", [encodeAck(2, 0), encodeAck(1, 0)], "acknowledgement of 1: 3 frames were sent"],
    ["goes past what was sent", [encodeAck(4, 0)], "acknowledgement of 4: 3 frames were sent"],
    ["counts 2^64 - 1", [new Uint8Array(20).fill(255, 0, 8)], "Cannot read a count"],
    ["answers what was not asked", [encodeAck(3, 2)], "answers 2 requests of 1"],
    ["answers less than before", [encodeAck(0, 1), encodeAck(0, 0)], "answers 0 requests of 1"],
    ["is too short", [new Uint8Array(19)], "19 bytes, not 20"],
  ] as const
) {
  Deno.test(`Session ends its link with PROTOCOL when an ACK ${what}`, async () => {
    const { session, link, peer } = setUp();
    publish(session, ...framesOf(3));
    const flushed = assertRejects(() => session.flush(), ProtocolError, problem);
    for (let i = 0; i < 4; i++) await peer.next();
    for (const ack of acks) await peer.send(FrameType.ACK, ack);
    const { reason, text } = await peer.goodbye();
    assertEquals(reason, Reason.PROTOCOL);
    assert(text.includes(problem), text);
    const { error } = await link.finished;
    assertInstanceOf(error, ProtocolError);
    session.end(error);
    await flushed;
  });
}

Deno.test("Session takes an ACK twice, and tells its handler of the first only", async () => {
  let told = 0;
  const { session, peer } = setUp({ acknowledged: () => void told++ });
  publish(session, frameOf(1));
  await peer.expect(FrameType.PUBLISH);
  for (let i = 0; i < 2; i++) await peer.send(FrameType.ACK, encodeAck(1, 0));
  await peer.ask();
  assertEquals([session.outbox.unacknowledged, told], [0, 1]);
  await end(session, peer);
});

Deno.test("Session takes a whole window that is not acknowledged", async () => {
  const { session, owner, peer } = setUp();
  session.withhold(0, 0);
  await peer.write(...framesOf(16, WINDOW_BYTES / 16));
  assertEquals(await peer.ask(), { count: 0, asks: 1 });
  assertEquals(owner.frames.length, 16);
  await end(session, peer);
});

Deno.test("Session ends its link with PROTOCOL when more than a window comes", async () => {
  for (const full of [false, true]) {
    const { session, owner, link, peer } = setUp();
    session.withhold(0, 0);
    owner.full = full;
    const frames = framesOf(18, WINDOW_BYTES / 16);
    await peer.write(...frames.slice(0, 17));
    const last = peer.write(frames[17]!);
    const { reason, text } = await peer.goodbye();
    assertEquals(reason, Reason.PROTOCOL);
    assert(text.includes(`more than the window of ${WINDOW_BYTES} bytes`), text);
    await last;
    assertInstanceOf((await link.finished).error, ProtocolError);
    assert(owner.frames.length <= 17);
    session.end();
  }
});

Deno.test("Session acknowledges nothing of what is withheld, until it is released", async () => {
  const { session, peer } = setUp();
  await peer.write(...framesOf(5));
  await quiet();
  const release = session.withhold(2, 2 * frameOf(0).length);
  assertEquals(await peer.ask(), { count: 3, asks: 1 });
  await peer.write(...framesOf(4));
  assertEquals(await peer.ask(), { count: 3, asks: 2 });
  release();
  assertEquals(await peer.ack(), { count: 9, asks: 2 });
  release();
  assertEquals(await peer.ask(), { count: 9, asks: 3 });
  await end(session, peer);
});

Deno.test("Session withholds nothing that it has acknowledged", async () => {
  const { session, peer } = setUp();
  await peer.write(...framesOf(5));
  await peer.ask();
  session.withhold(2, 2 * frameOf(0).length);
  await peer.write(frameOf(5));
  assertEquals(await peer.ask(), { count: 5, asks: 2 });
  await end(session, peer);
});

Deno.test("Session acknowledges what none of several withholds, in whatever order they end", async () => {
  for (const order of [[0, 1, 2], [2, 1, 0], [1, 0, 2]]) {
    const { session, peer } = setUp();
    await peer.write(...framesOf(9));
    await quiet();
    const releases = [6, 4, 2].map((count) => session.withhold(count, count * frameOf(0).length));
    const left = new Set([3, 5, 7]);
    for (const [asks, which] of order.entries()) {
      assertEquals(await peer.ask(), { count: Math.min(...left), asks: asks + 1 });
      const before = Math.min(...left);
      left.delete([3, 5, 7][which]!);
      releases[which]!();
      const count = Math.min(...left, 9);
      if (count > before) assertEquals(await peer.ack(), { count, asks: asks + 1 });
    }
    assertEquals(await peer.ask(), { count: 9, asks: 4 });
    await end(session, peer);
  }
});

Deno.test("Session sends no more than a window to one that withholds, and goes on when it releases", async () => {
  const { client, broker, clientOwner, brokerOwner } = pairOf();
  const lost = connect(client, broker);
  const frames = framesOf(60, 50_000);
  const release = broker.withhold(0, 0);
  publish(client, ...frames);
  await quiet();
  assertEquals(brokerOwner.frames.length, Math.floor(WINDOW_BYTES / 50_000));
  // The other direction is not concerned.
  publish(broker, ...frames);
  await broker.flush();
  assertEquals(broker.outbox.heldBytes, 0);
  assertSame(clientOwner.frames, frames);
  assertEquals(brokerOwner.frames.length, Math.floor(WINDOW_BYTES / 50_000));
  release();
  await client.flush();
  assertSame(brokerOwner.frames, frames);
  assertEquals(client.outbox.heldBytes, 0);
  await endBoth(client, broker, lost);
});

Deno.test("Session asks for an ACK when the window is closed and none would come by itself", async () => {
  // Twenty frames that go out as one; then one that fits only when all of them are acknowledged.
  const chunk = concat(...framesOf(20, 10_000));
  const large = frameOf(20, WINDOW_BYTES - 1000);
  for (const [acknowledged, isAsked] of [[0, false], [14, true], [19, true]] as const) {
    const { session, peer } = setUp();
    session.outbox.push(chunk, 20);
    session.pump();
    for (let n = 0; n < 20; n++) await peer.expect(FrameType.PUBLISH);
    await peer.send(FrameType.ACK, encodeAck(acknowledged, 0));
    publish(session, large);
    await peer.send(FrameType.ASK);
    if (isAsked) await peer.expect(FrameType.ASK);
    await peer.expect(FrameType.ACK);
    await peer.send(FrameType.ACK, encodeAck(20, isAsked ? 1 : 0));
    await peer.expect(FrameType.PUBLISH);
    await end(session, peer);
  }
});

Deno.test("Session asks once for an ACK that is withheld, and again when something was acknowledged", async () => {
  const { session, peer } = setUp();
  publish(session, frameOf(0), frameOf(1), frameOf(2, WINDOW_BYTES));
  for (let n = 0; n < 2; n++) await peer.expect(FrameType.PUBLISH);
  for (const [asks, acknowledged] of [[1, 0], [2, 1]] as const) {
    await peer.expect(FrameType.ASK);
    for (let n = 0; n < 3; n++) await peer.send(FrameType.ACK, encodeAck(acknowledged, asks));
    assertEquals((await peer.ask()).asks, asks);
    if (acknowledged === 0) await peer.send(FrameType.ACK, encodeAck(1, asks));
  }
  await peer.send(FrameType.ACK, encodeAck(2, 2));
  await peer.expect(FrameType.PUBLISH);
  await end(session, peer);
});

Deno.test("Session closes no window for ever when both sides withhold and release in turn", async () => {
  const { client, broker, clientOwner, brokerOwner } = pairOf();
  const lost = connect(client, broker);
  const frames = framesOf(60, 50_000);
  const releases = [client.withhold(0, 0), broker.withhold(0, 0)];
  for (const session of [client, broker]) publish(session, ...frames);
  await quiet();
  for (const release of releases) release();
  await Promise.all([client.flush(), broker.flush()]);
  assertSame(clientOwner.frames, frames);
  assertSame(brokerOwner.frames, frames);
  await endBoth(client, broker, lost);
});

Deno.test("Session takes a whole window after it withheld the frames before the one under way", async () => {
  const { client, broker, brokerOwner } = pairOf();
  const lost = connect(client, broker);
  const large = frameOf(0, 60_000);
  const frames = [large, frameOf(1), ...framesOf(300, 5000)];
  let release = () => {};
  brokerOwner.frame = function (frame) {
    Owner.prototype.frame.call(this, frame);
    // What ends a run of messages for a full peer is the first message for another.
    if (this.frames.length === 2) release = broker.withhold(1, large.length);
  };
  publish(client, frames[0]!, frames[1]!);
  const flushed = client.flush();
  await quiet();
  publish(client, ...frames.slice(2));
  await quiet();
  assertEquals(broker.link?.ended, false, "the link ended, although the client kept to its window");
  release();
  await flushed;
  await client.flush();
  assertSame(brokerOwner.frames, frames);
  await endBoth(client, broker, lost);
});

Deno.test("Session holds what its handler cannot take, and goes on in order when it can", async () => {
  const { session, owner, peer } = setUp();
  const frames = framesOf(6, 5000);
  await peer.write(frames[0]!);
  await quiet();
  owner.full = true;
  await peer.write(frames[1]!, concat(frames[2]!, frames[3]!), frames[4]!);
  assertEquals(await peer.ask(), { count: 1, asks: 1 });
  owner.full = false;
  await peer.write(frames[5]!);
  assertEquals(await peer.ask(), { count: 1, asks: 2 });
  assertEquals(owner.frames, frames.slice(0, 1), "what is held goes first");
  session.resume();
  assertEquals(session.taken, 6);
  assertEquals(owner.frames, frames);
  await end(session, peer);
});

Deno.test("Session takes of what it holds only what its handler can take", async () => {
  const frames = framesOf(7);
  const { session, owner, peer } = setUp();
  owner.frame = function (frame) {
    Owner.prototype.frame.call(this, frame);
    this.full = this.frames.length % 2 === 0;
  };
  await peer.write(concat(...frames));
  await quiet();
  const counts = [owner.frames.length];
  for (let i = 0; i < 3; i++) {
    session.resume();
    owner.full = false;
    session.resume();
    counts.push(owner.frames.length);
  }
  assertEquals(counts, [2, 4, 6, 7]);
  assertSame(owner.frames, frames);
  await end(session, peer);
});

Deno.test("Session acknowledges what was held when it has taken 64 KiB of it", async () => {
  const { session, owner, peer } = setUp();
  owner.full = true;
  await peer.write(frameOf(1, ACK_BYTES));
  await quiet();
  owner.full = false;
  session.resume();
  assertEquals(await peer.ack(), { count: 1, asks: 0 });
  await end(session, peer);
});

Deno.test("Session that holds frames takes and answers what is not counted", async () => {
  const { session, owner, peer } = setUp();
  owner.full = true;
  publish(session, frameOf(1));
  const flushed = watch(session.flush());
  await peer.expect(FrameType.PUBLISH);
  await peer.expect(FrameType.ASK);
  await peer.write(frameOf(2), encodeFrame(FrameType.SUBSCRIBE, TOPIC));
  await peer.send(FrameType.ACK, encodeAck(1, 1));
  assertEquals(await peer.ask(), { count: 0, asks: 1 });
  assertEquals([session.outbox.heldBytes, flushed.done], [0, true]);
  assertEquals(owner.frames, [encodeFrame(FrameType.SUBSCRIBE, TOPIC)]);
  await end(session, peer);
});

Deno.test("Session gets no more than a window while it holds frames, and all when it goes on", async () => {
  const { client, broker, clientOwner, brokerOwner } = pairOf();
  const lost = connect(client, broker);
  const frames = framesOf(60, 50_000);
  clientOwner.full = true;
  publish(broker, ...frames);
  await quiet();
  assertEquals(broker.outbox.numbered, Math.floor(WINDOW_BYTES / 50_000));
  publish(client, ...frames);
  await client.flush();
  assertSame(brokerOwner.frames, frames);
  clientOwner.full = false;
  client.resume();
  await broker.flush();
  assertSame(clientOwner.frames, frames);
  await endBoth(client, broker, lost);
});

Deno.test("Session takes what it held in turns with everything else, in order with what comes meanwhile", async () => {
  using clock = new Clock();
  let [others, turn] = [0, 0];
  const turns: number[] = [];
  const { session, owner, peer } = setUp({
    held(frame) {
      Owner.prototype.held.call(owner, frame);
      clock.spend(1);
      if (others !== turn) turns.push(0);
      turn = others;
      turns.push(turns.pop()! + 1);
    },
  });
  turns.push(0);
  owner.full = true;
  const frames = framesOf(200);
  await peer.write(concat(...frames.slice(0, 150)));
  await quiet();
  const counting = (async () => {
    for (; session.taken < 200; others++) await new Turn().came;
  })();
  owner.full = false;
  session.resume();
  await peer.write(concat(...frames.slice(150)));
  await counting;
  assertSame(owner.frames, frames);
  assert(Math.max(...turns) <= 8, `${turns} were taken in a turn`);
  await end(session, peer);
});

Deno.test("Session that has ended or lost its connection takes nothing of what it held after its turn", async () => {
  for (
    const stop of [(session: Session) => session.detach(), (session: Session) => session.end()]
  ) {
    using clock = new Clock();
    const { session, owner, link, peer } = setUp({
      held(frame) {
        Owner.prototype.held.call(owner, frame);
        clock.spend(1);
      },
    });
    owner.full = true;
    await peer.write(concat(...framesOf(100)));
    await quiet();
    owner.full = false;
    session.resume();
    const { length } = owner.frames;
    assert(length < 20, `${length} were taken in one turn`);
    stop(session);
    await quiet();
    assertEquals(owner.frames.length, length);
    session.end();
    await link.finished;
  }
});

Deno.test("Session tells the length of a message that is too long when it was held, too", async () => {
  const { session, owner, peer } = setUp();
  owner.full = true;
  await peer.write(frameOf(1, MESSAGE_BYTES + 10));
  await quiet();
  owner.full = false;
  session.resume();
  assertEquals(owner.oversizes, [MESSAGE_BYTES + 10 - 6]);
  await end(session, peer);
});

Deno.test("Session acknowledges what was asked for while it was held, when it has taken it", async () => {
  const { session, owner, peer } = setUp();
  owner.full = true;
  await peer.write(frameOf(1));
  await peer.send(FrameType.ASK);
  await quiet();
  owner.full = false;
  session.resume();
  const counts: number[] = [];
  const reading = (async () => {
    for (let count = 0; count < 1;) counts.push(count = (await peer.ack()).count);
  })();
  const acknowledged = watch(reading);
  await quiet();
  assert(acknowledged.done, `who asked was told ${counts}, and then nothing`);
  await end(session, peer);
});

Deno.test("Session ends its link with PROTOCOL when its handler refuses a frame that was held", async () => {
  const { session, owner, link, peer } = setUp();
  owner.full = true;
  owner.frame = () => {
    throw new ProtocolError("not so");
  };
  await peer.write(frameOf(1));
  await quiet();
  owner.full = false;
  session.resume();
  assertEquals(await peer.goodbye(), { reason: Reason.PROTOCOL, text: "not so" });
  assertInstanceOf((await link.finished).error, ProtocolError);
  session.end();
});

Deno.test("Session flush waits for an answer, and for what was added before", async () => {
  const { session, peer } = setUp();
  publish(session, frameOf(1));
  const flushed = watch(session.flush());
  publish(session, frameOf(2));
  for (const type of [FrameType.PUBLISH, FrameType.PUBLISH, FrameType.ASK]) await peer.expect(type);
  await peer.send(FrameType.ACK, encodeAck(1, 0));
  await quiet();
  assert(!flushed.done, "nothing was answered");
  await peer.send(FrameType.ACK, encodeAck(1, 1));
  await quiet();
  assert(flushed.done);
  await end(session, peer);
});

Deno.test("Session flush waits for what an answer does not cover", async () => {
  const { session, peer } = setUp();
  publish(session, frameOf(1), frameOf(2));
  const flushed = watch(session.flush());
  for (let i = 0; i < 3; i++) await peer.next();
  await peer.send(FrameType.ACK, encodeAck(1, 1));
  await quiet();
  assert(!flushed.done);
  await peer.send(FrameType.ACK, encodeAck(2, 1));
  await quiet();
  assert(flushed.done);
  await end(session, peer);
});

Deno.test("Session flush with nothing to acknowledge waits for what was sent without being counted", async () => {
  const { session, link, peer } = setUp();
  link.send(FrameType.SUBSCRIBE, TOPIC);
  const flushed = watch(session.flush());
  await peer.expect(FrameType.SUBSCRIBE);
  await peer.expect(FrameType.ASK);
  assert(!flushed.done);
  await peer.send(FrameType.ACK, encodeAck(0, 1));
  await quiet();
  assert(flushed.done);
  await end(session, peer);
});

Deno.test("Session flush asks behind what it waits for, once that is handed over", async () => {
  const { session, peer } = setUp();
  const frames = framesOf(4, 400_000);
  publish(session, ...frames);
  const flushed = watch(session.flush());
  for (let i = 0; i < 2; i++) await peer.expect(FrameType.PUBLISH);
  const third = peer.next();
  assert(!watch(third).done);
  await peer.send(FrameType.ACK, encodeAck(2, 0));
  assertEquals((await third)?.type, FrameType.PUBLISH);
  for (const type of [FrameType.PUBLISH, FrameType.ASK]) await peer.expect(type);
  await peer.send(FrameType.ACK, encodeAck(4, 1));
  await quiet();
  assert(flushed.done);
  await end(session, peer);
});

Deno.test("Session flush is answered at once when large frames and others wait together", async () => {
  for (const size of [100, 20_000, 300_000]) {
    const { client, broker, brokerOwner } = pairOf();
    const lost = connect(client, broker);
    client.link!.send(FrameType.SUBSCRIBE, TOPIC);
    publish(client, frameOf(1, size));
    const flushed = watch(client.flush());
    await until(() => flushed.done);
    assertEquals(brokerOwner.frames.length, 2);
    await endBoth(client, broker, lost);
  }
});

Deno.test("Session flush begun while there is no connection asks over the next", async () => {
  const { client, broker, brokerOwner } = pairOf();
  publish(client, frameOf(1), frameOf(2, 50_000));
  const flushed = client.flush();
  const lost = connect(client, broker);
  await flushed;
  assertSame(brokerOwner.frames, [frameOf(1), frameOf(2, 50_000)]);
  await endBoth(client, broker, lost);
});

Deno.test("Session flush asks again over the next connection", async () => {
  const { session, peer } = setUp();
  publish(session, frameOf(1));
  const flushed = watch(session.flush());
  for (const type of [FrameType.PUBLISH, FrameType.ASK]) await peer.expect(type);
  session.detach();
  session.outbox.rewind(1);
  const next = attach(session).peer;
  await next.expect(FrameType.ASK);
  await next.send(FrameType.ACK, encodeAck(1, 1));
  await quiet();
  assert(flushed.done);
  await end(session, next);
});

Deno.test("Session flush survives that the session begins anew", async () => {
  const { session, peer } = setUp();
  publish(session, frameOf(1), frameOf(2));
  const flushed = watch(session.flush());
  for (let i = 0; i < 3; i++) await peer.next();
  await peer.send(FrameType.ACK, encodeAck(1, 0));
  await quiet();
  session.detach();
  assertEquals(session.restart(), 1);
  const next = attach(session).peer;
  for (const type of [FrameType.PUBLISH, FrameType.ASK]) await next.expect(type);
  await next.send(FrameType.ACK, encodeAck(0, 1));
  await quiet();
  assert(!flushed.done);
  await next.send(FrameType.ACK, encodeAck(1, 1));
  await quiet();
  assert(flushed.done);
  await end(session, next);
});

Deno.test("Session flush does not wait for what was dropped meanwhile", async () => {
  const { session, peer } = setUp();
  publish(session, ...framesOf(8, 300_000));
  const flushed = watch(session.flush());
  for (let i = 0; i < 3; i++) await peer.expect(FrameType.PUBLISH);
  assertEquals(session.outbox.drop(1_000_000), 4);
  await peer.send(FrameType.ACK, encodeAck(3, 0));
  for (const type of [FrameType.GAP, FrameType.PUBLISH]) await peer.expect(type);
  const asked = watch(peer.expect(FrameType.ASK));
  await quiet();
  assert(asked.done, "it waits for what was dropped");
  await peer.send(FrameType.ACK, encodeAck(5, 1));
  await quiet();
  assert(flushed.done);
  await end(session, peer);
});

Deno.test("Session flush rejects when the session ends", async () => {
  const { session, peer } = setUp();
  const flushed = assertRejects(() => session.flush(), ConnectionLostError, "session has ended");
  await end(session, peer);
  await flushed;
  const other = setUp();
  const error = new Error("mine");
  const rejected = other.session.flush().catch((reason) => reason);
  other.session.end(error);
  assertStrictEquals(await rejected, error);
  await other.link.finished;
});

Deno.test("Session flush rejects when its signal aborts, and only that one", async () => {
  const { session, peer } = setUp();
  const abort = new AbortController();
  const given = assertRejects(() => session.flush(abort.signal), Error, "enough");
  const kept = watch(session.flush());
  for (let i = 0; i < 2; i++) await peer.expect(FrameType.ASK);
  abort.abort(new Error("enough"));
  await given;
  await peer.send(FrameType.ACK, encodeAck(0, 2));
  await quiet();
  assert(kept.done);
  await end(session, peer);
});

/** Lets `many` wait, each for a message of its own, and ends their wait in some way. */
async function flushMany(
  many: number,
  expected: "flushed" | "ended",
  end: (session: Session, peer: Peer, aborts: readonly AbortController[]) => Promise<void>,
): Promise<number> {
  const { session, peer } = setUp();
  const aborts = Array.from({ length: many }, () => new AbortController());
  using walks = new Walks();
  const flushed = aborts.map(({ signal }, n) => {
    publish(session, frameOf(n));
    return session.flush(signal).then(() => "flushed", () => "ended");
  });
  await quiet();
  await end(session, peer, aborts);
  session.end();
  const ends = new Set(await Promise.all(flushed));
  peer.stream.close();
  assertEquals(ends, new Set([expected]));
  return walks.elements;
}

for (
  const [what, expected, end] of [
    ["are answered one by one", "flushed", async (_session, peer, aborts) => {
      let [messages, asks] = [0, 0];
      while (messages < aborts.length) {
        if ((await peer.next())?.type === FrameType.ASK) asks++;
        else messages++;
      }
      await peer.expect(FrameType.ASK);
      for (let n = 1; n <= messages; n++) await peer.send(FrameType.ACK, encodeAck(n, asks + 1));
      await quiet();
    }],
    ["abort one by one", "ended", async (_session, _peer, aborts) => {
      for (const abort of aborts) abort.abort();
      await quiet();
    }],
    ["abort one by one, the last first", "ended", async (_session, _peer, aborts) => {
      for (const abort of aborts.toReversed()) abort.abort();
      await quiet();
    }],
    ["are rejected", "ended", async (session) => {
      session.end();
      await quiet();
    }],
  ] satisfies [string, ...Parameters<typeof flushMany> extends [number, ...infer R] ? R : never][]
) {
  Deno.test(`Session does the same work for each flush, however many wait and then ${what}`, async () => {
    for (const many of [500, 1000, 2000]) {
      const walked = await flushMany(many, expected, end);
      assert(walked <= 100 * many, `${walked} elements for ${many}`);
    }
  });
}

Deno.test("Session flush resolves for those who still wait, whoever gave up between them", async () => {
  const { session, peer } = setUp();
  const got: number[] = [];
  const aborts = Array.from({ length: 50 }, () => new AbortController());
  aborts.forEach(({ signal }, n) => {
    publish(session, frameOf(n));
    session.flush(signal).then(() => got.push(n), () => {});
  });
  for (let types = 0; types < 51; types++) await peer.next();
  const waits = (n: number) => n % 3 === 0;
  for (const [n, abort] of aborts.entries()) if (!waits(n)) abort.abort();
  await peer.send(FrameType.ACK, encodeAck(20, 1));
  await quiet();
  assertEquals(got, [0, 3, 6, 9, 12, 15, 18]);
  await peer.send(FrameType.ACK, encodeAck(50, 1));
  await quiet();
  assertEquals(got, Array.from({ length: 17 }, (_, n) => 3 * n));
  await end(session, peer);
});

Deno.test("Session flush rejects at once when its signal has aborted, and asks nothing", async () => {
  const { session, peer } = setUp();
  const signal = AbortSignal.abort(new Error("before"));
  await assertRejects(() => session.flush(signal), Error, "before");
  assertEquals(await peer.ask(), { count: 0, asks: 1 });
  await end(session, peer);
});

Deno.test("Session flush leaves no listener at its signal", async () => {
  const { session, peer } = setUp();
  const { signal } = new AbortController();
  let listeners = 0;
  const [add, remove] = [signal.addEventListener, signal.removeEventListener];
  signal.addEventListener = (...args: [string, EventListener]) => {
    listeners++;
    add.apply(signal, args);
  };
  signal.removeEventListener = (...args: [string, EventListener]) => {
    listeners--;
    remove.apply(signal, args);
  };
  const flushed = session.flush(signal);
  assertEquals(listeners, 1);
  await peer.expect(FrameType.ASK);
  await peer.send(FrameType.ACK, encodeAck(0, 1));
  await flushed;
  assertEquals(listeners, 0);
  await end(session, peer);
});

Deno.test("Session that is detached takes nothing more from its connection", async () => {
  const { session, owner, link, peer } = setUp({
    frame({ buffer, start, end }) {
      owner.frames.push(buffer.slice(start, end));
      if (owner.frames.length === 2) session.detach();
    },
  });
  await peer.write(concat(...framesOf(4)));
  await link.finished;
  assertEquals([owner.frames.length, session.taken, session.link], [2, 2, undefined]);
  assertEquals(await peer.next(), undefined);
});

Deno.test("Session that is detached lets its connection say why it ends", async () => {
  const { session, link, peer } = setUp();
  link.end(Reason.REPLACED, "elsewhere");
  session.detach();
  assertEquals(await peer.goodbye(), { reason: Reason.REPLACED, text: "elsewhere" });
  assertEquals((await link.finished).reason, Reason.REPLACED);
});

Deno.test("Session gets again what it held when its connection was lost", async () => {
  const { client, broker, clientOwner } = pairOf();
  let lost = connect(client, broker);
  const frames = framesOf(10, 100_000);
  publish(broker, ...frames.slice(0, 3));
  await quiet();
  clientOwner.full = true;
  publish(broker, ...frames.slice(3));
  await quiet();
  client.detach();
  await lost;
  clientOwner.full = false;
  client.resume();
  assertEquals([client.taken, clientOwner.frames.length], [3, 3]);
  clientOwner.full = true;
  lost = connect(client, broker);
  await quiet();
  assertEquals([client.taken, client.link?.ended], [3, false]);
  clientOwner.full = false;
  client.resume();
  await broker.flush();
  assertSame(clientOwner.frames, frames);
  await endBoth(client, broker, lost);
});

Deno.test("Session acknowledges over a new connection what it had acknowledged over the lost one", async () => {
  const { session, peer } = setUp();
  await peer.write(frameOf(1, ACK_BYTES));
  await quiet();
  session.detach();
  const { peer: next } = attach(session);
  const told = watch(next.ack().then(({ count }) => assertEquals(count, 1)));
  await quiet();
  assert(told.done, "the other side's window stays as good as closed");
  await end(session, next);
});

Deno.test("Session acknowledges over a new connection what was released while there was none", async () => {
  const { client, broker, brokerOwner } = pairOf();
  let lost = connect(client, broker);
  const frames = framesOf(60, 50_000);
  const release = broker.withhold(0, 0);
  publish(client, ...frames);
  await quiet();
  client.detach();
  await lost;
  broker.detach();
  release();
  lost = connect(client, broker);
  await quiet();
  assertSame(brokerOwner.frames, frames);
  await endBoth(client, broker, lost);
});

Deno.test("Session still withholds over a new connection", async () => {
  const { client, broker, brokerOwner } = pairOf();
  let lost = connect(client, broker);
  const frames = framesOf(60, 50_000);
  const release = broker.withhold(0, 0);
  publish(client, ...frames);
  await quiet();
  client.detach();
  await lost;
  lost = connect(client, broker);
  await quiet();
  assertEquals(brokerOwner.frames.length, Math.floor(WINDOW_BYTES / 50_000));
  release();
  await client.flush();
  assertSame(brokerOwner.frames, frames);
  await endBoth(client, broker, lost);
});

Deno.test("Session takes a whole window after it told its count for a new connection", async () => {
  const { client, broker, clientOwner } = pairOf();
  let lost = connect(client, broker);
  const frames = framesOf(120, 10_000);
  publish(broker, ...frames.slice(0, 6));
  await quiet();
  assertEquals(clientOwner.frames.length, 6);
  client.detach();
  await lost;
  lost = connect(client, broker);
  clientOwner.full = true;
  publish(broker, ...frames.slice(6));
  await quiet();
  assertEquals(client.link?.ended, false, "the link ended, although the broker kept to its window");
  clientOwner.full = false;
  client.resume();
  await broker.flush();
  assertSame(clientOwner.frames, frames);
  await endBoth(client, broker, lost);
});

Deno.test("Session begins anew with another peer: sends again what is not acknowledged, counts from 0", async () => {
  const { client, broker, brokerOwner } = pairOf();
  let lost = connect(client, broker);
  const frames = framesOf(8);
  publish(broker, ...framesOf(3));
  publish(client, ...frames.slice(0, 3));
  await client.flush();
  publish(client, ...frames.slice(3, 6));
  await quiet();
  client.detach();
  await lost;
  publish(client, ...frames.slice(6));
  assertEquals(client.restart(), 3);
  assertEquals(client.taken, 0);
  const other = pairOf();
  lost = connect(client, other.broker);
  await client.flush();
  assertSame(other.brokerOwner.frames, frames.slice(3));
  assertEquals([client.outbox.heldBytes, brokerOwner.frames.length], [0, 6]);
  await endBoth(client, other.broker, lost);
  broker.end();
});

Deno.test("Session that begins anew acknowledges after 64 KiB as before", async () => {
  const { session, peer } = setUp();
  await peer.write(frameOf(1, 3 * ACK_BYTES));
  assertEquals(await peer.ack(), { count: 1, asks: 0 });
  session.detach();
  session.restart();
  const { peer: next } = attach(session);
  await next.write(frameOf(1), frameOf(2, ACK_BYTES));
  assertEquals(await next.ack(), { count: 2, asks: 0 });
  await end(session, next);
});

/** Both send the script; then each flushes, and ends what it had begun. */
async function exchange(
  client: Session,
  broker: Session,
  script: readonly Uint8Array[],
): Promise<void> {
  const halves = [script.slice(0, 3), script.slice(3)] as const;
  for (const half of halves) {
    for (const session of [client, broker]) publish(session, ...half);
    client.link?.send(FrameType.SUBSCRIBE, TOPIC);
    await Promise.all([client.flush(), broker.flush()]);
  }
}

function messagesOf({ frames }: Owner): Uint8Array[] {
  return frames.filter((frame) => frame[0] === 255 || frame[1] === FrameType.PUBLISH);
}

// Where each byte is read by itself, there are fewer: for each cut all are read.
for (const [readMax, bytes] of [[1, 100], [100, 1000], [Infinity, 1000]] as const) {
  Deno.test(`Session gets all once and in order wherever its connection is cut, reading ${readMax} bytes`, async () => {
    /** What both sides send. */
    const script = [0, 0.3, 0, 0, 0.7, 0].map((part, n) => frameOf(n, part * bytes));
    let cuts = 0;
    for (let cut = 0, isCut = true; isCut; cut++) {
      const { client, broker, clientOwner, brokerOwner } = pairOf();
      const streams = streamPair(readMax, cut);
      const lost = connect(client, broker, streams);
      const exchanged = exchange(client, broker, script);
      isCut = await Promise.race([lost.then(() => true), exchanged.then(() => false)]);
      let again = lost;
      if (isCut) again = connect(client, broker, streamPair(readMax));
      await exchanged;
      assertSame(messagesOf(clientOwner), script, `cut after ${cut} bytes`);
      assertSame(messagesOf(brokerOwner), script, `cut after ${cut} bytes`);
      assertEquals([client.taken, broker.taken], [script.length, script.length]);
      assertEquals([client.outbox.heldBytes, broker.outbox.heldBytes], [0, 0]);
      await endBoth(client, broker, again);
      await lost;
      cuts = cut;
    }
    assert(cuts > 2 * bytes, `${cuts} cuts`);
  });
}

/** Sends, holds, withholds and flushes at random; gives what it sent. */
async function chatter(session: Session, owner: Owner, random: Random): Promise<Uint8Array[]> {
  const sent: Uint8Array[] = [];
  let release = () => {};
  for (let n = 0; n < 150; n++) {
    const frame = frameOf(n, random.int(random.pick([300, 3000, 100_000])));
    sent.push(frame);
    publish(session, frame);
    const kind = random.int(12);
    if (kind === 0) owner.full = true;
    else if (kind < 3) {
      owner.full = false;
      session.resume();
    } else if (kind === 3) {
      release();
      release = session.withhold(0, 0);
    } else if (kind < 6) release();
    for (let turns = random.int(20); turns > 0; turns--) await undefined;
  }
  owner.full = false;
  session.resume();
  release();
  return sent;
}

Deno.test("Session gets all once and in order over connections that are cut at random", async () => {
  for (let seed = SEED; seed < SEED + 30; seed++) {
    const random = randomOf(seed);
    const { client, broker, clientOwner, brokerOwner } = pairOf();
    const chatting = Promise.all([
      chatter(client, clientOwner, randomOf(seed + 1)),
      chatter(broker, brokerOwner, randomOf(seed + 2)),
    ]);
    const sent = chatting.then(async (sent) => {
      await Promise.all([client.flush(), broker.flush()]);
      return sent;
    });
    const state = watch(sent);
    let cuts = 0;
    let lost = Promise.resolve();
    while (!state.done) {
      await lost;
      const bytesMax = cuts++ < 60 ? random.int(random.pick([50, 10_000, 400_000])) : Infinity;
      lost = connect(client, broker, streamPair(random.pick([999, Infinity]), bytesMax));
      await Promise.race([lost, sent]);
    }
    const [fromClient, fromBroker] = await sent;
    assertSame(brokerOwner.frames, fromClient!, `seed ${seed}`);
    assertSame(clientOwner.frames, fromBroker!, `seed ${seed}`);
    assertEquals([client.outbox.heldBytes, broker.outbox.heldBytes], [0, 0], `seed ${seed}`);
    await endBoth(client, broker, lost);
  }
});

Deno.test("Session that is closed acknowledges all that it took, withheld or not, and takes no more", async () => {
  const { session, owner, peer } = setUp();
  const release = session.withhold(0, 0);
  await peer.write(...framesOf(3));
  await quiet();
  session.close();
  assertEquals(await peer.ack(), { count: 3, asks: 0 });
  await peer.write(frameOf(3));
  assertEquals(await peer.ask(), { count: 3, asks: 1 });
  release();
  assertEquals(await peer.ask(), { count: 3, asks: 2 });
  assertEquals([owner.frames.length, session.taken], [3, 3]);
  await end(session, peer);
});

Deno.test("Session that is closed still delivers what it has", async () => {
  const { client, broker, clientOwner } = pairOf();
  const lost = connect(client, broker);
  const frames = framesOf(60, 50_000);
  publish(broker, ...frames);
  broker.close();
  await broker.flush();
  assertSame(clientOwner.frames, frames);
  await endBoth(client, broker, lost);
});

Deno.test("Session lets go of everything when it ends, and closes its connection", async () => {
  let bytes = 0;
  const session = new Session(new Owner(), (change) => bytes += change);
  const { link, peer } = attach(session);
  publish(session, ...framesOf(60, 50_000));
  assertEquals(bytes, 60 * 50_000);
  await peer.expect(FrameType.PUBLISH);
  session.end();
  session.end();
  assertEquals([bytes, session.outbox.heldBytes, session.link], [0, 0, undefined]);
  assertEquals(await link.finished, {});
});

Deno.test("Session answers for as long as something comes, although its own timers never fire", async () => {
  const { client, broker } = pairOf();
  const lost = connect(client, broker);
  const { link } = broker;
  for (let tick = 0; tick < 100; tick++) {
    link!.tick(); // The client's link gets none.
    await quiet();
  }
  assertEquals([link!.ended, client.link!.ended], [false, false]);
  await end(client);
  await end(broker);
  await lost;
});

Deno.test("Session asks for a sign of life, and its answer is one", async () => {
  const { session, peer } = setUp();
  session.ask();
  await peer.expect(FrameType.ASK);
  await peer.send(FrameType.ACK, encodeAck(0, 1));
  assertEquals(await peer.ask(), { count: 0, asks: 1 }); // It is settled: another one may be sent.
  session.ask();
  await peer.expect(FrameType.ASK);
  await end(session, peer);
});
