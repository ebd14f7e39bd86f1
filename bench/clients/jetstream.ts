/** A JetStream stream in a file, with NATS's own client. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { Target } from "../target.ts";
import { type Client, OneBehind, rowsBy } from "./client.ts";
import { connectNats } from "./nats_connection.ts";

const STREAM = "BENCH";
/** How many messages a subscriber asks for at a time; by default 100. */
const MESSAGES_AHEAD = 5000;

export async function connect(target: Target): Promise<Client> {
  const connection = await connectNats(target);
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: STREAM, subjects: ["data", "ask", "answer"] });
  const stream = jetstream(connection);
  const confirmed = new OneBehind();
  let batch: Promise<unknown>[] = [];
  const subscribe = async (subject: string, callback: (data: Uint8Array) => void) => {
    // An ordered one, from the first message on.
    const consumer = await stream.consumers.get(STREAM, { filter_subjects: subject });
    await consumer.consume({
      max_messages: MESSAGES_AHEAD,
      callback: ({ data }) => callback(data),
    });
  };
  return {
    bytesPublisher(topic, data) {
      const subject = topic.join(".");
      return (count) => {
        for (let i = 0; i < count; i++) batch.push(stream.publish(subject, data));
      };
    },
    rowPublisher(topic) {
      const subject = topic.join(".");
      return rowsBy((row) => batch.push(stream.publish(subject, JSON.stringify(row))));
    },
    onBytes: (topic, take) => subscribe(topic.join("."), (data) => take(data, 1)),
    onRows(topic, take) {
      const decoder = new TextDecoder();
      return subscribe(topic.join("."), (data) => take(JSON.parse(decoder.decode(data))));
    },
    drain() {
      const latest = Promise.all(batch);
      batch = [];
      return confirmed.wait(latest);
    },
  };
}
