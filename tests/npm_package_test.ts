/**
 * The package for npm, as those who use it have it: read by npm's TypeScript, in the oldest version that is
 * supported and the newest; installed by npm and Bun, and by npm from JSR's registry; run by Node and
 * Bun; bundled for a browser. It is packed once.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Broker } from "../broker.ts";
import manifest from "../deno.json" with { type: "json" };
import lint from "../lint/deno.json" with { type: "json" };
import { NetPubSub } from "../net.ts";
import { esbuild } from "../tools/release/esbuild.ts";
import { Chromium, findChromium } from "../tools/harness/chromium.ts";
import { filesIn, forNpm, pack, unpacked } from "../tools/release/npm.ts";
import { TempFolder } from "./helpers/folder.ts";
import {
  converse,
  exampleFolder,
  placeIn,
  startGreenhouse,
  startServer,
} from "./helpers/greenhouse.ts";
import { NpmRegistry } from "./helpers/npm.ts";
import { type Runtime, RUNTIMES } from "./helpers/runtimes.ts";
import { buildApp, hasRegistry } from "./helpers/vite_app.ts";

const ROOT = new URL("../", import.meta.url);
/** `deno pack` makes the package; it is there since Deno 2.9. */
const CAN_PACK = Number(Deno.version.deno.split(".")[1]) >= 9;
const NOTE = CAN_PACK ? "" : " (ignored: this Deno cannot pack)";
const NPM_NOTE = await isThere("npm") ? "" : " (ignored: there is no npm here)";
const CHROMIUM = await findChromium();
const CHROMIUM_NOTE = CHROMIUM === undefined ? " (ignored: there is no Chromium here)" : "";
const NODES = RUNTIMES.filter(({ name }) => name.startsWith("Node"));
const BUN = RUNTIMES.find(({ name }) => name === "Bun")!;
const ENTRIES = Object.keys(manifest.exports).filter((name) => name !== "./cli");
const COMPILERS = ["typescript-5.5", "typescript-7"] as const;
const KEY = "a key of this test only";

/** What else `types_test.ts` uses, for the compiler. */
const OTHERS = `
declare module "@std/assert" {
  export function assertEquals(actual: unknown, expected: unknown): void;
  export function assertInstanceOf(actual: unknown, expected: unknown): void;
  export function assertThrows(call: () => unknown, type?: unknown): void;
}
declare namespace Deno {
  function test(name: string, call: () => void | Promise<void>): void;
  function test(options: { name: string; permissions: "none"; fn(): void }): void;
}
`;

/** A program without the types of Deno and of `using`. */
const PLAIN = `
${
  ENTRIES.map((name, at) => `export * as e${at} from "@mpubsub/mpubsub${name.slice(1)}";`).join(
    "\n",
  )
}
import { NetPubSub } from "@mpubsub/mpubsub/net";
import { PubSub } from "@mpubsub/mpubsub/pubsub";
const bus: PubSub<{ a: { n: number } }> = new NetPubSub("tcp://127.0.0.1:7411", "secret");
bus.addSubscriber("a", (_topic, { n }) => n.toFixed()).remove();
// @ts-expect-error the message requires a value
bus.publish("a");
export async function sum() {
  // @ts-expect-error a number
  for await (const { message } of bus.subscribe("a")) message.n.length;
}`;

const OPTIONS = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  skipLibCheck: false,
  target: "esnext",
  module: "nodenext",
  types: [],
  declaration: true,
  emitDeclarationOnly: true,
  outDir: "out",
};

async function isThere(command: string): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args: ["--version"] }).output()).success;
  } catch (error) { // There is no such command.
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** What a command says, and whether it has succeeded. */
async function run(cwd: string, command: string, ...args: string[]) {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1", BUN_INSTALL_CACHE_DIR: `${cwd}/cache` },
    stdin: "null",
  }).output();
  const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  return { success, said };
}

/** Runs a compiler in a project. */
function compile(folder: string, name: typeof COMPILERS[number], ...flags: string[]) {
  const config = `--config=${new URL("lint/deno.json", ROOT).pathname}`;
  const tsc = `${lint.imports[name]}/tsc`;
  return run(folder, Deno.execPath(), "run", "--quiet", "--allow-all", config, tsc, ...flags);
}

/** Makes a project that has the package. */
async function newProject(folder: string, name: string, command: string, ...args: string[]) {
  const project = `${folder}/${name}`;
  await Deno.mkdir(project, { recursive: true });
  await Deno.writeTextFile(`${project}/package.json`, '{ "type": "module" }');
  const { success, said } = await run(project, command, ...args);
  assert(success, said);
  return project;
}

/** A client, and what the package has besides. */
function program(address: string): string {
  return `
import { ConnectionLostError, NetPubSub } from "@mpubsub/mpubsub";
import { PubSub } from "@mpubsub/mpubsub/pubsub";
const bus = new NetPubSub("${address}", "${KEY}");
await bus.connect();
console.log(bus instanceof PubSub, bus.constructor.name, ConnectionLostError.name);
const answers = bus.subscribe("answer", { accepts: ["sum", "at"] });
bus.publish("question", { terms: [1, 2n, new Date(0)] });
for await (const { topic, message } of answers) {
  console.log(topic.join(), message.sum, message.at.getTime());
  break;
}
await bus.disconnect();
for (const name of ["nats", "cli"]) {
  await import("@mpubsub/mpubsub/" + name).then(
    (module) => console.log(name, Object.keys(module).join()),
    ({ message }) => console.log(name, "->", message),
  );
}
`;
}

