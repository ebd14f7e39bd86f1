import { Broker, NetPubSub } from "@mpubsub/mpubsub";

await using broker = new Broker({
  keys: [
    { name: "kitchen", key: "secret 1", publish: [["sensors", "kitchen"]] },
    { name: "screen", key: "secret 2", subscribe: ["sensors", "alerts"] },
  ],
});
await broker.start();

await using kitchen = new NetPubSub(broker.address, "secret 1", { keyName: "kitchen" });
await using screen = new NetPubSub(broker.address, "secret 2", { keyName: "screen" });
const messages = screen.subscribe(null);
await Promise.all([kitchen.connect(), screen.connect()]);

kitchen.publish(["sensors", "kitchen"], { celsius: 21.5 });
for await (const { topic, message } of messages) {
  console.log(topic, message);
  break;
}
