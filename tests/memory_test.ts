/** What a broker keeps in memory is counted once, and whoever holds most loses first. */
import { assert, assertEquals } from "@std/assert";
import { Account } from "../base/account.ts";
import { lent } from "../base/lease.ts";
import { type Holder, Memory } from "../broker/memory.ts";
import { Rights } from "../broker/rights.ts";
import { encodeFrame, FrameType } from "../protocol/frame.ts";
import { FrameReader } from "../protocol/frame_reader.ts";
import { Outbox } from "../protocol/outbox.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import type { Peer } from "../routing/peer.ts";
import { Router } from "../routing/router.ts";
import { NOTHING, Share } from "../routing/share.ts";
import { WINDOW_BYTES } from "../protocol/session.ts";
import { any, type TopicPattern } from "../topic.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

function publishOf(bytes: number): Uint8Array {
  return encodeFrame(FrameType.PUBLISH, encodeTopic(["a"]), new Uint8Array(bytes));
}

/** Writes all to a reader; calls `take` for each frame. */
function feed(reader: FrameReader, bytes: Uint8Array, take: () => void = () => {}): void {
  for (let at = 0; at < bytes.length;) {
    const space = reader.space();
    const count = Math.min(space.length, bytes.length - at);
    space.set(bytes.subarray(at, at + count));
    reader.wrote(count);
    at += count;
    while (reader.next()) take();
  }
}

function peer(): Peer {
  return { take() {}, lose() {}, room: () => undefined };
}

function readerOf(account: Account): FrameReader {
  return new FrameReader(new Array(256).fill(2 ** 30), undefined, account);
}

Deno.test("Account counts a message once that 150 queues share, with all of its buffer, until all let go", () => {
  const account = new Account();
  const reader = readerOf(account);
  const queues = Array.from({ length: 150 }, () => new Outbox(WINDOW_BYTES, () => {}, { account }));
  feed(reader, publishOf(MIB)); // So its buffers are large from now on.
  const buffers = new Set<ArrayBufferLike>();
  feed(reader, publishOf(900 * KIB), () => {
    buffers.add(reader.buffer.buffer);
    const lease = reader.keep();
    const slice = reader.buffer.subarray(reader.start, reader.end);
    for (const queue of queues) queue.push(slice, 1, lease);
  });
  reader.close();
  const [kept] = [...buffers];
  const counted = () => account.bytes - kept!.byteLength;
  assertEquals(buffers.size, 1);
  assert(counted() >= 0 && counted() < 200 * queues.length, `${counted()} bytes for 150 chunks`);
  const shares = queues.reduce((sum, { keptBytes }) => sum + keptBytes, 0);
  assertEquals(Math.round(shares), account.bytes);
  for (const queue of queues.slice(1)) queue.clear();
  assert(counted() >= 0, "one still holds it");
  queues[0]!.clear();
  assertEquals(account.bytes, 0);
});

Deno.test("Account counts what is half read, and nothing when its reader lets go", () => {
  const account = new Account();
  const reader = readerOf(account);
  feed(reader, publishOf(MIB).subarray(0, MIB - KIB));
  assert(account.bytes >= MIB - KIB && account.bytes <= 2 * MIB, `${account.bytes} bytes`);
  assertEquals(reader.keptBytes, account.bytes);
  reader.close();
  assertEquals([account.bytes, reader.keptBytes], [0, 0]);
});

Deno.test("Account counts small buffers of a queue whole, and chunks that are small with what they take", () => {
  const account = new Account();
  const outbox = new Outbox(WINDOW_BYTES, () => {}, { account });
  for (let n = 0; n < 1000; n++) {
    outbox.push(publishOf(1), 1);
    outbox.notify(encodeFrame(FrameType.REFUSED)); // Of the other kind, so each is a chunk.
  }
  assert(account.bytes > 2000 * 100, `${account.bytes} bytes`);
  assert(Math.abs(outbox.keptBytes - account.bytes) < 1000, "of what waits, all is its own");
  while (outbox.next() !== undefined);
  outbox.acknowledge(2000);
  outbox.trim();
  assertEquals(account.bytes, 0);
});

