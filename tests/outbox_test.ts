import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { Account } from "../base/account.ts";
import { Lease } from "../base/lease.ts";
import { ProtocolError } from "../errors.ts";
import { encodeFrame, FrameType } from "../protocol/frame.ts";
import { encodeGap } from "../protocol/frame_bodies.ts";
import { isKept, Outbox } from "../protocol/outbox.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { concat } from "../tools/harness/bytes.ts";
import { type Random, randomOf } from "../tools/harness/random.ts";
import { Encoder } from "../codec/codec.ts";
import { Copies } from "./helpers/copies.ts";
import { Walks } from "./helpers/walks.ts";

const SEED = 20261124;
const WINDOW = 1024 * 1024;
/** A longer slice is kept without a copy, if it is enough of its buffer. */
const SLICE = 16 * 1024;
const TOPIC = encodeTopic(["t"]);

/** A PUBLISH that tells which it is, of this length as a whole if that is over 270 bytes. */
function frameOf(n: number, length = 0): Uint8Array {
  const payload = new Uint8Array(Math.max(4, length - 6 - TOPIC.length)).fill(n);
  new DataView(payload.buffer).setUint32(0, n);
  return encodeFrame(FrameType.PUBLISH, TOPIC, payload);
}

/** Frames with the numbers from `first` to `last`. */
function framesOf(first: number, last: number, length?: number): Uint8Array[] {
  return Array.from({ length: last - first + 1 }, (_, i) => frameOf(first + i, length));
}

function gapOf(missed: number): Uint8Array {
  return encodeFrame(FrameType.GAP, encodeGap(missed));
}

/** Composes and adds a PUBLISH. */
function publish(outbox: Outbox, topic: Uint8Array, payload: Uint8Array): void {
  const { composer } = outbox;
  const at = composer.room(composer.begin(topic), payload.length);
  composer.bytes.set(payload, at);
  outbox.commit(at + payload.length);
}

/** All that is handed over now. */
function handedBy(outbox: Outbox): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let part = outbox.next(); part !== undefined; part = outbox.next()) {
    parts.push(part.slice());
  }
  return concat(...parts);
}

/** An outbox that holds these frames, each pushed by itself. */
function outboxOf(frames: readonly Uint8Array[], window = WINDOW): Outbox {
  const outbox = new Outbox(window);
  for (const frame of frames) outbox.push(frame, 1);
  return outbox;
}

Deno.test("Outbox hands over in their order frames that were published and pushed", () => {
  const outbox = new Outbox(WINDOW);
  const expected: Uint8Array[] = [];
  for (const size of [0, 1, 251, 252, 253, 1000, SLICE - 8, SLICE - 7, SLICE, 90_000, 5, 300, 5]) {
    const payload = new Uint8Array(size).fill(size);
    publish(outbox, TOPIC, payload);
    const frame = encodeFrame(FrameType.PUBLISH, TOPIC, payload);
    outbox.push(frame, 1);
    expected.push(frame, frame);
  }
  assertEquals(handedBy(outbox), concat(...expected));
  assertEquals(outbox.numbered, expected.length);
});

for (const length of [10, 300, 60_000, 70_000]) {
  Deno.test(`Outbox puts before a frame of ${length} bytes what is pushed while it is composed`, () => {
    for (const [moved, pushed] of [[0, 1], [0, 400], [1, 1], [2, 1], [3, 500], [3, 1]] as const) {
      const outbox = new Outbox(WINDOW);
      const { composer } = outbox;
      const payload = Uint8Array.from({ length }, (_, i) => i);
      const [half, others] = [length / 2, framesOf(1, pushed, 300)];
      publish(outbox, TOPIC, payload);
      let at = composer.begin(TOPIC);
      if (moved & 1) at = composer.room(at, length);
      at = composer.room(at, half);
      composer.bytes.set(payload.subarray(0, half), at);
      for (const frame of others) outbox.push(frame, 1);
      if (moved & 2) at = composer.room(at + half, 100_000) - half;
      at = composer.room(at + half, half);
      composer.bytes.set(payload.subarray(half), at);
      outbox.commit(at + half);
      publish(outbox, TOPIC, payload);
      const frame = encodeFrame(FrameType.PUBLISH, TOPIC, payload);
      assertEquals(handedBy(outbox), concat(frame, ...others, frame, frame));
    }
  });
}

for (const length of [10, 70_000, 120_000]) {
  Deno.test(`Outbox keeps a frame of ${length} bytes beside which others were pushed while it was composed`, () => {
    const outbox = new Outbox(WINDOW);
    const { composer } = outbox;
    for (const frame of framesOf(1, 300, 1000)) outbox.push(frame, 1); // Its buffers are large now.
    handedBy(outbox);
    outbox.acknowledge(200);
    publish(outbox, TOPIC, new Uint8Array(10));
    const payload = new Uint8Array(length).fill(7);
    const at = composer.room(composer.begin(TOPIC), length);
    outbox.push(frameOf(501), 1);
    composer.bytes.set(payload, at);
    outbox.commit(at + length);
    handedBy(outbox);
    outbox.acknowledge(outbox.numbered - 1);
    for (const frame of framesOf(502, 1500, 1000)) outbox.push(frame, 1);
    outbox.rewind(outbox.acknowledged);
    assertSame(outbox.next()!, encodeFrame(FrameType.PUBLISH, TOPIC, payload));
  });
}

Deno.test("Outbox adds nothing of a frame that it abandons", () => {
  const outbox = new Outbox(WINDOW);
  const { composer } = outbox;
  assert(!composer.isBusy && !composer.isInPlace);
  for (const [n, length] of [3, 300, 90_000].entries()) {
    const at = composer.room(composer.begin(TOPIC), length);
    composer.bytes.fill(7, at, at + length);
    composer.abandon();
    assert(!composer.isBusy);
    publish(outbox, TOPIC, Uint8Array.of(n));
    assertEquals(handedBy(outbox), encodeFrame(FrameType.PUBLISH, TOPIC, Uint8Array.of(n)));
  }
  assertEquals([outbox.total, outbox.unacknowledged], [3, 3]);
});

