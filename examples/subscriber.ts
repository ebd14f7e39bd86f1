import { NetPubSub } from "@mpubsub/mpubsub";

await using bus = await NetPubSub.fromFile("x.json");

bus.addSubscriber("greeting", (topic, { text, from }) => console.log(topic, text, "from", from));
await bus.connect();
console.log("Listening");
await bus.closed; // until the connection is over for good
