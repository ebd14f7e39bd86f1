/** What a broker does with the messages of one client, before they go anywhere. */
import { assertEquals } from "@std/assert";
import { Access } from "../broker/access.ts";
import { ClientCounters, Counters } from "../broker/counters.ts";
import { Key } from "../broker/keys.ts";
import { Publisher } from "../broker/publisher.ts";
import { Rights } from "../broker/rights.ts";
import { TopicCounts } from "../broker/topic_counts.ts";
import { encodeFrame, FrameType } from "../protocol/frame.ts";
import { decodeRefused } from "../protocol/frame_bodies.ts";
import { FrameReader } from "../protocol/frame_reader.ts";
import { decodeTopic, encodeTopic } from "../protocol/topic_block.ts";
import type { Peer } from "../routing/peer.ts";
import { type Route, Router } from "../routing/router.ts";
import type { TopicPath } from "../topic.ts";

const LIMITS = { messageBytes: 1024, topicElements: 16, elementBytes: 255, subscriptions: 16 };
const PEER: Peer = { take() {}, lose() {}, room: () => undefined };

/** Counts how often it is asked who gets a message. */
class CountingRouter extends Router<Peer> {
  asked = 0;

  override peers(route: Route<Peer>): readonly Peer[] {
    this.asked++;
    return super.peers(route);
  }
}

/** A publisher with a key that may publish to these topics. */
function setUp(granted: readonly TopicPath[]) {
  const router = new CountingRouter();
  const refused: Uint8Array[] = [];
  const publisher = new Publisher({
    access: new Access(new Key("ann", new Uint8Array(1), new Rights({ publish: granted }))),
    counters: new ClientCounters(new Counters()),
    peer: PEER,
    origin: { withhold: () => () => {} },
    onRefused: (frame) => refused.push(frame),
  }, {
    router,
    limits: LIMITS,
    topicCounts: new TopicCounts(),
    decodeTopic: (bytes, start, end) => decodeTopic(bytes, start, end, LIMITS),
    now: () => 0,
  });
  const publish = (path: TopicPath) => {
    const reader = new FrameReader(new Array(256).fill(LIMITS.messageBytes));
    const frame = encodeFrame(FrameType.PUBLISH, encodeTopic(path), Uint8Array.of(0));
    reader.space().set(frame);
    reader.wrote(frame.length);
    reader.next();
    publisher.publish(reader);
  };
  return { router, refused, publish };
}

Deno.test("Publisher looks at rights first, and works out for nobody else who would get a message", () => {
  const { router, refused, publish } = setUp([["a"]]);
  for (const path of [[], ["b"], ["*broker"], ["a", "*local"]]) publish(path);
  assertEquals([router.asked, refused.length], [0, 4]);
  publish(["a", "x"]);
  assertEquals([router.asked, refused.length], [1, 4]);
  assertEquals(
    decodeRefused(refused[0]!.subarray(2), LIMITS).text,
    'Cannot publish to []: the key "ann" does not grant that',
  );
});