Deno.test("Account is even when queues that share are emptied in any order, sent, sent again or dropped", () => {
  let state = 1;
  const random = (below: number) => (state = (state * 48271) % 0x7fffffff) % below;
  for (let round = 0; round < 50; round++) {
    const account = new Account();
    const queues = Array.from({ length: 3 }, () => new Outbox(64 * KIB, () => {}, { account }));
    for (let n = 0; n < 200; n++) {
      const queue = queues[random(3)]!;
      switch (random(8)) {
        case 0:
        case 1:
          queue.push(publishOf(random(200)), 1);
          break;
        case 2: {
          const bytes = publishOf(20 * KIB + random(50 * KIB));
          const lease = lent(bytes, account);
          lease.holders++;
          for (const each of queues) each.push(bytes, 1, lease);
          lease.release();
          break;
        }
        case 3:
          queue.notify(encodeFrame(FrameType.REFUSED), random(2));
          break;
        case 4:
          queue.next();
          break;
        case 5:
          queue.drop(random(40 * KIB));
          break;
        case 6:
          queue.acknowledge(
            queue.numbered - queue.acknowledged > 0 ? queue.acknowledged + 1 : queue.acknowledged,
          );
          break;
        case 7:
          queue.rewind(queue.acknowledged);
          while (queue.next() !== undefined);
      }
      assert(account.bytes >= queues.reduce((sum, { heldBytes }) => Math.max(sum, heldBytes), 0));
    }
    for (const queue of queues) queue.clear();
    assertEquals(account.bytes, 0, `round ${round}`);
  }
});

Deno.test("Router counts topics once that many want, each for who wants it, and nothing in the end", () => {
  const account = new Account();
  const router = new Router<Peer>({ account });
  const peers = Array.from({ length: 100 }, peer);
  const path = Array.from({ length: 16 }, (_, depth) => `${depth}`.padEnd(100));
  for (const each of peers) router.add(each, path);
  assert(account.bytes < 16 * 700 + 100 * 200, `${account.bytes} bytes`);
  router.add(peers[0]!, path);
  const shares = peers.reduce((sum, each) => sum + router.keptBytesOf(each), 0);
  assert(shares <= account.bytes, "what several want counts for each of them in part");
  assert(router.bytesOf(peers[0]!) > 16 * 500);
  router.add(peers[0]!, path, new Share([["a"]]));
  router.add(peers[1]!, path, NOTHING);
  for (const each of peers) for (const _step of router.clear(each));
  for (let n = 0; n < 3; n++) for (const _step of router.sweep());
  assertEquals(account.bytes, 0);
});

Deno.test("Router says of no peer that it keeps a node alive that leads to any for another, too", () => {
  const account = new Account();
  const router = new Router<Peer>({ account });
  const [one, other] = [peer(), peer()];
  for (let n = 0; n < 100; n++) {
    router.add(one, [`${n}`, any]);
    router.add(other, [`${n}`, "x"]);
  }
  const sum = router.keptBytesOf(one) + router.keptBytesOf(other);
  assert(sum > 0.5 * account.bytes && sum <= account.bytes, `${sum} of ${account.bytes}`);
});

Deno.test("Router counts what it keeps of narrowed topics that nobody wants any more, and not too much", () => {
  const account = new Account();
  const router = new Router<Peer>({ account });
  const someone = peer();
  const grants = Array.from({ length: 1000 }, (_, n): TopicPattern => [any, `${n}`]);
  const rights = new Rights({ subscribe: grants });
  let most = 0;
  let share = 0;
  for (let n = 0; n < 30; n++) {
    const topic = [`topic ${n}`];
    const granted = rights.narrow(topic)!;
    share = granted.bytes;
    router.add(someone, topic, granted);
    assert(router.bytesOf(someone) > share, "it counts for who wants it");
    router.remove(someone, topic);
    assertEquals([router.bytesOf(someone), router.keptBytesOf(someone)], [0, 0]);
    most = Math.max(most, account.bytes);
  }
  assert(most > 2 * MIB && most < 4 * MIB + 2 * share, `${most} bytes`);
  for (let n = 0; n < 2; n++) for (const _step of router.sweep());
  assertEquals(account.bytes, 0);
});

Deno.test("Router says of each peer what only it keeps alive", () => {
  const account = new Account();
  const router = new Router<Peer>({ account });
  const [one, other] = [peer(), peer()];
  for (let n = 0; n < 100; n++) {
    router.add(one, [`${n}`, "a", "b", "c"]);
    router.add(other, ["x", `${n}`]);
  }
  const sum = router.keptBytesOf(one) + router.keptBytesOf(other);
  assert(sum > 0.9 * account.bytes && sum <= account.bytes, `${sum} of ${account.bytes}`);
});

/** Somebody who holds bytes that it can drop, and others that only its end sets free. */
class Fake implements Holder {
  readonly owner: object;
  droppable: number;
  rest: number;
  readonly #account: Account;

  constructor(owner: object, account: Account, droppable: number, rest = 0) {
    this.owner = owner;
    this.#account = account;
    this.droppable = droppable;
    this.rest = rest;
    account.add(droppable + rest);
  }

  get keptBytes(): number {
    return this.droppable + this.rest;
  }

  readonly losses = [
    (bytes: number) => {
      const count = Math.min(bytes, this.droppable);
      this.droppable -= count;
      this.#account.add(-count);
      return 0;
    },
    () => {
      this.#account.add(-this.keptBytes);
      this.droppable = this.rest = 0;
      return 0;
    },
  ];
}

