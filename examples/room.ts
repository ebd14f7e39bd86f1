import { NetPubSub } from "@mpubsub/mpubsub";

const [room = "kitchen", celsius = "21.5"] = Deno.args;
await using bus = await NetPubSub.fromFile("x.json");

await bus.connect();
bus.publish(["sensors", room, "celsius"], { value: Number(celsius) });
bus.publish(["sensors", room, "humidity"], { value: 40 });
