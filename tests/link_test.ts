import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { writeAll } from "../base/bytes.ts";
import { Rounds } from "../base/rounds.ts";
import { every } from "../base/timers.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import { encodeFrame, FrameError, FrameType, Reason } from "../protocol/frame.ts";
import {
  clientFrameLimits,
  decodeGoodbye,
  encodeAck,
  encodeGoodbye,
} from "../protocol/frame_bodies.ts";
import { type ByteStream, Link, type LinkHandler, TICKS } from "../protocol/link.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { concat } from "../tools/harness/bytes.ts";
import { streamPair } from "../tools/harness/memory_streams.ts";
import { randomOf } from "../tools/harness/random.ts";
import { until } from "../tools/harness/until.ts";
import { Clock } from "./helpers/clock.ts";
import { Copies } from "./helpers/copies.ts";
import { FramePeer, type LoneFrame, loneFrame } from "./helpers/frame_peer.ts";
import { quiet } from "./helpers/quiet.ts";
import { Walks } from "./helpers/walks.ts";

const SEED = 20261124;
const LIMITS = { messageBytes: 100_000, topicElements: 16, elementBytes: 255, subscriptions: 4 };
const FRAME_LIMITS = clientFrameLimits(LIMITS);
const TOPIC = encodeTopic(["t"]);
/** Larger counted bytes do not go out in one write with frames that are not counted. */
const JOINED = 64 * 1024;
/** So many ticks without a read are no reason to end a link; one more is. */
const SILENT_TICKS = 2 * TICKS;

function publishOf(size: number, fill = 0): Uint8Array {
  return encodeFrame(FrameType.PUBLISH, TOPIC, new Uint8Array(size).fill(fill));
}

const ASK = encodeFrame(FrameType.ASK);

/**
 * A link and the other side of its stream. `counted` is what `handler.next()` gives, `frames` what the
 * handler was given, `writes` what was written.
 */
function setUp(handler: Partial<LinkHandler> = {}, readMax?: number) {
  const [ours, theirs] = streamPair(readMax);
  const writes: Uint8Array[] = [];
  let inFlight = 0;
  const stream: ByteStream = {
    read: (into) => ours.read(into),
    closeWrite: () => ours.closeWrite(),
    close: () => ours.close(),
    async write(bytes) {
      assertEquals(++inFlight, 1, "one write is in flight");
      writes.push(bytes);
      try {
        return await ours.write(bytes);
      } finally {
        inFlight--;
      }
    },
  };
  const frames: LoneFrame[] = [];
  const counted: Uint8Array[] = [];
  const link = new Link(stream, FRAME_LIMITS, {
    frame: (reader) => void frames.push(loneFrame(reader)),
    batch() {},
    next: () => counted.shift(),
    idle() {},
    ask() {},
    ...handler,
  });
  return { link, frames, counted, writes, peer: new FramePeer(theirs) };
}

/** What the other side reads at once, all of one write if nothing splits it. */
async function readOnce({ stream }: FramePeer): Promise<Uint8Array> {
  const into = new Uint8Array(1024 * 1024);
  return into.subarray(0, await stream.read(into) ?? 0);
}

async function lose(peer: FramePeer, link: Link): Promise<void> {
  peer.stream.close();
  assertInstanceOf((await link.finished).error, ConnectionLostError);
}

Deno.test("Link writes what one turn sends with one write, what is not counted first", async () => {
  const { link, counted, writes, peer } = setUp();
  const message = publishOf(10);
  counted.push(message);
  link.pump();
  link.send(FrameType.ASK);
  link.send(FrameType.SUBSCRIBE, TOPIC);
  const subscribe = encodeFrame(FrameType.SUBSCRIBE, TOPIC);
  assertEquals(await readOnce(peer), concat(ASK, subscribe, message));
  assertEquals(writes.length, 1);
  await lose(peer, link);
});

Deno.test("Link takes what takes long in turns with everything else, and in its order", async () => {
  let [taken, batches, others] = [0, 0, 0];
  const seen: number[] = [];
  const { link, peer } = setUp({
    frame: (reader) => {
      seen.push(reader.buffer[reader.body]!);
      taken++;
      const end = performance.now() + 0.1;
      while (performance.now() < end);
    },
    batch: () => void batches++,
  });
  const timer = setInterval(() => others++, 0);
  const count = 1000;
  const frames = Array.from(
    { length: count },
    (_, n) => encodeFrame(FrameType.SUBSCRIBE, Uint8Array.of(n % 251)),
  );
  await writeAll(peer.stream, concat(...frames));
  await until(() => taken === count);
  clearInterval(timer);
  assert(others >= 5, `others had ${others} turns`);
  assert(batches >= 5, `${batches} batches`);
  assertEquals(seen, Array.from({ length: count }, (_, n) => n % 251));
  await lose(peer, link);
});

