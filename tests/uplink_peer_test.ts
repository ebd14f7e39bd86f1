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
function setUp() {
  const router = new Router<Peer>();
  const peer = new UplinkPeer({} as Uplink, {
    account: new Account(),
    router,
    limits: LIMITS_MAX,
    background: new Background(),
    topicCounts: new TopicCounts(),
    decodeTopic: (bytes, start, end) => decodeTopic(bytes, start, end, LIMITS_MAX),
  });
  return { router, peer };
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
