import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProtocolError } from "../errors.ts";
import { encodeFrame, type Frame, FrameType } from "../protocol/frame.ts";
import { FrameReader } from "../protocol/frame_reader.ts";
import { type HeldFrame, Inbox, type InboxHandler } from "../protocol/inbox.ts";
import type { Place } from "../protocol/withheld.ts";
import { concat } from "../tools/harness/bytes.ts";
import { randomOf } from "../tools/harness/random.ts";

/** The length of each frame of these tests. */
const LENGTH = 12;
const LIMITS = [undefined, LENGTH - 2];

/** An inbox with what its owner got: `n` for a frame that arrived, `-n` for one that was held. */
class Owner implements InboxHandler {
  full = false;
  readonly got: number[] = [];
  readonly inbox: Inbox;

  constructor(window = 5 * LENGTH) {
    this.inbox = new Inbox(window, this);
  }

  frame({ buffer, body }: Frame): void {
    this.got.push(buffer[body]!);
  }

  held({ type, bytes, body, oversize }: HeldFrame): void {
    assertEquals([type, bytes.length, oversize], [FrameType.PUBLISH, LENGTH, 0]);
    this.got.push(-bytes[body]!);
  }

  /** Lets the frames from `first` to `last` arrive in a buffer that is used again. */
  arrive(first: number, last = first): void {
    const reader = new FrameReader(LIMITS);
    const frames = Array.from(
      { length: last - first + 1 },
      (_, i) => encodeFrame(FrameType.PUBLISH, new Uint8Array(LENGTH - 2).fill(first + i)),
    );
    const bytes = concat(...frames);
    reader.space().set(bytes);
    reader.wrote(bytes.length);
    while (reader.next()) this.inbox.arrived(reader);
    reader.buffer.fill(0);
  }
}

Deno.test("Inbox holds frames in bytes of their own, and counts them once they are taken", () => {
  const owner = new Owner();
  const { inbox } = owner;
  owner.arrive(1);
  owner.full = true;
  owner.arrive(2, 3);
  assertEquals([inbox.taken.count, inbox.acknowledgeable.count], [1, 1]);
  owner.full = false;
  owner.arrive(4);
  assertEquals(owner.got, [1], "what is held goes first");
  inbox.resume();
  owner.arrive(5);
  assertEquals(owner.got, [1, -2, -3, -4, 5]);
  assertEquals(inbox.taken, { count: 5, bytes: 5 * LENGTH });
});

for (const full of [false, true]) {
  Deno.test(`Inbox refuses what comes past its window, ${full ? "held" : "taken"} and not acknowledged`, () => {
    const owner = new Owner();
    owner.full = full;
    owner.arrive(1, 6); // Which is looked at before it is counted.
    assertThrows(() => owner.arrive(7), ProtocolError, `window of ${5 * LENGTH} bytes`);
    owner.full = false;
    owner.inbox.resume();
    assertThrows(() => owner.arrive(7), ProtocolError);
    assertEquals(owner.inbox.acknowledge(), 6);
    owner.arrive(7, 12);
    assertEquals(owner.got.length, 12);
  });
}

Deno.test("Inbox has nothing acknowledged that somebody withholds, until the last releases it", () => {
  const owner = new Owner();
  const { inbox } = owner;
  owner.arrive(1, 4);
  const two = inbox.withhold(2, 2 * LENGTH);
  const three = inbox.withhold(3, 3 * LENGTH);
  assertEquals(inbox.acknowledge(), 1);
  assertEquals(inbox.release(two), false);
  assertEquals(inbox.acknowledge(), 1);
  assertEquals([inbox.release(three), inbox.release(three)], [true, false]);
  assertEquals(inbox.acknowledge(), 4);
  assertEquals(inbox.acknowledged, inbox.taken);
});

/** A frame of so many bytes. */
function lone(length: number): Frame {
  const [buffer, start] = [new Uint8Array(length), 0];
  return {
    type: 0,
    frames: 1,
    buffer,
    start,
    body: 0,
    end: length,
    oversize: 0,
  } as unknown as Frame;
}

