import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { SequenceChecker, summarise } from "../examples/demo.ts";
import { hasNatsServer } from "../tools/harness/nats_server.ts";
import { until } from "../tools/harness/until.ts";
import { TempFolder } from "./helpers/folder.ts";

const DEMO = new URL("../examples/demo.ts", import.meta.url).pathname;

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "-A", DEMO, ...args],
    stdin: "null",
  }).output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

Deno.test("demo runs every process, loses nothing and ends with a summary", async () => {
  const counts = ["-p", "2", "-s", "2"];
  const times = ["--seconds", "0.5", "--delay-min", "0", "--delay-max", "0.01"];
  const { code, out, err } = await run(...counts, ...times);
  assertEquals([code, err], [0, ""], out);
  const summary = out.trimEnd().split("\n").at(-1)!;
  const [sent = 0, publishers, subscribers, received, ...faults] = summary.match(/\d+/g)!.map(
    Number,
  );
  assert(sent > 10, summary);
  assertEquals([publishers, subscribers, received, ...faults], [2, 2, sent * 2, 0, 0, 0]);
  assertMatch(out, /PUB2 +publishes 3\n/);
  assertMatch(out, /SUB1 +got 3 from PUB2\n/);
});

Deno.test({
  name: "demo --machines loses nothing although a node of NATS is killed on the way",
  ignore: !hasNatsServer,
  async fn() {
    const times = ["--seconds", "1", "--delay-min", "0", "--delay-max", "0.05"];
    const { code, out, err } = await run("--machines", "3", ...times);
    assertEquals([code, err], [0, ""], out);
    const summary = out.trimEnd().split("\n").at(-1)!;
    assertMatch(summary, / by 3 publishers to 3 subscribers: .* 0 missing, 0 doubled, 0 late$/);
    const [, dead] = out.match(/ (nats\d) +is killed, to which broker1 is connected\n/)!;
    assertStringIncludes(out, `broker1  has lost its connection to ${dead}\n`);
    assertMatch(out, /broker1 +goes on with nats\d\n/);
    for (const from of [1, 2, 3]) assertMatch(out, new RegExp(`SUB1 +got 2 from PUB${from}\n`));
  },
});

Deno.test("demo --machines says in a line how to get nats-server, with status 1", async () => {
  const hidden = ["/usr/sbin", "/usr/local/sbin"].map((folder) => `${folder}/nats-server`);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-prompt", "-A", `--deny-read=${hidden.join(",")}`],
      ...[DEMO, "--machines", "2"],
    ],
    env: { PATH: "" },
    stdin: "null",
  }).output();
  assertEquals([code, new TextDecoder().decode(stdout)], [1, ""]);
  assertMatch(new TextDecoder().decode(stderr), /^demo: [^\n]+apt install nats-server[^\n]+\n$/);
});

/** A demonstration that is under way, with a temporary folder of its own. */
class Demonstration implements AsyncDisposable {
  readonly folder: string;
  readonly process: Deno.ChildProcess;
  /** All that it complains of, once the last of its processes, which have the same output, ends. */
  readonly errors: Promise<string>;
  readonly #stack: AsyncDisposableStack;

  private constructor(folder: string, process: Deno.ChildProcess, stack: AsyncDisposableStack) {
    this.folder = folder;
    this.process = process;
    this.errors = new Response(process.stderr).text();
    this.#stack = stack;
  }

