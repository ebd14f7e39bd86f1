/** Simulated brokers of an exchange, whose messages tell who published them, and their number. */
import type { UplinkBus } from "../../broker/uplink.ts";
import type { ExchangeContext, ExchangeCounts } from "../../nats/exchange_context.ts";
import { encodeFrame, FrameType } from "../../protocol/frame.ts";
import { LIMITS_MAX } from "../../protocol/frame_bodies.ts";
import { decodeTopic, encodeTopic } from "../../protocol/topic_block.ts";
import { runAt } from "../../protocol/topic_run.ts";
import { type Random, randomOf } from "../../tools/harness/random.ts";
import type { TopicPath } from "../../topic.ts";

/** A message. */
export interface Message {
  readonly path: TopicPath;
  readonly from: string;
  readonly id: number;
}

/** Its frame, with a payload of at least so many bytes. */
export function frameOf({ path, from, id }: Message, bytes = 0): Uint8Array {
  const payload = new TextEncoder().encode(JSON.stringify([from, id]).padEnd(bytes));
  return encodeFrame(FrameType.PUBLISH, encodeTopic(path), payload);
}

/** Those that stand in frames. */
export function messagesIn(frames: Uint8Array): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at < frames.length;) {
    const { topic, payload, end } = runAt(frames, at, 0);
    const path = decodeTopic(frames, topic, payload, LIMITS_MAX);
    const [from, id] = JSON.parse(new TextDecoder().decode(frames.subarray(payload, end)));
    messages.push({ path, from, id });
    at = end;
  }
  return messages;
}

/** What the subjects of simulated brokers begin with. */
export const PREFIX = "mpubsub.test";

/** What a simulated broker got and was told, and what its exchange counts. */
export class Heard {
  readonly delivered: Message[] = [];
  readonly lost: { readonly path: TopicPath; readonly messages: number }[] = [];
  readonly counts: ExchangeCounts = {
    sent: 0,
    received: 0,
    dropped: 0,
    lost: 0,
    gaps: 0,
    invalid: 0,
  };

  /** How many messages it was told to be lost; not those of which nobody knows how many. */
  get missed(): number {
    return this.lost.reduce((sum, { messages }) => sum + messages, 0);
  }
}

/** How a simulated broker differs from others. */
export interface SimulatedOptions extends Partial<Omit<ExchangeContext, "bus" | "counts">> {
  readonly id: string;
  readonly messageBytes: number;
  /** What the broker may hold. */
  readonly memory?: number;
  readonly want?: UplinkBus["want"];
}

/** What the exchange of a simulated broker needs; what happens comes to `heard`. */
export function contextOf(
  heard: Heard,
  { messageBytes, memory = 2 ** 30, want = () => {}, ...options }: SimulatedOptions,
): ExchangeContext {
  return {
    prefix: PREFIX,
    queueBytes: 2 ** 20,
    counts: heard.counts,
    bus: {
      messageBytes,
      memory,
      onBytes: () => {},
      want,
      deliver: () => 0,
      lost: (path, messages) => heard.lost.push({ path, messages }),
      groupsAt: () => {},
      takeOver: () => false,
      room: () => undefined,
    },
    isHere: () => false,
    heard: () => {},
    say: () => {},
    deliver: (frames) => heard.delivered.push(...messagesIn(frames)),
    read: () => {},
    onBytes: () => {},
    later: () => ({ cancel() {} }),
    warn: (message) => {
      throw new Error(message);
    },
    ...options,
  };
}

/** Runs `simulate` so many times, each with a seed of its own; it is told when that fails. */
export async function simulateTimes(
  runs: number,
  simulate: (random: Random) => Promise<void>,
): Promise<void> {
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 1e9));
  for (let run = 0; run < runs; run++) {
    try {
      await simulate(randomOf(seed + run));
    } catch (error) {
      throw new Error(`seed ${seed + run}: ${error}`, { cause: error });
    }
  }
}
