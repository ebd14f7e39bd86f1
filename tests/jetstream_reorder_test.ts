/** Lanes of brokers that may not be brokers: what they hold, and how much work they make, is bounded. */
import { assert, assertEquals } from "@std/assert";
import { ReorderBuffer } from "../nats/jetstream_reorder.ts";
import { PacketFlag, type PacketHeader, PART_BYTES, UNDER_WAY_MAX } from "../nats/packet.ts";
import { subjectOf } from "../nats/subject.ts";
import { WantedSubjects } from "../nats/wanted_subjects.ts";
import { randomOf } from "../tools/harness/random.ts";
import type { TopicPath } from "../topic.ts";
import { contextOf, frameOf, Heard, PREFIX, type SimulatedOptions } from "./helpers/exchange.ts";

const SEED = 20261128;
const QUEUE_BYTES = 2 ** 20;
const SUBJECT = subjectOf(PREFIX, ["a"]);

/** Counts how often it is asked whether a topic is wanted. */
class CountedWants extends WantedSubjects {
  looks = 0;

  override has(path: TopicPath): boolean {
    this.looks++;
    return super.has(path);
  }
}

/** A reader that wants all, of brokers that all seem to be there. */
class Reader extends Heard {
  readonly wanted = new CountedWants(PREFIX);
  readonly buffer: ReorderBuffer;
  timers = 0;

  constructor(options: Partial<SimulatedOptions> = {}, lanesMax?: number) {
    super();
    this.wanted.change([], true);
    const context = contextOf(this, {
      id: "me",
      queueBytes: QUEUE_BYTES,
      messageBytes: QUEUE_BYTES / 2,
      isHere: () => true,
      later: () => {
        this.timers++;
        return { cancel: () => this.timers-- };
      },
      ...options,
    });
    this.buffer = new ReorderBuffer(context, this.wanted, lanesMax);
  }

  /** Takes a packet with one message. */
  packet(number: number, header: Partial<PacketHeader> = {}, bytes = 0): void {
    const body = frameOf({ path: ["a"], from: "p", id: number }, bytes);
    this.#take(number, header, body);
  }

  /** Takes a part of a message that goes on. */
  part(number: number, header: Partial<PacketHeader> = {}): void {
    this.#take(
      number,
      { flags: PacketFlag.MORE, messages: 0, ...header },
      new Uint8Array(PART_BYTES),
    );
  }

  #take(number: number, header: Partial<PacketHeader>, body: Uint8Array): void {
    const usual = { flags: 0, broker: "f", lane: 1, messages: 1, counts: [], before: [] };
    this.buffer.packet(SUBJECT, { ...usual, number, ...header }, body);
  }
}

/** Takes so many packets, each of which names one before it that never comes. */
function withGaps(count: number): Reader {
  const reader = new Reader();
  reader.packet(1);
  for (let n = 1; n <= count; n++) reader.packet(1 + 2 * n, { before: [["a"], ["a"]] });
  return reader;
}

Deno.test("ReorderBuffer holds no more packets of a lane than may be under way, and tells of the gap", () => {
  const reader = withGaps(1000);
  const ids = Array.from({ length: 1001 }, (_, n) => 1 + 2 * n);
  const taken = reader.delivered.map(({ id }) => id);
  assertEquals(taken, ids.slice(0, taken.length));
  assert(taken.length >= 1001 - UNDER_WAY_MAX, `${taken.length} of 1001 were taken`);
  // What a packet does not name was confirmed; of what it names, one is missing and was waited for.
  assertEquals(reader.lost, []);
  reader.buffer.free(Infinity);
  assertEquals(reader.lost, [{ path: [], messages: 0 }]);
  assertEquals(reader.delivered.map(({ id }) => id), ids);
  assertEquals(reader.buffer.heldBytes, 0);
});

