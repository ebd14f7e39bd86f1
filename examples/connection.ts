import { Broker, NetPubSub } from "@mpubsub/mpubsub";
import { Proxy } from "@mpubsub/mpubsub/testing";

await using broker = new Broker();
await broker.start();
await using proxy = new Proxy({ target: broker.address });
await proxy.start();

await using alice = new NetPubSub(broker.address, broker.authkey);
await using bob = new NetPubSub(proxy.address, broker.authkey, {
  onState: (state) => console.log("bob is", state),
  onGap: ({ reason, missed }) => console.log("bob missed", missed ?? "some", "messages:", reason),
});
const numbers = bob.subscribe("number");
await Promise.all([alice.connect(), bob.connect()]);

proxy.cut();
for (const n of [1, 2, 3]) alice.publish("number", { n });

for await (const { message } of numbers) {
  console.log("bob got", message.n);
  if (message.n === 3) break;
}
