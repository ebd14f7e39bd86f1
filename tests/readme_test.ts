/**
 * Runs the examples of the README as a reader would in a clone, and compares what they print with what
 * the README says. With `MPUBSUB_BROKER` that program is the broker.
 */
import { assertEquals } from "@std/assert";
import { broker } from "../cli/broker.ts";
import { withFolder } from "./helpers/folder.ts";
import { output } from "./helpers/program.ts";
import {
  blocks,
  deno,
  PAGE,
  printsWhatItSays,
  scriptsExchange,
  start,
  withBroker,
} from "./helpers/readme.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const FLAGS = [`--config=${ROOT}deno.json`];

for (const [index, example] of blocks("ts").entries()) {
  Deno.test(
    `README.md example ${index + 1} prints what it says`,
    () => withFolder((folder) => printsWhatItSays({ folder, flags: FLAGS }, example)),
  );
}

Deno.test("README.md scripts exchange a message through the standalone broker", () =>
  withFolder(async (folder) => {
    const place = { folder, flags: FLAGS };
    const program = Deno.env.get("MPUBSUB_BROKER");
    const broker = program === undefined
      ? deno(place, ["run", "-A", `${ROOT}cli.ts`, "x.json"])
      : start(place, program, ["x.json"]);
    await withBroker(broker, () => scriptsExchange(place));
  }));

Deno.test("README.md lists the options of the standalone broker", () => {
  const options = broker.options.map(({ name, value = "" }) => `--${name} ${value}`.trimEnd());
  const listed = [...PAGE.matchAll(/^\| `(--[^`]+)`/gm)].map(([, option]) => option!);
  assertEquals(listed, options);
});

Deno.test("README.md lists the commands", async () => {
  const out = await output({ args: ["--help"] });
  const commands = [...out.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name]) => name!);
  const listed = [...PAGE.matchAll(/^\| `([a-z]+)/gm)].map(([, name]) => name!);
  assertEquals(
    [...new Set(listed)].filter((name) => commands.includes(name)).toSorted(),
    commands.filter((name) => name !== "broker").toSorted(),
  );
});
