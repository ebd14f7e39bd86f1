/** Programs of Node and Bun with a client: when they end, what they are called, their workers. */
import { assertEquals, assertMatch } from "@std/assert";
import { TempFolder } from "./helpers/folder.ts";
import { output, RUNTIMES } from "./helpers/runtimes.ts";
import { Scene } from "./helpers/scene.ts";
import { until } from "../tools/harness/until.ts";

const ROOT = new URL("../", import.meta.url).href;
const PROGRAMS = RUNTIMES.filter(({ hasFiles }) => hasFiles);

/** Logs which sockets and timers are left when the event loop has turned. */
const LEFT = `
  const left = () => process.getActiveResourcesInfo().filter((what) => /Timeout|TCP/.test(what));
  for (let i = 0; i < 100 && left().length > 0; i++) await new Promise(setImmediate);
  console.log(["left:", ...left()].join(" "));
`;

/** A broker, a folder, and programs that know both. */
class Stage implements AsyncDisposable {
  readonly names: string[] = [];
  readonly scene: Scene;
  readonly folder: TempFolder;
  readonly #command: readonly string[];

  private constructor(
    command: readonly string[],
    scene: Scene,
    folder: TempFolder,
    names: string[],
  ) {
    this.#command = command;
    this.scene = scene;
    this.folder = folder;
    this.names = names;
  }

  static async start(command: readonly string[]): Promise<Stage> {
    const names: string[] = [];
    const scene = await Scene.start({
      address: "tcp://127.0.0.1:0",
      onClient: ({ type, name }) => void (type === "joined" && names.push(name)),
    });
    return new Stage(command, scene, await TempFolder.make(), names);
  }

  /** The script, with a way to make a client. */
  scriptOf(script: string): string {
    const { address, authkey } = this.scene.broker;
    return `
      import { NetPubSub } from "${ROOT}net.ts";
      const client = (options) => new NetPubSub("${address}", Uint8Array.of(${authkey}), options);
      ${script}`;
  }

  /** Runs a script as a file, or what stands for one; it has to end by itself. */
  async run(script: string, { file = "main.mjs", flags = [] as string[] } = {}): Promise<string> {
    await Deno.writeTextFile(`${this.folder.path}/${file}`, this.scriptOf(script));
    const [command, ...rest] = this.#command;
    return await output(
      command!,
      [...rest, ...flags, `${this.folder.path}/${file}`],
      this.folder.path,
    );
  }