Deno.test("Outbox hands over nothing when it is empty", () => {
  assertEquals(new Outbox(WINDOW).next(), undefined);
});

Deno.test("Outbox hands over together small frames that wait", () => {
  const frames = framesOf(1, 20);
  assertEquals(outboxOf(frames).next(), concat(...frames));
});

Deno.test("Outbox numbers a frame when it is first handed over, and once", () => {
  const outbox = outboxOf(framesOf(1, 2));
  assertEquals([outbox.numbered, outbox.unnumbered], [0, 2]);
  outbox.next();
  assertEquals([outbox.numbered, outbox.unnumbered], [2, 0]);
  outbox.push(frameOf(3), 1);
  outbox.rewind(0);
  handedBy(outbox);
  assertEquals([outbox.numbered, outbox.unnumbered], [3, 0]);
});

Deno.test("Outbox copies what is published", () => {
  for (const size of [10, 300, SLICE, 90_000]) {
    const outbox = new Outbox(WINDOW);
    const [topic, payload] = [TOPIC.slice(), new Uint8Array(size).fill(1)];
    publish(outbox, topic, payload);
    topic.fill(0);
    payload.fill(2);
    const expected = encodeFrame(FrameType.PUBLISH, TOPIC, new Uint8Array(size).fill(1));
    assertEquals(outbox.next(), expected);
  }
});

Deno.test("Outbox leaves bytes that it has handed over as they are", () => {
  const frames = framesOf(1, 300, 400);
  const outbox = new Outbox(WINDOW);
  const handed = frames.flatMap((frame) => {
    outbox.push(frame, 1);
    return outbox.next()!;
  });
  assertEquals(concat(...handed), concat(...frames));
});

Deno.test("Outbox leaves as they are frames beside others that it has let go of", () => {
  const frames = framesOf(0, 1999, 1000);
  for (const acknowledged of [17, 34, 60, 120, 250]) {
    const outbox = new Outbox(WINDOW);
    let count = 0;
    for (const [i, frame] of frames.entries()) {
      outbox.push(frame, 1);
      outbox.next();
      if (i % 400 === 399) outbox.acknowledge(count = i + 1 - 400 + acknowledged);
      if (i % 400 !== 300) continue;
      outbox.rewind(count);
      assertSame(handedBy(outbox), concat(...frames.slice(count, i + 1)));
    }
  }
});

for (
  const [what, length, buffer, kept] of [
    ["its whole buffer", SLICE + 1, SLICE + 1, true],
    ["a quarter of its buffer", SLICE + 1, 4 * (SLICE + 1), true],
    ["less than a quarter of its buffer", SLICE + 1, 4 * (SLICE + 1) + 1, false],
    ["small", SLICE, SLICE, false],
  ] as const
) {
  Deno.test(`Outbox ${kept ? "keeps" : "copies"} a slice that is ${what}`, () => {
    const bytes = new Uint8Array(buffer).subarray(buffer - length);
    bytes.set(frameOf(7, length));
    assertEquals(isKept(bytes), kept);
    const outbox = new Outbox(WINDOW);
    outbox.push(bytes, 1);
    if (!kept) bytes.fill(0);
    const handed = outbox.next()!;
    assertEquals(handed, frameOf(7, length));
    assertEquals(handed.buffer === bytes.buffer, kept);
  });
}

/** A slice of `count` frames that is lent. */
function lent(first: number, count = 2): { bytes: Uint8Array; lease: Lease } {
  const bytes = concat(...framesOf(first, first + count - 1, SLICE));
  return { bytes, lease: new Lease(bytes, new Account()) };
}

Deno.test("Outbox holds a lease until its frames are acknowledged, dropped or cleared", () => {
  const [one, two, three, four] = [lent(1), lent(3), lent(5), lent(7)];
  const outbox = new Outbox(2 * one.bytes.length);
  for (const { bytes, lease } of [one, two, three, four]) outbox.push(bytes, 2, lease);
  const holders = () => [one, two, three, four].map(({ lease }) => lease.holders);
  assertEquals(holders(), [1, 1, 1, 1]);
  handedBy(outbox);
  outbox.acknowledge(1);
  assertEquals(holders(), [1, 1, 1, 1]);
  outbox.acknowledge(2);
  assertEquals(holders(), [0, 1, 1, 1]);
  outbox.drop(1);
  assertEquals(holders(), [0, 1, 0, 1]);
  outbox.clear();
  assertEquals(holders(), [0, 0, 0, 0]);
});

Deno.test("Outbox holds a lease until what it let go of early is written", () => {
  const { bytes, lease } = lent(1);
  const outbox = new Outbox(WINDOW);
  outbox.push(bytes, 2, lease);
  outbox.next();
  outbox.acknowledge(2);
  assertEquals([outbox.heldBytes, lease.holders], [0, 1]);
  outbox.next(); // Its connection has written it, and wants more.
  assertEquals(lease.holders, 0);
});

Deno.test("Outbox never uses again what a connection that is gone may still write", () => {
  for (
    const [what, letGo] of Object.entries({
      "acknowledged early, then sent elsewhere": (outbox: Outbox) => {
        outbox.acknowledge(2);
        outbox.rewind(2);
      },
      cleared: (outbox: Outbox) => outbox.clear(),
      "sent again elsewhere, and acknowledged": (outbox: Outbox) => {
        outbox.rewind(0);
        handedBy(outbox);
        outbox.acknowledge(2);
      },
      "sent again in a new session, and acknowledged": (outbox: Outbox) => {
        outbox.restart();
        handedBy(outbox);
        outbox.acknowledge(2);
      },
    })
  ) {
    const { bytes, lease } = lent(1);
    const outbox = new Outbox(WINDOW);
    outbox.push(bytes, 2, lease);
    outbox.next();
    letGo(outbox);
    assertEquals(outbox.heldBytes, 0, what);
    handedBy(outbox);
    assertEquals([lease.holders, lease.isFree], [0, false], what);
  }
});

