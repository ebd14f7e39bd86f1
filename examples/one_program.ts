import { Broker, NetPubSub } from "@mpubsub/mpubsub";

await using broker = new Broker(); // address: "tcp://127.0.0.1:7411", authkey: "secret"
await broker.start();

await using alice = new NetPubSub(broker.address, broker.authkey);
await using bob = new NetPubSub(broker.address, broker.authkey);
const greetings = bob.subscribe("greeting");
await Promise.all([alice.connect(), bob.connect()]);

alice.publish("greeting", { text: "hello" });
for await (const { message } of greetings) {
  console.log(message);
  break;
}
