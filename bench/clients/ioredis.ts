/** Redis, with the client ioredis. */
import { Redis } from "ioredis";
import { Buffer } from "node:buffer";
import { AUTH, portOf, type Target } from "../systems.ts";
import { type Client, OneBehind, rowsBy } from "./client.ts";

export async function connect(target: Target): Promise<Client> {
  const redis = new Redis({
    host: "127.0.0.1",
    port: portOf(target),
    password: AUTH,
    enableAutoPipelining: true,
    lazyConnect: true,
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
      const subscriber = redis.duplicate(); // One that subscribes can do nothing else.
      subscriber.on("messageBuffer", (_channel, data) => take(data, 1));
      await subscriber.subscribe(topic.join("."));
    },
    async onRows(topic, take) {
      const subscriber = redis.duplicate();
      subscriber.on("message", (_channel, text) => take(JSON.parse(text)));
      await subscriber.subscribe(topic.join("."));
    },
    drain: () => answers.wait(answer),
  };
}