Deno.test("Link leaves turns to everything else between reads that need none", async () => {
  const reads = 200;
  let [read, taken, others] = [0, 0, 0];
  const closed = Promise.withResolvers<null>();
  const stream: ByteStream = {
    read(into) {
      if (read++ === reads) return closed.promise;
      into.set(ASK);
      return Promise.resolve(ASK.length);
    },
    write: (bytes) => Promise.resolve(bytes.length),
    closeWrite: () => Promise.resolve(),
    close: () => closed.resolve(null),
  };
  const timer = setInterval(() => others++, 0);
  const link = new Link(stream, FRAME_LIMITS, {
    frame() {
      taken++;
      const end = performance.now() + 0.5;
      while (performance.now() < end);
    },
    batch() {},
    next: () => undefined,
    idle() {},
    ask() {},
  });
  await until(() => taken === reads);
  clearInterval(timer);
  assert(others >= 5, `others had ${others} turns`);
  link.close();
  await link.finished;
});

/** Kinds of messages, and how a handler takes them: as many at a time as may be taken. */
const KINDS = {
  "frames that are not messages": {
    frameOf: (n: number) => encodeFrame(FrameType.SUBSCRIBE, Uint8Array.of(n % 251)),
    isRun: false,
  },
  "messages of different topics": {
    frameOf: (n: number) =>
      encodeFrame(FrameType.PUBLISH, encodeTopic([`${n % 10}`]), Uint8Array.of(1)),
    isRun: false,
  },
  "messages of one topic": { frameOf: () => publishOf(1), isRun: true },
  "large messages": { frameOf: () => publishOf(10_000), isRun: true },
} as const;

/**
 * Sends `count` frames of a kind to a link, each of which takes so long by the clock; how many were
 * taken at a time before others had their turn.
 */
async function takenAtATime(
  clock: Clock,
  { frameOf, isRun }: typeof KINDS[keyof typeof KINDS],
  parts: readonly { readonly count: number; readonly ms: number; readonly work?: number }[],
): Promise<number[][]> {
  const taken: number[][] = [];
  let [all, seen, wanted, part] = [0, 0, 0, parts[0]!];
  const { link, peer } = setUp({
    frame: (reader) => {
      do {
        all++;
        clock.spend(part.ms);
        reader.spend(part.work ?? 0);
      } while (isRun && reader.extend(TOPIC.length, 100_000, Infinity) > 0);
    },
    batch: () => {
      taken.at(-1)!.push(all - seen);
      seen = all;
    },
  });
  for (part of parts) {
    taken.push([]);
    wanted += part.count;
    await writeAll(
      peer.stream,
      concat(...Array.from({ length: part.count }, (_, n) => frameOf(n))),
    );
    while (all < wanted) await quiet();
  }
  link.close();
  await link.finished;
  return taken;
}

for (const [what, kind] of Object.entries(KINDS)) {
  Deno.test(`Link lets others have their turn within 5 ms or so, when ${what} take long`, async () => {
    using clock = new Clock();
    const [taken] = await takenAtATime(clock, kind, [{ count: 400, ms: 1 }]);
    // How long they take is known after the first few.
    assert(taken![0]! <= 65, `${taken![0]} were taken at first`);
    assert(Math.max(...taken!.slice(1)) <= 7, `${taken} were taken at a time`);
  });

  Deno.test(`Link lets others have their turn when ${what} take long that took no time before`, async () => {
    using clock = new Clock();
    const parts = [{ count: 5000, ms: 0 }, { count: 1100, ms: 1 }, { count: 200, ms: 0.001 }];
    const [, long] = await takenAtATime(clock, kind, parts);
    assert(long![0]! <= (kind.isRun ? 1025 : 33), `${long![0]} were taken at first`);
    assert(Math.max(...long!.slice(1)) <= 7, `${long} were taken at a time`);
  });
}

Deno.test("Link seldom looks at the clock while messages take little time", async () => {
  using clock = new Clock();
  for (
    const [what, each] of [["messages of different topics", 16], [
      "messages of one topic",
      100,
    ]] as const
  ) {
    const count = 20_000;
    const before = clock.looks;
    await takenAtATime(clock, KINDS[what], [{ count, ms: 0.00001 }]);
    const looks = clock.looks - before;
    assert(looks <= count / each + 100, `${looks} looks for ${count} ${what}`);
  }
});

Deno.test("Link looks at the clock after messages that caused much work elsewhere", async () => {
  using clock = new Clock();
  const kind = KINDS["messages of different topics"];
  const parts = [{ count: 5000, ms: 0 }, { count: 100, ms: 6, work: 10_000 }];
  const [, long] = await takenAtATime(clock, kind, parts);
  assertEquals(Math.max(...long!), 1);
});

Deno.test("Link leaves turns to everything else between reads of a few bytes that are there", async () => {
  let [time, longest, count] = [0, 0, 0];
  const most = 20_000;
  const closed = Promise.withResolvers<null>();
  const stream: ByteStream = {
    read(into) {
      if (count >= most) return closed.promise;
      time += 0.01;
      into[0] = count++ < 5 ? 255 : FrameType.PUBLISH; // Its end never comes.
      return Promise.resolve(1);
    },
    write: ({ length }) => Promise.resolve(length),
    closeWrite: () => Promise.resolve(),
    close: () => closed.resolve(null),
  };
  const handler = { frame() {}, batch() {}, next: () => undefined, idle() {}, ask() {} };
  const limits = { ...FRAME_LIMITS, [FrameType.PUBLISH]: 2 ** 32 };
  const link = new Link(stream, limits, handler, { rounds: new Rounds(() => time) });
  for (let before = 0; count < most; before = time) {
    await new Promise((resolve) => setTimeout(resolve));
    longest = Math.max(longest, time - before);
  }
  assert(longest < 8, `${longest} ms of reads in a turn`);
  link.close();
  await link.finished;
});

