/**
 * This project's client, at one of two brokers that are joined; the port of its own comes first. A
 * subscription counts once the other broker knows it, too.
 */
import { NetPubSub } from "../../mod.ts";
import { AUTH, portOf, type Target } from "../target.ts";
import type { Client } from "./client.ts";
import { connect as connectHere } from "./mpubsub.ts";

const POLL_MS = 5;

export async function connect(target: Target): Promise<Client> {
  const client = await connectHere(target);
  return {
    ...client,
    async onBytes(...subscription) {
      await client.onBytes(...subscription);
      await isKnownThere(target);
    },
    async onRows(...subscription) {
      await client.onRows(...subscription);
      await isKnownThere(target);
    },
  };
}

/** Subscribes to one topic more, and resolves when the other broker passes on messages for it. */
async function isKnownThere(target: Target): Promise<void> {
  const topic = ["probe", crypto.randomUUID()];
  const came = Promise.withResolvers<void>();
  await using here = new NetPubSub(`tcp://127.0.0.1:${portOf(target, 0)}`, AUTH);
  await using there = new NetPubSub(`tcp://127.0.0.1:${portOf(target, 1)}`, AUTH);
  here.addSubscriber(topic, () => came.resolve());
  await Promise.all([here.connect(), there.connect()]);
  await here.flush();
  const timer = setInterval(() => there.publish(topic, {}), POLL_MS);
  await came.promise;
  clearInterval(timer);
}
