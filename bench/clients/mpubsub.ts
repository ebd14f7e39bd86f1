/** This project's client, through its public interface. */
import { NetPubSub } from "../../mod.ts";
import { AUTH, type Target, urlOf } from "../target.ts";
import { type Client, OneBehind, type Row, rowsBy } from "./client.ts";

export async function connect(target: Target): Promise<Client> {
  const bus = new NetPubSub(urlOf(target), AUTH);
  await bus.connect();
  const flushes = new OneBehind();
  const onBytes: Client["onBytes"] = async (topic, take) => {
    bus.addSubscriber(topic, (_topic, { data }) => take(data as Uint8Array, 1));
    await bus.flush();
  };
  return {
    bytesPublisher: (topic, data) => (count) => {
      for (let i = 0; i < count; i++) bus.publish(topic, { data });
    },
    rowPublisher: (topic) => rowsBy((row) => bus.publish(topic, row)),
    onBytes,
    onBytesBelow: (topic, take) => onBytes(topic, take, 0),
    toggler(topic) {
      let subscribed: Disposable | undefined;
      return () => {
        if (subscribed === undefined) subscribed = bus.addSubscriber(topic, () => {});
        else {
          subscribed[Symbol.dispose]();
          subscribed = undefined;
        }
      };
    },
    async onRows(topic, take) {
      bus.addSubscriber(topic, (_topic, row) => take(row as unknown as Row));
      await bus.flush();
    },
    drain: () => flushes.wait(bus.flush()),
  };
}
