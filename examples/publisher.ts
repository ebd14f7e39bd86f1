import { NetPubSub } from "@mpubsub/mpubsub";

await using bus = await NetPubSub.fromFile("x.json");

await bus.connect();
bus.publish(["greeting", "morning"], { text: "hello", from: Deno.pid });
