/** How `deno task growth` counts, and how it judges. */
import { assertEquals, assertMatch } from "@std/assert";
import { Builtins } from "../tools/growth/builtins.ts";
import { faultsOf, growthOf, type Measured, rowOf } from "../tools/growth/judging.ts";
import type { Operation } from "../tools/growth/operation.ts";
import { OPERATIONS } from "../tools/growth/operations.ts";
import { Steps } from "../tools/growth/steps.ts";

const ROOT = new URL("../", import.meta.url);

/** Functions whose work is known; in a module that nobody has compiled before. */
const SOURCE = `
export function linear(n) { let sum = 0; for (let i = 0; i < n; i++) sum += i; return sum; }
export function square(n) { for (let i = 0; i < n; i++) linear(n); }
export function some(n) { for (let i = 0; i < n; i++) { if (i % 4 === 0) linear(10); } }
`;
interface Known {
  linear(n: number): number;
  square(n: number): void;
  some(n: number): void;
}

Deno.test("Steps counts what was run: in one function, in others, in parts of them", async () => {
  const url = `data:text/javascript,${encodeURIComponent(SOURCE)}`;
  using steps = await Steps.begin((counted) => counted === url);
  const known: Known = await import(url);
  const stepsOf = async (act: () => unknown) => {
    await steps.take();
    act();
    return await steps.take();
  };
  const [few, many] = [1000, 4000];
  const ratios = [];
  for (const act of [known.linear, known.square, known.some]) {
    act(few); // Compiles it.
    ratios.push(await stepsOf(() => act(many)) / await stepsOf(() => act(few)));
  }
  assertEquals(ratios.map(Math.round), [4, 16, 4]);
  assertEquals(await stepsOf(() => {}), 0);
});

Deno.test("Builtins counts what methods move, compare and visit, and undoes what it replaced", () => {
  const { splice } = Array.prototype;
  const builtins = new Builtins();
  const array = () => Array.from({ length: 100 }, (_, i) => i);
  const bytes = new Uint8Array(100);
  const touched = (act: () => unknown) => {
    builtins.touched = 0;
    act();
    return builtins.touched;
  };
  const [first, second, third, fourth] = [array(), array(), array(), array()];
  const set = new Set(array());
  {
    using _installed = builtins.install();
    assertEquals(touched(() => first.splice(10, 1)), 1 + 89);
    assertEquals(touched(() => first.splice(-1, 1)), 1);
    assertEquals(touched(() => second.splice(10, 1, 0)), 2);
    assertEquals(touched(() => third.toSpliced(99, 1)), 100);
    assertEquals(touched(() => fourth.indexOf(49)), 50);
    assertEquals(touched(() => fourth.includes(100)), 100);
    assertEquals(touched(() => bytes.slice(40)), 60);
    assertEquals(touched(() => bytes.set(bytes.subarray(50))), 50);
    assertEquals(touched(() => [...set].length), 101); // The last call says that there are no more.
    assertEquals(touched(() => Math.min(...set.keys())), 101);
    assertEquals(touched(() => fourth.push(1)), 0);
  }
  assertEquals(Array.prototype.splice, splice);
});

const OPERATION: Operation = {
  name: "something",
  of: "things",
  per: "thing",
  from: 1000,
  prepare: () => ({ units: 1, run() {} }),
};

function judged(costs: Measured["costs"], more: Partial<Measured> = {}) {
  const measured = { name: OPERATION.name, n: 1000, costs, ...more };
  return { operation: { ...OPERATION, refusedWithin: 500 }, measured, other: undefined };
}

for (
  const [what, costs, faults] of [
    ["nothing where each costs the same", { steps: [100, 100, 101], cpu: [2, 2, 2] }, []],
    ["nothing where each costs less", { steps: [400, 200, 100] }, []],
    ["nothing where each costs a little more", { touched: [100, 110, 120] }, []],
    ["what is quadratic", { steps: [100, 200, 400], touched: [100, 100, 100] }, ["steps"]],
    ["what is quadratic, but for a part of it", { touched: [500, 600, 800] }, ["touched"]],
    ["what is quadratic in time only", { steps: [100, 100, 100], cpu: [1, 2, 4] }, ["cpu"]],
    ["what the operation counted", { own: [200, 400, 800] }, ["own"]],
    ["nothing where there is hardly anything", { touched: [1, 2, 4] }, []],
    ["what begins with hardly anything", { touched: [1, 20, 40] }, ["touched"]],
  ] as const
) {
  Deno.test(`growth complains of ${what}`, () => {
    assertEquals(faultsOf(judged(costs)), [...faults]);
    assertEquals(rowOf(judged(costs)).at(-1), faults.length === 0 ? "PASS" : "FAIL");
  });
}

Deno.test("growth accepts what is refused in time, however it grows", () => {
  const costs = { cpu: [1, 2, 4] } as const;
  assertEquals(faultsOf(judged(costs, { refusedAfter: 400 })), []);
  assertEquals(faultsOf(judged(costs, { refusedAfter: 600 })), ["cpu"]);
});

Deno.test("growth fails what cannot be measured", () => {
  assertEquals(rowOf(judged({}, { failed: "Error: it is broken" })).at(-1), "FAIL");
});

Deno.test("growth compares an operation with another that is harmless", () => {
  const other = { name: "other", n: 1000, costs: { cpu: [1, 1, 1] } } as const;
  assertEquals(growthOf([50, 50, 50], "cpu", other.costs.cpu), [50, 50]);
  assertEquals(faultsOf({ ...judged({ cpu: [50, 50, 50] }), other }), ["cpu"]);
  assertEquals(faultsOf({ ...judged({ cpu: [3, 3, 3] }), other }), []);
});

Deno.test("each operation of growth has a name of its own, and is compared with one that is there", () => {
  const names = OPERATIONS.map(({ name }) => name);
  assertEquals(names.length, new Set(names).size);
  for (const { comparedWith } of OPERATIONS) {
    assertEquals(comparedWith === undefined || names.includes(comparedWith), true, comparedWith);
  }
});

Deno.test("deno task growth --counted measures what it is asked for, and passes where it should", async () => {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "growth", "--counted", "--operation", "clearSubscribers"],
    cwd: ROOT,
  }).output();
  const [headings, row, ...more] = new TextDecoder().decode(stdout).trimEnd().split("\n");
  assertEquals(code, 0);
  assertEquals(headings?.split(/ {2,}/).slice(0, 4), ["operation", "n", "steps", "touched"]);
  assertMatch(row!, /^clearSubscribers .* 1\.0\d \d\.\d\d .* PASS$/);
  assertEquals(more, []);
});
