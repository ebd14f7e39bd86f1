/**
 * The programs of docs/node-and-bun.md, one each in Node, Bun and Deno: they exchange messages through a
 * broker, with the package in a `node_modules` folder as a package manager puts it there.
 */
import { assertEquals } from "@std/assert";
import { TempFolder } from "./helpers/folder.ts";
import { installPackage } from "./helpers/node_modules.ts";
import { deno, ListeningBroker, type Place, Running, start } from "./helpers/pages.ts";
import { RUNTIMES } from "./helpers/runtimes.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const EXAMPLES = ["messages.ts", "thermometer.ts", "alarm.ts", "screen.ts"];
/** Who measures, and who raises the alarm. */
const PAIRS = [["Node 22", "Bun"], ["Node 24", "Bun"], ["Bun", "Node 22"]] as const;

function runtime(wanted: string) {
  return RUNTIMES.find(({ name }) => name === wanted)!;
}

for (const [measuring, alarming] of PAIRS) {
  const runtimes = [runtime(measuring), runtime(alarming)];
  const note = runtimes.map(({ note }) => note).find((note) => note !== "") ?? "";
  const name = `${measuring}, ${alarming} and Deno exchange typed messages as the page says${note}`;
  Deno.test(name, { ignore: note !== "" }, async () => {
    await using temp = await TempFolder.make();
    const folder = temp.path;
    const place: Place = { folder, flags: [`--config=${ROOT}deno.json`] };
    await installPackage(folder);
    for (const name of EXAMPLES) {
      await Deno.copyFile(`${ROOT}examples/${name}`, `${folder}/${name}`);
    }
    const run = (in_: (typeof runtimes)[number], script: string) => {
      const [command, ...flags] = in_.command!;
      return new Running(start(place, command!, [...flags, script]));
    };
    await using _broker = await ListeningBroker.of(
      deno(place, ["run", "-A", `${ROOT}cli.ts`, "x.json"]),
    );
    await using screen = new Running(deno(place, ["run", "-A", "screen.ts"]));
    await using alarm = run(runtimes[1]!, "alarm.ts");
    assertEquals([await screen.line(), await alarm.line()], ["Listening", "Listening"]);
    await using thermometer = run(runtimes[0]!, "thermometer.ts");
    assertEquals(await alarm.line(), "greenhouse 21.5 true");
    assertEquals(await alarm.line(), "greenhouse 41 true");
    assertEquals(await screen.line(), "screen: greenhouse has 41 °C");
    assertEquals(await thermometer.line(), "alarm: greenhouse has 41 °C");
    assertEquals([await thermometer.code(), await screen.code()], [0, 0]);
  });
}
