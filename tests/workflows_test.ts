/** What GitHub is asked to do, looked at by a linter and by rules of this project, and its tools. */
import { assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { releaseNotes } from "../tools/release/release_notes.ts";
import { TempFolder } from "./helpers/folder.ts";

const ROOT = new URL("../", import.meta.url);
const HAS_LINKS = "links" in manifest;
const FOLDER = new URL(".github/workflows/", ROOT);

const GOOD = `
on: push
permissions: {}
concurrency: one
jobs:
  build:
    runs-on: ubuntu-latest
    timeout-minutes: 1
    permissions:
      contents: read
      id-token: write
    steps:
      - uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2
        with:
          persist-credentials: false
      - run: echo "$TITLE"
        env:
          TITLE: \${{ github.event.head_commit.message }}
`;
/** What is found when something is replaced by something else. */
const BROKEN: Readonly<Record<string, readonly [what: string, by: string, found: string]>> = {
  "an action at a tag": [
    "@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2",
    "@v6",
    "actions/checkout@v6 is not a commit",
  ],
  "an action without its version": [" # v6.0.2", "", "is not a commit with its version beside it"],
  "no permissions at the top": ["permissions: {}", "", "there are no permissions at the top"],
  "permissions for everything": [
    "permissions: {}",
    "permissions: write-all",
    "everything may write everything",
  ],
  "too much at the top": [
    "permissions: {}",
    "permissions: { contents: write }",
    "everything may write contents",
  ],
  "too much for a job": ["contents: read", "contents: write", "job build may write contents"],
  "no concurrency": ["concurrency: one", "", "there is no concurrency"],
  "no end": ["    timeout-minutes: 1\n", "", "job build has no timeout-minutes"],
  "an event that gives strangers our rights": [
    "on: push",
    "on: pull_request_target",
    "it runs on pull_request_target",
  ],
  "a token that stays": ["persist-credentials: false", "fetch-depth: 1", "leaves its token"],
  "an expression in a script": ['"$TITLE"', "${{ github.sha }}", "an expression into a script"],
  "what a stranger wrote in a script": [
    '"$TITLE"',
    "${{ github.event.head_commit.message }}",
    "potentially untrusted",
  ],
  "a key that does not exist": ["    timeout-minutes: 1", "    timeout: 1", "unexpected key"],
};

/** What is wrong with workflows. */
async function lint(paths: readonly string[]): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--allow-read",
      "--allow-env",
      "--config=lint/deno.json",
      "lint/workflows.ts",
    ]
      .concat(paths),
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

Deno.test("nothing is wrong with the workflows", async () => {
  const names = [...Deno.readDirSync(FOLDER)].map(({ name }) => name).toSorted();
  assertEquals(names, ["ci.yml", "release.yml"]);
  assertEquals(await lint(names.map((name) => `.github/workflows/${name}`)), "");
});

Deno.test("lint finds nothing in a workflow as it should be, and each thing that should not be", async () => {
  await using folder = await TempFolder.make();
  await Deno.writeTextFile(`${folder.path}/good.yml`, GOOD);
  assertEquals(await lint([`${folder.path}/good.yml`]), "");
  const paths = [];
  for (const [name, [what, by]] of Object.entries(BROKEN)) {
    const path = `${folder.path}/${name}.yml`;
    paths.push(path);
    await Deno.writeTextFile(path, GOOD.replace(what, () => by));
  }
  const found = await lint(paths);
  for (const [name, [, , expected]] of Object.entries(BROKEN)) {
    const lines = found.split("\n").filter((line) => line.startsWith(`${folder.path}/${name}.yml`));
    assertStringIncludes(lines.join("\n"), expected, name);
  }
});

Deno.test("the workflows use one version of each action", async () => {
  const versions = new Map<string, string>();
  for (const { name } of Deno.readDirSync(FOLDER)) {
    const text = await Deno.readTextFile(new URL(name, FOLDER));
    for (const [, action, version] of text.matchAll(/uses: ([^@]+)@(.*)$/gm)) {
      assertEquals(versions.get(action!) ?? version, version, action);
      versions.set(action!, version!);
    }
  }
});

Deno.test("release.yml publishes on JSR and npm before it announces, on npm with provenance", async () => {
  const release = await Deno.readTextFile(new URL("release.yml", FOLDER));
  const jobs = new Map(
    release.split(/^ {2}(?=\w+:$)/m).slice(1).map((job) => [job.split(":")[0], job] as const),
  );
  assertStringIncludes(jobs.get("publish")!, "- run: deno publish ");
  const npm = jobs.get("npm")!;
  assertStringIncludes(npm, "id-token: write");
  assertMatch(npm, /- run: deno task npm --output (\S+) .*\n *- run: npm publish \1 --provenance /);
  assertStringIncludes(jobs.get("announce")!, "needs: [publish, npm]");
});

Deno.test("ci.yml tests with the oldest Deno that the README names", async () => {
  const [, oldest] = /runs in Deno (\d+\.\d+)/
    .exec(await Deno.readTextFile(new URL("README.md", ROOT)))!;
  const ci = await Deno.readTextFile(new URL("ci.yml", FOLDER));
  assertStringIncludes(ci, `deno: [v2.x, v${oldest}.`);
});

const CHANGELOG = `# Changelog

## 1.1.0 (2026-12-01)

The second.

- More.

## 1.0.0 (2026-11-01)

The first.
`;

Deno.test("releaseNotes gives the section of the version, without its heading", () => {
  assertEquals(releaseNotes("v1.1.0", "1.1.0", CHANGELOG), "The second.\n\n- More.\n");
  assertEquals(releaseNotes("v1.0.0", "1.0.0", CHANGELOG), "The first.\n");
});

for (
  const [what, tag, version, says] of [
    ["another version", "v1.1.0", "1.0.0", "the version in deno.json is 1.0.0"],
    ["a version without its v", "1.1.0", "1.1.0", "the version in deno.json is 1.1.0"],
    ["a version without a section", "v1.1", "1.1", 'no section "## 1.1 ('],
  ] as const
) {
  Deno.test(`releaseNotes refuses a tag of ${what}`, () => {
    assertThrows(() => releaseNotes(tag, version, CHANGELOG), Error, says);
  });
}

Deno.test("releaseNotes refuses a section that is not released", () => {
  const changelog = CHANGELOG.replace("2026-12-01", "unreleased");
  assertThrows(() => releaseNotes("v1.1.0", "1.1.0", changelog), Error, "has no section");
});

Deno.test({
  name: `without_links.ts leaves the configurations as they are but for links, and no locks${
    HAS_LINKS ? "" : " (ignored: it was run here)"
  }`,
  ignore: !HAS_LINKS,
  fn: async () => {
    await using folder = await TempFolder.make();
    await Deno.mkdir(`${folder.path}/bench`);
    const files = ["deno.json", "deno.lock", "bench/deno.json", "bench/deno.lock"];
    for (const file of files) await Deno.copyFile(new URL(file, ROOT), `${folder.path}/${file}`);
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-config", "--allow-read", "--allow-write"]
        .concat(new URL("tools/release/without_links.ts", ROOT).pathname),
      cwd: folder.path,
      stderr: "inherit",
    }).output();
    assertEquals(success, true);
    for (const file of ["deno.json", "bench/deno.json"]) {
      const { links, ...before } = JSON.parse(await Deno.readTextFile(new URL(file, ROOT)));
      assertEquals(Array.isArray(links), true);
      assertEquals(JSON.parse(await Deno.readTextFile(`${folder.path}/${file}`)), before);
    }
    const { names } = folder;
    assertEquals(names, ["bench", "deno.json"]);
  },
});
