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
  missed: 7,
  heartbeat: 15_000,
  window: 2 ** 20,
  limits: LIMITS,
};

Deno.test("decodeAck, decodeGoodbye, decodeOpening, decodeOpened, decodeGap and decodeRefused give back what was encoded", () => {
  assertEquals(decodeAck(encodeAck(2 ** 53 - 1, 2 ** 32 - 1)), {
    count: 2 ** 53 - 1,
    asks: 2 ** 32 - 1,
  });
  assertEquals(decodeGoodbye(encodeGoodbye(Reason.CUT_OFF, "why")), { reason: 5, text: "why" });
  assertEquals(decodeGoodbye(encodeGoodbye(0, "é".repeat(300))).text, "é".repeat(127));
  for (const session of [undefined, SESSION]) {
    const opening = { session, taken: 2 ** 40, wait: true, patience: 2 ** 32 - 1 };
    assertEquals(decodeOpening(encodeOpening(opening)), { opening, topics: 29 });
  }
  assertEquals(decodeOpened(encodeOpened(OPENED)), OPENED);
  assertEquals(decodeGap(encodeGap(2 ** 40)), 2 ** 40);
  assertEquals(
    decodeRefused(encodeRefused(Reason.FORBIDDEN, encodeTopic(["a", "b"]), "no"), LIMITS),
    { topic: ["a", "b"], reason: Reason.FORBIDDEN, text: "no" },
  );
  assertThrows(() => decodeAck(new Uint8Array(11)), ProtocolError);
  assertThrows(() => decodeGoodbye(new Uint8Array(0)), ProtocolError);
  assertThrows(() => decodeGoodbye(Uint8Array.of(1, 0xff)), ProtocolError);
  assertThrows(() => decodeOpening(new Uint8Array(28)), ProtocolError);
  assertThrows(() => decodeOpened(new Uint8Array(56)), ProtocolError);
  assertThrows(() => decodeGap(new Uint8Array(7)), ProtocolError);
  assertThrows(() => decodeRefused(encodeTopic(["a"]), LIMITS), ProtocolError);
});

Deno.test("decodeAck, decodeGap, decodeOpening and decodeOpened refuse a count that no number holds", () => {
  const opening = { session: undefined, taken: 0, wait: false, patience: 0 };
  const cases: [(body: Uint8Array) => unknown, Uint8Array, number[]][] = [
    [decodeAck, encodeAck(0, 0), [0]],
    [decodeGap, encodeGap(0), [0]],
    [decodeOpening, encodeOpening(opening), [16]],
    [decodeOpened, encodeOpened(OPENED), [17, 25]],
  ];
  for (const [decode, body, places] of cases) {
    for (const at of places) {
      const view = new DataView(body.buffer, body.byteOffset);
      view.setBigUint64(at, 2n ** 53n - 1n, true);
      decode(body);
      for (const count of [2n ** 53n, 2n ** 64n - 1n]) {
        view.setBigUint64(at, count, true);
        assertThrows(() => decode(body), ProtocolError, `it is ${count}`);
      }
      view.setBigUint64(at, 0n, true);
    }
  }
});
