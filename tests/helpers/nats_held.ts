/**
 * Holds packets of many brokers that wait for others, of the kind that is named, and prints how many bytes
 * it counts, and how many are kept alive, both without what there was before. Run it with `--expose-gc`.
 */
import { ReorderBuffer } from "../../nats/jetstream_reorder.ts";
import { HEADER_BYTES_MAX, PART_BYTES, readPacket, sealPacket } from "../../nats/packet.ts";
import { WantedSubjects } from "../../nats/wanted_subjects.ts";
import { encodeTopic } from "../../protocol/topic_block.ts";
import { contextOf, frameOf, Heard, PREFIX } from "./exchange.ts";

/** Less than a bus may have and hold, which takes long; each broker still holds more than its part. */
const QUEUE_BYTES = 16 * 2 ** 20;
const BROKERS = 1024;
/** The client of NATS grows its buffers by more than they need. */
const SLACK = 7 / 4;
const LONG_BYTES = PART_BYTES - 100;

const { gc } = globalThis as unknown as { gc(): void };
const wanted = new WantedSubjects(PREFIX);
wanted.change([], true);
let counted = 0;
const timers = new Set<ReturnType<typeof setTimeout>>();
const buffer = new ReorderBuffer(
  contextOf(new Heard(), {
    id: "me",
    queueBytes: QUEUE_BYTES,
    messageBytes: 2 ** 20,
    isHere: () => true,
    deliver: () => {},
    onBytes: (change) => counted += change,
    later: (callback, ms) => {
      const timer = setTimeout(callback, 1000 * ms);
      timers.add(timer);
      return {
        cancel() {
          clearTimeout(timer);
          timers.delete(timer);
        },
      };
    },
  }),
  wanted,
);

/** Takes a packet as it comes from NATS's client. */
function take(
  broker: number,
  lane: number,
  number: number,
  { names = [], bytes = 1, flags = 0 }: { names?: string[][]; bytes?: number; flags?: number } = {},
): void {
  const frame = frameOf({ path: ["a"], from: "p", id: number }, bytes);
  const body = flags === 0 ? frame : new Uint8Array(PART_BYTES);
  const end = HEADER_BYTES_MAX + body.length;
  const room = new Uint8Array(end);
  room.set(body, HEADER_BYTES_MAX);
  const messages = flags === 0 ? 1 : 0;
  const sealed = sealPacket(
    { route: { subject: "" }, since: 0, buffer: room, end, messages, flags },
    {
      broker: broker.toString(16).padStart(16, "0"),
      lane,
      number,
      before: names.map((name) => encodeTopic(name)),
    },
  );
  const read = new Uint8Array(SLACK * sealed.length);
  read.set(sealed);
  const packet = readPacket(read.subarray(0, sealed.length));
  buffer.packet(`${PREFIX}.m.a._`, packet.header, packet.body);
}

let made = 0;
/** Fifteen topics of fifteen elements that nothing else names. */
function names(): string[][] {
  const name = () => (made++).toString(36).padStart(7, "0");
  return Array.from({ length: 15 }, () => Array.from({ length: 15 }, name));
}

/** What each broker sends, by the name of the kind. */
const kinds: Record<string, (broker: number) => void> = {
  long: (broker) => {
    take(broker, 1, 1);
    take(broker, 1, 3, { names: [["a"], ["a"]], bytes: LONG_BYTES });
  },
  names: (broker) => {
    for (const lane of [1, 2]) {
      take(broker, lane, 1);
      take(broker, lane, 99, { names: names() });
    }
  },
  parts: (broker) => take(broker, 1, 1, { flags: 2 }),
  lanes: (broker) => {
    for (let lane = 1; lane <= 8; lane++) take(broker, lane, 1);
  },
};

function keptBytes(): number {
  for (let i = 0; i < 3; i++) gc();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

const before = keptBytes();
for (let broker = 0; broker < BROKERS; broker++) kinds[Deno.args[0]!]!(broker);
const kept = keptBytes() - before;
console.log(JSON.stringify({ counted, kept, held: buffer.heldBytes }));
for (const timer of timers) clearTimeout(timer);
