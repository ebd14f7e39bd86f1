/** What comes from others on the bus, byte by byte: packets, and what brokers say. */
import { assertEquals, assertThrows } from "@std/assert";
import { ProtocolError } from "../errors.ts";
import { decodeControlMessage, encodeControlMessage } from "../nats/control_message.ts";
import { Packer } from "../nats/packer.ts";
import {
  droppedPacket,
  PacketFlag,
  type PacketSeal,
  PART_BYTES,
  readPacket,
  sealPacket,
} from "../nats/packet.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { frameOf } from "./helpers/exchange.ts";

const BROKER = "00ff00ff00ff00ff";
const MAX = Number.MAX_SAFE_INTEGER;
/** Where the numbers stand in a packet. */
const [NUMBER_AT, MESSAGES_AT, COUNT_AT] = [12, 20, 27];

/** A packet of some messages. */
function packetOf(messages: number, seal: Partial<PacketSeal> = {}): Uint8Array<ArrayBuffer> {
  const packer = new Packer<{ subject: string }>();
  const route = { subject: "s" };
  for (let id = 0; id < messages; id++) {
    packer.addAll(frameOf({ path: ["a"], from: "p", id }), () => route);
  }
  const packet = packer.next(true) ?? droppedPacket(route, 1);
  return new Uint8Array(sealPacket(packet, { broker: BROKER, number: 1, ...seal }));
}

/** The same with other bytes in it. */
function changed(bytes: Uint8Array<ArrayBuffer>, change: (view: DataView) => void): Uint8Array {
  const copy = bytes.slice();
  change(new DataView(copy.buffer));
  return copy;
}

Deno.test("readPacket reads what sealPacket wrote, up to the largest numbers", () => {
  const before = [["b"], ["c", "d"]].map(encodeTopic);
  const counts = [{ depth: 16, count: MAX }, { depth: 0, count: 1 }];
  const { header, body } = readPacket(packetOf(1, { lane: 64, number: MAX, counts, before }));
  assertEquals(header, {
    flags: 0,
    broker: BROKER,
    lane: 64,
    number: MAX,
    messages: 1,
    counts,
    before: [["b"], ["c", "d"]],
  });
  assertEquals(body, frameOf({ path: ["a"], from: "p", id: 0 }));
});

const one = packetOf(1, { lane: 1, counts: [{ depth: 1, count: 1 }] });
const POISON: readonly (readonly [what: string, packet: Uint8Array])[] = [
  ["a number beyond 2⁵³", changed(one, (view) => view.setBigUint64(NUMBER_AT, 2n ** 53n, true))],
  [
    "a number beyond 2⁵³ + 100",
    changed(one, (view) => view.setBigUint64(NUMBER_AT, 2n ** 53n + 100n, true)),
  ],
  ["a number of 2⁶⁰", changed(one, (view) => view.setBigUint64(NUMBER_AT, 2n ** 60n, true))],
  ["the number 0", packetOf(1, { number: 0 })],
  ["a count of 2⁶⁰", changed(one, (view) => view.setBigUint64(COUNT_AT, 2n ** 60n, true))],
  ["a count that is less than its messages", packetOf(2, { counts: [{ depth: 1, count: 1 }] })],
  ["a count for too many elements", packetOf(1, { counts: [{ depth: 17, count: 1 }] })],
  [
    "more counts than a topic has lengths",
    packetOf(1, { counts: Array.from({ length: 18 }, () => ({ depth: 1, count: 1 })) }),
  ],
  [
    "more messages than its bytes can be",
    changed(one, (view) => {
      view.setUint32(MESSAGES_AT, 100, true);
      view.setBigUint64(COUNT_AT, 100n, true);
    }),
  ],
  ["more packets before it than its number", packetOf(1, { number: 1, before: [encodeTopic([])] })],
  [
    "more packets before it than may be under way",
    packetOf(1, { number: 100, before: Array.from({ length: 16 }, () => encodeTopic(["b"])) }),
  ],
  ["a lane that there is not", packetOf(1, { lane: 65 })],
  ["flags that there are not", changed(one, (view) => view.setUint8(1, 8))],
  ["a part that is too short", changed(one, (view) => view.setUint8(1, PacketFlag.MORE))],
  ["more bytes than a packet may have", new Uint8Array([...one, ...new Uint8Array(PART_BYTES)])],
];

