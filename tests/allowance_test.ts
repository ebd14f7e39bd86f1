import { assertEquals } from "@std/assert";
import { Allowance } from "../base/allowance.ts";

/** How often it may happen, tried so many times at a moment. */
function spent(allowance: Allowance, now: number, tries: number): number {
  return Array.from({ length: tries }, () => allowance.spend(now)).filter((may) => may).length;
}

Deno.test("Allowance allows as much at once as it holds, and then so much a second", () => {
  const allowance = new Allowance(5, 2);
  assertEquals(spent(allowance, 1000, 100), 5);
  assertEquals(spent(allowance, 1400, 100), 0);
  assertEquals(spent(allowance, 1500, 100), 1);
  assertEquals(spent(allowance, 3000, 100), 3);
  assertEquals(spent(allowance, 1e9, 100), 5, "it holds no more, however long nothing happens");
});

Deno.test("Allowance that gains nothing is spent once", () => {
  const allowance = new Allowance(2, 0);
  assertEquals(spent(allowance, 0, 10), 2);
  assertEquals(spent(allowance, 1e12, 10), 0);
});