/** A memory of 1,000 bytes for what several hold. */
function scene(...held: readonly (readonly [owner: object, droppable: number, rest?: number])[]) {
  const holders: Fake[] = [];
  const memory = new Memory(1000, () => holders);
  for (const [owner, droppable, rest] of held) {
    holders.push(new Fake(owner, memory.account, droppable, rest));
  }
  return { memory, holders };
}

Deno.test("Memory takes from the key that holds most, however little each of its sessions holds", () => {
  const [one, other] = [{}, {}];
  const { memory, holders } = scene(
    [other, 400],
    ...Array.from({ length: 70 }, () => [one, 10] as const),
  );
  memory.settle();
  assertEquals(holders[0]!.droppable, 400);
  assert(memory.account.bytes <= 1000 * 15 / 16, `${memory.account.bytes}`);
});

Deno.test("Memory takes from the session of a key that holds most, and no more than is needed", () => {
  const key = {};
  const { memory, holders } = scene([key, 600], [key, 401]);
  memory.settle();
  assertEquals(holders[1]!.droppable, 401);
  assert(holders[0]!.droppable > 500 && memory.account.bytes <= 1000 * 15 / 16);
});

Deno.test("Memory ends a session that holds most and has nothing to drop, before another key loses", () => {
  const { memory, holders } = scene([{}, 0, 300], [{}, 0, 701]);
  memory.settle();
  assertEquals(holders.map(({ keptBytes }) => keptBytes), [300, 0]);
});

Deno.test("Memory takes messages of one session before it ends another of the same key that holds little more", () => {
  const key = {};
  const { memory, holders } = scene([key, 400], [key, 0, 601]);
  memory.settle();
  assertEquals(holders[1]!.rest, 601);
  const { memory: other, holders: others } = scene([key, 150], [key, 0, 851]);
  other.settle();
  assertEquals(others.map(({ keptBytes }) => keptBytes), [150, 0]);
});

Deno.test("Outbox keeps no buffers in reserve when memory is short", () => {
  const account = new Account();
  const outbox = new Outbox(WINDOW_BYTES, () => {}, { account });
  for (let n = 0; n < 2000; n++) outbox.push(publishOf(1000), 1);
  while (outbox.next() !== undefined);
  outbox.acknowledge(outbox.numbered);
  while (outbox.next() !== undefined);
  const before = account.bytes;
  outbox.trim();
  assert(account.bytes < before - 200 * KIB, `${before}, then ${account.bytes} bytes`);
  assert(Math.abs(outbox.keptBytes - account.bytes) < KIB, "the rest is its own");
});

Deno.test("Outbox keeps what is being written, also when that is acknowledged before", () => {
  const account = new Account();
  const outbox = new Outbox(WINDOW_BYTES, () => {}, { account });
  const even = (when: string) =>
    assert(Math.abs(outbox.keptBytes - account.bytes) < KIB, `${when}: ${outbox.keptBytes}`);
  outbox.push(publishOf(900 * KIB), 1);
  outbox.next();
  assert(account.bytes > 900 * KIB);
  even("written");
  outbox.acknowledge(1); // A client may say so of what it never reads.
  assert(account.bytes > 900 * KIB);
  even("acknowledged");
  outbox.next();
  assertEquals(account.bytes, 0);
  even("gone");
});

Deno.test("Memory takes from no other key what goes already", () => {
  const [key, other] = [{}, {}];
  const leaving: Holder = { owner: key, keptBytes: 600, losses: [] };
  const holders: Holder[] = [leaving];
  const memory = new Memory(1000, () => holders);
  memory.account.add(600);
  const honest = new Fake(other, memory.account, 350);
  const newcomer = new Fake(key, memory.account, 60);
  holders.push(honest, newcomer);
  memory.settle();
  assertEquals([honest.droppable, newcomer.droppable], [350, 0]);
});

Deno.test("Memory takes alternately from two that hold as much", () => {
  const { memory, holders } = scene([{}, 505], [{}, 505]);
  memory.settle();
  const [one, other] = holders.map(({ droppable }) => droppable);
  assert(Math.abs(one! - other!) <= 32, `${one} and ${other}`);
});

Deno.test("Memory looks for who holds most no more often than it finds something", () => {
  let walks = 0;
  const memory = new Memory(1000, () => {
    walks++;
    return [];
  });
  memory.account.add(1001);
  for (let n = 0; n < 100; n++) memory.settle();
  assertEquals(walks, 1);
  memory.account.add(20);
  memory.settle();
  assertEquals(walks, 2);
});

Deno.test("Account tells once, when nothing else is under way, that too much is kept", async () => {
  let told = 0;
  const account = new Account(10, () => told++);
  account.add(20);
  account.add(20);
  assertEquals(told, 0);
  await undefined;
  await undefined;
  assertEquals(told, 1);
});
