/**
 * Runs what the README has across processes as a reader would in a clone. With `MPUBSUB_BROKER` that
 * program is the broker.
 */
import { assert } from "@std/assert";
import { TempFolder } from "./helpers/folder.ts";
import { deno, ListeningBroker, README, scriptsExchange, start } from "./helpers/pages.ts";

const ROOT = new URL("../", import.meta.url).pathname;
/** What can be read at one sitting. */
const LINES_MAX = 180;

Deno.test("README.md scripts exchange a message through the standalone broker", async () => {
  await using temp = await TempFolder.make();
  const folder = temp.path;
  const place = { folder, flags: [`--config=${ROOT}deno.json`] };
  const program = Deno.env.get("MPUBSUB_BROKER");
  const process = program === undefined
    ? deno(place, ["run", "-A", `${ROOT}cli.ts`, "x.json"])
    : start(place, program, ["x.json"]);
  await using _broker = await ListeningBroker.of(process);
  await scriptsExchange(place);
});

Deno.test("README.md can be read at one sitting", () => {
  const lines = README.trimEnd().split("\n").length;
  assert(lines <= LINES_MAX, `${lines} lines`);
});
