/** The example of docs/getting-started.md with an element of any name, each program a process of its own. */
import { assertEquals } from "@std/assert";
import { TempFolder } from "./helpers/folder.ts";
import { deno, ListeningBroker, type Place, Running } from "./helpers/pages.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const PERMISSIONS = ["--allow-net", "--allow-read=.", "--allow-write=."];

Deno.test("examples/rooms.ts hears the temperature of every room, and nothing else", async () => {
  await using temp = await TempFolder.make();
  const place: Place = { folder: temp.path, flags: [`--config=${ROOT}deno.json`] };
  const run = (name: string, ...args: string[]) =>
    new Running(deno(place, ["run", ...PERMISSIONS, `${ROOT}examples/${name}`, ...args]));
  await using _broker = await ListeningBroker.of(
    deno(place, ["run", "-A", `${ROOT}cli.ts`, "x.json"]),
  );
  await using rooms = run("rooms.ts");
  assertEquals(await rooms.line(), "Listening");
  for (const [room, celsius] of [["kitchen", "21.5"], ["garden", "14"], ["kitchen", "22"]]) {
    await using publisher = run("room.ts", room!, celsius!);
    assertEquals(await rooms.line(), `${room} ${celsius}`);
    assertEquals(await publisher.code(), 0);
  }
});
