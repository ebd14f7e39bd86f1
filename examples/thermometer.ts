import { NetPubSub } from "@mpubsub/mpubsub";
import type { Messages } from "./messages.ts";

const bus = await NetPubSub.fromFile<Messages>("x.json");

bus.addSubscriber("alarm", async (_topic, { text }) => {
  console.log("alarm:", text);
  await bus.disconnect(); // nothing is left to do, so the program ends
});
await bus.connect();
bus.publish(["reading", "greenhouse"], { celsius: 21.5, at: new Date() });
bus.publish(["reading", "greenhouse"], { celsius: 41, at: new Date() });
