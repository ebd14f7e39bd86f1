/**
 * The declarations of the package, as npm's TypeScript reads them: the oldest version that is supported, and
 * the newest. Each checks `types_test.ts`, which says what must and what must not compile.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import lint from "../lint/deno.json" with { type: "json" };
import { TempFolder } from "./helpers/folder.ts";

const ROOT = new URL("../", import.meta.url);
/** `deno pack` makes the declarations; it is there since Deno 2.9. */
const CAN_PACK = Number(Deno.version.deno.split(".")[1]) >= 9;
const NOTE = CAN_PACK ? "" : " (ignored: this Deno cannot pack)";

/** What else the tests use, for the compiler. */
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

const OPTIONS = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  target: "esnext",
  module: "nodenext",
  types: [],
  declaration: true,
  emitDeclarationOnly: true,
  outDir: "out",
};

/** What a command says, and whether it has succeeded. */
async function run(cwd: string | URL, command: string, ...args: string[]) {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  return { success, said };
}

/** A project that has the package, as npm would install it. */
async function newProject(folder: string): Promise<void> {
  const tarball = `${folder}/package.tgz`;
  const packed = await run(
    ROOT,
    Deno.execPath(),
    "pack",
    "--quiet",
    "--allow-dirty",
    "-o",
    tarball,
  );
  assert(packed.success, packed.said);
  const unpacked = await run(folder, "tar", "xzf", tarball);
  assert(unpacked.success, unpacked.said);
  await Deno.mkdir(`${folder}/node_modules/@mpubsub`, { recursive: true });
  await Deno.rename(`${folder}/package`, `${folder}/node_modules/@mpubsub/mpubsub`);
  const tests = await Deno.readTextFile(new URL("tests/types_test.ts", ROOT));
  const files = {
    "package.json": '{ "type": "module" }',
    "others.d.ts": OTHERS,
    "types_test.ts": tests.replace("../mod.ts", "@mpubsub/mpubsub"),
    "tsconfig.json": JSON.stringify({
      compilerOptions: OPTIONS,
      files: ["types_test.ts", "others.d.ts"],
    }),
  };
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${folder}/${name}`, text);
  }
}

/** Runs a compiler in a project. */
function compile(folder: string, specifier: string, ...flags: string[]) {
  const config = new URL("lint/deno.json", ROOT).pathname;
  const args = [
    "run",
    "--quiet",
    "--allow-all",
    `--config=${config}`,
    `${specifier}/tsc`,
    ...flags,
  ];
  return run(folder, Deno.execPath(), ...args);
}

Deno.test({
  name: `TypeScript 5.5 and the newest see the types that Deno sees${NOTE}`,
  ignore: !CAN_PACK,
  async fn(t) {
    await using temp = await TempFolder.make();
    const folder = temp.path;
    await newProject(folder);
    for (const name of ["typescript-5.5", "typescript-7"] as const) {
      await t.step(
        `${name} reads the declarations, and writes those of classes that extend ours`,
        async () => {
          // The declarations of other entry points name what is Deno's.
          const { success, said } = await compile(folder, lint.imports[name], "--skipLibCheck");
          assertEquals({ success, said }, { success: true, said: "" });
          const written = await Deno.readTextFile(`${folder}/out/types_test.d.ts`);
          assertStringIncludes(written, "export declare const Anonymous");
        },
      );
    }
    await t.step(
      "a program without the types of Deno and of using has those of a bus",
      async () => {
        await Deno.writeTextFile(
          `${folder}/types_test.ts`,
          `import { PubSub } from "@mpubsub/mpubsub/pubsub";
         const bus = new PubSub<{ a: { n: number } }>();
         bus.addSubscriber("a", (_topic, { n }) => n.toFixed()).remove();
         // @ts-expect-error the message requires a value
         bus.publish("a");
         export async function sum() {
           // @ts-expect-error a number
           for await (const { message } of bus.subscribe("a")) message.n.length;
         }`,
        );
        for (const name of ["typescript-5.5", "typescript-7"] as const) {
          const flags = ["--skipLibCheck", "--lib", "es2022,dom", "--target", "es2022"];
          const { success, said } = await compile(folder, lint.imports[name], ...flags);
          assertEquals({ success, said }, { success: true, said: "" });
        }
      },
    );
  },
});
