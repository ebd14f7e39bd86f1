import { PubSub } from "@mpubsub/mpubsub";

const bus = new PubSub<{ job: { id: number }; stop: { reason?: string } }>();

using jobs = bus.subscribe("job", { limit: 100, overflow: "throw" });
bus.publish("job", { id: 1 });
bus.publish(["job", "urgent"], { id: 2 });

for await (const { topic, message } of jobs) {
  console.log(topic, message.id);
  if (message.id === 2) break;
}
