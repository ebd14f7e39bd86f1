/** Redis, with the client ioredis. */
import { Redis } from "ioredis";
import { AUTH, portOf, type Target } from "../target.ts";
import type { Client } from "./client.ts";
import { redisPublishing } from "./redis_publishing.ts";

export async function connect(target: Target): Promise<Client> {
  const redis = new Redis({
    host: "127.0.0.1",
    port: portOf(target),
    password: AUTH,
    enableAutoPipelining: true,
    lazyConnect: true,
  });
  await redis.connect();
  return {
    ...redisPublishing((channel, data) => redis.publish(channel, data)),
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
  };
}