Deno.test("Link leaves turns to everything else between writes that need none", async () => {
  let [others, left] = [0, 1000];
  const bytes = publishOf(200_000);
  const stream: ByteStream = {
    read: () => closed.promise,
    write: ({ length }) => Promise.resolve(length),
    closeWrite: () => Promise.resolve(),
    close: () => closed.resolve(null),
  };
  const closed = Promise.withResolvers<null>();
  const timer = setInterval(() => others++, 0);
  const link = new Link(stream, FRAME_LIMITS, {
    frame() {},
    batch() {},
    next: () => left-- > 0 ? bytes : undefined,
    idle() {},
    ask() {},
  });
  link.pump();
  await until(() => left < 0);
  clearInterval(timer);
  assert(others >= 5, `others had ${others} turns during 200 MB`);
  link.close();
  await link.finished;
});

Deno.test("Link writes large counted bytes in parts, which it does not copy", async () => {
  const { link, counted, writes, peer } = setUp();
  const large = publishOf(3 * 2 ** 20);
  counted.push(large);
  link.pump();
  using copies = new Copies();
  let read = 0;
  while (read < large.length) {
    const into = new Uint8Array(100_000);
    const count = await peer.stream.read(into);
    copies.bytes -= count!;
    assertEquals(into[count! - 1], large[read + count! - 1]);
    read += count!;
  }
  assert(writes.every(({ length, buffer }) => length <= 2 ** 20 && buffer === large.buffer));
  assertEquals(copies.bytes, 0);
  await lose(peer, link);
});

Deno.test("Link sends and acknowledges with the same work, however much waits to be written", async () => {
  for (const many of [1000, 2000, 4000]) {
    const { link, peer } = setUp();
    link.send(FrameType.ASK);
    await quiet(); // Nobody reads, so the rest waits.
    using walks = new Walks();
    using copies = new Copies();
    for (let n = 0; n < many; n++) {
      link.send(FrameType.SUBSCRIBE, TOPIC);
      link.acknowledge(encodeAck(n, 0));
    }
    assertEquals(link.waiting, many + 1);
    for (const type of [FrameType.ASK, FrameType.SUBSCRIBE]) await peer.expect(type);
    assert(walks.elements <= 10 * many, `${walks.elements} elements for ${many} frames`);
    assert(copies.bytes <= 500 * many, `${copies.bytes} bytes were copied for ${many} frames`);
    await lose(peer, link);
  }
});

Deno.test("Link takes nothing more when it is closed between two turns", async () => {
  let taken = 0;
  const { link, peer } = setUp({
    frame: () => {
      taken++;
      const end = performance.now() + 0.2;
      while (performance.now() < end);
    },
    batch: () => link.close(),
  });
  const flood = concat(...Array.from({ length: 1000 }, () => ASK));
  await assertRejects(() => writeAll(peer.stream, flood), Error, "broken pipe");
  await link.finished;
  assert(taken < 1000, `${taken} were taken`);
});

Deno.test("Link leaves frames as they are that somebody holds, also when more comes after its end", async () => {
  let held: Uint8Array | undefined;
  const { link, peer } = setUp({
    frame: (reader) => {
      held = reader.buffer.subarray(reader.start, reader.end);
      reader.keep();
      link.end(Reason.PROTOCOL, "");
    },
  });
  const message = publishOf(200, 7);
  await writeAll(peer.stream, message);
  await until(() => held !== undefined);
  await writeAll(peer.stream, publishOf(200, 9));
  assertEquals(held, message);
  await lose(peer, link).catch(() => {});
});

Deno.test("Link gathers what is sent during a write for the next", async () => {
  const { link, counted, writes, peer } = setUp();
  link.send(FrameType.ASK);
  await quiet();
  counted.push(publishOf(10));
  link.pump();
  link.send(FrameType.ACK, encodeAck(1, 2));
  await quiet();
  link.send(FrameType.ASK);
  await quiet();
  assertEquals(writes.length, 1);
  assertEquals(await readOnce(peer), ASK);
  const ack = encodeFrame(FrameType.ACK, encodeAck(1, 2));
  assertEquals(await readOnce(peer), concat(ack, ASK, publishOf(10)));
  await quiet();
  assertEquals(writes.length, 2);
  await lose(peer, link);
});

Deno.test("Link writes again after it had nothing to write", async () => {
  const { link, counted, peer } = setUp();
  for (let i = 0; i < 3; i++) {
    link.send(FrameType.ASK);
    assertEquals(await readOnce(peer), ASK);
    await quiet();
    counted.push(publishOf(i));
    link.pump();
    assertEquals(await readOnce(peer), publishOf(i));
    await quiet();
  }
  await lose(peer, link);
});

Deno.test("Link takes the next counted bytes only when it can write them", async () => {
  const { link, counted, peer } = setUp();
  counted.push(publishOf(1), publishOf(2), publishOf(3));
  link.pump();
  await quiet();
  assertEquals(counted.length, 2);
  for (let i = 1; i <= 3; i++) assertEquals(await readOnce(peer), publishOf(i));
  await lose(peer, link);
});