for (const [what, count] of [["the current", 1], ["an earlier", 900]] as const) {
  Deno.test(`Outbox does not write into ${what} buffer of its own that may still be written`, () => {
    const outbox = new Outbox(WINDOW);
    const push = (frames: Uint8Array[]) => {
      for (const frame of frames) outbox.push(frame, 1);
    };
    push(framesOf(1, count, 1000));
    let part = outbox.next()!;
    while (count > 1 && part.length < 250_000) part = outbox.next()!;
    const before = part.slice();
    outbox.acknowledge(outbox.numbered); // as if more had come there than was written
    push(framesOf(901, 2500, 1000));
    assertSame(part, before);
  });
}

for (
  const [how, letGo] of [
    ["rewind", (outbox: Outbox) => outbox.rewind(0)],
    ["restart", (outbox: Outbox) => outbox.restart()],
    ["an early acknowledgement and rewind", (outbox: Outbox) => {
      outbox.acknowledge(1);
      outbox.rewind(1);
    }],
  ] as const
) {
  Deno.test(`Outbox leaves as it is what a connection that is gone may still write, after ${how}`, () => {
    const outbox = outboxOf([frameOf(1)]);
    const stalled = outbox.next()!;
    letGo(outbox);
    handedBy(outbox);
    outbox.acknowledge(1);
    for (const n of [2, 3]) {
      outbox.push(frameOf(n), 1);
      handedBy(outbox);
      outbox.acknowledge(outbox.numbered);
    }
    assertEquals(stalled, frameOf(1));
  });
}

Deno.test("Outbox uses its buffer again once what was in it is written and acknowledged", () => {
  const outbox = new Outbox(WINDOW);
  const buffers = new Set<ArrayBufferLike>();
  for (let n = 1; n < 1000; n++) {
    outbox.push(frameOf(n, 300), 1);
    buffers.add(outbox.next()!.buffer);
    if (n % 2 === 0) outbox.next(); // Every other one is acknowledged before it is known as written.
    outbox.acknowledge(n);
  }
  assertEquals(buffers.size, 1);
});

Deno.test("Outbox lets another hold a slice that it keeps, through rewind", () => {
  const bytes = concat(...framesOf(1, 2, SLICE));
  const [one, two] = [new Outbox(WINDOW), new Outbox(WINDOW)];
  for (const outbox of [one, two]) outbox.push(bytes, 2);
  assertStrictEquals(one.next()!.buffer, two.next()!.buffer);
  one.rewind(1);
  const again = one.next()!;
  assertStrictEquals(again.buffer, bytes.buffer);
  assertEquals(again, frameOf(2, SLICE));
});

Deno.test("Outbox hands over no more than a window, to the byte", () => {
  const frames = framesOf(1, 6, 20_000);
  const outbox = outboxOf(frames, 60_000);
  assertEquals(handedBy(outbox), concat(...frames.slice(0, 3)));
  assertEquals([outbox.numbered, outbox.ahead], [3, 3]);
  outbox.acknowledge(1);
  assertEquals(handedBy(outbox), frames[3]);
  outbox.acknowledge(4);
  assertEquals(handedBy(outbox), concat(...frames.slice(4)));
});

Deno.test("Outbox hands over nothing that would pass the window by a byte", () => {
  const frames = [frameOf(1, 30_000), frameOf(2, 30_001), frameOf(3, 300)];
  const outbox = outboxOf(frames, 60_000);
  assertEquals(handedBy(outbox), frames[0]);
});

Deno.test("Outbox hands over a frame that is larger than the window when it goes alone", () => {
  const frames = [frameOf(1, 300), frameOf(2, 70_000), frameOf(3, 300)];
  const outbox = outboxOf(frames, 60_000);
  for (const [i, frame] of frames.entries()) {
    assertEquals(handedBy(outbox), frame);
    outbox.acknowledge(i + 1);
  }
});

Deno.test("Outbox counts against the window what is published while it is full", () => {
  const frames = framesOf(1, 90, 1000);
  const outbox = new Outbox(WINDOW / 16);
  let handed = 0;
  for (const frame of frames) {
    outbox.push(frame, 1);
    for (let part = outbox.next(); part !== undefined; part = outbox.next()) {
      handed += part.length;
    }
  }
  assert(handed <= WINDOW / 16, `${handed} bytes`);
  assertEquals(outbox.unnumbered, frames.length - outbox.numbered);
});

Deno.test("Outbox takes a window that is set later", () => {
  const outbox = outboxOf(framesOf(1, 3, 20_000), 20_000);
  assertEquals(handedBy(outbox).length, 20_000);
  outbox.window = 60_000;
  assertEquals(handedBy(outbox).length, 40_000);
});

Deno.test("Outbox sends again whatever the window is", () => {
  const frames = framesOf(1, 3, 20_000);
  const outbox = outboxOf(frames, 60_000);
  handedBy(outbox);
  outbox.rewind(0);
  assertEquals(handedBy(outbox), concat(...frames));
});

Deno.test("Outbox lets go of what is acknowledged", () => {
  const outbox = outboxOf(framesOf(1, 3, 20_000));
  handedBy(outbox);
  const left = [1, 2, 2, 3].map((count) => {
    outbox.acknowledge(count);
    return [outbox.unacknowledged, outbox.heldBytes];
  });
  assertEquals(left, [[2, 40_000], [1, 20_000], [1, 20_000], [0, 0]]);
});

for (
  const [what, count] of [
    ["goes back", 1],
    ["goes past what was handed over", 4],
    ["is 2^64", 2 ** 64],
  ] as const
) {
  Deno.test(`Outbox takes no acknowledgement that ${what}`, () => {
    const outbox = outboxOf(framesOf(1, 3));
    handedBy(outbox);
    outbox.push(frameOf(4), 1);
    outbox.acknowledge(2);
    assertThrows(() => outbox.acknowledge(count), ProtocolError, `acknowledgement of ${count}: `);
    assertEquals(outbox.unacknowledged, 2);
    outbox.acknowledge(3);
  });
}

