import { assertEquals, assertThrows } from "@std/assert";
import { ProtocolError } from "../errors.ts";
import { Reason } from "../protocol/frame.ts";
import {
  decodeAck,
  decodeGap,
  decodeGoodbye,
  decodeOpened,
  decodeOpening,
  decodeRefused,
  encodeAck,
  encodeGap,
  encodeGoodbye,
  encodeOpened,
  encodeOpening,
  encodeRefused,
} from "../protocol/frame_bodies.ts";
import { encodeTopic } from "../protocol/topic_block.ts";

const LIMITS = { messageBytes: 1000, topicElements: 16, elementBytes: 255, subscriptions: 4 };
const SESSION = Uint8Array.from({ length: 16 }, (_, i) => i * 7);
const OPENED = {
  outcome: 1,
  session: SESSION,
  taken: 2 ** 40,
  calls: 2 ** 50,
  missed: 7,
  heartbeat: 15_000,
  window: 2 ** 20,
  limits: LIMITS,
};

Deno.test("decodeAck, decodeGoodbye, decodeOpening, decodeOpened, decodeGap and decodeRefused give back what was encoded", () => {
  assertEquals(decodeAck(encodeAck(2 ** 53 - 1, 2 ** 32 - 1)), {
    messages: 2 ** 53 - 1,
    calls: 0,
    asks: 2 ** 32 - 1,
  });
  assertEquals(decodeGoodbye(encodeGoodbye(Reason.CUT_OFF, "why")), { reason: 5, text: "why" });
  assertEquals(decodeGoodbye(encodeGoodbye(0, "é".repeat(300))).text, "é".repeat(127));
  for (const session of [undefined, SESSION]) {
    for (const name of ["", "é".repeat(32)]) {
      const opening = {
        session,
        taken: 2 ** 40,
        calls: 2 ** 50,
        wait: true,
        patience: 2 ** 32 - 1,
        name,
      };
      const topics = 38 + 2 * name.length;
      assertEquals(decodeOpening(encodeOpening(opening)), { opening, topics });
    }
  }
  assertEquals(decodeOpened(encodeOpened(OPENED)), OPENED);
  assertEquals(decodeGap(encodeGap(2 ** 40)), 2 ** 40);
  assertEquals(
    decodeRefused(encodeRefused(Reason.FORBIDDEN, encodeTopic(["a", "b"]), "no"), LIMITS),
    { topic: ["a", "b"], reason: Reason.FORBIDDEN, text: "no" },
  );
  assertThrows(() => decodeAck(new Uint8Array(19)), ProtocolError);
  assertThrows(() => decodeGoodbye(new Uint8Array(0)), ProtocolError);
  assertThrows(() => decodeGoodbye(Uint8Array.of(1, 0xff)), ProtocolError);
  assertThrows(() => decodeOpening(new Uint8Array(37)), ProtocolError);
  assertThrows(() => decodeOpened(new Uint8Array(56)), ProtocolError);
  assertThrows(() => decodeRefused(encodeTopic(["a"]), LIMITS), ProtocolError);
});

Deno.test("decodeOpening refuses a name that is too long, cut short or not UTF-8", () => {
  const opening = { session: undefined, taken: 0, calls: 0, wait: false, patience: 0 };
  const withName = (name: string) => encodeOpening({ ...opening, name });
  assertEquals(decodeOpening(withName("x".repeat(64))).opening.name.length, 64);
  const long = withName("x".repeat(65));
  assertThrows(() => decodeOpening(long), ProtocolError, "limit is 64");
  assertThrows(() => decodeOpening(withName("abc").subarray(0, 40)), ProtocolError, "2 are left");
  const wrong = withName("abc").fill(0xff, 39);
  assertThrows(() => decodeOpening(wrong), ProtocolError, "not UTF-8");
});

/** A copy of a body, with another number of 64 bits in it. */
function withNumber(body: Uint8Array, at: number, number: bigint): Uint8Array {
  const copy = body.slice();
  new DataView(copy.buffer).setBigUint64(at, number, true);
  return copy;
}

Deno.test("decodeAck, decodeOpening and decodeOpened refuse a count that no number holds", () => {
  const opening = { session: undefined, taken: 0, calls: 0, wait: false, patience: 0, name: "" };
  const cases: [(body: Uint8Array) => unknown, Uint8Array, number][] = [
    [decodeAck, encodeAck(0, 0), 0],
    [decodeOpening, encodeOpening(opening), 16],
    [decodeOpened, encodeOpened(OPENED), 17],
  ];
  for (const [decode, body, at] of cases) {
    decode(withNumber(body, at, 2n ** 53n - 1n));
    for (const count of [2n ** 53n, 2n ** 64n - 1n]) {
      assertThrows(() => decode(withNumber(body, at, count)), ProtocolError, `it is ${count}`);
    }
  }
});

Deno.test("decodeGap and decodeOpened read a number of lost messages that nobody can have as unknown", () => {
  for (const count of [2n ** 53n, 2n ** 60n, 2n ** 64n - 1n]) {
    assertEquals(decodeGap(withNumber(encodeGap(0), 0, count)), undefined);
    assertEquals(decodeOpened(withNumber(encodeOpened(OPENED), 33, count)).missed, undefined);
  }
  for (const length of [0, 1, 7]) assertEquals(decodeGap(new Uint8Array(length)), undefined);
  assertEquals(decodeGap(encodeGap(undefined)), undefined);
  assertEquals(decodeOpened(encodeOpened({ ...OPENED, missed: undefined })).missed, undefined);
});

Deno.test("encodeGap, encodeAck and encodeOpened write no count that the other side cannot read", () => {
  assertEquals(decodeGap(encodeGap(2 ** 60)), 2 ** 53 - 1);
  assertEquals(decodeAck(encodeAck(2 ** 60, 2 ** 32 + 3)), {
    messages: 2 ** 53 - 1,
    calls: 0,
    asks: 3,
  });
  assertEquals(decodeOpened(encodeOpened({ ...OPENED, missed: 2 ** 60 })).missed, 2 ** 53 - 1);
});

Deno.test("decodeOpened believes in no limit or heartbeat that no broker has", () => {
  const most = 2 ** 32 - 1;
  const limits = {
    messageBytes: most,
    topicElements: most,
    elementBytes: most,
    subscriptions: most,
  };
  const opened = decodeOpened(encodeOpened({ ...OPENED, heartbeat: most, window: most, limits }));
  assertEquals(opened, {
    ...OPENED,
    heartbeat: 2 ** 31 - 1,
    window: most,
    limits: {
      messageBytes: 2 ** 30,
      topicElements: 16,
      elementBytes: 255,
      subscriptions: 2 ** 20,
    },
  });
  assertEquals(decodeOpened(encodeOpened({ ...OPENED, heartbeat: 0 })).heartbeat, 10);
});
