/** What a release offers: how its files are called, what is in them, and their sums. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { archiveFor, nameFor, release, TARGETS, writeSums } from "../tools/release/release.ts";
import { TempFolder } from "./helpers/folder.ts";

/** What `deno compile` copies, where it was given: it cannot be downloaded everywhere. */
const HAS_BASE = Deno.env.get("COMPILE_DENO") === Deno.execPath() && Deno.env.has("DENORT_BIN");
const HAS_SHA256SUM = await can("sha256sum", ["--version"]);

async function can(command: string, args: string[]): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args, stdout: "null", stderr: "null" }).output())
      .success;
  } catch (error) { // There is no such command here.
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function output(command: string, args: string[], cwd: string): Promise<string> {
  const { stdout } = await new Deno.Command(command, { args, cwd, stderr: "inherit" }).output();
  return new TextDecoder().decode(stdout);
}

Deno.test("archiveFor names the version and the target, and is a zip for Windows only", () => {
  assertEquals(TARGETS.map((target) => archiveFor(target, "1.2.3")), [
    "mpubsub-broker-1.2.3-x86_64-unknown-linux-gnu.tar.gz",
    "mpubsub-broker-1.2.3-aarch64-unknown-linux-gnu.tar.gz",
    "mpubsub-broker-1.2.3-x86_64-apple-darwin.tar.gz",
    "mpubsub-broker-1.2.3-aarch64-apple-darwin.tar.gz",
    "mpubsub-broker-1.2.3-x86_64-pc-windows-msvc.zip",
  ]);
});

Deno.test("writeSums writes the sum of each file but its own, in the order of their names", async () => {
  await using folder = await TempFolder.make();
  await Deno.writeTextFile(`${folder.path}/b`, "abc");
  await Deno.writeTextFile(`${folder.path}/a`, "");
  for (let time = 0; time < 2; time++) {
    await writeSums(folder.path);
    assertEquals(
      await Deno.readTextFile(`${folder.path}/SHA256SUMS`),
      // The examples of FIPS 180-2, and of nothing.
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n" +
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n",
    );
  }
});

Deno.test({
  name: `sha256sum --check reads SHA256SUMS${HAS_SHA256SUM ? "" : " (ignored: there is none)"}`,
  ignore: !HAS_SHA256SUM,
  fn: async () => {
    await using folder = await TempFolder.make();
    const name = archiveFor("x86_64-unknown-linux-gnu");
    await Deno.writeTextFile(`${folder.path}/${name}`, "abc");
    await writeSums(folder.path);
    const check = ["--check", "--strict", "SHA256SUMS"];
    assertEquals(await output("sha256sum", check, folder.path), `${name}: OK\n`);
  },
});

Deno.test({
  name: `release packs a program that runs, with its licence${
    HAS_BASE ? "" : " (ignored: no COMPILE_DENO and DENORT_BIN)"
  }`,
  ignore: !HAS_BASE,
  fn: async () => {
    await using folder = await TempFolder.make();
    const { target } = Deno.build;
    await release(target, folder.path);
    assertEquals(folder.names, [archiveFor(target)]);
    await output("tar", ["--extract", "--file", archiveFor(target)], folder.path);
    const unpacked = `${folder.path}/${nameFor(target)}`;
    assertEquals(
      [...Deno.readDirSync(unpacked)].map(({ name }) => name).toSorted(),
      ["CHANGELOG.md", "LICENSE", "README.md", "mpubsub-broker"],
    );
    const version = await output("./mpubsub-broker", ["--version"], unpacked);
    assertEquals(version, `mpubsub-broker ${manifest.version}\n`);
  },
});

Deno.test("deno task release refuses a target that it does not have", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "tools/release/release.ts", "--target", "x86_64-unknown-plan9"],
    cwd: new URL("..", import.meta.url),
  }).output();
  assertEquals(code, 2);
  assertStringIncludes(new TextDecoder().decode(stderr), "x86_64-unknown-plan9; the targets are ");
});
