/** MQTT at QoS 0, for Mosquitto and aedes, with the client mqtt. */
import { connectAsync } from "mqtt";
import { Buffer } from "node:buffer";
import { AUTH, isWeb, portOf, type Target } from "../target.ts";
import { type Client, OneBehind, rowsBy } from "./client.ts";

export async function connect(target: Target): Promise<Client> {
  const client = await connectAsync({
    protocol: isWeb(target) ? "ws" : "mqtt",
    host: "127.0.0.1",
    port: portOf(target),
    username: AUTH,
    password: AUTH,
  });
  const written = new OneBehind();
  return {
    batch: 50,
    bytesPublisher(topic, data) {
      const name = topic.join("/");
      const buffer = Buffer.from(data);
      return (count) => {
        for (let i = 0; i < count; i++) client.publish(name, buffer);
      };
    },
    rowPublisher(topic) {
      const name = topic.join("/");
      return rowsBy((row) => client.publish(name, JSON.stringify(row)));
    },
    async onBytes(topic, take) {
      client.on("message", (_topic, data) => take(data, 1));
      await client.subscribeAsync(topic.join("/"));
    },
    async onRows(topic, take) {
      client.on("message", (_topic, data) => take(JSON.parse(data.toString())));
      await client.subscribeAsync(topic.join("/"));
    },
    drain: () => written.wait(new Promise((resolve) => client.stream.write("", resolve))),
  };
}
