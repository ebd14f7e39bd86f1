/** The module that `deno task web` makes for a script tag. */
import { assertEquals } from "@std/assert";
import { Broker } from "../broker.ts";
import { bundleForPages, WEB_MODULE } from "../tools/release/web.ts";
import * as web from "../web.ts";
import { TempFolder } from "./helpers/folder.ts";

Deno.test("deno task web makes one module, which loads no other and evaluates nothing", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/${WEB_MODULE}`;
  await bundleForPages(path);
  assertEquals(folder.names, [WEB_MODULE]);
  const text = await Deno.readTextFile(path);
  assertEquals(
    text.match(/\bimport\b|\beval\b|\bFunction\(|"node:|\bDeno\.[a-z]\w+/g)?.filter(isNews),
    [],
  );

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
