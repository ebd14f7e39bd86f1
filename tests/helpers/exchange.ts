/** Messages of simulated brokers: each tells who published it, and its number. */
import { TOPIC_LIMITS } from "../../nats/packet.ts";
import { encodeFrame, FrameType } from "../../protocol/frame.ts";
import { runAt } from "../../protocol/run.ts";
import { decodeTopic, encodeTopic } from "../../protocol/topic_block.ts";
import type { TopicPath } from "../../topic.ts";

/** One of them. */
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
    const path = decodeTopic(frames, topic, payload, TOPIC_LIMITS);
    const [from, id] = JSON.parse(new TextDecoder().decode(frames.subarray(payload, end)));
    messages.push({ path, from, id });
    at = end;
  }
  return messages;
}
