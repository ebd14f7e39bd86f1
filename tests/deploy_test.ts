/** What stands in `deploy/`: the unit for systemd and the image of a container. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { checkedOptions } from "../broker/options.ts";
import { TempFolder } from "./helpers/folder.ts";

const ROOT = new URL("../", import.meta.url);
const UNIT = await read("deploy/mpubsub-broker.service");
const DOCKERFILE = await read("deploy/Dockerfile");
/** What a stopped broker takes at most to send what is queued. */
const SHUTDOWN_S = 10;
/** What `systemd-analyze security` may say at most: 0 is nothing that could be closed, 10 all. */
const EXPOSURE_MAX = 1.5;
const HAS_SYSTEMD = await hasSystemd();

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(path, ROOT));
}

async function hasSystemd(): Promise<boolean> {
  try {
    return (await systemd(["--version"])).success;
  } catch (error) { // There is no such command here.
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function systemd(args: string[]): Promise<{ success: boolean; said: string }> {
  const command = new Deno.Command("systemd-analyze", { args, env: { SYSTEMD_COLORS: "0" } });
  const { success, stdout, stderr } = await command.output();
  return { success, said: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

/** Asks systemd-analyze about a unit in which the program is one that is installed here. */
async function analyzed(unit: string, args: string[]): Promise<{ success: boolean; said: string }> {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/mpubsub-broker.service`;
  await Deno.writeTextFile(path, unit.replace("/usr/local/bin/mpubsub-broker", "/bin/true"));
  return await systemd([...args, path]);
}

/** A setting of the unit. */
function setting(name: string): string {
  return new RegExp(`^${name}=(.*)$`, "m").exec(UNIT)![1]!;
}

for (
  const [what, unit, says] of [
    ["takes the unit", UNIT, ""],
    [
      "refuses a unit with an unknown key",
      UNIT.replace("PrivateTmp", "PrivateTemp"),
      "PrivateTemp",
    ],
  ] as const
) {
  Deno.test({
    name: `systemd-analyze verify ${what}${HAS_SYSTEMD ? "" : " (ignored: there is none)"}`,
    ignore: !HAS_SYSTEMD,
    fn: async () => {
      const { success, said } = await analyzed(unit, ["verify", "--man=no"]);
      if (says !== "") return assertStringIncludes(said, says);
      assertEquals({ success, said }, { success: true, said: "" });
    },
  });
}

Deno.test({
  name: `systemd-analyze security finds little that the unit leaves open${
    HAS_SYSTEMD ? "" : " (ignored: there is none)"
  }`,
  ignore: !HAS_SYSTEMD,
  fn: async () => {
    const { said } = await analyzed(UNIT, ["security", "--offline=true", "--no-pager"]);
    const [, exposure] = /Overall exposure level for \S+: ([\d.]+)/.exec(said)!;
    assert(Number(exposure) <= EXPOSURE_MAX, said);
  },
});

Deno.test("the unit gives the broker the options that it has, and the time and files that it needs", async () => {
  const page = await read("docs/cli.md");
  const options = setting("ExecStart").match(/--[a-z-]+/g)!;
  assertEquals(options.filter((option) => !page.includes(`| \`${option} `)), []);
  assert(Number(setting("TimeoutStopSec")) > SHUTDOWN_S);
  // With TLS a client takes three descriptors.
  assert(Number(setting("LimitNOFILE")) > 3 * checkedOptions({}).limits.connections);
  // V8 writes code while it runs.
  assert(!/^MemoryDenyWriteExecute=/m.test(UNIT));
});

async function lintDockerfile(path: string): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--allow-read", "--allow-env", "--config=lint/deno.json"]
      .concat("lint/dockerfile.ts", path),
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

Deno.test("nothing is wrong with the Dockerfile", async () => {
  assertEquals(await lintDockerfile("deploy/Dockerfile"), "");
});

for (
  const [what, text, by, says] of [
    ["an unknown instruction", "STOPSIGNAL", "STOPSIGNALS", "Unknown instruction: STOPSIGNALS"],
    ["an image that may change", /@sha256:\w+/, "", "is not pinned by its digest"],
    ["root", "USER nonroot", "", "it runs as root"],
  ] as const
) {
  Deno.test(`lint finds ${what} in a Dockerfile`, async () => {
    await using folder = await TempFolder.make();
    await Deno.writeTextFile(`${folder.path}/Dockerfile`, DOCKERFILE.replace(text, by));
    assertStringIncludes(await lintDockerfile(`${folder.path}/Dockerfile`), says);
  });
}

Deno.test("the container is healthy when its broker answers", () => {
  const [, check] = /^HEALTHCHECK .* CMD (\[.*\])$/m.exec(DOCKERFILE)!;
  assertEquals(JSON.parse(check!), ["mpubsub-broker", "ping", "--count", "1"]);
});
