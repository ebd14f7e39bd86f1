import { Broker, NetPubSub } from "@mpubsub/mpubsub";

const address = "tcp://127.0.0.1:7411";
// Other workers get what a worker had one second after it is lost.
await using broker = new Broker({ address, authkey: "secret", resumeWindow: 1000 });
await broker.start();
await using bus = new NetPubSub(address, "secret");

const ready = bus.subscribe("ready");
const done = bus.subscribe("done");
await bus.connect();
console.log("Start four workers");
let workers = 0;
for await (const _worker of ready) if (++workers === 4) break;

const missing = new Set(Array.from({ length: 500 }, (_, n) => n));
for (const n of missing) bus.publish("job", { n });
console.log("Kill some workers");
for await (const { message } of done) {
  missing.delete(message.n);
  if (missing.size === 0) break;
}
console.log("All jobs are done");