for (const [what, packet] of POISON) {
  Deno.test(`readPacket refuses a packet with ${what}`, () => {
    assertThrows(() => readPacket(packet), ProtocolError, "Cannot read a ");
  });
}

Deno.test("readPacket takes any number of messages that were dropped", () => {
  const { header } = readPacket(
    changed(packetOf(0), (view) => view.setUint32(MESSAGES_AT, 2 ** 32 - 1, true)),
  );
  assertEquals(header.messages, 2 ** 32 - 1);
});

Deno.test("decodeControlMessage reads what encodeControlMessage wrote, up to the largest numbers", () => {
  for (
    const message of [
      { type: "beat", from: BROKER, stream: "x".repeat(64), sent: MAX, wants: MAX },
      { type: "bye", from: BROKER },
      { type: "ask", from: BROKER, got: MAX },
      {
        type: "counts",
        from: BROKER,
        version: MAX,
        since: MAX,
        answer: MAX,
        sent: MAX,
        counts: [[MAX, MAX]],
        isFull: true,
        part: MAX,
        more: false,
      },
      {
        type: "wants",
        from: BROKER,
        version: 1,
        base: null,
        add: [[0, null], [1, Array.from({ length: 16 }, () => "x".repeat(255))]],
        remove: [MAX],
        part: 0,
        more: true,
      },
    ] as const
  ) assertEquals(decodeControlMessage(encodeControlMessage(message)), message);
});

const beat = { type: "beat", from: BROKER, stream: null, sent: 1, wants: 1 };
const wants = {
  type: "wants",
  from: BROKER,
  version: 1,
  base: 0,
  remove: [],
  part: 0,
  more: false,
};
const counts = { type: "counts", from: BROKER, version: 1, since: 1, answer: 1, sent: 1 };
const CLAIMS: readonly (readonly [what: string, claim: object])[] = [
  ["a number beyond 2⁵³", { ...beat, sent: 2 ** 53 }],
  ["a number that is infinite", { ...beat, sent: `infinite` }],
  ["a number below 0", { ...beat, wants: -1 }],
  ["a number that is not whole", { ...beat, wants: 1.5 }],
  ["the name of a stream that cannot be", { ...beat, stream: "a.b" }],
  ["the name of a stream that is too long", { ...beat, stream: "x".repeat(65) }],
  ["an id that is none", { ...beat, from: "x".repeat(16) }],
  ["a count beyond 2⁵³", {
    ...{ ...counts, counts: [[1, 2 ** 60]], isFull: true, part: 0, more: false },
  }],
  ["a topic with too many elements", { ...wants, add: [[1, Array(17).fill("a")]] }],
  ["a topic with an element that is too long", { ...wants, add: [[1, ["x".repeat(256)]]] }],
  ["a topic that is a text", { ...wants, add: [[1, "a"]] }],
  ["what a broker publishes of itself", { ...wants, add: [[1, ["*broker", "stats"]]] }],
  ["more than a part holds", { ...wants, add: [[1, ["a"]]], remove: Array(100_000).fill(1) }],
];

for (const [what, claim] of CLAIMS) {
  Deno.test(`decodeControlMessage refuses ${what}`, () => {
    const text = JSON.stringify(claim).replace('"infinite"', "1e999");
    const bytes = new TextEncoder().encode(text);
    assertThrows(
      () => decodeControlMessage(bytes),
      ProtocolError,
      "Cannot read what a broker says",
    );
  });
}
