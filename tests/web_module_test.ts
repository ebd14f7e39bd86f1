/** What `deno task web` makes for script tags. */
import { assertEquals } from "@std/assert";
import { Broker } from "../broker.ts";
import { bundleForPages, scriptBeside, WEB_MODULE } from "../tools/release/web.ts";
import * as web from "../web.ts";
import { TempFolder } from "./helpers/folder.ts";

Deno.test("deno task web makes a module and a script, which load no other and evaluate nothing", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/${WEB_MODULE}`;
  await bundleForPages(path);
  const script = scriptBeside(path);
  assertEquals(folder.names, ["mpubsub.global.js", WEB_MODULE]);
  for (const file of [path, script]) {
    const text = await Deno.readTextFile(file);
    assertEquals(
      text.match(/\bimport\b|\beval\b|\bFunction\(|"node:|\bDeno\.[a-z]\w+/g)?.filter(isNews),
      [],
    );
  }
  const names = new Function(`${await Deno.readTextFile(script)}; return Object.keys(mpubsub);`)();
  assertEquals(names, Object.keys(web));

  const module = await import(`file://${path}`);
  assertEquals(Object.keys(module), Object.keys(web));
  await using broker = new Broker({ address: "ws://127.0.0.1:0" });
  await broker.start();
  await using bus = new module.NetPubSub(broker.address, broker.authkey);
  await bus.connect();
  bus.publish("hello", { n: 1 });
  await bus.flush();
  assertEquals(broker.stats().received, 1);
});

/** Where there is Deno, it has timers that can be unreferenced, and knows the system. */
function isNews(found: string): boolean {
  return !["Deno.unrefTimer", "Deno.build"].includes(found);
}