Deno.test("Outbox takes no acknowledgement of what it did not send again yet", () => {
  const outbox = outboxOf(framesOf(1, 3, 20_000));
  handedBy(outbox);
  outbox.rewind(1);
  assertThrows(() => outbox.acknowledge(2), ProtocolError, "acknowledgement of 2: 1 frames");
  outbox.next();
  outbox.acknowledge(2);
  assertThrows(() => outbox.acknowledge(3), ProtocolError);
});

/** Deliveries that have handed over the same 12 frames, in chunks of different kinds. */
const HANDED: readonly [how: string, make: (frames: readonly Uint8Array[]) => Outbox][] = [
  ["at once", (frames) => handed(outboxOf(frames))],
  ["one by one", (frames) => {
    const outbox = new Outbox(WINDOW);
    for (const frame of frames) {
      outbox.push(frame, 1);
      outbox.next();
    }
    return outbox;
  }],
  ["in threes", (frames) => {
    const outbox = new Outbox(WINDOW);
    for (let i = 0; i < frames.length; i += 3) {
      outbox.push(concat(...frames.slice(i, i + 3)), 3);
      outbox.next();
    }
    return outbox;
  }],
];

function handed(outbox: Outbox): Outbox {
  handedBy(outbox);
  return outbox;
}

for (const length of [0, 600, SLICE / 4, SLICE + 1]) {
  for (const [how, make] of HANDED) {
    const what = `${length || "few"} bytes, handed over ${how}`;
    Deno.test(`Outbox rewinds to any of its frames of ${what}`, () => {
      const frames = framesOf(1, 12, length);
      for (let count = 0; count <= 12; count++) {
        const outbox = make(frames);
        outbox.push(frameOf(13), 1);
        outbox.rewind(count);
        assertEquals(outbox.ahead, 13 - count);
        const expected = concat(...frames.slice(count), frameOf(13));
        assertEquals(handedBy(outbox), expected, `after ${count}`);
        assertEquals([outbox.numbered, outbox.ahead], [13, 0]);
        outbox.acknowledge(13);
        assertEquals(outbox.heldBytes, 0);
      }
    });
  }
}

Deno.test("Outbox rewinds again while it sends again", () => {
  const frames = framesOf(1, 12, 6000);
  for (const [how, make] of HANDED) {
    for (let first = 0; first <= 12; first++) {
      for (let second = first; second <= 12; second++) {
        const outbox = make(frames);
        outbox.acknowledge(first);
        outbox.rewind(first);
        outbox.next();
        outbox.rewind(second);
        const told = `${how}, after ${first}, then ${second}`;
        assertEquals(handedBy(outbox), concat(...frames.slice(second)), told);
        outbox.acknowledge(12);
        assertEquals(outbox.heldBytes, 0, told);
      }
    }
  }
});

for (
  const [what, count] of [
    ["what it let go of", 1],
    ["what it never had", 4],
  ] as const
) {
  Deno.test(`Outbox does not rewind to ${what}`, () => {
    const outbox = outboxOf(framesOf(1, 3));
    handedBy(outbox);
    outbox.push(frameOf(4), 1);
    outbox.acknowledge(2);
    assertThrows(
      () => outbox.rewind(count),
      ProtocolError,
      `Cannot resume after ${count} frames`,
    );
    assertEquals(handedBy(outbox), frameOf(4));
  });
}

Deno.test("Outbox restarts with new numbers for what is not acknowledged", () => {
  for (const [how, make] of HANDED) {
    const frames = framesOf(1, 12, 600);
    for (let count = 0; count <= 12; count++) {
      const outbox = make(frames);
      outbox.push(frameOf(13), 1);
      outbox.acknowledge(count);
      const told = `${how}, after ${count}`;
      assertEquals(outbox.restart(), 12 - count, told);
      assertEquals([outbox.numbered, outbox.unacknowledged], [12 - count, 13 - count], told);
      assertEquals(outbox.heldBytes, 600 * (12 - count) + frameOf(13).length, told);
      assertThrows(() => outbox.acknowledge(1), ProtocolError);
      assertEquals(handedBy(outbox), concat(...frames.slice(count), frameOf(13)), told);
      outbox.acknowledge(13 - count);
      assertEquals([outbox.heldBytes, outbox.unacknowledged], [0, 0], told);
    }
  }
});

Deno.test("Outbox counts on restart as sent what it did not send again yet", () => {
  const outbox = handed(outboxOf(framesOf(1, 3, 20_000)));
  outbox.rewind(0);
  assertEquals(outbox.restart(), 3);
  assertEquals(outbox.restart(), 3);
});

Deno.test("Outbox drops the oldest that have no number, and tells how many in their place", () => {
  const frames = framesOf(1, 6, 20_000);
  const outbox = outboxOf(frames, 40_000);
  assertEquals(handedBy(outbox), concat(...frames.slice(0, 2)));
  assertEquals(outbox.drop(20_001), 2);
  assertEquals([outbox.numbered, outbox.unnumbered, outbox.heldBytes - outbox.inFlight], [
    2,
    4,
    40_000,
  ]);
  outbox.acknowledge(2);
  outbox.window = WINDOW;
  assertEquals(handedBy(outbox), concat(gapOf(2), ...frames.slice(4)));
  assertEquals(outbox.numbered, 5);
});

Deno.test("Outbox drops what was added last, too, when so much is to go", () => {
  const outbox = outboxOf([frameOf(1, 20_000), frameOf(2)]);
  assertEquals(outbox.drop(Infinity), 2);
  assertEquals([outbox.heldBytes, outbox.heldBytes - outbox.inFlight, outbox.unnumbered], [
    0,
    0,
    2,
  ]);
  outbox.push(frameOf(3), 1);
  assertEquals(handedBy(outbox), concat(gapOf(2), frameOf(3)));
});