Deno.test("Link writes large counted bytes without a copy, behind what is not counted", async () => {
  const { link, counted, writes, peer } = setUp();
  const large = publishOf(JOINED);
  counted.push(large, publishOf(1));
  link.send(FrameType.ACK, encodeAck(1, 0));
  const read: Uint8Array[] = [];
  for (let i = 0; i < 3; i++) read.push(await readOnce(peer));
  assertEquals(read, [encodeFrame(FrameType.ACK, encodeAck(1, 0)), large, publishOf(1)]);
  assertStrictEquals(writes[1], large);
  await lose(peer, link);
});

Deno.test("Link goes on where a write stopped", async () => {
  const { link, counted, writes, peer } = setUp({}, 7);
  counted.push(publishOf(30, 1), publishOf(10, 2));
  link.send(FrameType.ASK);
  await peer.expect(FrameType.ASK);
  for (const [size, fill] of [[30, 1], [10, 2]] as const) {
    const body = await peer.expect(FrameType.PUBLISH);
    assertEquals(body, concat(TOPIC, new Uint8Array(size).fill(fill)));
  }
  const total = ASK.length + publishOf(30).length;
  assertEquals(writes[1]!.length, total - 7);
  await lose(peer, link);
});

Deno.test("Link sends the last of several ACKs, behind all that was sent before it", async () => {
  const { link, writes, peer } = setUp();
  link.send(FrameType.ASK);
  await quiet();
  link.acknowledge(encodeAck(1, 0));
  link.send(FrameType.ASK);
  for (let count = 2; count <= 1000; count++) link.acknowledge(encodeAck(count, 0));
  assertEquals(await readOnce(peer), ASK);
  await quiet();
  link.acknowledge(encodeAck(1001, 0));
  const last = encodeFrame(FrameType.ACK, encodeAck(1000, 0));
  assertEquals(await readOnce(peer), concat(ASK, last));
  assertEquals(await readOnce(peer), encodeFrame(FrameType.ACK, encodeAck(1001, 0)));
  assertEquals(writes.length, 3);
  await lose(peer, link);
});

for (const size of [10, JOINED]) {
  const what = `counted bytes of ${size} or more`;

  Deno.test(`Link sends what its handler sends while it hands over ${what} behind these`, async () => {
    const message = publishOf(size);
    const counted = [message];
    const { link, peer } = setUp({
      next: () => {
        const bytes = counted.shift();
        if (bytes !== undefined) link.send(FrameType.ASK);
        return bytes;
      },
    });
    link.send(FrameType.ACK, encodeAck(0, 0));
    const types: (number | undefined)[] = [];
    for (let i = 0; i < 3; i++) types.push((await peer.next())?.type);
    assertEquals(types, [FrameType.ACK, FrameType.PUBLISH, FrameType.ASK]);
    await lose(peer, link);
  });

  Deno.test(`Link sends an ASK behind ${what} that were handed over before`, async () => {
    const { link, counted, peer } = setUp();
    counted.push(publishOf(size));
    link.send(FrameType.ACK, encodeAck(0, 0));
    await quiet();
    assertEquals(counted, [], "they were handed over");
    link.send(FrameType.ASK);
    const types: (number | undefined)[] = [];
    for (let i = 0; i < 3; i++) types.push((await peer.next())?.type);
    assertEquals(types, [FrameType.ACK, FrameType.PUBLISH, FrameType.ASK]);
    await lose(peer, link);
  });
}

Deno.test("Link writes large counted bytes although there is always something not counted", async () => {
  const { link, counted, peer } = setUp();
  counted.push(publishOf(JOINED));
  link.send(FrameType.ASK);
  const types: (number | undefined)[] = [];
  for (let i = 0; i < 4; i++) {
    await quiet();
    link.send(FrameType.ASK);
    types.push((await peer.next())?.type);
  }
  assert(types.includes(FrameType.PUBLISH), `${types}`);
  await lose(peer, link);
});

Deno.test("Link sends all frames, each kind in its order, for random frames and reads", async () => {
  for (let seed = SEED; seed < SEED + 8; seed++) {
    const random = randomOf(seed);
    const { link, counted, peer } = setUp({}, random.pick([5, 100, Infinity]));
    const kinds = [[], []] as Uint8Array[][];
    for (let n = 0; n < 60; n++) {
      const isCounted = random.int(2) === 0;
      const body = concat(TOPIC, random.bytes(1 + random.int(random.pick([10, 2 * JOINED]))));
      kinds[isCounted ? 0 : 1]!.push(body);
      if (isCounted) counted.push(encodeFrame(FrameType.PUBLISH, body));
      else link.send(FrameType.SUBSCRIBE, body.subarray(0, 20));
      link.pump();
      if (random.int(3) === 0) await undefined;
    }
    const got = [[], []] as Uint8Array[][];
    for (let n = 0; n < 60; n++) {
      const frame = (await peer.next())!;
      got[frame.type === FrameType.PUBLISH ? 0 : 1]!.push(frame.body);
    }
    const expected = [kinds[0], kinds[1]!.map((body) => body.subarray(0, 20))];
    assertEquals(got, expected, `seed ${seed}`);
    await lose(peer, link);
  }
});

