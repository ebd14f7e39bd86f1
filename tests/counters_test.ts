/** What a broker counts, in all and for each client. */
import { assertEquals } from "@std/assert";
import { ClientCounters, Counters } from "../broker/counters.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import { Reason } from "../protocol/frame.ts";
import type { LinkEnd } from "../protocol/link.ts";

Deno.test("Counters.snapshot has all counts, with the sum of refusals, and does not change any more", () => {
  const counters = new Counters();
  const before = counters.snapshot();
  counters.resumed++;
  counters.refusals.key += 2;
  counters.refusals.crowded++;
  counters.endings.revoked++;
  assertEquals(new Set(numbersIn(before)), new Set([0]));
  const after = counters.snapshot();
  assertEquals(after, {
    ...before,
    resumed: 1,
    refused: 3,
    refusals: { ...before.refusals, key: 2, crowded: 1 },
    endings: { ...before.endings, revoked: 1 },
  });
});

function numbersIn(counts: object): number[] {
  return Object.values(counts).flatMap((value) =>
    typeof value === "object" ? numbersIn(value) : value
  );
}

const mistake = new ProtocolError("a mistake");
for (
  const [what, end, counted] of [
    ["broke the protocol", { reason: Reason.PROTOCOL, error: mistake }, ["protocol"]],
    ["sent a topic too big", { reason: Reason.TOPIC_TOO_BIG, error: mistake }, ["topics"]],
    ["read nothing", { reason: Reason.NOT_READING, error: mistake }, ["notReading"]],
    ["said so itself", { reason: Reason.PROTOCOL, isTheirs: true, error: mistake }, []],
    ["was done", { reason: Reason.DONE }, []],
    ["was told that the broker goes", { reason: Reason.SHUTDOWN }, []],
    ["lost its connection", { error: new ConnectionLostError("lost") }, []],
  ] satisfies [string, LinkEnd, string[]][]
) {
  Deno.test(`Counters.countEnd counts ${counted[0] ?? "nothing"} for a client that ${what}`, () => {
    const counters = new Counters();
    counters.countEnd(end);
    const { endings } = counters.snapshot();
    assertEquals(Object.entries(endings).filter(([, count]) => count > 0).map(([name]) => name), [
      ...counted,
    ]);
  });
}

Deno.test("ClientCounters counts for its client, and in all", () => {
  const all = new Counters();
  const [ann, bob] = [new ClientCounters(all), new ClientCounters(all)];
  ann.count("delivered", 3);
  bob.count("delivered", 2);
  bob.countRefusal("tooFast");
  assertEquals(ann.snapshot(), { received: 0, delivered: 3, dropped: 0, refusedMessages: 0 });
  assertEquals(bob.snapshot(), { received: 0, delivered: 2, dropped: 0, refusedMessages: 1 });
  const { delivered, refusedMessages, tooFast, tooBig } = all.snapshot();
  assertEquals([delivered, refusedMessages, tooFast, tooBig], [5, 1, 1, 0]);
});