Deno.test("Outbox drops nothing that has a number", () => {
  const outbox = outboxOf(framesOf(1, 2));
  handedBy(outbox);
  assertEquals(outbox.drop(Infinity), 0);
  assertEquals([outbox.next(), outbox.unnumbered], [undefined, 0]);
  outbox.rewind(0);
  assertEquals(handedBy(outbox), concat(...framesOf(1, 2)));
});

Deno.test("Outbox tells with one notice of all that was dropped since the last", () => {
  const frames = framesOf(1, 4, 20_000);
  const outbox = outboxOf(frames);
  outbox.drop(1);
  outbox.drop(1);
  assertEquals(outbox.next(), gapOf(2));
  outbox.drop(1);
  assertEquals(handedBy(outbox), concat(gapOf(1), frames[3]!));
});

Deno.test("Outbox tells how many were dropped, though it is cleared because of the notice", () => {
  let missing: ((taken: number) => number) | undefined;
  const outbox = new Outbox(WINDOW, (change) => {
    if (change !== gapOf(2).length) return;
    missing = outbox.missing();
    outbox.clear();
  });
  for (const frame of framesOf(1, 3, 20_000)) outbox.push(frame, 1);
  outbox.drop(30_000);
  assertEquals(outbox.next(), gapOf(2));
  // Whoever has taken the notice misses what was behind it.
  assertEquals([missing!(0), missing!(1)], [3, 1]);
  assertEquals([outbox.next(), outbox.heldBytes], [undefined, 0]);
});

Deno.test("Outbox counts a notice, and sends it again, as any frame", () => {
  const outbox = outboxOf([frameOf(1)]);
  outbox.drop(1);
  outbox.push(frameOf(2), 1);
  handedBy(outbox);
  assertEquals([outbox.numbered, outbox.unacknowledged], [2, 2]);
  outbox.rewind(0);
  assertEquals(handedBy(outbox), concat(gapOf(1), frameOf(2)));
  outbox.acknowledge(1);
  outbox.rewind(1);
  assertEquals(handedBy(outbox), frameOf(2));
  outbox.acknowledge(2);
  assertEquals(outbox.heldBytes, 0);
});

Deno.test("Outbox keeps a notice back while the window is full", () => {
  const outbox = outboxOf(framesOf(1, 2, 20_000), 20_000);
  handedBy(outbox);
  outbox.drop(1);
  assertEquals([outbox.next(), outbox.ahead], [undefined, 1]);
  outbox.acknowledge(1);
  assertEquals(handedBy(outbox), gapOf(1));
});

Deno.test("Outbox tells of what was dropped before it came, with what it dropped itself", () => {
  const outbox = outboxOf(framesOf(1, 2));
  outbox.drop(Infinity);
  outbox.miss(5);
  outbox.miss(1);
  assertEquals([outbox.unnumbered, outbox.ahead, outbox.heldBytes], [8, 1, 0]);
  assertEquals(handedBy(outbox), gapOf(8));
  outbox.miss(1);
  assertEquals(handedBy(outbox), gapOf(1));
});

Deno.test("Outbox sends again before it tells of what was dropped", () => {
  const frames = framesOf(1, 2, 20_000);
  const outbox = handed(outboxOf(frames));
  outbox.push(frameOf(3), 1);
  outbox.drop(1);
  outbox.rewind(1);
  assertEquals(handedBy(outbox), concat(frames[1]!, gapOf(1)));
});

Deno.test("Outbox keeps what waits, and what is to be told, through restart", () => {
  const outbox = handed(outboxOf([frameOf(1)]));
  outbox.push(frameOf(2), 1);
  outbox.drop(1);
  outbox.push(frameOf(3), 1);
  assertEquals(outbox.restart(), 1);
  assertEquals(handedBy(outbox), concat(frameOf(1), gapOf(1), frameOf(3)));
});

Deno.test("Outbox tells its counts and bytes at each stage", () => {
  const changes: number[] = [];
  const outbox = new Outbox(40_000, (change) => changes.push(change));
  const counts = () => {
    const { numbered, unnumbered, unacknowledged, ahead, total, inFlight, heldBytes: bytes } =
      outbox;
    const droppable = bytes - inFlight;
    assertEquals(changes.reduce((sum, change) => sum + change, 0), bytes);
    return { numbered, unnumbered, unacknowledged, ahead, total, droppable, bytes };
  };
  const stages = [
    () => {},
    () => framesOf(1, 4, 20_000).forEach((frame) => outbox.push(frame, 1)),
    () => handedBy(outbox),
    () => outbox.rewind(1),
    () => outbox.next(),
    () => outbox.acknowledge(2),
    () => handedBy(outbox),
    () => outbox.acknowledge(4),
  ].map((stage) => {
    stage();
    return Object.values(counts());
  });
  assertEquals(stages, [
    [0, 0, 0, 0, 0, 0, 0],
    [0, 4, 4, 4, 4, 80_000, 80_000],
    [2, 2, 4, 2, 4, 40_000, 80_000],
    [2, 2, 4, 3, 4, 40_000, 80_000],
    [2, 2, 4, 2, 4, 40_000, 80_000],
    [2, 2, 2, 2, 4, 40_000, 40_000],
    [4, 0, 2, 0, 4, 0, 40_000],
    [4, 0, 0, 0, 4, 0, 0],
  ]);
});

Deno.test("Outbox counts in its total all that was ever added, dropped or not", () => {
  const outbox = outboxOf(framesOf(1, 4, 20_000));
  outbox.drop(40_000);
  assert(outbox.total >= 4, `total is ${outbox.total}`);
  outbox.restart();
  handedBy(outbox);
  assert(outbox.total >= 4, `total is ${outbox.total}`);
});

