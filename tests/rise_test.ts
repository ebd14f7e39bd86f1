/** How latencies with and without something are compared. */
import { assertEquals } from "@std/assert";
import { Rise } from "../tools/harness/rise.ts";

/** So many messages that took 1 ms, and one in fifty that took `slow`. */
function latencies(count: number, slow: number): [number, number][] {
  const late = count / 50;
  return [[100, count - late], [slow * 100, late]];
}

function round(
  { count = 2000, during = 1, without = 1, beside = 1 }: {
    count?: number;
    during?: number;
    without?: number;
    beside?: number;
  },
): Rise {
  return new Rise().add("during", latencies(count, during))
    .add("without", latencies(count, without)).add("beside", latencies(count, beside));
}

for (
  const [what, rounds, faults] of [
    ["nothing when nothing rises", [round({ during: 40 })], []],
    ["a p99 that rises", [round({ during: 80 })], ["p99 rises by 79.0 ms; it may by 50 ms"]],
    ["nothing that is as slow without it", [round({ during: 80, without: 40 })], []],
    ["nothing that is as slow beside it", [round({ during: 80, beside: 40 })], []],
    ["nothing in one round of three", [80, 2, 3].map((during) => round({ during })), []],
    [
      "what rises in two rounds of three",
      [80, 2, 90].map((during) => round({ during })),
      ["p99 rises by 79.0 ms; it may by 50 ms"],
    ],
    ["little of few messages", [round({ count: 500, during: 200 })], []],
    [
      "much of few messages",
      [round({ count: 500, during: 300 })],
      ["p99 rises by 299.0 ms; it may by 250 ms"],
    ],
    [
      "a median that rises",
      [new Rise().add("during", [[6000, 2000]]).add("without", [[100, 2000]])],
      ["p50 rises by 59.0 ms; it may by 50 ms", "p99 rises by 59.0 ms; it may by 50 ms"],
    ],
    [
      "a round in which nothing came",
      [new Rise().add("without", [[100, 2000]])],
      ["p50 rises by NaN ms; it may by 50 ms", "p99 rises by NaN ms; it may by 250 ms"],
    ],
  ] as const
) {
  Deno.test(`Rise complains of ${what}`, () => {
    assertEquals(Rise.faults(rounds), [...faults]);
  });
}

Deno.test("Rise says what the quantiles are, and what they are otherwise", () => {
  const rise = Rise.of([round({ during: 80 }), round({ during: 80, beside: 3 })]);
  assertEquals(
    String(rise),
    "p50 1.00 ms (1.00 without, 1.00 beside), p99 80.00 ms (1.00 without, 1.00 beside)",
  );
  const without = new Rise().add("during", [[200, 1]]).add("without", [[100, 1]]);
  assertEquals(String(without), "p50 2.00 ms (1.00 without), p99 2.00 ms (1.00 without)");
});
