/**
 * What comes from others on a bus: packets, and what brokers say, to a broker in either mode. Nothing but
 * `ProtocolError` is thrown, what is read is written again as it was, and no number is more than a number
 * can hold.
 */
import { ProtocolError } from "../../errors.ts";
import {
  type ControlMessage,
  decodeControlMessage,
  encodeControlMessage,
} from "../../nats/control_message.ts";
import { CoreExchange } from "../../nats/core_exchange.ts";
import type { ExchangeContext } from "../../nats/exchange_context.ts";
import { JetStreamExchange } from "../../nats/jetstream_exchange.ts";
import { Packer } from "../../nats/packer.ts";
import { type PacketCount, readPacket, sealPacket } from "../../nats/packet.ts";
import { encodeFrame, FrameType } from "../../protocol/frame.ts";
import { encodeTopic } from "../../protocol/topic_block.ts";
import type { Random } from "../harness/random.ts";
import { mangle, must, type Notes, type Target } from "./target.ts";

const MAX = Number.MAX_SAFE_INTEGER;
const NUMBERS = [0, 1, 2, 3, 15, 16, 255, 2 ** 32, 2 ** 50, MAX - 1, MAX];
/** What is not a number that anybody may have, in 64 bits. */
const ABSURD = [2n ** 53n, 2n ** 53n + 100n, 2n ** 60n, 2n ** 63n, 2n ** 64n - 1n];
const IDS = ["0000000000000001", "00000000000000ff", "ffffffffffffffff"];
const PATHS = [["a"], ["a", "b"], ["z"], ["x".repeat(255)], ["*broker", "stats"]];
const PREFIX = "mpubsub.fuzz";
const STEPS = 40;

/** A broker in one of the modes, alone with what is fed to it. */
class Victim {
  readonly core: CoreExchange;
  readonly stream: JetStreamExchange;
  readonly #timers: (() => void)[] = [];

  constructor() {
    const context: ExchangeContext = {
      id: "00000000000000aa",
      prefix: PREFIX,
      queueBytes: 2 ** 20,
      counts: { sent: 0, received: 0, dropped: 0, lost: 0, gaps: 0, invalid: 0 },
      bus: {
        messageBytes: 1000,
        memory: 2 ** 30,
        onBytes: () => {},
        want: (path) => must(path[0] !== "*broker", "others want what is the broker's own"),
        deliver: () => 0,
        lost: (_path, messages) => must(isCount(messages), `${messages} messages are lost`),
        groupsAt: () => {},
        takeOver: () => false,
        room: () => undefined,
      },
      isHere: () => true,
      heard() {},
      say: (message) => void decodeControlMessage(encodeControlMessage(message)),
      deliver() {},
      read() {},
      onBytes: () => {},
      later: (callback) => {
        this.#timers.push(callback);
        return { cancel() {} };
      },
      warn() {},
    };
    this.core = new CoreExchange(context);
    this.stream = new JetStreamExchange(context);
    for (const path of PATHS.slice(0, 3)) {
      this.core.wants(path, true);
      this.stream.wants(path, true);
    }
    this.core.connected({ publish() {}, subscribe: () => undefined, flush: async () => {} });
  }

  /** Lets what was put off happen, and a beat pass. */
  goOn(): void {
    for (const callback of this.#timers.splice(0)) callback();
    this.core.tick();
  }
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** A packet, mostly as a broker sends it. */
function packetOf(random: Random): Uint8Array {
  const packer = new Packer<{ subject: string }>();
  const route = { subject: "s" };
  for (let n = random.int(3); n >= 0; n--) {
    const payload = random.bytes(1 + random.int(30));
    const frame = encodeFrame(FrameType.PUBLISH, encodeTopic(random.pick(PATHS)), payload);
    packer.addAll(frame, () => route);
  }
  const counts = Array.from(
    { length: random.int(4) },
    (_, depth): PacketCount => ({ depth, count: random.pick(NUMBERS) }),
  );
  const before = Array.from({ length: random.int(5) }, () => encodeTopic(random.pick(PATHS)));
  const bytes = new Uint8Array(sealPacket(packer.next(true)!, {
    broker: random.pick(IDS),
    lane: random.int(3),
    number: random.pick(NUMBERS),
    counts,
    before,
  }));
  if (random.int(4) > 0) return bytes;
  const at = random.pick([12, 27]);
  new DataView(bytes.buffer).setBigUint64(
    Math.min(at, bytes.length - 8),
    random.pick(ABSURD),
    true,
  );
  return bytes;
}

/** What a broker may say, or what looks like it. */
function claimOf(random: Random): Uint8Array {
  const number = () => random.pick(NUMBERS);
  const from = random.pick(IDS);
  const part = { part: random.int(2), more: random.int(3) === 0 };
  const claim: ControlMessage = random.pick<ControlMessage>([
    { type: "beat", from, stream: null, sent: number(), wants: number() },
    { type: "bye", from },
    { type: "ask", from, got: number() },
    { type: "got", from, got: number() },
    {
      type: "wants",
      from,
      version: random.int(3),
      base: random.pick([null, random.int(3)]),
      add: [[random.int(4), random.pick(PATHS)], [random.int(4), null]],
      remove: [random.int(4)],
      ...part,
    },
    {
      type: "counts",
      from,
      version: random.int(3),
      since: random.int(3),
      answer: random.int(3),
      sent: number(),
      counts: [[random.int(4), number()], [random.int(4), number()]],
      isFull: random.int(2) === 0,
      ...part,
    },
  ]);
  return encodeControlMessage(claim);
}

function feed(victim: Victim, bytes: Uint8Array, isPacket: boolean): string {
  if (!isPacket) {
    const message = decodeControlMessage(bytes);
    const again = decodeControlMessage(encodeControlMessage(message));
    must(JSON.stringify(again) === JSON.stringify(message), "a claim does not stay the same");
    victim.core.hear(message);
    return message.type;
  }
  const { header, body } = readPacket(bytes);
  must(header.number > header.before.length && header.number <= MAX, `number ${header.number}`);
  must(header.counts.every(({ count }) => isCount(count)), "a count is none");
  if (header.lane === 0) victim.core.packet(header, body);
  else victim.stream.packet(`${PREFIX}.m.a._`, header, body);
  return `packet of lane ${header.lane}`;
}

function runPackets(random: Random, notes: Notes): void {
  const victim = new Victim();
  for (let step = 0; step < STEPS; step++) {
    const isPacket = random.int(2) === 0;
    const bytes = mangle(random, isPacket ? packetOf(random) : claimOf(random));
    notes.fed(bytes);
    try {
      notes.ended(feed(victim, bytes, isPacket));
    } catch (error) {
      notes.failed(error, ProtocolError);
    }
    if (random.int(4) === 0) victim.goOn();
  }
}

/** See the module. */
export const packets: Target = { name: "packets", run: runPackets };
