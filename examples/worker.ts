import { NetPubSub } from "@mpubsub/mpubsub";
import process from "node:process";

const bus = new NetPubSub("tcp://127.0.0.1:7411", "secret");

bus.addSubscriber("job", async (_topic, { n }, { redelivered = 0 }) => {
  await new Promise((done) => setTimeout(done, 20)); // the work
  bus.publish("done", { n, by: process.pid, redelivered });
}, { group: "workers", concurrency: 4 });

await bus.connect({ wait: true });
bus.publish("ready");
console.log("Working");