/** What it logs, but for the errors of the runtime. */
const LOGGED = ["true NetPubSub ConnectionLostError", "answer 3 0"];
/** The errors that say what is missing, in Node and in Bun. */
const NO_PEER = /^nats -> Cannot find package '@nats-io\/(nats-core|jetstream)'/;
const NO_PROGRAM = /^cli -> (Package subpath '.\/cli' is not defined|Cannot find package)/;

/** Runs the program in a project, while there is a broker with somebody who answers. */
async function exchange({ run }: Runtime, project: string): Promise<string[]> {
  await using broker = new Broker({ address: "tcp://127.0.0.1:0", authkey: KEY });
  await broker.start();
  await using here = new NetPubSub(broker.address, KEY);
  here.addSubscriber("question", (_topic, { terms }) => {
    const [one, two, at] = terms as [number, bigint, Date];
    here.publish("answer", { sum: one + Number(two), at });
  });
  await here.connect();
  await Deno.writeTextFile(`${project}/main.js`, program(broker.address));
  const [first, second, nats, cli] = (await run(project, "main.js")).split("\n");
  assertEquals([first, second], LOGGED);
  return [nats!, cli!];
}

Deno.test({
  name: `the package for npm works for compilers, runtimes and bundlers${NOTE}`,
  ignore: !CAN_PACK,
  async fn(t) {
    await using temp = await TempFolder.make();
    const folder = temp.path;
    const archive = `${folder}/package.tgz`;
    await unpacked(folder);
    await Deno.mkdir(`${folder}/jsr`);
    await run(folder, "cp", "-r", "package", "jsr/package");
    await forNpm(folder, "owner/name");
    await pack(folder, archive);

    await t.step("it has the entry points but the program's, and needs NATS for one", async () => {
      const packed = JSON.parse(await Deno.readTextFile(`${folder}/package/package.json`));
      assertEquals(Object.keys(packed.exports), ENTRIES);
      assertEquals(packed.name, manifest.name);
      assertEquals(packed.version, manifest.version);
      assertEquals(packed.bin, undefined);
      assertEquals(packed.dependencies, undefined);
      const peers = manifest.scopes["./"];
      for (const [name, range] of Object.entries(packed.peerDependencies)) {
        assertEquals(packed.peerDependenciesMeta[name], { optional: true });
        assertEquals((peers as Record<string, string>)[name], `npm:${name}@${range}`);
      }
      assertEquals(packed.repository.url, "git+https://github.com/owner/name.git");
    });

    await t.step("it has modules, declarations and three texts", () => {
      const names = filesIn(`${folder}/package`).filter((name) => !/\.(js|d\.ts)$/.test(name));
      assertEquals(names, ["CHANGELOG.md", "LICENSE", "README.md", "package.json"]);
      assertEquals(filesIn(`${folder}/package`).filter((name) => /^cli/.test(name)), []);
    });

    const modules = `${folder}/types/node_modules/@mpubsub`;
    await Deno.mkdir(modules, { recursive: true });
    await Deno.symlink(`${folder}/package`, `${modules}/mpubsub`);
    await writeTypes(`${folder}/types`);
    for (const name of COMPILERS) {
      await t.step(
        `${name} reads the declarations, and writes those of classes that extend ours`,
        async () => {
          const result = await compile(`${folder}/types`, name);
          assertEquals(result, { success: true, said: "" });
          const written = await Deno.readTextFile(`${folder}/types/out/types_test.d.ts`);
          assertStringIncludes(written, "export declare const Anonymous");
        },
      );
      for (const resolution of ["nodenext", "bundler"]) {
        await t.step(
          `${name} reads all of them without types of Deno and of using, as ${resolution}`,
          async () => {
            const module = resolution === "bundler" ? "esnext" : resolution;
            const flags = ["--module", module, "--moduleResolution", resolution];
            const result = await compile(`${folder}/types`, name, "-p", "plain.json", ...flags);
            assertEquals(result, { success: true, said: "" });
          },
        );
      }
    }

    const project = NPM_NOTE === ""
      ? await newProject(folder, "npm", "npm", "install", "--offline", archive)
      : "";
    for (const node of NODES) {
      await t.step({
        name: `a program in ${node.name} uses what npm installs of it${NPM_NOTE}${node.note}`,
        ignore: NPM_NOTE !== "" || node.note !== "",
        async fn() {
          const [nats, cli] = await exchange(node, project);
          assertMatch(nats!, NO_PEER);
          assertMatch(cli!, NO_PROGRAM);
        },
      });
    }

    await t.step({
      name: `a program in Bun uses what Bun installs of it${BUN.note}`,
      ignore: BUN.note !== "",
      async fn() {
        const bun = Deno.env.get("BUN") || "bun";
        const project = await newProject(folder, "bun", bun, "add", archive);
        const [nats, cli] = await exchange(BUN, project);
        assertMatch(nats!, NO_PEER);
        assertMatch(cli!, NO_PROGRAM);
      },
    });

    await t.step({
      name: `a program in Node 22 uses what npx jsr add installs${NPM_NOTE}${NODES[0]!.note}`,
      ignore: NPM_NOTE !== "" || NODES[0]!.note !== "",
      async fn() {
        await using registry = await jsrRegistry(`${folder}/jsr`);
        await Deno.mkdir(`${folder}/with_jsr`);
        await Deno.writeTextFile(`${folder}/with_jsr/.npmrc`, `@jsr:registry=${registry.url}\n`);
        const alias = "@mpubsub/mpubsub@npm:@jsr/mpubsub__mpubsub";
        const args = ["install", "--prefer-offline", alias];
        const project = await newProject(folder, "with_jsr", "npm", ...args);
        // JSR has npm install what any entry point needs.
        assertEquals((await exchange(NODES[0]!, project))[0], "nats NatsUplink");
      },
    });

    for (const entry of ["pubsub", "net", "web"]) {
      await t.step(`esbuild bundles ./${entry} for a browser, and has nothing to say`, async () => {
        const { said, imports } = await bundle(`${folder}/types`, "*", `@mpubsub/mpubsub/${entry}`);
        assertEquals({ said, imports }, { said: "", imports: [] });
      });
    }

    const hasReact = NPM_NOTE === "" && await hasRegistry(folder, run);
    const appNote = NPM_NOTE || CHROMIUM_NOTE ||
      (hasReact ? "" : " (ignored: npm cannot get packages here)");
    await t.step({
      name: `the app of examples/vite/ exchanges messages with a program in Deno${appNote}`,
      ignore: appNote !== "",
      async fn() {
        const compiler = (folder: string, ...flags: string[]) =>
          compile(folder, "typescript-7", ...flags);
        const pages = await buildApp(folder, archive, run, compiler);
        await using examples = await exampleFolder();
        const place = placeIn(examples);
        await run(examples.path, "cp", "-r", pages, "app");
        const { server, origin } = await startServer(place, "app");
        await using _server = server;
        await using greenhouse = await startGreenhouse(place);
        await using browser = await Chromium.start(CHROMIUM!);
        const lines: string[] = [];
        const page = await browser.open(origin, { onLine: (line) => lines.push(line) });
        await converse(page, greenhouse, 23);
        assertEquals(lines, []);
      },
    });

    await t.step("a bundler leaves out what a program does not import", async () => {
      const all = await bundle(`${folder}/types`, "{ PubSub }", "@mpubsub/mpubsub");
      const one = await bundle(`${folder}/types`, "{ PubSub }", "@mpubsub/mpubsub/pubsub");
      assertEquals(all.modules, one.modules);
    });
  },
});

