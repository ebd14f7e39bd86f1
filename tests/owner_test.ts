/** What a client prints when its program has given no callbacks. */
import { assertEquals } from "@std/assert";
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import type { Gap } from "../net/options.ts";
import { Owner } from "../net/owner.ts";
import { Dispatcher } from "../pubsub/dispatcher.ts";
import { Warnings } from "./helpers/warnings.ts";

const LOST = new ConnectionLostError("it is lost");

for (
  const [gap, line] of [
    [{ direction: "in", reason: "overflow", missed: 12 }, "Missed 12 messages (overflow)"],
    [{ direction: "in", reason: "cut off", missed: 1 }, "Missed 1 message (cut off)"],
    [{ direction: "in", reason: "expired" }, "May have missed messages (expired)"],
    [
      { direction: "in", reason: "new broker", resent: 1 },
      "May have missed messages (new broker); 1 message from here may arrive twice",
    ],
    [
      { direction: "out", reason: "new broker", resent: 3 },
      "Messages from here may be lost (new broker); 3 messages from here may arrive twice",
    ],
  ] as [Gap, string][]
) {
  Deno.test(`Owner without onGap prints: ${line}`, () => {
    using warnings = new Warnings();
    new Owner(new Dispatcher(), {}).gap(gap);
    assertEquals(warnings.lines, [`mpubsub: ${line}`]);
  });
}

Deno.test("Owner without onGap prints a bounded number of lines, whatever an onError would get", () => {
  using warnings = new Warnings();
  const dispatcher = new Dispatcher();
  const owner = new Owner(dispatcher, {});
  for (let n = 0; n < 500; n++) dispatcher.report(new Error("flood"), {});
  const before = warnings.lines.length;
  for (let n = 0; n < 500; n++) owner.gap({ direction: "in", reason: "overflow", missed: n });
  assertEquals(warnings.lines.length - before, 100);
  assertEquals(warnings.lines[before], "mpubsub: Missed 0 messages (overflow)");
});

Deno.test("Owner without onState prints nothing of a connection that is soon back, nor of what a call tells", () => {
  using warnings = new Warnings();
  const owner = new Owner(new Dispatcher(), {});
  owner.state("connecting", undefined, false);
  owner.state("connected", undefined, false);
  owner.state("reconnecting", LOST, false);
  owner.state("connected", undefined, false);
  owner.state("reconnecting", new AuthError("the ticket has expired", { expired: true }), false);
  owner.state("disconnected", undefined, true);
  owner.state("connecting", undefined, false);
  owner.state("disconnected", LOST, true);
  assertEquals(warnings.lines, []);
});

Deno.test("Owner without onState prints at once that the broker refuses, and that it has ended for good", () => {
  using warnings = new Warnings();
  const owner = new Owner(new Dispatcher(), {});
  owner.state("connected", undefined, false);
  owner.state("reconnecting", LOST, false);
  owner.state("reconnecting", new AuthError("another key"), false);
  owner.state("connected", undefined, false);
  owner.state("disconnected", new ProtocolError("it is wrong"), false);
  assertEquals(warnings.lines, [
    "mpubsub: No connection to the broker; trying again (another key)",
    "mpubsub: Connected to the broker",
    "mpubsub: Disconnected for good (it is wrong)",
  ]);
});

Deno.test("Owner with callbacks prints nothing", () => {
  using warnings = new Warnings();
  const told: unknown[] = [];
  const owner = new Owner(new Dispatcher(), {
    onState: (...args) => told.push(args),
    onGap: (gap) => told.push(gap),
  });
  const gap: Gap = { direction: "in", reason: "overflow", missed: 1 };
  owner.gap(gap);
  owner.state("connected", undefined, false);
  owner.state("reconnecting", LOST, false);
  assertEquals([told, warnings.lines], [[gap, ["connected"], ["reconnecting", LOST]], []]);
});