Deno.test("Link gives its handler the frames of one read, then batch", async () => {
  const events: string[] = [];
  const { link, peer } = setUp({
    frame: ({ type }) => void events.push(`${type}`),
    batch: () => void events.push("batch"),
  });
  const subscribe = encodeFrame(FrameType.SUBSCRIBE, TOPIC);
  await writeAll(peer.stream, concat(publishOf(1), subscribe, ASK, publishOf(9).subarray(0, 5)));
  await writeAll(peer.stream, publishOf(9).subarray(5));
  await lose(peer, link);
  assertEquals(events, ["1", "4", "7", "batch", "1", "batch"]);
});

Deno.test("Link takes the same frames wherever its stream is split", async () => {
  const subscribe = encodeFrame(FrameType.SUBSCRIBE, TOPIC);
  const bytes = concat(publishOf(1), subscribe, publishOf(300, 7), ASK);
  const expected = setUp();
  await writeAll(expected.peer.stream, bytes);
  await lose(expected.peer, expected.link);
  assertEquals(expected.frames.length, 4);
  for (let readMax = 1; readMax < bytes.length; readMax++) {
    const { link, frames, peer } = setUp({}, readMax);
    await writeAll(peer.stream, bytes);
    await lose(peer, link);
    assertEquals(frames, expected.frames);
  }
});

Deno.test("Link gives a frame to the handler that took the place of another in the same read", async () => {
  const events: string[] = [];
  const handlerOf = (name: string, frame: () => void): LinkHandler => ({
    frame() {
      events.push(name);
      frame();
    },
    batch: () => void events.push(`${name} batch`),
    next: () => undefined,
    idle() {},
    ask() {},
  });
  const second = handlerOf("second", () => {});
  const { link, peer } = setUp(handlerOf("first", () => link.handler = second));
  await writeAll(peer.stream, concat(ASK, ASK));
  await lose(peer, link);
  assertEquals(events, ["first", "second", "second batch"]);
});

Deno.test("Link takes the next frame only when its handler is done with the one before", async () => {
  const events: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const { link, frames, peer } = setUp({
    frame(reader) {
      frames.push(loneFrame(reader));
      if (frames.length === 1) return promise.then(() => void events.push("done"));
      events.push(`frame ${frames.length}`);
    },
    batch: () => void events.push("batch"),
  });
  await writeAll(peer.stream, concat(publishOf(9, 1), ASK, publishOf(9, 2)));
  await until(() => events.length > 0);
  const more = peer.send(FrameType.ASK);
  await quiet();
  assertEquals(events, ["batch"]);
  link.send(FrameType.ASK);
  await peer.expect(FrameType.ASK);
  resolve();
  await more;
  await lose(peer, link);
  assertEquals(events.slice(0, 5), ["batch", "done", "frame 2", "frame 3", "batch"]);
  assertEquals(frames.map(({ type }) => type), [1, 7, 1, 7]);
  assertEquals(frames[2]!.body, publishOf(9, 2).subarray(2));
});

Deno.test("Link takes no more frames when it ended while its handler was busy", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let taken = 0;
  const { link, peer } = setUp({
    frame() {
      taken++;
      return promise;
    },
  });
  await writeAll(peer.stream, concat(ASK, ASK));
  await until(() => taken > 0);
  link.end(Reason.SHUTDOWN, "that is all");
  resolve();
  assertEquals(await peer.goodbye(), { reason: Reason.SHUTDOWN, text: "that is all" });
  await link.finished;
  assertEquals(taken, 1);
});

Deno.test("Link takes the limits that are set between frames of one read", async () => {
  const { link, peer, frames } = setUp({
    frame(reader) {
      frames.push(loneFrame(reader));
      link.limits = FRAME_LIMITS.with(FrameType.OPENED, 10);
    },
  });
  await writeAll(peer.stream, concat(ASK, encodeFrame(FrameType.OPENED, new Uint8Array(10))));
  await lose(peer, link);
  assertEquals(frames.map(({ type }) => type), [FrameType.ASK, FrameType.OPENED]);
});

Deno.test("Link goes on reading while the other side reads nothing", async () => {
  const { link, peer, frames } = setUp();
  link.send(FrameType.ASK);
  for (let i = 0; i < 10; i++) await writeAll(peer.stream, publishOf(50_000));
  await quiet();
  assertEquals(frames.length, 10);
  await lose(peer, link);
});

for (
  const [name, reason, type] of [
    ["DONE", Reason.DONE, undefined],
    ["SHUTDOWN", Reason.SHUTDOWN, ConnectionLostError],
    ["PROTOCOL", Reason.PROTOCOL, ProtocolError],
    ["TOO_BIG", Reason.TOO_BIG, ProtocolError],
    ["TOO_MANY_SUBSCRIPTIONS", Reason.TOO_MANY_SUBSCRIPTIONS, ProtocolError],
    ["CUT_OFF", Reason.CUT_OFF, ConnectionLostError],
    ["BUSY", Reason.BUSY, ConnectionLostError],
    ["FORBIDDEN", Reason.FORBIDDEN, ProtocolError],
    ["REPLACED", Reason.REPLACED, ConnectionLostError],
    ["a reason of a later version", 99 as Reason, ProtocolError],
  ] as const
) {
  Deno.test(`Link ends with ${type?.name ?? "no error"} when GOODBYE says ${name}`, async () => {
    const { link, peer, frames } = setUp();
    const goodbye = encodeFrame(FrameType.GOODBYE, encodeGoodbye(reason, "the why"));
    await writeAll(peer.stream, concat(publishOf(1), goodbye, publishOf(2)));
    const end = await link.finished;
    const message = type && "The other side ended the session: the why";
    assertEquals([end.reason, end.error?.name, end.error?.message], [reason, type?.name, message]);
    assertEquals(await peer.next(), undefined);
    assertEquals(frames.length, 1, "GOODBYE is the last frame");
  });
}

