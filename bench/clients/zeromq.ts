/** ZeroMQ: a PUB and a SUB socket at a forwarding proxy. */
import { delay } from "@std/async/delay";
import { Publisher, Subscriber } from "zeromq";
import { portOf, type Target } from "../target.ts";
import { nextTurn } from "../turn.ts";
import { type Client, makeRow, type Row } from "./client.ts";

/** Connections and subscriptions are made in the background, and nothing tells when they are. */
const SETTLE_MS = 300;

export async function connect(target: Target): Promise<Client> {
  // Without a limit, for a full queue would drop; the benchmark bounds what is on its way.
  const publisher = new Publisher({ sendHighWaterMark: 0 });
  publisher.connect(`tcp://127.0.0.1:${portOf(target, 0)}`);
  const subscriber = new Subscriber({ receiveHighWaterMark: 0 });
  subscriber.connect(`tcp://127.0.0.1:${portOf(target, 1)}`);
  await delay(SETTLE_MS);
  const receive = async (topic: string, take: (data: Uint8Array) => void) => {
    subscriber.subscribe(topic);
    for await (const [, data] of subscriber) take(data!);
  };
  return {
    bytesPublisher(topic, data) {
      const message = [topic.join("."), data];
      return async (count) => {
        for (let i = 0; i < count; i++) await publisher.send(message);
      };
    },
    rowPublisher(topic) {
      const name = topic.join(".");
      let id = 0;
      return async (count) => {
        for (let i = 0; i < count; i++) await publisher.send([name, JSON.stringify(makeRow(id++))]);
      };
    },
    async onBytes(topic, take) {
      void receive(topic.join("."), (data) => take(data, 1));
      await delay(SETTLE_MS);
    },
    async onRows(topic, take) {
      const decoder = new TextDecoder();
      void receive(topic.join("."), (data) => take(JSON.parse(decoder.decode(data)) as Row));
      await delay(SETTLE_MS);
    },
    // What it waits for is done at once, so nothing else would get a turn.
    drain: nextTurn,
  };
}
