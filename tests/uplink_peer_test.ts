import { Account } from "../base/account.ts";
import { assertEquals } from "@std/assert";
import { Background } from "../base/background.ts";
import { TopicCounts } from "../broker/topic_counts.ts";
import type { Uplink } from "../broker/uplink.ts";
import { UplinkPeer } from "../broker/uplink_peer.ts";
import { LIMITS_MAX } from "../protocol/frame_bodies.ts";
import { decodeTopic } from "../protocol/topic_block.ts";
import type { Peer } from "../routing/peer.ts";
import { Router } from "../routing/router.ts";
import { frameOf } from "./helpers/exchange.ts";

/** A broker's side of an uplink. */
function setUp(uplink: Partial<Uplink> = {}) {
  const router = new Router<Peer>();
  const account = new Account();
  const peer = new UplinkPeer(uplink as Uplink, {
    memory: 2 ** 20,
    account,
    router,
    limits: LIMITS_MAX,
    background: new Background(),
    topicCounts: new TopicCounts(),
    decodeTopic: (bytes, start, end) => decodeTopic(bytes, start, end, LIMITS_MAX),
  });
  return { router, peer, account };
}

Deno.test("UplinkPeer.room asks who got the latest messages once, not for what nobody got", () => {
  const { router, peer } = setUp();
  let asked = 0;
  const room = () => {
    asked++;
    return undefined;
  };
  for (let n = 0; n < 100; n++) router.add({ take() {}, lose() {}, room }, ["a"]);
  peer.deliver(frameOf({ path: ["a"], from: "p", id: 1 }));
  for (let n = 0; n < 100; n++) peer.room();
  assertEquals(asked, 100);
});

Deno.test("UplinkPeer.want gives nobody what a broker publishes of itself", () => {
  const { router, peer } = setUp();
  peer.want(["*broker", "stats"], true);
  peer.want(["a"], true);
  assertEquals([router.isWanted(["*broker"]), router.isWanted(["a"])], [false, true]);
});

Deno.test("UplinkPeer.free waits for the end of what is being delivered, and says so", () => {
  const happened: string[] = [];
  const held = 1000;
  const { router, peer, account } = setUp({
    free(bytes) {
      happened.push(`freed ${bytes}`);
      peer.onBytes(-bytes);
    },
  });
  peer.onBytes(held);
  const client = (name: string): Peer => ({
    take() {
      happened.push(`${name}: ${peer.free(400)} go later, ${peer.bytes} left`);
    },
    lose() {},
    room: () => undefined,
  });
  router.add(client("first"), ["a"]);
  router.add(client("second"), ["a"]);
  peer.deliver(frameOf({ path: ["a"], from: "p", id: 1 }));
  assertEquals(happened, [
    "first: 400 go later, 600 left",
    "second: 400 go later, 200 left",
    "freed 800",
  ]);
  assertEquals([account.bytes, peer.bytes], [200, 200]);
  assertEquals(peer.free(100), 0);
  assertEquals([happened.at(-1), account.bytes], ["freed 100", 100]);
});
