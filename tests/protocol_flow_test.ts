/** Holds what docs/protocol.md says of sessions, windows and acknowledgements against a broker. */
import { assert, assertEquals } from "@std/assert";
import { ANSWER_MS, within } from "../tools/attacks/attack.ts";
import { ackFrame, frame, openFrame, Reason, topic, Type } from "../tools/attacks/raw_client.ts";
import { until } from "../tools/harness/until.ts";
import { ackOf, ASK, messageOf, nextAck, RawStage, typesOf } from "./helpers/raw_stage.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const NEW = 0;
const RESUMED = 1;

for (
  const [what, messageBytes] of [["messages", MIB], ["messages that are too large", 100]] as const
) {
  for (
    const [last, when, isAsked] of [
      [32 * KIB, "after 64 KiB of whole frames", false],
      [32 * KIB - 1, "only when asked after a byte less", true],
    ] as const
  ) {
    Deno.test(`Broker acknowledges ${what} ${when}`, async () => {
      await using stage = await RawStage.start({ limits: { messageBytes } });
      const publisher = await stage.opened();
      await publisher.send(messageOf(32 * KIB), messageOf(last));
      const { broker } = stage;
      await until(() => broker.stats().received + broker.stats().refusedMessages === 2);
      await publisher.send(ASK);
      assertEquals(await nextAck(publisher), { count: 2, requests: isAsked ? 1 : 0 });
    });
  }
}

Deno.test("Broker sends no frame that does not fit in the window, and waits for an ACK of 64 KiB", async () => {
  await using stage = await RawStage.start();
  const subscriber = await stage.opened({ topics: [topic("t")] });
  const publisher = await stage.opened();
  for (let n = 0; n < 3; n++) {
    await publisher.send(messageOf(400 * KIB));
    await publisher.flush();
  }
  // 800 of 1,024 KiB are sent. It does not ask: at 64 KiB an ACK has to come by itself.
  assertEquals(await typesOf(subscriber, 2), [Type.PUBLISH, Type.PUBLISH]);
  await subscriber.send(ASK);
  assertEquals(await typesOf(subscriber, 1), [Type.ACK]);
  await subscriber.send(ackFrame(1, 0));
  assertEquals(await typesOf(subscriber, 1), [Type.PUBLISH]);
});

Deno.test("Broker asks for an ACK when the window is closed with less than 64 KiB in it", async () => {
  await using stage = await RawStage.start();
  const subscriber = await stage.opened({ topics: [topic("t")] });
  const publisher = await stage.opened();
  for (const length of [1000, MIB]) {
    await publisher.send(messageOf(length));
    await publisher.flush();
  }
  assertEquals(await typesOf(subscriber, 2), [Type.PUBLISH, Type.ASK]);
  await subscriber.send(ackFrame(1, 1));
  assertEquals(await typesOf(subscriber, 1), [Type.PUBLISH]);
});

Deno.test("Broker sends what was queued before an UNSUBSCRIBE after it", async () => {
  await using stage = await RawStage.start();
  const subscriber = await stage.opened({ topics: [topic("t")] });
  const publisher = await stage.opened();
  for (let n = 0; n < 2; n++) {
    await publisher.send(messageOf(600 * KIB));
    await publisher.flush();
  }
  await subscriber.send(frame(Type.UNSUBSCRIBE, topic("t")), ASK);
  assertEquals(await typesOf(subscriber, 2), [Type.PUBLISH, Type.ACK]);
  await subscriber.send(ackFrame(1, 0));
  assertEquals(await typesOf(subscriber, 1), [Type.PUBLISH]);
});

Deno.test("Broker takes the taken of an OPEN for an acknowledgement, and goes on behind it", async () => {
  await using stage = await RawStage.start();
  const subscriber = await stage.client();
  const { session } = await subscriber.open({ topics: [topic("t")] });
  const publisher = await stage.opened();
  await publisher.send(messageOf(301), messageOf(302), messageOf(303));
  await publisher.flush();
  await typesOf(subscriber, 3);
  const again = await stage.client();
  assertEquals((await again.open({ session, taken: 2, topics: [topic("t")] })).outcome, RESUMED);
  const third = (await again.frame())!;
  assertEquals(third.body.length, messageOf(303).length - 6);
  await again.send(ackFrame(1, 0)); // It goes back.
  assertEquals(await again.goodbye(), Reason.PROTOCOL);
});

for (
  const [what, taken] of [["more than was sent", 4], ["less than was acknowledged", 1]] as const
) {
  Deno.test(`Broker ends and forgets a session whose client has taken ${what}`, async () => {
    await using stage = await RawStage.start();
    const subscriber = await stage.client();
    const { session } = await subscriber.open({ topics: [topic("t")] });
    const publisher = await stage.opened();
    await publisher.send(messageOf(300), messageOf(300), messageOf(300));
    await publisher.flush();
    await typesOf(subscriber, 3);
    await subscriber.send(ackFrame(2, 0));
    await subscriber.flush();
    const liar = await stage.client();
    await liar.send(openFrame({ session, taken }));
    assertEquals(await liar.goodbye(), Reason.PROTOCOL);
    assertEquals(await subscriber.goodbye(), Reason.REPLACED);
    assertEquals((await (await stage.client()).open({ session })).outcome, NEW);
  });
}

Deno.test("Broker ignores the taken of an OPEN without a session, or with one that it does not have", async () => {
  await using stage = await RawStage.start();
  for (const session of [new Uint8Array(16), new Uint8Array(16).fill(7)]) {
    const client = await stage.client();
    const opened = await client.open({ session, taken: 2 ** 53 - 1 });
    assertEquals([opened.outcome, opened.taken], [NEW, 0]);
    assertEquals(await client.flush(), true);
  }
});

Deno.test("Broker tells in OPENED what it has taken, also of what it does not acknowledge yet", async () => {
  await using stage = await RawStage.start({
    limits: { queueBytes: 2 * MIB },
    maxPatience: 60_000,
  });
  await stage.opened({ policy: 1, patience: 60_000, topics: [topic("t")] });
  const publisher = await stage.client();
  const { session } = await publisher.open();
  let sent = 0;
  for (; stage.broker.stats().waiting === 0; sent++) {
    await publisher.send(messageOf(64 * KIB));
    await publisher.flush();
  }
  publisher.close();
  const again = await stage.client();
  const opened = await again.open({ session });
  assertEquals([opened.outcome, opened.taken], [RESUMED, sent]);
  // At once, and not only after a heartbeat.
  const next = await within(ANSWER_MS, again.frame());
  assertEquals(next?.type, Type.ACK);
  const { count } = ackOf(next!);
  assert(count < sent, `${count} of ${sent}`);
});

for (
  const [policy, patience, isWait] of [
    [0, 60_000, false],
    [1, 60_000, true],
    [1, 0, false],
    [2, 60_000, false],
    [255, 60_000, false],
  ] as const
) {
  const what = isWait ? "holds publishers back" : "drops messages";
  Deno.test(`Broker ${what} for a client with policy ${policy} and patience ${patience}`, async () => {
    await using stage = await RawStage.start({
      limits: { queueBytes: 2 * MIB },
      maxPatience: 60_000,
    });
    await stage.opened({ policy, patience, topics: [topic("t")] });
    const publisher = await stage.opened();
    const { broker } = stage;
    while (broker.stats().waiting + broker.stats().dropped === 0) {
      await publisher.send(messageOf(64 * KIB));
      await publisher.flush();
    }
    assertEquals(broker.stats().waiting === 1, isWait);
  });
}