Deno.test("ReorderBuffer holds as many packets as may be under way, whatever the numbers are", () => {
  const random = randomOf(SEED);
  for (let run = 0; run < 200; run++) {
    const reader = new Reader();
    const most = random.pick([30, 300, 2 ** 50]);
    for (let n = 0; n < 200; n++) {
      const before = Array(random.int(UNDER_WAY_MAX)).fill(["a"]);
      const number = before.length + 1 + random.int(most);
      reader.packet(number, { before });
      assert(reader.buffer.heldBytes <= UNDER_WAY_MAX * 5000);
    }
  }
});

Deno.test("ReorderBuffer looks at twice as much for twice as many packets with gaps", () => {
  const [once, twice] = [500, 1000].map((count) => withGaps(count).wanted.looks);
  assert(twice! <= 2.2 * once!, `${once} looks for 500 packets, ${twice} for 1000`);
});

Deno.test("ReorderBuffer looks no further back than a packet names, however large its number", () => {
  const reader = new Reader();
  const max = Number.MAX_SAFE_INTEGER;
  for (const number of [1, 2 ** 50, max - 1, max]) reader.packet(number);
  assertEquals(reader.wanted.looks, 0);
  assertEquals(reader.delivered.map(({ id }) => id), [1, 2 ** 50, max - 1, max]);
  assertEquals(reader.lost, []);
});

Deno.test("ReorderBuffer holds no more bytes than may wait, and gives up first what waits longest", () => {
  const reader = new Reader();
  const held = 100_000;
  const brokers = Array.from({ length: 40 }, (_, n) => `broker ${n}`);
  for (const broker of brokers) {
    reader.packet(1, { broker });
    reader.packet(3, { broker, before: [["a"]] }, held);
    assert(reader.buffer.heldBytes <= QUEUE_BYTES);
  }
  const late = reader.delivered.filter(({ id }) => id === 3).length;
  assertEquals(late, 40 - Math.floor(QUEUE_BYTES / (held + 1024 + 200)));
  // The latest is not given up: what it waits for comes.
  const before = reader.delivered.length;
  const gaps = reader.lost.length;
  reader.packet(2, { broker: brokers.at(-1)! });
  assertEquals(reader.delivered.slice(before).map(({ id }) => id), [2, 3]);
  assertEquals(reader.lost.length, gaps);
});

Deno.test("ReorderBuffer keeps of what was read only the packet that waits, if that is a small part", () => {
  const kept: number[] = [];
  const reader = new Reader({ deliver: (frames) => kept.push(frames.buffer.byteLength) });
  const body = frameOf({ path: ["a"], from: "p", id: 1 });
  const read = new Uint8Array(100_000);
  read.set(body, 500);
  const place = read.subarray(500, 500 + body.length);
  const header = { flags: 0, broker: "f", lane: 1, messages: 1, counts: [] };
  reader.packet(1);
  reader.buffer.packet(SUBJECT, { ...header, number: 3, before: [["a"]] }, place);
  reader.packet(2);
  assertEquals(kept.at(-1), body.length);
});

Deno.test("ReorderBuffer keeps no more parts of messages than may wait", () => {
  const reader = new Reader();
  for (let n = 0; n < 40; n++) {
    reader.part(1, { broker: `broker ${n}` });
    assert(reader.buffer.heldBytes <= QUEUE_BYTES);
  }
  // That of the latest goes on, that of the first is lost, and both say so.
  const rest = { flags: PacketFlag.REST };
  const before = reader.lost.length;
  reader.packet(2, { broker: "broker 0", ...rest });
  assertEquals(reader.lost.slice(before), [{ path: ["a"], messages: 1 }]);
  assertEquals(reader.counts.received, 0);
});

Deno.test("ReorderBuffer remembers the latest lanes, and leaves nothing of those that it forgets", () => {
  const reader = new Reader({}, 10);
  for (let n = 0; n < 100; n++) {
    reader.packet(1, { broker: `broker ${n}` });
    reader.packet(3, { broker: `broker ${n}`, before: [["a"]] });
  }
  assertEquals(reader.timers, 10);
  assertEquals(reader.delivered.filter(({ id }) => id === 3).length, 90);
  assert(reader.buffer.heldBytes < 10 * 5000);
});