Deno.test("Outbox that holds something keeps it when it is told to trim", () => {
  const outbox = outboxOf([frameOf(1)]);
  outbox.trim();
  assertEquals(handedBy(outbox), frameOf(1));
  outbox.trim();
  outbox.rewind(0);
  assertEquals(handedBy(outbox), frameOf(1));
  outbox.acknowledge(1);
  outbox.trim();
  outbox.push(frameOf(2), 1);
  assertEquals(handedBy(outbox), frameOf(2));
});

Deno.test("Outbox lets go of everything when it is cleared, and may begin again", () => {
  let bytes = 0;
  const outbox = new Outbox(WINDOW, (change) => bytes += change);
  for (const frame of framesOf(1, 3, 20_000)) outbox.push(frame, 1);
  outbox.next();
  outbox.drop(1);
  outbox.push(frameOf(4), 1);
  outbox.clear();
  const { numbered, unnumbered, unacknowledged, ahead, inFlight } = outbox;
  const droppable = outbox.heldBytes - inFlight;
  assertEquals([numbered, unnumbered, unacknowledged, ahead, droppable], [0, 0, 0, 0, 0]);
  assertEquals([bytes, outbox.heldBytes, outbox.next()], [0, 0, undefined]);
  outbox.push(frameOf(5), 1);
  assertEquals(handedBy(outbox), frameOf(5));
  outbox.acknowledge(1);
  assertEquals(bytes, 0);
});

/** What a {@linkcode Outbox} does, with a list of frames. */
class Naive {
  readonly window: number;
  sent: Uint8Array[] = [];
  waiting: Uint8Array[] = [];
  acknowledged = 0;
  /** How many of `sent` were handed to this connection. */
  handed = 0;
  missed = 0;
  /** How many messages each frame stands for that is not a message. */
  readonly weights = new Map<Uint8Array, number>();

  constructor(window: number) {
    this.window = window;
  }

  /** Takes what was handed over, which must be whole frames, the next ones. */
  take(part: Uint8Array | undefined): void {
    if (this.missed > 0 && this.handed === this.sent.length) {
      if (part === undefined) return assert(lengthOf(this.sent) > 0, "the window is open");
      const gap = gapOf(this.missed);
      this.weights.set(gap, this.missed);
      this.waiting.unshift(gap);
      this.missed = 0;
    }
    const before = lengthOf(this.sent);
    const again = this.sent.slice(this.handed);
    if (part === undefined) {
      assertEquals(again.length, 0, "there is something to send again");
      return assert(before > 0 || this.waiting.length === 0, "the window is open");
    }
    const expected = again.length > 0 ? again : this.waiting;
    let at = 0;
    let count = 0;
    while (at < part.length) {
      const frame = expected[count++];
      assert(frame !== undefined, "more was handed over than there is");
      assertSame(part.subarray(at, at + frame.length), frame);
      at += frame.length;
    }
    assert(count > 0, "nothing was handed over");
    if (again.length === 0) this.sent.push(...this.waiting.splice(0, count));
    this.handed += count;
    const isInWindow = again.length > 0 || before === 0 || lengthOf(this.sent) <= this.window;
    assert(isInWindow, `${lengthOf(this.sent)} bytes were handed over`);
  }

  acknowledge(count: number): void {
    this.sent.splice(0, count - this.acknowledged);
    this.handed -= count - this.acknowledged;
    this.acknowledged = count;
  }

  /** Takes so many bytes away, whole frames; how many messages that are. */
  drop(bytes: number): number {
    let count = 0;
    for (let free = 0; free < bytes; count++) free += this.waiting[count]!.length;
    assertEquals(lengthOf(this.waiting.slice(0, count)), bytes);
    const dropped = this.messages(this.waiting.splice(0, count));
    this.missed += dropped;
    return dropped;
  }

  /** How many messages these are, or stand for. */
  messages(frames: readonly Uint8Array[]): number {
    return frames.reduce((sum, frame) => sum + (this.weights.get(frame) ?? 1), 0);
  }

  check(outbox: Outbox): void {
    const { sent, waiting, acknowledged, handed, missed } = this;
    assertEquals(
      {
        numbered: outbox.numbered,
        unnumbered: outbox.unnumbered,
        unacknowledged: outbox.unacknowledged,
        ahead: outbox.ahead,
        droppable: outbox.heldBytes - outbox.inFlight,
      },
      {
        numbered: acknowledged + sent.length,
        unnumbered: waiting.length + missed,
        unacknowledged: sent.length + waiting.length,
        ahead: sent.length - handed + waiting.length + (missed > 0 ? 1 : 0),
        droppable: lengthOf(waiting),
      },
    );
    // The first chunk is let go of as a whole.
    const over = outbox.heldBytes - lengthOf(sent) - lengthOf(waiting);
    assert(over >= 0 && (sent.length > 0 || over === 0), `${over} bytes too many`);
  }
}

function lengthOf(frames: readonly Uint8Array[]): number {
  return frames.reduce((sum, { length }) => sum + length, 0);
}

function assertSame(actual: Uint8Array, expected: Uint8Array): void {
  const isSame = actual.length === expected.length && actual.every((b, i) => b === expected[i]);
  assert(isSame, "other bytes than expected were handed over");
}

