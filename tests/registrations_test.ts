import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { AbortListeners } from "../pubsub/abort_listeners.ts";
import type { Registration } from "../pubsub/registration.ts";
import { Registrations } from "../pubsub/registrations.ts";
import { randomOf } from "../tools/harness/random.ts";

/** The registrations of these subscribers, and how often one of them was looked at. */
function setUp(subscribers: readonly unknown[]) {
  const registrations = new Registrations();
  const looks = { count: 0 };
  const all = subscribers.map((subscriber) => {
    let active = true;
    return {
      get subscriber() {
        looks.count++;
        return subscriber;
      },
      get active() {
        looks.count++;
        return active;
      },
      set active(value) {
        active = value;
      },
    } as Registration;
  });
  for (const one of all) registrations.add(one);
  const remove = (registration: Registration) => {
    registration.active = false;
    registrations.removed(registration);
  };
  return { registrations, all, remove, looks };
}

for (
  const [how, orderOf] of [
    ["the earliest first", (all) => all],
    ["the latest first", (all) => all.toReversed()],
    ["in any order", (all) => all.toSorted(() => randomOf(1).int(3) - 1)],
  ] as readonly [string, (all: readonly number[]) => readonly number[]][]
) {
  Deno.test(`Registrations looks at each a bounded number of times, when all go, ${how}`, () => {
    const COUNT = 4000;
    const subscribers = Array.from({ length: COUNT }, (_, i) => i);
    const bySubscriber = setUp(subscribers);
    for (const subscriber of orderOf(subscribers)) {
      bySubscriber.remove(bySubscriber.registrations.earliestOf(subscriber)!);
    }
    const { registrations, all, remove, looks } = setUp(subscribers);
    for (const at of orderOf(subscribers)) remove(all[at]!);
    for (const { size, list } of [registrations, bySubscriber.registrations]) {
      assertEquals([size, list.length], [0, 0]);
    }
    assert(looks.count < 4 * COUNT, `${looks.count}`);
    assert(bySubscriber.looks.count < 12 * COUNT, `${bySubscriber.looks.count}`);
  });
}

Deno.test("Registrations finds the earliest of one subscriber that is there many times", () => {
  const COUNT = 4000;
  const { registrations, all, remove, looks } = setUp(new Array(COUNT).fill("same"));
  for (const one of all) {
    assertStrictEquals(registrations.earliestOf("same"), one);
    remove(one);
  }
  assertEquals(registrations.earliestOf("same"), undefined);
  assert(looks.count < 12 * COUNT, `${looks.count}`);
});

Deno.test("Registrations does what a list does, in random operations", () => {
  const first = Date.now() % 2 ** 31;
  for (let seed = first; seed < first + 20; seed++) {
    const random = randomOf(seed);
    const { registrations, remove } = setUp([]);
    let naive: Registration[] = [];
    for (let step = 0; step < 400; step++) {
      const subscriber = random.int(5);
      const earliest = naive.find((one) => one.subscriber as unknown === subscriber);
      assertStrictEquals(registrations.earliestOf(subscriber), earliest, `seed ${seed}`);
      if (random.int(100) < (step < 200 ? 60 : 40)) {
        const one = { subscriber, active: true } as unknown as Registration;
        registrations.add(one);
        naive.push(one);
      } else if (earliest !== undefined) {
        const one = random.int(2) === 0 ? earliest : random.pick(naive);
        remove(one);
        naive = naive.filter((other) => other !== one);
      }
      assertEquals(registrations.list.filter(({ active }) => active), naive, `seed ${seed}`);
      assertEquals(registrations.size, naive.length);
    }
  }
});

Deno.test("Registrations leaves the array alone over which somebody walks", () => {
  const { registrations, all, remove } = setUp(Array.from({ length: 100 }, (_, i) => i));
  const { list } = registrations;
  for (const one of all.slice(0, 99)) remove(one);
  assertEquals([list.length, registrations.list.length <= 16], [100, true]);
});

Deno.test("AbortListeners has one listener for each signal, as long as it needs it", () => {
  const { signal } = new AbortController();
  const calls: string[] = [];
  const counted = new Proxy(signal, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        calls.push(String(name));
        return Reflect.apply(value, target, args);
      };
    },
  });
  const listeners = new AbortListeners();
  const release = Array.from({ length: 1000 }, () => listeners.add(counted, () => {}));
  for (const free of release) free();
  for (const free of release) free();
  assertEquals(calls, ["addEventListener", "removeEventListener"]);
});

Deno.test("AbortListeners calls all that are there when the signal aborts, and none that is taken away then", () => {
  const controller = new AbortController();
  const called: string[] = [];
  const listeners = new AbortListeners();
  listeners.add(controller.signal, () => {
    called.push("a");
    releaseC();
  });
  listeners.add(controller.signal, () => called.push("b"));
  const releaseC = listeners.add(controller.signal, () => called.push("c"));
  controller.abort();
  controller.abort();
  assertEquals(called, ["a", "b"]);
});