Deno.test("Link says GOODBYE last, then only reads until the other side closes", async () => {
  let batches = 0;
  const { link, counted, peer, frames } = setUp({ batch: () => void batches++ });
  const messages = [publishOf(10), publishOf(50_000)];
  counted.push(...messages);
  link.pump();
  await quiet();
  link.send(FrameType.ASK);
  link.end(Reason.SHUTDOWN, "going");
  link.send(FrameType.ASK);
  link.pump();
  link.end(Reason.PROTOCOL, "again");
  assert(link.ended);
  await peer.expect(FrameType.PUBLISH);
  await peer.expect(FrameType.ASK);
  const told = decodeGoodbye(await peer.expect(FrameType.GOODBYE));
  assertEquals(told, { reason: Reason.SHUTDOWN, text: "going" });
  assertEquals(await peer.next(), undefined);
  for (let i = 0; i < 10; i++) await writeAll(peer.stream, publishOf(50_000));
  peer.stream.close();
  assertEquals(await link.finished, { reason: Reason.SHUTDOWN });
  assertEquals([frames, batches, counted], [[], 0, messages.slice(1)]);
});

Deno.test("Link says GOODBYE after large bytes that are half written, and nothing more", async () => {
  const { link, counted, peer } = setUp({}, 10_000);
  counted.push(publishOf(50_000), publishOf(1));
  link.pump();
  await peer.stream.read(new Uint8Array(1));
  link.end(Reason.DONE, "");
  const rest: Uint8Array[] = [];
  const into = new Uint8Array(100_000);
  for (let count = await peer.stream.read(into); count !== null;) {
    rest.push(into.slice(0, count));
    count = await peer.stream.read(into);
  }
  const goodbye = encodeFrame(FrameType.GOODBYE, encodeGoodbye(Reason.DONE, ""));
  assertEquals(concat(...rest), concat(publishOf(50_000).subarray(1), goodbye));
  peer.stream.close();
  assertEquals(await link.finished, { reason: Reason.DONE });
});

Deno.test("Link says GOODBYE in the place of large counted bytes that wait", async () => {
  const { link, counted, peer } = setUp();
  counted.push(publishOf(JOINED));
  link.send(FrameType.ASK);
  await quiet();
  assertEquals(counted, [], "they were handed over");
  link.end(Reason.DONE, "");
  await peer.expect(FrameType.ASK);
  assertEquals(await peer.goodbye(), { reason: Reason.DONE, text: "" });
  assertEquals(await link.finished, { reason: Reason.DONE });
});

Deno.test("Link says GOODBYE in the turn in which it began", async () => {
  const { link, peer } = setUp();
  link.end(Reason.DONE, "");
  assertEquals(await peer.goodbye(), { reason: Reason.DONE, text: "" });
  assertEquals(await link.finished, { reason: Reason.DONE });
});

Deno.test("Link is finished with the error with which it was ended", async () => {
  const { link, peer } = setUp();
  const error = new ProtocolError("mine");
  link.end(Reason.TOO_BIG, "", error);
  link.close(new Error("later"));
  assertStrictEquals((await link.finished).error, error);
  assertEquals(await peer.next(), undefined);
});

Deno.test("Link that ended closes after a second when the other side neither reads nor closes", async () => {
  const { link, counted } = setUp();
  const start = performance.now();
  counted.push(publishOf(50_000));
  link.pump();
  link.end(Reason.DONE, "");
  assertEquals(await link.finished, { reason: Reason.DONE });
  const took = performance.now() - start;
  assert(took > 900 && took < 3000, `${took} ms`);
});

Deno.test("Link closes without a word when it is closed", async () => {
  const { link, counted, peer } = setUp();
  const error = new Error("mine");
  counted.push(publishOf(50_000));
  link.send(FrameType.ASK);
  link.close(error);
  link.close(new Error("later"));
  link.send(FrameType.ASK);
  assertEquals(await peer.next(), undefined);
  assertEquals(await link.finished, { error });
  assertEquals(counted.length, 1, "nothing more was handed over");
});

Deno.test("Link is finished without an error when it is closed without one", async () => {
  const { link } = setUp();
  link.close();
  assertEquals(await link.finished, {});
});

Deno.test("Link takes no more frames of a read in which its handler closes it", async () => {
  const events: string[] = [];
  const { link, peer } = setUp({
    frame() {
      events.push("frame");
      link.close();
    },
  });
  await writeAll(peer.stream, concat(ASK, ASK));
  assertEquals(await link.finished, {});
  assertEquals(events, ["frame"]);
});

