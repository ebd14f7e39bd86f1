import { assertEquals } from "@std/assert";
import { Broker } from "../broker.ts";
import { NetPubSub } from "../web.ts";

Deno.test("NetPubSub of ./web exchanges messages over the platform's WebSocket", async () => {
  await using broker = new Broker({ address: "ws://127.0.0.1:0/bus" });
  await broker.start();
  await using here = new NetPubSub(broker.address, broker.authkey);
  await using there = NetPubSub.from(() => ({
    address: broker.address as string,
    authkey: broker.authkey.toBase64(),
  }));
  const got = there.subscribe("hello");
  await Promise.all([here.connect(), there.connect()]);
  here.publish("hello", { text: "x".repeat(500_000) });
  for await (const { message } of got) {
    assertEquals((message.text as string).length, 500_000);
    break;
  }
});
