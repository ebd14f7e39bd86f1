/** Promises that are settled from outside, and waits for them that are given up. */
import { assertEquals, assertRejects } from "@std/assert";
import { NetPubSub } from "../mod.ts";
import { Deferred } from "../net/deferred.ts";
import { quiet } from "./helpers/quiet.ts";

/** How often garbage is made before what is left counts as kept. */
const ROUNDS = 300;

/** Begins waits that are all given up; returns how many of their reasons are still in memory. */
async function left(begin: (signal: AbortSignal) => Promise<void>): Promise<number> {
  const reasons: WeakRef<object>[] = [];
  for (let i = 0; i < 50; i++) {
    const controller = new AbortController();
    const wait = begin(controller.signal).catch(() => {});
    controller.abort(new Error("given up"));
    reasons.push(new WeakRef(controller.signal.reason));
    await wait;
  }
  // The last may still be where the engine has put it.
  reasons.pop();
  const isKept = (reason: WeakRef<object>) => reason.deref() !== undefined;
  for (let round = 0; round < ROUNDS && reasons.some(isKept); round++) {
    await quiet(); // What was looked at lives until the end of the turn.
    new Uint8Array(32 * 1024 * 1024).fill(1); // Garbage is collected sooner or later.
  }
  return reasons.filter(isKept).length;
}

Deno.test("Deferred keeps nothing of a wait that was given up", async () => {
  const deferred = new Deferred();
  const patient = deferred.wait(new AbortController().signal);
  assertEquals(await left((signal) => deferred.wait(signal)), 0);
  deferred.settle({});
  await patient;
});

Deno.test("NetPubSub.connect keeps nothing of a call that was given up while there is no connection", async () => {
  const bus = new NetPubSub("tcp://127.0.0.1:1", "key", { onState() {} });
  const first = bus.connect({ wait: true });
  assertEquals(await left((signal) => bus.connect({ signal })), 0);
  const disconnected = assertRejects(() => first);
  await bus.disconnect();
  await disconnected;
});

Deno.test("NetPubSub.flush keeps nothing of a call that was given up while there is no connection", async () => {
  const bus = new NetPubSub("tcp://127.0.0.1:1", "key", { onState() {}, onError() {} });
  const first = assertRejects(() => bus.connect({ wait: true }));
  bus.publish("a");
  assertEquals(await left((signal) => bus.flush({ signal })), 0);
  await bus.disconnect({ signal: AbortSignal.abort() }).catch(() => {});
  await first;
});

for (
  const [name, outcome] of [["resolves", {}], ["rejects", { error: new Error("no") }]] as const
) {
  Deno.test(`Deferred ${name} for all who wait, before and after it settles`, async () => {
    const deferred = new Deferred();
    const { signal } = new AbortController();
    const waits = [deferred.promise, deferred.wait(undefined), deferred.wait(signal)];
    deferred.settle(outcome);
    deferred.settle({ error: new Error("too late") });
    waits.push(deferred.wait(signal), deferred.wait(undefined));
    const status = "error" in outcome
      ? { status: "rejected", reason: outcome.error }
      : { status: "fulfilled", value: undefined };
    assertEquals(await Promise.allSettled<unknown>(waits), Array(5).fill(status));
  });
}

Deno.test("Deferred rejects with the reason of a signal that aborts, or has aborted", async () => {
  const deferred = new Deferred();
  const controller = new AbortController();
  const wait = deferred.wait(controller.signal);
  controller.abort("enough");
  deferred.settle({});
  assertEquals(await Promise.allSettled([wait, deferred.wait(controller.signal)]), [
    { status: "rejected", reason: "enough" },
    { status: "rejected", reason: "enough" },
  ]);
});