Deno.test("Link is lost when the other side closes at any byte of a frame", async () => {
  const frame = publishOf(300);
  for (let at = 0; at < frame.length; at++) {
    const { link, peer, frames } = setUp();
    await writeAll(peer.stream, frame.subarray(0, at));
    await peer.stream.closeWrite();
    const { reason, error } = await link.finished;
    assertInstanceOf(error, ConnectionLostError);
    assertEquals(error.message, "The connection was lost: the other side closed it");
    assertEquals([reason, frames], [undefined, []]);
  }
});

Deno.test("Link is lost with the error that its stream throws", async () => {
  for (const broken of ["read", "write"] as const) {
    const [ours] = streamPair();
    const cause = new Error(`${broken} failed`);
    const stream: ByteStream = {
      read: (into) => ours.read(into),
      write: (bytes) => ours.write(bytes),
      closeWrite: () => ours.closeWrite(),
      close: () => ours.close(),
      [broken]: () => Promise.reject(cause),
    };
    const handler = { frame() {}, batch() {}, next: () => undefined, idle() {}, ask() {} };
    const link = new Link(stream, FRAME_LIMITS, handler);
    link.send(FrameType.ASK);
    const { error } = await link.finished;
    assertInstanceOf(error, ConnectionLostError);
    assertEquals(error.message, `The connection was lost: ${broken} failed`);
    assertStrictEquals(error.cause, cause);
  }
});

for (
  const [what, bytes, reason] of [
    ["its handler throws a FrameError", encodeFrame(FrameType.SUBSCRIBE, TOPIC), Reason.FORBIDDEN],
    ["its handler throws a ProtocolError", ASK, Reason.PROTOCOL],
    ["a frame is of an unknown kind", Uint8Array.of(1, 77), Reason.PROTOCOL],
    ["a frame is empty", Uint8Array.of(0, 0), Reason.PROTOCOL],
    ["a frame is too long", Uint8Array.of(2, FrameType.ASK, 0), Reason.PROTOCOL],
    ["a GOODBYE is empty", encodeFrame(FrameType.GOODBYE), Reason.PROTOCOL],
    [
      "there are too many topics",
      encodeFrame(FrameType.OPEN, new Uint8Array(20_000)).subarray(0, 6),
      Reason.TOO_MANY_SUBSCRIPTIONS,
    ],
  ] as const
) {
  Deno.test(`Link handles the frames before, and says why it ends, when ${what}`, async () => {
    const events: string[] = [];
    const { link, peer } = setUp({
      frame({ type }) {
        if (type === FrameType.SUBSCRIBE) throw new FrameError("not yours", Reason.FORBIDDEN);
        if (type === FrameType.ASK) throw new ProtocolError("not now");
        events.push("message");
      },
      batch: () => void events.push("batch"),
    });
    await writeAll(peer.stream, concat(publishOf(1), bytes, publishOf(1)));
    const told = await peer.goodbye();
    const { error, ...end } = await link.finished;
    assertInstanceOf(error, ProtocolError);
    assertEquals([told, end], [{ reason, text: error.message }, { reason }]);
    assertEquals(events, ["message", "batch"]);
  });
}

/** Lets so many ticks pass. */
async function tick(link: Link, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    link.tick();
    await quiet();
  }
}

Deno.test("Link is lost after two heartbeats of silence, and one tick", async () => {
  const { link, peer } = setUp();
  await tick(link, SILENT_TICKS);
  assert(!link.ended);
  link.tick();
  const { error } = await link.finished;
  assertInstanceOf(error, ConnectionLostError);
  assertEquals(error.message, "The connection was lost: nothing was heard for 2 heartbeats");
  assertEquals(await peer.next(), undefined);
});

Deno.test("Link hears a sign of life in any byte", async () => {
  const { link, peer, frames } = setUp();
  for (const byte of publishOf(1)) {
    await tick(link, SILENT_TICKS);
    await writeAll(peer.stream, Uint8Array.of(byte));
  }
  await tick(link, SILENT_TICKS);
  assertEquals([link.ended, frames.length], [false, 1]);
  await lose(peer, link);
});

Deno.test("Link takes what was written before it judges, after the event loop was blocked", async () => {
  const { link, peer } = setUp();
  let ticks = 0;
  const ticker = every(() => {
    ticks++;
    link.tick();
  }, 2);
  const { promise, resolve } = Promise.withResolvers<void>();
  setTimeout(() => {
    const end = performance.now() + 2 * (SILENT_TICKS + 1) * 2;
    while (performance.now() < end);
    // What the event loop comes to only after its timers.
    setTimeout(resolve);
  });
  await promise;
  const before = ticks;
  await writeAll(peer.stream, ASK);
  ticker.cancel();
  assert(before > 0 && before < SILENT_TICKS / 2 && !link.ended, `${before} ticks`);
  await lose(peer, link);
});

Deno.test("Link calls idle once for each heartbeat in which nothing was written", async () => {
  let idle = 0;
  const { link, peer } = setUp({ idle: () => void idle++ });
  const counts: number[] = [];
  for (let i = 0; i < 3 * TICKS; i++) {
    await tick(link, 1);
    await writeAll(peer.stream, ASK);
    counts.push(idle);
  }
  assertEquals(counts, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3]);
  await lose(peer, link);
});

