/** Redis, with its own client. */
import { createClient } from "redis";
import { Buffer } from "node:buffer";
import { AUTH, portOf, type Target } from "../systems.ts";
import { type Client, OneBehind, rowsBy } from "./client.ts";

export async function connect(target: Target): Promise<Client> {
  const redis = createClient({
    socket: { host: "127.0.0.1", port: portOf(target) },
    password: AUTH,
  });
  await redis.connect();
  const answers = new OneBehind();
  let answer: Promise<unknown> = Promise.resolve();
  return {
    batch: 200,
    bytesPublisher(topic, data) {
      const channel = topic.join(".");
      const buffer = Buffer.from(data);
      return (count) => {
        for (let i = 0; i < count; i++) answer = redis.publish(channel, buffer);
      };
    },
    rowPublisher(topic) {
      const channel = topic.join(".");
      return rowsBy((row) => answer = redis.publish(channel, JSON.stringify(row)));
    },
    async onBytes(topic, take) {
      const subscriber = await redis.duplicate().connect(); // It can do nothing else then.
      await subscriber.subscribe(topic.join("."), (data: Uint8Array) => take(data, 1), true);
    },
    async onRows(topic, take) {
      const subscriber = await redis.duplicate().connect();
      await subscriber.subscribe(topic.join("."), (text: string) => take(JSON.parse(text)));
    },
    drain: () => answers.wait(answer),
  };
}
