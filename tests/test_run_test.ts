/** What `deno task test` leaves: nothing, however it ends. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { TempFolder } from "./helpers/folder.ts";

const RUN = new URL("../tools/test/run.ts", import.meta.url).pathname;
const SANITIZERS = "sanitizeOps: false, sanitizeResources: false";

/** `deno task test` with one file of tests, and a temporary folder that only it uses. */
class Run implements AsyncDisposable {
  readonly process: Deno.ChildProcess;
  readonly #folder: TempFolder;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #errors: Promise<string>;

  private constructor(folder: TempFolder, process: Deno.ChildProcess) {
    this.#folder = folder;
    this.process = process;
    this.#lines = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#errors = new Response(process.stderr).text();
  }

  /** Starts it with a test that does this. */
  static async start(body: string): Promise<Run> {
    const folder = await TempFolder.make();
    const file = `${folder.path}/some_test.ts`;
    await Deno.writeTextFile(file, `Deno.test("some", { ${SANITIZERS} }, async () => {${body}});`);
    await Deno.mkdir(`${folder.path}/tmp`);
    const process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--allow-all", RUN, "--allow-all", "--no-check", file],
      env: { TMPDIR: `${folder.path}/tmp`, NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new Run(folder, process);
  }

  /** Reads what it prints until it contains `text`. */
  async until(text: string): Promise<void> {
    for (let said = ""; !said.includes(text);) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error(`ended after ${said} ${await this.#errors}`);
      said += value;
    }
  }

  /** How it ended, once all its processes have ended, which write to the same output; what is left. */
  async end(): Promise<{ code: number; err: string; left: string[] }> {
    while (!(await this.#lines.read()).done);
    const [{ code }, err] = await Promise.all([this.process.status, this.#errors]);
    const left = [...Deno.readDirSync(`${this.#folder.path}/tmp`)].map(({ name }) => name);
    return { code, err, left };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }
}

Deno.test("deno task test leaves neither a process nor a file when it is interrupted", async () => {
  await using run = await Run.start(`
    await Deno.makeTempDir();
    new Deno.Command("sleep", { args: ["1000"] }).spawn();
    console.log("it runs");
    await new Deno.Command("sleep", { args: ["1000"] }).output();
  `);
  await run.until("it runs");
  run.process.kill("SIGINT");
  const { code, left } = await run.end();
  assertEquals([code, left], [130, []]);
});

Deno.test("deno task test fails when tests leave a process or a file, and leaves neither", async () => {
  await using run = await Run.start(`
    await Deno.makeTempDir({ prefix: "some-" });
    const args = ["-c", "trap '' INT; sleep 1000 & echo; wait"];
    const child = new Deno.Command("sh", { args, stdout: "piped" }).spawn();
    child.unref();
    // Deno may end the shell with itself, before that has begun anything.
    const output = child.stdout.getReader();
    await output.read();
    await output.cancel();
  `);
  const { code, err, left } = await run.end();
  assertEquals([code, left], [1, []]);
  assertStringIncludes(err, "FAILED: the tests left sleep 1000");
  assertMatch(err, /^FAILED: the tests left some-\w+$/m);
});

Deno.test("deno task test ends as the tests do", async () => {
  await using run = await Run.start(`throw new Error("as it is");`);
  const { code, err, left } = await run.end();
  assertEquals([code, left], [1, []]);
  assertMatch(err, /^error: Test failed\n/);
});
