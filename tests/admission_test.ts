/** How many connections may be without authentication, and which one goes. */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { Admission, type AdmissionLimits } from "../broker/admission.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import { BusyError } from "../protocol/authenticate.ts";
import { Broker, NetPubSub } from "../mod.ts";
import { dialBroker } from "../tools/harness/peer.ts";

/** A connection that is open until it is closed. */
class Stub {
  isOpen = true;

  constructor(readonly remoteAddress: string | undefined) {}

  close(): void {
    this.isOpen = false;
  }
}

function admissionOf(limits: Partial<AdmissionLimits>): Admission<Stub> {
  return new Admission({ halfOpen: 1000, halfOpenPerAddress: 1000, ...limits });
}

function callersOf(addresses: readonly (string | undefined)[]): Stub[] {
  return addresses.map((address) => new Stub(address));
}

Deno.test("Admission closes the oldest when there are too many in all", () => {
  const admission = admissionOf({ halfOpen: 2 });
  const callers = callersOf(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
  for (const caller of callers) admission.enter(caller);
  assertEquals(callers.map(({ isOpen }) => isOpen), [false, false, true, true]);
  assertEquals(admission.size, 2);
});

Deno.test("Admission closes the oldest from an address when there are too many from it", () => {
  const admission = admissionOf({ halfOpenPerAddress: 2 });
  const callers = callersOf(["10.0.0.9", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.9"]);
  for (const caller of callers) admission.enter(caller);
  assertEquals(callers.map(({ isOpen }) => isOpen), [true, false, true, true, true]);
});

Deno.test("Admission has no bound for one address where connections have none", () => {
  const admission = admissionOf({ halfOpenPerAddress: 1 });
  const callers = callersOf([undefined, undefined, undefined]);
  for (const caller of callers) admission.enter(caller);
  assertEquals(callers.every(({ isOpen }) => isOpen), true);
});

Deno.test("Admission counts those no more that have left", () => {
  const admission = admissionOf({ halfOpen: 1, halfOpenPerAddress: 1 });
  for (const caller of callersOf(["10.0.0.1", "10.0.0.1", "10.0.0.1"])) {
    const entrant = admission.enter(caller);
    admission.leave(entrant);
    admission.leave(entrant);
    assertEquals(caller.isOpen, true);
  }
  assertEquals(admission.size, 0);
});

Deno.test("Admission.shed closes the older half", () => {
  const admission = admissionOf({});
  const callers = callersOf(["10.0.0.1", undefined, "10.0.0.1"]);
  for (const caller of callers) admission.enter(caller);
  admission.shed();
  assertEquals(callers.map(({ isOpen }) => isOpen), [false, false, true]);
  assertEquals(admission.size, 1);
});

Deno.test("Entrant tells why it was not let in", () => {
  const admission = admissionOf({ halfOpen: 1 });
  const entrant = admission.enter(new Stub("10.0.0.1"));
  for (
    const [error, kind] of [
      [new AuthError("wrong"), "key"],
      [new BusyError("it is full"), "busy"],
      [new ProtocolError("bad"), "protocol"],
      [new ConnectionLostError("gone"), "lost"],
    ] as const
  ) assertEquals(entrant.refusal(error), { kind, error });
  const reset = entrant.refusal(new Deno.errors.ConnectionReset("by peer"));
  assertEquals(reset.kind, "lost");
  assertInstanceOf(reset.error, ConnectionLostError);
  admission.enter(new Stub("10.0.0.2"));
  const { kind, error } = entrant.refusal(new Deno.errors.BadResource());
  assertEquals(kind, "crowded");
  assertInstanceOf(error, ProtocolError);
});

Deno.test("Entrant.pause ends when the connection is closed", async () => {
  const entrant = admissionOf({}).enter(new Stub("10.0.0.1"));
  const paused = entrant.pause(2 ** 30);
  entrant.refuse("timeout", "it is late");
  await paused;
});

for (
  const [address, network] of [
    ["10.0.0.1", "10.0.0.1"],
    ["::1", "0:0:0:0::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:db8::ffff:1", "2001:db8:0:0::/64"],
    ["2001:db8:0:1::1", "2001:db8:0:1::/64"],
    ["2001:0DB8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["::", "0:0:0:0::/64"],
  ] as const
) {
  Deno.test(`Admission counts ${address} as ${network}`, () => {
    assertEquals(admissionOf({}).enter(new Stub(address)).network, network);
  });
}

Deno.test("Broker refuses a wrong key late, and holds up nobody else for that", async () => {
  await using broker = new Broker();
  await broker.start();
  const strangers = Array.from({ length: 5 }, () => new NetPubSub(broker.address, "wrong"));
  const before = performance.now();
  let isRefused = false;
  const refused = Promise.all(strangers.map(async (stranger) => {
    await assertRejects(() => stranger.connect(), AuthError);
    isRefused = true;
    return performance.now() - before;
  }));
  await using friend = new NetPubSub(broker.address, broker.authkey);
  await friend.connect();
  assertEquals(isRefused, false, "the friend came later and is in first");
  for (const after of await refused) assert(after >= 490, `after ${after} ms`);
  assertEquals(broker.stats().refusals.key, 5);
});

Deno.test("Broker lets new clients in while as many as may be say nothing", async () => {
  await using broker = new Broker({
    address: "tcp://127.0.0.1:0",
    limits: { halfOpenPerAddress: 10 },
  });
  await broker.start();
  using silent = new DisposableStack();
  for (let i = 0; i < 50; i++) silent.use(await dialBroker(broker));
  await using bus = new NetPubSub(broker.address, broker.authkey);
  await bus.connect();
  assertEquals(broker.stats().refusals.crowded, 41);
});