/** Does something at random to both. */
function step(random: Random, outbox: Outbox, naive: Naive, n: number): void {
  const length = random.int(random.pick([300, 300, 1000, 6000, 2 * SLICE]));
  const { acknowledged, handed, sent } = naive;
  const kind = random.int(100);
  if (kind < 25) {
    const payload = frameOf(n, length).subarray(6 + TOPIC.length);
    publish(outbox, TOPIC, payload);
    naive.waiting.push(encodeFrame(FrameType.PUBLISH, TOPIC, payload));
  } else if (kind < 45) {
    const frames = framesOf(n, n + random.int(4), length);
    const [before, after] = [random.int(50), random.pick([0, 50, 200_000])];
    const buffer = concat(new Uint8Array(before), ...frames, new Uint8Array(after));
    outbox.push(buffer.subarray(before, buffer.length - after), frames.length);
    naive.waiting.push(...frames);
  } else if (kind < 75) naive.take(outbox.next());
  else if (kind < 87) {
    const count = acknowledged + random.int(handed + 1);
    outbox.acknowledge(count);
    naive.acknowledge(count);
  } else if (kind < 91) {
    const bytes = random.int(random.pick([100, 5000, 100_000]));
    const held = outbox.heldBytes;
    const dropped = outbox.drop(bytes);
    const freed = held - outbox.heldBytes;
    assertEquals(naive.drop(freed), dropped);
    assert(freed >= bytes || naive.waiting.length === 0, `${freed} of ${bytes} bytes are free`);
  } else if (kind < 92) {
    outbox.miss(3);
    naive.missed += 3;
  } else if (kind < 94) {
    for (let left = 1 + random.int(3); left > 0; left--) {
      const refused = encodeFrame(FrameType.REFUSED, new Uint8Array(random.int(length)).fill(n));
      outbox.notify(refused);
      naive.waiting.push(refused);
      naive.weights.set(refused, 0);
    }
  } else if (kind < 95) {
    const taken = random.int(sent.length + 1);
    const frames = [...sent.slice(taken), ...naive.waiting];
    assertEquals(outbox.missing()(acknowledged + taken), naive.messages(frames) + naive.missed);
  } else if (kind < 97) {
    const count = random.int(sent.length + 1);
    outbox.rewind(acknowledged + count);
    naive.handed = count;
  } else if (kind < 98 && sent.every((frame) => !naive.weights.has(frame))) {
    outbox.trim(); // Only a client begins anew, and it sends messages only.
    assertEquals(outbox.restart(), sent.length);
    naive.acknowledged = naive.handed = 0;
  } else {
    for (const count of [acknowledged - 1, acknowledged + handed + 1]) {
      assertThrows(() => outbox.acknowledge(count), ProtocolError);
    }
    for (const count of [acknowledged - 1, acknowledged + sent.length + 1]) {
      assertThrows(() => outbox.rewind(count), ProtocolError);
    }
  }
}

for (const window of [100, 50_000, WINDOW]) {
  Deno.test(`Outbox with a window of ${window} bytes does what a list of frames does, in random operations`, () => {
    for (let seed = SEED; seed < SEED + 20; seed++) {
      const random = randomOf(seed);
      let bytes = 0;
      const outbox = new Outbox(window, (change) => bytes += change);
      const naive = new Naive(window);
      for (let n = 0; n < 1000; n++) {
        try {
          step(random, outbox, naive, n);
          naive.check(outbox);
          assertEquals(bytes, outbox.heldBytes);
        } catch (error) {
          throw new Error(`seed ${seed}, step ${n}`, { cause: error });
        }
      }
      while (outbox.ahead > 0 || outbox.unacknowledged > 0) {
        naive.take(outbox.next());
        const count = naive.acknowledged + naive.handed;
        outbox.acknowledge(count);
        naive.acknowledge(count);
      }
      assertEquals([bytes, outbox.heldBytes], [0, 0], `seed ${seed}`);
    }
  });
}

Deno.test("Outbox knows how many messages are missing, whatever notices are among the frames", () => {
  const outbox = new Outbox(WINDOW);
  for (let n = 0; n < 10; n++) outbox.push(new Uint8Array(20_000), 1);
  assertEquals(outbox.drop(60_000), 3);
  assert(outbox.next() !== undefined, "the notice");
  assert(outbox.next() !== undefined, "the fourth");
  outbox.notify(new Uint8Array(20));
  const missing = outbox.missing();
  // With the notice taken, the three are known; with the fourth as well, six are left.
  assertEquals([missing(0), missing(1), missing(2)], [10, 7, 6]);
  assertThrows(() => missing(3), ProtocolError, "Cannot resume after 3 frames: 2 were sent");
  outbox.acknowledge(1);
  assertEquals([outbox.missing()(1), outbox.missing()(2)], [7, 6]);
  assertThrows(() => outbox.missing()(0), ProtocolError, "and 1 acknowledged");
});

Deno.test("Outbox hands over together small notices, apart from messages", () => {
  const outbox = new Outbox(WINDOW);
  const notices = [1, 2, 3].map((n) => encodeFrame(FrameType.REFUSED, new Uint8Array(10).fill(n)));
  outbox.push(frameOf(1), 1);
  for (const notice of notices) outbox.notify(notice);
  outbox.push(frameOf(2), 1);
  for (const part of [frameOf(1), concat(...notices), frameOf(2), undefined]) {
    assertEquals(outbox.next(), part);
  }
});

Deno.test("Outbox lets go of 100 000 frames that are acknowledged one by one in little time", () => {
  const outbox = new Outbox(Infinity);
  const notice = encodeFrame(FrameType.REFUSED, new Uint8Array(10));
  for (let n = 0; n < 50_000; n++) {
    outbox.push(frameOf(n), 1);
    outbox.notify(notice);
  }
  while (outbox.next() !== undefined);
  const start = performance.now();
  for (let count = 1; count <= 100_000; count++) outbox.acknowledge(count);
  assertEquals([outbox.unacknowledged, outbox.heldBytes], [0, 0]);
  // 50 ms or so; if each looked at all notices that are left, the better part of a minute.
  assert(performance.now() - start < 5000, `it took ${performance.now() - start} ms`);
});

