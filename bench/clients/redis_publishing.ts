/** What publishing to Redis has in common with all its clients. */
import { Buffer } from "node:buffer";
import { type Client, OneBehind, rowsBy } from "./client.ts";

/** The half of a client that publishes, given what publishes and resolves with the answer. */
export function redisPublishing(
  publish: (channel: string, data: Buffer | string) => Promise<unknown>,
): Pick<Client, "batch" | "bytesPublisher" | "rowPublisher" | "drain"> {
  const answers = new OneBehind();
  let answer: Promise<unknown> = Promise.resolve();
  return {
    batch: 200,
    bytesPublisher(topic, data) {
      const channel = topic.join(".");
      const buffer = Buffer.from(data);
      return (count) => {
        for (let i = 0; i < count; i++) answer = publish(channel, buffer);
      };
    },
    rowPublisher(topic) {
      const channel = topic.join(".");
      return rowsBy((row) => answer = publish(channel, JSON.stringify(row)));
    },
    drain: () => answers.wait(answer),
  };
}
