/** NATS, with its own client. */
import type { Target } from "../target.ts";
import { type Client, OneBehind, rowsBy } from "./client.ts";
import { connectNats } from "./nats_connection.ts";

export async function connect(target: Target): Promise<Client> {
  const connection = await connectNats(target);
  const flushes = new OneBehind();
  const listen = async (subject: string, take: (data: Uint8Array, count: number) => void) => {
    connection.subscribe(subject, { callback: (_error, { data }) => take(data, 1) });
    await connection.flush();
  };
  return {
    bytesPublisher(topic, data) {
      const subject = topic.join(".");
      return (count) => {
        for (let i = 0; i < count; i++) connection.publish(subject, data);
      };
    },
    rowPublisher(topic) {
      const subject = topic.join(".");
      return rowsBy((row) => connection.publish(subject, JSON.stringify(row)));
    },
    onBytes: (topic, take) => listen(topic.join("."), take),
    onBytesBelow: (topic, take) => listen(`${topic.join(".")}.>`, take),
    toggler(topic) {
      const subject = topic.join(".");
      let subscription: { unsubscribe(): void } | undefined;
      return () => {
        if (subscription === undefined) {
          subscription = connection.subscribe(subject, { callback: () => {} });
        } else {
          subscription.unsubscribe();
          subscription = undefined;
        }
      };
    },
    async onRows(topic, take) {
      connection.subscribe(topic.join("."), {
        callback: (_error, message) => take(message.json()),
      });
      await connection.flush();
    },
    drain: () => flushes.wait(connection.flush()),
  };
}
