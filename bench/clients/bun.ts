/** Bun's own publishing, over the WebSocket of Deno. */
import { AUTH, portOf, type Target } from "../target.ts";
import { nextTurn } from "../turn.ts";
import type { Client, Topic } from "./client.ts";

/** As much may wait to be written. */
const AHEAD_BYTES = 1024 * 1024;

export async function connect(target: Target): Promise<Client> {
  const socket = new WebSocket(`ws://127.0.0.1:${portOf(target)}`, AUTH);
  socket.binaryType = "arraybuffer";
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onerror = () => reject(new Error("The WebSocket could not be opened"));
  });
  const join = (topic: Topic) => topic.join(".");
  return {
    bytesPublisher(topic, data) {
      const name = new TextEncoder().encode(join(topic));
      const message = new Uint8Array(1 + name.length + data.length);
      message[0] = name.length;
      message.set(name, 1);
      message.set(data, 1 + name.length);
      return (count) => {
        for (let i = 0; i < count; i++) socket.send(message);
      };
    },
    rowPublisher() {
      throw new TypeError("Only bytes are measured with it");
    },
    async onBytes(topic, take) {
      const subscribed = new Promise<void>((resolve) => {
        socket.onmessage = ({ data }) => {
          if (typeof data === "string") resolve();
          else take(new Uint8Array(data), 1);
        };
      });
      socket.send(join(topic));
      await subscribed;
    },
    onRows() {
      throw new TypeError("Only bytes are measured with it");
    },
    async drain() {
      do await nextTurn(); while (socket.bufferedAmount > AHEAD_BYTES);
    },
  };
}