Deno.test("Link calls idle never while it writes something each heartbeat", async () => {
  let idle = 0;
  const { link, counted, peer } = setUp({ idle: () => void idle++ });
  for (let i = 0; i < 4; i++) {
    await tick(link, TICKS - 1);
    counted.push(publishOf(1));
    link.pump();
    await peer.expect(FrameType.PUBLISH);
    await peer.send(FrameType.ASK);
  }
  assertEquals(idle, 0);
  await lose(peer, link);
});

Deno.test("Link that ended takes no notice of ticks", async () => {
  let idle = 0;
  const { link, peer } = setUp({ idle: () => void idle++ });
  link.end(Reason.DONE, "");
  await tick(link, 2 * SILENT_TICKS);
  assertEquals(await peer.goodbye(), { reason: Reason.DONE, text: "" });
  assertEquals([await link.finished, idle], [{ reason: Reason.DONE }, 0]);
});

/** How many silent ticks it takes until a link asks. */
const ASK_TICKS = 6;

Deno.test("Link asks once for a sign of life, and is lost no later if none comes", async () => {
  let asks = 0;
  const { link, peer } = setUp({ ask: () => void asks++ });
  await tick(link, ASK_TICKS - 1);
  assertEquals([asks, link.isDoubted], [0, false]);
  await tick(link, 1);
  assertEquals([asks, link.isDoubted], [1, true]);
  await tick(link, SILENT_TICKS - ASK_TICKS);
  assertEquals([asks, link.ended], [1, false]);
  await tick(link, 1);
  assertEquals([asks, link.ended], [1, true]);
  assertEquals(await peer.next(), undefined);
});

Deno.test("Link that hears something doubts no longer, and asks again after the next silence", async () => {
  let asks = 0;
  const { link, peer } = setUp({ ask: () => void asks++ });
  for (let i = 1; i <= 3; i++) {
    await tick(link, SILENT_TICKS);
    assertEquals([asks, link.isDoubted], [i, true]);
    await writeAll(peer.stream, ASK);
    await quiet();
    assertEquals(link.isDoubted, false);
  }
  await lose(peer, link);
});

Deno.test("Link only asks at a tick that is late, however late, and leaves time for the answer", async () => {
  for (const passed of [2 * SILENT_TICKS, 1_000_000]) {
    let asks = 0;
    const { link, peer } = setUp({ ask: () => void asks++ });
    await tick(link, 1);
    link.tick(passed);
    assertEquals([asks, link.ended], [1, false]);
    link.tick(passed); // As in a hidden page: a minute later, and again.
    link.tick(passed);
    assertEquals([asks, link.ended], [1, false]);
    link.tick(passed);
    assertEquals([asks, link.ended], [1, true]);
    assertEquals(await peer.next(), undefined);
  }
});

Deno.test("Link is idle at once at a tick that stands for a heartbeat", async () => {
  let idle = 0;
  const { link, peer } = setUp({ idle: () => void idle++ });
  link.tick(TICKS);
  assertEquals(idle, 1);
  await lose(peer, link);
});

Deno.test("Link.ask asks, and begins to doubt, but not while what has come waits for its turn", async () => {
  let asks = 0;
  const gate = Promise.withResolvers<void>();
  const { link, peer } = setUp({ ask: () => void asks++, frame: () => gate.promise });
  link.ask();
  assertEquals([asks, link.isDoubted], [1, true]);
  await writeAll(peer.stream, ASK);
  await quiet();
  link.ask();
  assertEquals([asks, link.isDoubted], [1, false]);
  gate.resolve();
  await quiet();
  link.ask();
  assertEquals([asks, link.isDoubted], [2, true]);
  link.end(Reason.DONE, "");
  link.ask();
  assertEquals(asks, 2);
  assertEquals(await peer.goodbye(), { reason: Reason.DONE, text: "" });
});

Deno.test("Link.leave hands over all that may be sent and GOODBYE, and needs no turn for that", async () => {
  for (const size of [10, 2 * JOINED]) {
    const written: Uint8Array[] = [];
    const closed = Promise.withResolvers<null>();
    const counted = [publishOf(size, 1), publishOf(size, 2)];
    const link = new Link(
      {
        read: () => closed.promise,
        write(bytes) {
          written.push(bytes.slice());
          return Promise.resolve(bytes.length);
        },
        closeWrite: () => Promise.resolve(),
        close: () => closed.resolve(null),
      },
      FRAME_LIMITS,
      {
        frame() {},
        batch() {},
        next: () => counted.shift(),
        idle() {},
        ask() {},
      },
    );
    link.send(FrameType.ASK);
    const error = new ConnectionLostError("it goes");
    link.leave(error);
    assert(link.ended);
    // What promises do, and no more: a page that goes has no other turn.
    for (let i = 0; i < 100; i++) await undefined;
    const goodbye = encodeFrame(FrameType.GOODBYE, encodeGoodbye(Reason.DONE, ""));
    assertEquals(concat(...written), concat(ASK, publishOf(size, 1), publishOf(size, 2), goodbye));
    link.hurry();
    assertEquals(await link.finished, { error });
  }
});