Deno.test("Inbox does what a list of withheld places does, in random operations", () => {
  for (let seed = 0; seed < 20; seed++) {
    const random = randomOf(seed);
    const { inbox } = new Owner();
    const arrived = lone(LENGTH);
    let naive: ReturnType<Inbox["withhold"]>[] = [];
    for (let step = 0; step < 300; step++) {
      const kind = random.int(10);
      if (kind < 3 && inbox.taken.count - inbox.acknowledged.count < 5) inbox.arrived(arrived);
      else if (kind < 6) {
        const frames = 1 + random.int(3);
        naive.push(inbox.withhold(frames, frames * LENGTH));
      } else if (kind < 9 && naive.length > 0) {
        const place = random.pick(naive);
        inbox.release(place);
        naive = naive.filter((other) => other !== place);
      } else inbox.acknowledge();
      const least = Math.min(inbox.taken.count, ...naive.map(({ count }) => count));
      assertEquals(inbox.acknowledgeable.count, least, `seed ${seed}, step ${step}`);
    }
  }
});

Deno.test("Inbox finds the first of many withheld places without a search", () => {
  const COUNT = 2000;
  const { inbox } = new Owner();
  const arrived = lone(1);
  let looks = 0;
  const places = Array.from({ length: COUNT }, () => {
    inbox.taken.bytes = 0; // The window is not the matter here.
    inbox.arrived(arrived);
    const place = inbox.withhold(1, 1);
    const { count } = place;
    Object.defineProperty(place, "count", { get: () => (looks++, count) });
    return place;
  });
  for (const place of places.toReversed()) {
    inbox.release(place);
    inbox.acknowledge();
  }
  assert(looks < 8 * COUNT, `${looks}`);
});

Deno.test("Inbox has what was asked for wanted until it can be acknowledged, and is", () => {
  const owner = new Owner();
  const { inbox } = owner;
  owner.arrive(1);
  owner.full = true;
  owner.arrive(2);
  inbox.want();
  owner.arrive(3);
  assertEquals([inbox.isWanted, inbox.acknowledge(), inbox.isWanted], [false, 1, false]);
  owner.full = false;
  inbox.resume();
  assertEquals([inbox.isWanted, inbox.acknowledge(), inbox.isWanted], [true, 3, false]);
});

Deno.test("Inbox forgets what it holds when another connection takes the place of the one before", () => {
  const owner = new Owner();
  owner.arrive(1);
  owner.full = true;
  owner.arrive(2, 6);
  owner.inbox.rewind();
  owner.full = false;
  owner.arrive(2, 5);
  assertEquals(owner.got, [1, 2, 3, 4, 5]);
  owner.inbox.restart();
  assertEquals([owner.inbox.taken, owner.inbox.acknowledgeable.count], [{ count: 0, bytes: 0 }, 0]);
});

/** Counts how often the numbers of these places are looked at. */
function looksAt(places: readonly { readonly count: number }[]): { looks: number } {
  const counted = { looks: 0 };
  for (const place of places) {
    const { count } = place;
    Object.defineProperty(place, "count", {
      get() {
        counted.looks++;
        return count;
      },
    });
  }
  return counted;
}

Deno.test("Inbox releases what thousands withhold with the same work for each", () => {
  for (const many of [1000, 2000, 4000]) {
    for (const order of ["first", "last", "in turn"]) {
      const { inbox } = new Owner();
      inbox.taken.count = many;
      const places = Array.from({ length: many }, (_, n) => inbox.withhold(many - n, 0));
      const counted = looksAt(places);
      const rest = [...places];
      for (let n = 0; n < many; n++) {
        const place = order === "first" || (order === "in turn" && n % 2 > 0)
          ? rest.shift()!
          : rest.pop()!;
        inbox.release(place);
        const { count } = inbox.acknowledgeable;
        assertEquals(count, rest.length > 0 ? places.indexOf(rest[0]!) : many);
        assertEquals(inbox.isWanted, false);
      }
      assert(counted.looks <= 8 * many, `${counted.looks} looks for ${many}, ${order}`);
    }
  }
});

Deno.test("Inbox has the same acknowledgeable as a search of all places, in random operations", () => {
  const random = randomOf(20_26);
  const { inbox } = new Owner();
  const withheld: Place[] = [];
  for (let n = 0; n < 3000; n++) {
    inbox.taken.count += random.int(3);
    if (random.int(2) === 0) withheld.push(inbox.withhold(random.int(10), 0));
    else if (withheld.length > 0) {
      const [place] = withheld.splice(random.int(withheld.length), 1);
      inbox.release(place!);
      assertEquals(inbox.release(place!), false);
    }
    const least = Math.min(inbox.taken.count, ...withheld.map(({ count }) => count));
    assertEquals(inbox.acknowledgeable.count, least);
    if (random.int(4) === 0) assertEquals(inbox.acknowledge(), least);
  }
  inbox.close();
  assertEquals(inbox.acknowledgeable.count, inbox.taken.count);
  assertEquals(withheld.map((place) => inbox.release(place)).includes(true), false);
});