/** Bundles a page that exports these of the package's names. */
async function bundle(folder: string, names: string, entry: string) {
  await Deno.writeTextFile(`${folder}/page.js`, `export ${names} from "${entry}";`);
  const flags = ["--format=esm", "--platform=browser", "--outfile=out.js", "--metafile=out.json"];
  const said = await esbuild(["page.js", "--bundle", ...flags], folder);
  const { outputs } = JSON.parse(await Deno.readTextFile(`${folder}/out.json`));
  const { imports, inputs } = outputs["out.js"];
  const modules = Object.keys(inputs).filter((path) => inputs[path].bytesInOutput > 0).toSorted();
  return { said, imports, modules };
}

/** Writes what compilers are to read. */
async function writeTypes(folder: string): Promise<void> {
  const tests = await Deno.readTextFile(new URL("tests/types_test.ts", ROOT));
  const plain = { ...OPTIONS, target: "es2022", lib: ["es2022", "dom"], noEmit: true };
  const { declaration: _, emitDeclarationOnly: __, ...withoutOutput } = plain;
  const files = {
    "package.json": '{ "type": "module" }',
    "others.d.ts": OTHERS,
    "types_test.ts": tests.replace("../mod.ts", "@mpubsub/mpubsub"),
    "tsconfig.json": JSON.stringify({
      compilerOptions: OPTIONS,
      files: ["types_test.ts", "others.d.ts"],
    }),
    "plain.ts": PLAIN,
    "plain.json": JSON.stringify({ compilerOptions: withoutOutput, files: ["plain.ts"] }),
  };
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${folder}/${name}`, text);
  }
}

/** The registry that JSR has for npm: there a package is what `deno pack` makes, by another name. */
async function jsrRegistry(folder: string): Promise<NpmRegistry> {
  const path = `${folder}/package/package.json`;
  const manifest = JSON.parse(await Deno.readTextFile(path));
  manifest.name = "@jsr/mpubsub__mpubsub";
  await Deno.writeTextFile(path, JSON.stringify(manifest));
  await pack(folder, `${folder}/jsr.tgz`);
  return new NpmRegistry({ manifest, archive: await Deno.readFile(`${folder}/jsr.tgz`) });
}