  /** Has a script evaluated, with an argument. */
  async evaluate(script: string): Promise<string> {
    const [command, ...rest] = this.#command;
    const args = [...rest, "-e", this.scriptOf(script).replaceAll("\n", " "), "argument"];
    return await output(command!, args, this.folder.path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.scene[Symbol.asyncDispose]();
    await this.folder[Symbol.asyncDispose]();
  }
}

for (const { name, note, command } of PROGRAMS) {
  const ignore = note !== "";
  const test = (what: string, fn: (stage: Stage) => Promise<void>) =>
    Deno.test(`${what} (${name})${note}`, { ignore }, async () => {
      await using stage = await Stage.start(command!);
      await fn(stage);
    });

  test("a client is called as the file of its program", async (stage) => {
    const script = "const bus = client(); await bus.connect(); await bus.disconnect(); " +
      "console.log(process.pid);";
    const pid = await stage.run(script, { file: "log ger é.mjs" });
    assertEquals(stage.names, [`log ger é.mjs ${pid.trim()}`]);
  });

  test("a client is called as the runtime where the program is not a file", async (stage) => {
    const script = "const bus = client(); await bus.connect(); await bus.disconnect(); " +
      "console.log(process.pid);";
    const pid = await stage.evaluate(script);
    assertEquals(stage.names, [`${name.startsWith("Node") ? "node" : "bun"} ${pid.trim()}`]);
  });

  test("a client that is not disconnected keeps its program, until unref", async (stage) => {
    const here = await stage.scene.connected();
    const program = stage.run(`
      const bus = client();
      bus.unref();
      bus.ref();
      await bus.connect();
      bus.addSubscriber("unref", () => {
        console.log("heard");
        bus.unref();
      });
      await bus.flush();
      bus.publish("ready");`);
    for await (const _ of here.subscribe("ready")) break;
    for (let i = 0; i < 100; i++) await here.flush(); // It would have ended by now.
    here.publish("unref");
    assertEquals(await program, "heard\n");
  });

  test("unref lets a program end while its client is connected", async (stage) => {
    const script = `
      const bus = client({ onState: (state) => console.log(state) });
      bus.addSubscriber("a", () => {});
      await bus.connect();
      bus.unref();`;
    assertEquals(await stage.run(script), "connecting\nconnected\n");
  });

  test("unref does not end a program that waits for connect", async (stage) => {
    const script = `
      const bus = client({ onState: (state) => console.log(state) });
      bus.unref();
      await bus.connect();`;
    assertEquals(await stage.run(script), "connecting\nconnected\n");
  });

  test("a client leaves nothing that keeps its program", async (stage) => {
    const script = `
      const bus = client();
      await bus.connect();
      bus.publish("a", { bytes: new Uint8Array(100_000) });
      await bus[Symbol.asyncDispose]();
      ${LEFT}`;
    assertEquals(await stage.run(script), "left:\n");
  });

  test("a signal that aborts connect leaves nothing that keeps its program", async (stage) => {
    using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = silent.addr as Deno.NetAddr;
    const script = `
      const controller = new AbortController();
      const bus = client({ onState() {} });
      bus.setBroker("tcp://127.0.0.1:${port}", "key");
      const connecting = bus.connect({ signal: controller.signal });
      setImmediate(() => controller.abort(new Error("enough")));
      await connecting.catch(({ message }) => console.log(message));
      ${LEFT}`;
    assertEquals(await stage.run(script), "enough\nleft:\n");
  });

  test("clients in workers talk with each other, and end with them", async (stage) => {
    const script = `
      const { Worker, isMainThread, parentPort } = await import("node:worker_threads");
      if (isMainThread) {
        const bus = client();
        const answers = bus.subscribe("answer");
        await bus.connect();
        const workers = [1, 2].map(() => new Worker(new URL(import.meta.url)));
        const ready = workers.map((worker) => new Promise((resolve) => worker.once("message", resolve)));
        await Promise.all(ready);
        bus.publish("ask", { big: 2n ** 64n });
        let count = 0;
        for await (const { message: { big } } of answers) {
          console.log(String(big));
          if (++count === 2) break;
        }
        await workers[0].terminate();
        bus.publish("leave");
        await new Promise((resolve) => workers[1].once("exit", resolve));
        await bus.disconnect();
      } else {
        const bus = client();
        bus.addSubscriber("ask", (_, message) => bus.publish("answer", message));
        bus.addSubscriber("leave", () => bus.disconnect());
        await bus.connect();
        parentPort.postMessage("ready");
      }`;
    assertEquals(await stage.run(script), `${2n ** 64n}\n`.repeat(2));
    // Who was terminated in the middle is lost, and the others have left.
    await until(() => stage.scene.broker.stats().connections === 0);
  });

  test("a runtime that is too old says so, and which would do", async (stage) => {
    const script = `
      process.getBuiltinModule = undefined;
      await client().connect().catch(({ name, message }) => console.log(name, message));`;
    assertMatch(
      await stage.run(script),
      /^NotSupportedError Cannot connect to tcp:\S+: (Node|Bun) \d+\.\d+\.\d+ is too old; this needs Node 22\.3, Bun 1\.3 or Deno 2\.6, or a later version\n$/,
    );
  });

  if (!name.startsWith("Node")) continue;
  test("a permission that is missing is told at once", async (stage) => {
    const flag = name === "Node 22" ? "--experimental-permission" : "--permission";
    const script = `
      const tell = ({ name, code, message }) => console.log(name, code);
      await NetPubSub.fromFile("/etc/hosts").catch(tell);`;
    const flags = [
      flag,
      `--allow-fs-read=${new URL(ROOT).pathname}*`,
      `--allow-fs-read=${stage.folder.path}/*`,
    ];
    assertEquals(await stage.run(script, { flags }), "Error ERR_ACCESS_DENIED\n");
  });
}
