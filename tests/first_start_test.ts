/**
 * What happens before the program runs for the first time, with an empty cache: what is downloaded, and
 * what a person sees of that.
 */
import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { TempFolder } from "./helpers/folder.ts";
import { EmptyNpm } from "./helpers/npm.ts";
import { COMPILED, PERMISSIONS } from "./helpers/program.ts";
import { Registry } from "./helpers/registry.ts";
import { HAS_SCRIPT, onTerminal, screenOf } from "./helpers/terminal.ts";

const ROOT = new URL("../", import.meta.url);
const PROGRAM = [Deno.execPath(), "run", ...PERMISSIONS, `jsr:${manifest.name}/cli`];
const NO_SCRIPT = HAS_SCRIPT ? "" : " (ignored: there is no program `script` here)";
const NOT_COMPILED = { ignore: COMPILED !== undefined };

/** A command in a folder, with these variables. */
function start(
  [command, ...args]: readonly string[],
  cwd: string | URL,
  env: Record<string, string>,
): Deno.ChildProcess {
  return new Deno.Command(command!, { args, cwd, env, stdout: "piped", stderr: "piped" }).spawn();
}

/** How a command ends, and what it prints. */
async function outcome(process: Deno.ChildProcess): Promise<{ code: number; said: string }> {
  const { code, stdout, stderr } = await process.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, said: out! + err! };
}

/** Where the package and what it needs can be had from JSR, and nothing from npm. */
class Place implements AsyncDisposable {
  readonly folder: string;
  readonly registry: Registry;
  readonly npm: EmptyNpm;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    folder: string,
    registry: Registry,
    npm: EmptyNpm,
    stack: AsyncDisposableStack,
  ) {
    this.folder = folder;
    this.registry = registry;
    this.npm = npm;
    this.#stack = stack;
  }

  static async make(): Promise<Place> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await TempFolder.make());
    const registry = stack.use(new Registry());
    const npm = stack.use(new EmptyNpm());
    await registry.publish();
    await registry.addStandIns({ isWhole: true });
    return new Place(path, registry, npm, stack.move());
  }

  start(command: readonly string[]): Deno.ChildProcess {
    return start(command, this.folder, {
      DENO_DIR: `${this.folder}/cache`,
      JSR_URL: this.registry.url,
      NPM_CONFIG_REGISTRY: this.npm.url,
      HOME: this.folder,
      TERM: "xterm",
    });
  }

  /** Runs the program. */
  async run(...args: string[]): Promise<{ code: number; said: string }> {
    return await outcome(this.start([...PROGRAM, ...args]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Starts a broker on a terminal; what a person sees there when it has been used once. */
async function firstScreen(place: Place): Promise<string[]> {
  const downloads = Promise.withResolvers<void>();
  const listens = Promise.withResolvers<void>();
  // So that a person sees that something is downloaded.
  place.registry.opens = downloads.promise;
  const broker = place.start(onTerminal([...PROGRAM, "x.json"]));
  let written = "";
  const write = (text: string) => {
    written += text;
    if (written.includes("Download")) downloads.resolve();
    if (written.includes("Listening at")) listens.resolve();
  };
  const reading = broker.stdout.pipeThrough(new TextDecoderStream())
    .pipeTo(new WritableStream({ write }));
  await Promise.race([listens.promise, reading]);
  // Meanwhile Deno could still write to its terminal.
  assertMatch((await place.run("ping", "-c", "x.json", "--count", "1")).said, /1: /);
  const screen = screenOf(written);
  broker.kill("SIGTERM");
  await Promise.all([reading, broker.stderr.cancel(), broker.status]);
  return screen;
}

Deno.test("the program from JSR needs npm for an uplink only", NOT_COMPILED, async (t) => {
  await using place = await Place.make();
  const { npm, folder } = place;

  await t.step({
    name: `the last line of its first start is where it listens${NO_SCRIPT}`,
    ignore: !HAS_SCRIPT,
    async fn() {
      const screen = await firstScreen(place);
      assertMatch(screen.at(-1)!, /^Listening at \S+, connection file x\.json$/);
    },
  });

  await t.step("it can be installed", async () => {
    const flags = ["-g", "--root", folder, "-n", "mpubsub", ...PERMISSIONS];
    const install = [Deno.execPath(), "install", ...flags, PROGRAM.at(-1)!];
    const { code, said } = await outcome(place.start(install));
    assertEquals(code, 0, said);
  });

  await t.step("each command can be loaded", async () => {
    const { said } = await place.run("--help");
    const [, list] = /^Commands:\n((?: {2}\w.*\n)+)/m.exec(said)!;
    const commands = [...list!.matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name!);
    assertEquals(commands.includes("broker"), true);
    for (const command of commands) {
      const { code, said } = await place.run(command, "--help");
      assertEquals(code, 0, said);
    }
  });

  assertEquals(npm.asked, []);
  await t.step("with an uplink it says what cannot be downloaded", async () => {
    const { code, said } = await place.run("--uplink", "nats://127.0.0.1:4222", "y.json");
    assertEquals(code, 1);
    assertMatch(
      said,
      /Cannot load the client of NATS: .*@nats-io\/.*; the first uplink downloads it/,
    );
    assertNotEquals(npm.asked, []);
  });
});

for (const task of ["broker", "demo"]) {
  const name = `deno task ${task} in a clone asks npm for the stand-ins at most`;
  Deno.test(name, NOT_COMPILED, async () => {
    await using folder = await TempFolder.make();
    await using npm = new EmptyNpm();
    const env = { DENO_DIR: `${folder.path}/cache`, NPM_CONFIG_REGISTRY: npm.url };
    await outcome(start([Deno.execPath(), "task", task, "--help"], ROOT, env));
    assertEquals(npm.asked.filter((name) => !/^(deno-std|fast-string-)/.test(name)), []);
  });
}
