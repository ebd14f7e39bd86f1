import { NetPubSub } from "@mpubsub/mpubsub";

await using bus = await NetPubSub.fromFile<{
  reading: { celsius: number; at: Date };
  wanted: { celsius: number };
}>("x.json");

let celsius = 18;
let wanted = 18;
bus.addSubscriber("wanted", (_topic, message) => {
  // A page may send anything.
  if (typeof message.celsius !== "number" || !(Math.abs(message.celsius) <= 40)) return;
  wanted = message.celsius;
  console.log("wanted:", wanted, "°C");
});
await bus.connect({ wait: true });
console.log("Measuring");
while (bus.state !== "disconnected") {
  bus.publish(["reading", "greenhouse"], { celsius, at: new Date() });
  celsius += Math.max(-0.5, Math.min(0.5, wanted - celsius));
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
