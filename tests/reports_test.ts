import { assertEquals } from "@std/assert";
import { Reports } from "../base/reports.ts";

Deno.test("Reports admits a hundred at once and ten a minute, and tells how many it left out", () => {
  const reports = new Reports("things");
  const admitted = (now: number) =>
    Array.from({ length: 1000 }, () => reports.admit(now)).filter((is) => is).length;
  assertEquals(admitted(0), 100);
  assertEquals(reports.told(), "900 things were not reported");
  assertEquals(reports.told(), "");
  assertEquals(admitted(60_000), 10);
  assertEquals(reports.rest(60_000), undefined, "there is no room to tell it");
  assertEquals(reports.rest(66_000), "990 things were not reported");
  assertEquals(reports.rest(1e9), undefined, "there is nothing to tell");
});

Deno.test("Reports counts what is not wanted as left out, and spends nothing on it", () => {
  const reports = new Reports("things");
  for (let n = 0; n < 1000; n++) assertEquals(reports.admit(0, false), false);
  assertEquals(reports.admit(0), true);
  assertEquals(reports.told(), "1000 things were not reported");
});
