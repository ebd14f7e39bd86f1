/**
 * The programs of docs/jobs.md: workers in Deno and in Node do all jobs, although some are killed, and
 * those that live do each once.
 */
import { assert, assertEquals } from "@std/assert";
import { NetPubSub } from "../mod.ts";
import { freePorts } from "../tools/harness/free_ports.ts";
import { until } from "../tools/harness/until.ts";
import { TempFolder } from "./helpers/folder.ts";
import { installPackage } from "./helpers/node_modules.ts";
import { deno, type Place, Running, start } from "./helpers/pages.ts";
import { RUNTIMES } from "./helpers/runtimes.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const NODE = RUNTIMES.find(({ name }) => name === "Node 22")!;
/** How many workers there are, in Deno and in Node in turn; the first two are killed. */
const WORKERS = 4;
const KILLED = 2;

Deno.test(
  `examples/jobs.ts has each job done, although workers are killed${NODE.note}`,
  { ignore: NODE.note !== "" },
  async () => {
    await using temp = await TempFolder.make();
    const place: Place = { folder: temp.path, flags: [`--config=${ROOT}deno.json`] };
    await installPackage(place.folder);
    const [port] = freePorts(1);
    for (const name of ["jobs.ts", "worker.ts"]) {
      const text = await Deno.readTextFile(`${ROOT}examples/${name}`);
      await Deno.writeTextFile(`${place.folder}/${name}`, text.replace("7411", `${port}`));
    }
    await using stack = new AsyncDisposableStack();
    const jobs = stack.use(new Running(deno(place, ["run", "-A", "jobs.ts"])));
    assertEquals(await jobs.line(), "Start four workers");

    const done: { n: number; by: number }[] = [];
    await using bus = new NetPubSub(`tcp://127.0.0.1:${port}`, "secret", { onState() {} });
    bus.addSubscriber("done", (_topic, { n, by }) => done.push({ n, by }));
    await bus.connect();

    const [node, ...flags] = NODE.command!;
    const workers = await Promise.all(
      Array.from({ length: WORKERS }, async (_, i) => {
        const process = i % 2 === 0
          ? deno(place, ["run", "-A", "worker.ts"])
          : start(place, node!, [...flags, "worker.ts"]);
        const running = stack.use(new Running(process));
        assertEquals(await running.line(), "Working");
        return process;
      }),
    );
    assertEquals(await jobs.line(), "Kill some workers");
    const killed = workers.slice(0, KILLED);
    for (const { pid } of killed) await until(() => done.some(({ by }) => by === pid));
    for (const process of killed) process.kill("SIGKILL");

    assertEquals(await jobs.line(), "All jobs are done");
    assertEquals(await jobs.code(), 0);
    assertEquals(new Set(done.map(({ n }) => n)).size, 500);
    const pids = new Set(killed.map(({ pid }) => pid));
    const byLiving = done.filter(({ by }) => !pids.has(by)).map(({ n }) => n);
    assertEquals(new Set(byLiving).size, byLiving.length, "each once");
    assert(byLiving.length < 500, "those that were killed had done some");
  },
);
