/**
 * Runs the examples of the README as a reader would in a clone, and compares what they print with what
 * the README says. With `MPUBSUB_BROKER` that program is the broker.
 */
import { assertEquals } from "@std/assert";
import { withFolder } from "./folder.ts";
import {
  blocks,
  deno,
  PAGE,
  printsWhatItSays,
  scriptsExchange,
  start,
  withBroker,
} from "./readme.ts";

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

Deno.test("README.md lists the options of the standalone broker", async () => {
  const { main } = await import("../cli.ts");
  const said: string[] = [];
  const { log } = console;
  console.log = (text: string) => said.push(text);
  try {
    assertEquals(await main(["broker", "--help"]), 0);
  } finally {
    console.log = log;
  }
  const options = said.join("\n").match(/--[a-z-]+(?: [A-Z]+)?(?= )/gm)!.map((text) => text.trim());
  const listed = [...PAGE.matchAll(/^\| `(--[^`]+)`/gm)].map(([, option]) => option!);
  assertEquals(listed, options.filter((option) => option !== "--version"));
});
