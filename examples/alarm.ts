import { NetPubSub } from "@mpubsub/mpubsub";
import type { Messages } from "./messages.ts";

const bus = await NetPubSub.fromFile<Messages>("x.json");

bus.addSubscriber("reading", ([, place], { celsius, at }) => {
  console.log(place, celsius, at instanceof Date);
  if (celsius > 40) bus.publish("alarm", { text: `${place} has ${celsius} °C` });
});
await bus.connect();
console.log("Listening");
