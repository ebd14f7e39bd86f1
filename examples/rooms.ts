import { any, NetPubSub } from "@mpubsub/mpubsub";

await using bus = await NetPubSub.fromFile("x.json");

const temperatures = bus.subscribe(["sensors", any, "celsius"]);
await bus.connect();
console.log("Listening");
for await (const { topic: [, room], message: { value } } of temperatures) {
  console.log(room, value);
}
