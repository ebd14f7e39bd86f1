/** socket.io, with its own client. */
import { Buffer } from "node:buffer";
import { io } from "socket.io-client";
import { AUTH, portOf, type Target } from "../target.ts";
import { type Client, OneBehind, rowsBy } from "./client.ts";

export async function connect(target: Target): Promise<Client> {
  const socket = io(`http://127.0.0.1:${portOf(target)}`, {
    transports: ["websocket"],
    auth: { token: AUTH },
    forceNew: true,
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  const written = new OneBehind();
  return {
    batch: 200,
    bytesPublisher(topic, data) {
      const name = topic.join(".");
      const buffer = Buffer.from(data);
      return (count) => {
        for (let i = 0; i < count; i++) socket.emit("publish", name, buffer);
      };
    },
    rowPublisher(topic) {
      const name = topic.join(".");
      return rowsBy((row) => socket.emit("publish", name, row));
    },
    async onBytes(topic, take) {
      socket.on("message", (data) => take(data, 1));
      await socket.emitWithAck("subscribe", topic.join("."));
    },
    async onRows(topic, take) {
      socket.on("message", take);
      await socket.emitWithAck("subscribe", topic.join("."));
    },
    drain: () =>
      written.wait(new Promise<void>((resolve) => socket.io.engine.once("drain", () => resolve()))),
  };
}