  /** Starts it, and waits until a message has come. */
  static async start(...args: string[]): Promise<Demonstration> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await TempFolder.make());
    const process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "-A", DEMO, "-p", "2", "-s", "2", "--delay-max", "0.2", ...args],
      env: { TMPDIR: path },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    stack.defer(async () => void await process.status);
    const out = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    while (!(await out.read()).value?.includes("got"));
    const drained = (async () => {
      while (!(await out.read()).done);
    })();
    stack.defer(() => drained);
    return new Demonstration(path, process, stack.move());
  }

  /** The names of what it has in its folder. */
  get files(): string[] {
    return [...Deno.readDirSync(this.folder)].map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

Deno.test("demo leaves neither a process nor a folder when it is killed", async () => {
  await using demo = await Demonstration.start();
  demo.process.kill("SIGKILL");
  assertMatch(await demo.errors, /^(demo: [^\n]+\n)*$/, "at most a line each");
  assertEquals(demo.files, []);
});

Deno.test("demo says in a line for each process that its broker is gone, with status 1", async () => {
  await using demo = await Demonstration.start();
  const { pid } = JSON.parse(
    await Deno.readTextFile(`${demo.folder}/${demo.files[0]}/broker.json`),
  );
  Deno.kill(pid, "SIGKILL");
  assertMatch(await demo.errors, /^(demo: [^\n]+\n)+$/);
  assertEquals((await demo.process.status).code, 1);
  assertEquals(demo.files, []);
});

Deno.test("demo ends with status 130, and leaves nothing, when it is interrupted", async () => {
  await using demo = await Demonstration.start();
  demo.process.kill("SIGINT");
  assertEquals([(await demo.process.status).code, await demo.errors], [130, ""]);
  assertEquals(demo.files, []);
});

for (const [signal, status] of [["SIGINT", 130], ["SIGKILL", 137]] as const) {
  Deno.test({
    name: `demo --machines leaves neither a process nor a folder when it gets ${signal}`,
    ignore: !hasNatsServer,
    fn: async () => {
      await using demo = await Demonstration.start("--machines", "2");
      const ids = await serversOf(demo);
      assertEquals(ids.length, 3);
      demo.process.kill(signal);
      assertEquals((await demo.process.status).code, status);
      assertMatch(await demo.errors, /^(demo: [^\n]+\n)*$/, "at most a line each");
      // Those who clean up after a demonstration that was killed are processes, too.
      await until(() => demo.files.length === 0);
      await until(() => !ids.some(isAlive));
    },
  });
}

/** The process ids of the NATS servers of a demonstration. */
async function serversOf({ folder, files }: Demonstration): Promise<number[]> {
  const ids: number[] = [];
  for (const name of files) {
    if (!name.startsWith("nats-server-")) continue;
    const log = await Deno.readTextFile(`${folder}/${name}/log`);
    ids.push(Number(/^\[(\d+)\]/.exec(log)![1]));
  }
  return ids;
}

function isAlive(id: number): boolean {
  return new Deno.Command("sh", { args: ["-c", `kill -0 ${id}`], stderr: "null" }).outputSync()
    .success;
}

Deno.test("demo refuses options that make no sense, with status 2", async () => {
  const wrong = [
    ["--nonsense"],
    ["--publishers", "0"],
    ["--subscribers", "x"],
    ["--machines", "0"],
    ["--machines", "1.5"],
    ["--seconds", ""],
    ["--delay-min", "2", "--delay-max", "1"],
  ];
  for (const args of wrong) {
    const { code, err } = await run(...args);
    assertEquals(code, 2, err);
    assertMatch(err, /^demo: [^\n]+--help tells more\)\n$/);
  }
  const { code, out } = await run("--help");
  assertEquals(code, 0);
  assertStringIncludes(out, "--delay-max");
});

Deno.test("demo finds what is missing, doubled and late", () => {
  const checker = new SequenceChecker();
  const numbers: [string, number][] = [["a", 1], ["a", 2], ["b", 1], ["a", 2], ["a", 5], ["a", 3]];
  assertEquals(
    numbers.map(([from, number]) => checker.take(from, number)),
    [undefined, undefined, undefined, "came twice", "expected 3", "came after 5"],
  );
  const tally = checker.tally({ a: 7, c: 2 });
  // Missing are 4, 6 and 7 of a, and both of c; of b nobody knows how many there were.
  assertEquals(tally, { received: 5, missing: 5, doubled: 1, late: 1 });
  assertEquals(summarise({ a: 7, c: 2 }, [tally]).isComplete, false);
});

Deno.test("demo calls a run complete when everybody got everything", () => {
  const whole = { received: 7, missing: 0, doubled: 0, late: 0 };
  assertEquals(summarise({ a: 3, b: 4 }, [whole, whole]), {
    text: "7 messages sent by 2 publishers to 2 subscribers: " +
      "14 received, 0 missing, 0 doubled, 0 late",
    isComplete: true,
  });
  for (const fault of ["missing", "doubled", "late"]) {
    assertEquals(summarise({ a: 7 }, [{ ...whole, [fault]: 1 }]).isComplete, false, fault);
  }
});
