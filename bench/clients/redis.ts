/** Redis, with its own client. */
import { createClient } from "redis";
import { AUTH, portOf, type Target } from "../target.ts";
import type { Client } from "./client.ts";
import { redisPublishing } from "./redis_publishing.ts";

export async function connect(target: Target): Promise<Client> {
  const redis = createClient({
    socket: { host: "127.0.0.1", port: portOf(target) },
    password: AUTH,
  });
  await redis.connect();
  return {
    ...redisPublishing((channel, data) => redis.publish(channel, data)),
    async onBytes(topic, take) {
      const subscriber = await redis.duplicate().connect(); // It can do nothing else then.
      await subscriber.subscribe(topic.join("."), (data: Uint8Array) => take(data, 1), true);
    },
    async onRows(topic, take) {
      const subscriber = await redis.duplicate().connect();
      await subscriber.subscribe(topic.join("."), (text: string) => take(JSON.parse(text)));
    },
  };
}
