/** What the scripts of `.ci/` count. */
import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);
const SUMMARY = "ok | 3 passed (1 step) | 0 failed | 2 ignored (9ms)";
const BAD_SUMMARY = "FAILED | 4 passed | 2 failed (1 step) (9ms)";

/** What a script says of these steps. */
async function run(steps: readonly string[], before: readonly string[] = []) {
  const script = ["set -euo pipefail", "WANTED=()", "source .ci/steps.sh", ...before, ...steps];
  const { code, stdout } = await new Deno.Command("bash", {
    args: ["-c", [...script, "finish"].join("\n")],
    cwd: ROOT,
    stderr: "inherit",
  }).output();
  const lines = new TextDecoder().decode(stdout).trimEnd().split("\n");
  return { code, last: lines.at(-1), table: lines.slice(-1 - steps.length, -1) };
}

for (
  const [what, steps, code, last] of [
    ["a step that goes well as one that passed", ["step a true"], 0, [1, 0, 0]],
    ["a step that fails as one that failed", ["step a false", "step b true"], 1, [1, 1, 0]],
    ["the tests of a step", [`step a echo "${SUMMARY}"`], 0, [3, 0, 2]],
    [
      "the tests of a step that fail",
      [`step a bash -c 'echo "${BAD_SUMMARY}"; exit 1'`],
      1,
      [4, 2, 0],
    ],
    [
      "a step that fails though its tests pass",
      [`step a bash -c 'echo "${SUMMARY}"; exit 1'`],
      1,
      [3, 1, 2],
    ],
    ["what a step leaves out", [`step a echo "Skipped fish: there is none"`], 0, [1, 0, 1]],
    ["a step that cannot be run", [`skip a "there is none"`], 0, [0, 0, 1]],
  ] as const
) {
  Deno.test(`steps.sh counts ${what}`, async () => {
    const [passed, failed, skipped] = last;
    const outcome = await run(steps);
    assertEquals([outcome.code, outcome.last], [
      code,
      `${passed} passed, ${failed} failed, ${skipped} skipped`,
    ]);
  });
}

Deno.test("steps.sh runs the steps that are asked for, and skips the others", async () => {
  const { table, last } = await run(["step 'one fuzz' true", "step abuse false"], [
    "WANTED=(fuzz)",
  ]);
  assertEquals(table.map((row) => /^(.*?) {2,}(\w+)/.exec(row)!.slice(1)), [
    ["one fuzz", "ok"],
    ["abuse", "skipped"],
  ]);
  assertEquals(last, "1 passed, 0 failed, 1 skipped");
});

Deno.test("steps.sh tells how long the processes of a step computed, their children's too", async () => {
  const { table } = await run(['step busy bash -c "bash -c compute; true"'], [
    "compute() { while [ $SECONDS -lt 2 ]; do true; done; }",
    "export -f compute",
  ]);
  const [row] = table;
  const cpu = Number(/([\d.]+) CPU s/.exec(row!)![1]);
  assert(cpu > 0.2, row);
});