Deno.test("Outbox takes out the frames that do not fit, sent or waiting, and numbers the others anew", () => {
  for (const lengths of [[10], [300, 20_000, 70_000], [10, 300_000]]) {
    const frames = Array.from({ length: 24 }, (_, n) => frameOf(n, lengths[n % lengths.length]));
    for (const handed of [0, 1, 7, 24]) {
      const outbox = new Outbox(WINDOW);
      for (const frame of frames.slice(0, handed)) outbox.push(frame, 1);
      handedBy(outbox);
      for (const frame of frames.slice(handed)) outbox.push(frame, 1);
      const before = Math.min(5, outbox.numbered);
      outbox.acknowledge(before);
      outbox.restart();
      const left = frames.slice(before);
      const seen: number[] = [];
      const out = outbox.sift((bytes, start, end) => {
        const n = left.findIndex((frame) => isSame(bytes.subarray(start, end), frame));
        seen.push(n);
        return n % 3 !== 1;
      });
      assertEquals(seen, [...left.keys()], "each is looked at once, in its order");
      const kept = left.filter((_, n) => n % 3 !== 1);
      assertEquals([out, outbox.unacknowledged], [left.length - kept.length, kept.length]);
      assertEquals(outbox.heldBytes, kept.reduce((sum, { length }) => sum + length, 0));
      const parts: Uint8Array[] = [];
      for (let number = 0; number < kept.length; number = outbox.numbered) {
        parts.push(handedBy(outbox));
        outbox.acknowledge(outbox.numbered);
      }
      assertEquals(concat(...parts), concat(...kept));
    }
  }
});

Deno.test("Outbox leaves everything as it is when all fits", () => {
  const outbox = outboxOf(framesOf(1, 10));
  handedBy(outbox);
  for (const frame of framesOf(11, 20)) outbox.push(frame, 1);
  assertEquals(outbox.sift(() => true), 0);
  assertEquals([outbox.numbered, outbox.ahead, outbox.total], [10, 10, 20]);
});

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

const MEGA = 2 ** 20;

/** Messages that take about `bytes`, each with how often each byte is copied at most. */
const LARGE: Record<string, { times: number; messageOf(bytes: number): object }> = {
  "an array of bytes": { times: 1, messageOf: (bytes) => ({ data: new Uint8Array(bytes) }) },
  "many arrays of bytes": {
    times: 4,
    messageOf: (bytes) => ({
      data: Array.from({ length: 64 }, () => new Uint8Array(bytes / 64)),
    }),
  },
  "a text": { times: 1, messageOf: (bytes) => ({ text: "a".repeat(bytes) }) },
  "many texts": {
    times: 3,
    messageOf: (bytes) => ({ texts: new Array(bytes / 1024).fill("é".repeat(512)) }),
  },
  numbers: {
    times: 2,
    messageOf: (bytes) => ({ list: Array.from({ length: bytes / 8 }, (_, n) => n / 7) }),
  },
};

for (const [what, { times, messageOf }] of Object.entries(LARGE)) {
  Deno.test(`Outbox moves each byte a few times, of a message with ${what}, on its way in and out`, () => {
    for (const bytes of [1, 2, 4, 8].map((size) => size * MEGA)) {
      const message = messageOf(bytes);
      for (const before of [0, 1, 100_000]) {
        const outbox = new Outbox(WINDOW);
        if (before > 0) publish(outbox, TOPIC, new Uint8Array(before));
        using copies = new Copies();
        const { composer } = outbox;
        const end = new Encoder().encode(message, Infinity, composer, composer.begin(TOPIC));
        outbox.commit(end);
        const { length } = composer.bytes;
        let handed = 0;
        for (let count = before > 0 ? 2 : 1; outbox.ahead > 0; count--) {
          assert(count > 0, "whole frames are handed over");
          handed += outbox.next()!.length;
          outbox.acknowledge(outbox.numbered);
        }
        assertEquals(length, 0, "nothing is being composed");
        const copied = copies.bytes / handed;
        assert(copied <= times + 0.2, `each byte of ${bytes} was copied ${copied} times`);
      }
    }
  });
}

Deno.test("Outbox composes a long frame into a buffer of its own length after a short one, and a short one after that", () => {
  const outbox = new Outbox(WINDOW);
  const sizes = [10, 4 * MEGA, 10, 300, 10, 4 * MEGA, 4 * MEGA, 10, 70_000, 10, 250, 260, 247];
  for (const [n, size] of sizes.entries()) {
    const payload = new Uint8Array(size).fill(n);
    publish(outbox, TOPIC, payload);
    const part = outbox.next()!;
    assertSame(part, encodeFrame(FrameType.PUBLISH, TOPIC, payload));
    if (size >= MEGA) {
      assert(part.buffer.byteLength < size + 100, `${part.buffer.byteLength} bytes`);
    }
    outbox.acknowledge(outbox.numbered);
  }
});

Deno.test("Outbox hands a large slice to many without a copy, and lets go of it", () => {
  const bytes = frameOf(1, 8 * MEGA);
  const lease = new Lease(bytes, new Account());
  using copies = new Copies();
  for (let n = 0; n < 100; n++) {
    const outbox = new Outbox(WINDOW);
    outbox.push(bytes, 1, lease);
    assertStrictEquals(outbox.next()!.buffer, bytes.buffer);
    outbox.acknowledge(1);
    outbox.next();
  }
  assertEquals([copies.bytes, lease.holders], [0, 0]);
});

Deno.test("Outbox does the same work for each frame, however many it holds", () => {
  const notice = encodeFrame(FrameType.REFUSED, new Uint8Array(10));
  for (const many of [1000, 2000, 4000]) {
    const outbox = new Outbox(Infinity);
    using walks = new Walks();
    using copies = new Copies();
    for (let n = 0; n < many; n++) {
      outbox.push(frameOf(n, n % 2 === 0 ? 300 : 20_000), 1);
      outbox.notify(notice);
      if (n % 3 === 0) outbox.drop(1);
      if (n % 2 === 0) outbox.next();
    }
    while (outbox.next() !== undefined);
    for (let count = 1; count <= outbox.numbered; count++) outbox.acknowledge(count);
    assertEquals([outbox.unacknowledged, outbox.heldBytes], [0, 0]);
    assert(walks.elements <= 30 * many, `${walks.elements} elements for ${many} frames`);
    assert(copies.bytes <= 25_000 * many, `${copies.bytes} bytes for ${many} frames`);
  }
});
