import { PubSub } from "@mpubsub/mpubsub";

const bus = new PubSub();

bus.addSubscriber(["sensors", "kitchen"], (_topic, { celsius }) => {
  console.log("kitchen:", celsius);
});
bus.addSubscriber("sensors", (topic, { celsius }) => console.log(topic, celsius));

bus.publish(["sensors", "kitchen"], { celsius: 21.5 });
bus.publish(["sensors", "garden"], { celsius: 14 });
