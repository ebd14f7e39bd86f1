/**
 * Runs the examples of the README as a reader would, each in a process of its own, and compares what
 * they print with what the README says. With `MPUBSUB_BROKER` that program is the broker.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { TextLineStream } from "@std/streams/text-line-stream";
import { withFolder } from "./folder.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const PAGE = await Deno.readTextFile(`${ROOT}README.md`);
const CONFIG = `--config=${ROOT}deno.json`;

/** The code blocks of a language, each with the block of text that follows at once, if one does. */
function blocks(language: string): { code: string; prints: string | undefined }[] {
  const block = `\`\`\`${language}\n([^]*?)\`\`\`\n`;
  return [...PAGE.matchAll(new RegExp(`^${block}(?:\n\`\`\`text\n([^]*?)\`\`\`\n)?`, "gm"))].map(
    ([, code, prints]) => ({ code: code!, prints }),
  );
}

/** The arguments of the command in the README that runs this script. */
function argsFor(script: string): string[] {
  return new RegExp(`^deno (run .*${script})$`, "m").exec(PAGE)![1]!.split(" ");
}

function start(folder: string, command: string, args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(command, {
    args: [...args],
    cwd: folder,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

function deno(folder: string, [run, ...args]: readonly string[]): Deno.ChildProcess {
  return start(folder, Deno.execPath(), [run!, "--no-prompt", "--quiet", CONFIG, ...args]);
}

function linesOf(process: Deno.ChildProcess): ReadableStreamDefaultReader<string> {
  return process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
    .getReader();
}

for (const [index, { code, prints }] of blocks("ts").entries()) {
  Deno.test(`README.md example ${index + 1} prints what it says`, () =>
    withFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/example.ts`, code);
      const args = ["run", "--allow-net", "--allow-read", "--allow-write", "example.ts"];
      const { success, stdout } = await deno(folder, args).output();
      assert(success);
      assertEquals(new TextDecoder().decode(stdout), prints);
    }));
}

Deno.test("README.md scripts exchange a message through the standalone broker", () =>
  withFolder(async (folder) => {
    const [subscriber, publisher] = blocks("ts ignore");
    await Deno.writeTextFile(`${folder}/subscriber.ts`, subscriber!.code);
    await Deno.writeTextFile(`${folder}/publisher.ts`, publisher!.code);
    const program = Deno.env.get("MPUBSUB_BROKER");
    const broker = program === undefined
      ? deno(folder, ["run", "-A", `${ROOT}cli.ts`, "x.json"])
      : start(folder, program, ["x.json"]);
    const brokerLines = linesOf(broker);
    assertMatch((await brokerLines.read()).value!, /^Listening at /);

    const listener = deno(folder, argsFor("subscriber.ts"));
    const lines = linesOf(listener);
    assertEquals((await lines.read()).value, "Listening");
    const speaker = deno(folder, argsFor("publisher.ts"));
    const { pid } = speaker;
    assertEquals((await speaker.output()).success, true);
    assertEquals((await lines.read()).value, `[ "greeting", "morning" ] hello from ${pid}`);

    listener.kill("SIGKILL");
    await listener.status;
    await lines.cancel();
    const again = deno(folder, argsFor("publisher.ts"));
    assertEquals((await again.output()).success, true, "nobody is disturbed by a killed client");
    broker.kill("SIGTERM");
    assertEquals((await broker.status).code, 0);
    await brokerLines.cancel();
  }));

Deno.test("README.md lists the options of the standalone broker", async () => {
  const { main } = await import("../cli.ts");
  const said: string[] = [];
  const { log } = console;
  console.log = (text: string) => said.push(text);
  try {
    assertEquals(await main(["broker", "--help"]), 0);
  } finally {
    console.log = log;
  }
  const options = said.join("\n").match(/--[a-z-]+(?: [A-Z]+)?(?= )/gm)!.map((text) => text.trim());
  const listed = [...PAGE.matchAll(/^\| `(--[^`]+)`/gm)].map(([, option]) => option!);
  assertEquals(listed, options.filter((option) => option !== "--version"));
});
