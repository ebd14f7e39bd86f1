/** What the scripts of `.ci/` count. */
import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);
const SUMMARY = "ok | 3 passed (1 step) | 0 failed | 2 ignored (9ms)";
const NOTHING_SUMMARY = "ok | 0 passed | 0 failed | 12 filtered out (9ms)";
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
  const end = lines.findLastIndex((line) => /^== after \d+ s$/.test(line));
  const told = lines.slice(
    lines.findLastIndex((line) => line.startsWith("== ") && /CPU s/.test(line)) + 1,
    end,
  );
  return { code, last: lines.at(-1), table: lines.slice(-1 - steps.length, -1), told };
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
    [
      "all tests of a step that runs some twice",
      [`step a bash -c 'echo "${BAD_SUMMARY}"; echo; echo "${SUMMARY}"'`],
      1,
      [7, 2, 2],
    ],
    [
      "a step whose tests are not found as one that failed",
      [
        `step a echo "${NOTHING_SUMMARY}"`,
      ],
      1,
      [0, 1, 0],
    ],
    ["a step that cannot be run", ["step a true", `skip b "there is none"`], 0, [1, 0, 1]],
    ["that nothing was run as a failure", [`skip a "there is none"`], 1, [0, 1, 1]],
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

Deno.test("steps.sh counts a name that no step has as a step that failed", async () => {
  const steps = ["step 'one fuzz' true", `skip compile "there is none"`, "step abuse false"];
  for (
    const [wanted, last] of [
      ["typo", "0 passed, 1 failed, 3 skipped"],
      ["fuzz typo abues", "1 passed, 2 failed, 2 skipped"],
      ["compile", "0 passed, 1 failed, 3 skipped"],
      ["fuzz compile", "1 passed, 0 failed, 2 skipped"],
    ] as const
  ) {
    const outcome = await run(steps, [`WANTED=(${wanted})`]);
    assertEquals(outcome.last, last, wanted);
    assertEquals(outcome.code, last.includes(" 0 failed") ? 0 : 1, wanted);
  }
});

Deno.test("steps.sh tells how long the processes of a step computed, their children's too", async () => {
  const { table } = await run(['step busy bash -c "bash -c compute; true"'], [
    "compute() { for ((i = 0; i < 600000; i++)); do true; done; }",
    "export -f compute",
  ]);
  const [row] = table;
  const cpu = Number(/([\d.]+) CPU s/.exec(row!)![1]);
  assert(cpu > 0.2, row);
});

Deno.test("steps.sh says at the end what failed steps said, for a log of which only that is kept", async () => {
  const flood = 'for ((i = 0; i < 100; i++)); do echo "on errors: $i ... ok"; done';
  const { told } = await run(["step good echo 'error: fine'", "step bad talk"], [
    `talk() { echo "b: FAILED: boom"; ${flood}; echo end; false; }`,
  ]);
  assertEquals(told.slice(0, 2), [
    "-- bad, where it says so, and its last lines",
    "b: FAILED: boom",
  ]);
  assertEquals(told.at(-1), "end");
  assertEquals(told.length, 12);
});
