import { NetPubSub } from "@mpubsub/mpubsub";
import type { Messages } from "./messages.ts";

await using bus = await NetPubSub.fromFile<Messages>("x.json");

const messages = bus.subscribe(["alarm"]);
await bus.connect();
console.log("Listening");
for await (const { message } of messages) {
  console.log("screen:", message.text);
  break;
}
