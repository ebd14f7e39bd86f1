/**
 * What joins a broker to others, without the broker: it is given frames as a broker reads them from
 * its clients, several at once where they are short, and hands over those of the other side.
 */
import { NatsUplink } from "../../nats.ts";
import { encodeFrame, FrameType } from "../../protocol/frame.ts";
import { encodeTopic } from "../../protocol/topic_block.ts";
import { framesEnd, runAt } from "../../protocol/topic_run.ts";
import { AUTH, portOf, type Target } from "../target.ts";
import type { Client } from "./client.ts";

/** As much as a broker passes on at once. */
const RUN_BYTES_MAX = 256 * 1024;
/** As much may wait. */
const AHEAD_BYTES = 8 * 1024 * 1024;

export async function connect(target: Target): Promise<Client> {
  const isWanted = new Map<string, PromiseWithResolvers<void>>();
  const wanted = (path: readonly string[]) => {
    const key = path.join(".");
    const known = isWanted.get(key) ?? Promise.withResolvers<void>();
    isWanted.set(key, known);
    return known;
  };
  let take: (data: Uint8Array, count: number) => void = () => {};
  const uplink = new NatsUplink({ servers: `nats://${AUTH}:${AUTH}@127.0.0.1:${portOf(target)}` });
  uplink.join({
    messageBytes: 1024 * 1024,
    memory: 2 ** 30,
    onBytes: () => {},
    want: (path, isSo) => isSo && wanted(path).resolve(),
    deliver(frames) {
      for (let at = 0; at < frames.length;) {
        const { topic, payload, end } = runAt(frames, at);
        const topicBytes = payload - topic;
        for (let next = 0; at < end; at = next) {
          next = framesEnd(frames, at, 1);
          take(frames.subarray(next - payloadBytes(frames, at, next, topicBytes), next), 1);
        }
      }
      return 0;
    },
    groupsAt: () => {},
    takeOver: () => false,
    room: () => undefined,
    lost: (path, messages) => {
      throw new Error(`${messages} messages for ${path.join(".")} were lost`);
    },
  });
  const publisher = {};
  return await Promise.resolve({
    bytesPublisher(topic: readonly string[], data: Uint8Array) {
      const frame = encodeFrame(FrameType.PUBLISH, encodeTopic(topic), data);
      const most = Math.max(1, Math.floor(RUN_BYTES_MAX / frame.length));
      const run = new Uint8Array(most * frame.length);
      for (let i = 0; i < most; i++) run.set(frame, i * frame.length);
      const { promise } = wanted(topic);
      let isKnown = false;
      promise.then(() => isKnown = true);
      return async (count: number) => {
        if (!isKnown) await promise;
        for (let left = count; left > 0; left -= most) {
          const messages = Math.min(left, most);
          uplink.take(run.subarray(0, messages * frame.length), messages, publisher);
        }
      };
    },
    rowPublisher: () => {
      throw new Error("It carries bytes only");
    },
    onBytes(topic: readonly string[], taker: typeof take) {
      take = taker;
      uplink.wants(topic, true);
      return Promise.resolve();
    },
    onRows: () => Promise.reject(new Error("It carries bytes only")),
    async drain() {
      while (uplink.stats().queuedBytes > AHEAD_BYTES) await new Promise((go) => setTimeout(go, 0));
    },
  });
}

/** How many bytes the payload of a frame has. */
function payloadBytes(bytes: Uint8Array, start: number, end: number, topicBytes: number): number {
  const header = bytes[start] === 255 ? 6 : 2;
  return end - start - header - topicBytes;
}
