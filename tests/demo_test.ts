import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { SequenceChecker, summarise } from "../examples/demo.ts";
import { hasNatsServer } from "../tools/harness/nats_server.ts";
import { until } from "../tools/harness/until.ts";
import { TempFolder } from "./helpers/folder.ts";
import { terminalTest } from "./helpers/terminal.ts";

const DEMO = new URL("../examples/demo.ts", import.meta.url).pathname;

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "-A", DEMO, ...args],
    stdin: "null",
  }).output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

/** What a demonstration sums up in its last line. */
function sumOf(out: string) {
  const summary = out.trimEnd().split("\n").at(-1)!;
  const [all, publishers, count, subscribers, others, received, missing, doubled, late, local] =
    summary.match(/\d+/g)?.map(Number) ?? [];
  return {
    all: all!,
    of: { publishers: publishers!, subscribers: subscribers! },
    processes: [count, others],
    received: received!,
    faults: [missing, doubled, late],
    local: local!,
  };
}

/** Asserts that the sum is that of what was printed, and that nothing was lost. */
function assertCounted(out: string, publishers: number, subscribers: number): void {
  const sum = sumOf(out);
  const printed = (pattern: RegExp) => out.match(pattern)?.length ?? 0;
  assertEquals(sum.of.publishers, printed(/ PUB\d+ +publishes \d+$/gm), out);
  assertEquals(sum.of.subscribers, printed(/ SUB\d+ +decides to publish \d+ of its own$/gm), out);
  assertEquals(sum.all, sum.of.publishers + sum.of.subscribers);
  assertEquals(sum.received, printed(/ SUB\d+ +got \d+ from \w+$/gm), out);
  assertEquals(sum.received, sum.all * subscribers);
  assertEquals(sum.local, printed(/ says something that stays in its process$/gm));
  assertEquals([sum.processes, sum.faults], [[publishers, subscribers], [0, 0, 0]]);
}

Deno.test("demo runs every process, loses nothing and ends with a summary", async () => {
  const counts = ["-p", "2", "-s", "2"];
  const times = ["--seconds", "0.5", "--delay-min", "0", "--delay-max", "10ms"];
  const { code, out, err } = await run(...counts, ...times);
  assertEquals([code, err], [0, ""], out);
  assertCounted(out, 2, 2);
  assert(sumOf(out).of.publishers > 10);
  assertMatch(out, /PUB2 +publishes 3\n/);
  assertMatch(out, /SUB1 +got 3 from PUB2\n/);
});

Deno.test({
  name: "demo --machines loses nothing although a node of NATS is killed on the way",
  ignore: !hasNatsServer,
  async fn() {
    const times = ["--seconds", "1", "--delay-min", "0", "--delay-max", "50ms"];
    const { code, out, err } = await run("--machines", "3", ...times);
    assertEquals([code, err], [0, ""], out);
    assertCounted(out, 3, 3);
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
  /** All that it prints, once it ends. */
  readonly output: Promise<string>;
  /** All that it complains of, once the last of its processes, which have the same output, ends. */
  readonly errors: Promise<string>;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    folder: string,
    process: Deno.ChildProcess,
    output: Promise<string>,
    stack: AsyncDisposableStack,
  ) {
    this.folder = folder;
    this.process = process;
    this.output = output;
    this.errors = new Response(process.stderr).text();
    this.#stack = stack;
  }

  /** Starts it, and waits until a message has come. */
  static async start(...args: string[]): Promise<Demonstration> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await TempFolder.make());
    const options = ["-p", "2", "-s", "2", "--delay-max", "200ms", ...args];
    return await Demonstration.#run(stack.move(), path, [
      Deno.execPath(),
      ...["run", "--no-prompt", "-A", DEMO, ...options],
    ]);
  }

  /** The same on a terminal, which it reads from this process. */
  static async startOnTerminal(): Promise<Demonstration> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await TempFolder.make());
    // At Ctrl-C a terminal drops what it has not shown yet, unless it is told not to.
    const line = "stty noflsh -echo; " +
      `exec ${Deno.execPath()} run --no-prompt -A ${DEMO} -p 2 -s 2 --delay-max 200ms`;
    const command = ["script", "--quiet", "--return", "--command", line, "/dev/null"];
    return await Demonstration.#run(stack.move(), path, command);
  }

  static async #run(
    stack: AsyncDisposableStack,
    folder: string,
    [program, ...args]: readonly string[],
  ): Promise<Demonstration> {
    const process = new Deno.Command(program!, {
      args,
      env: { TMPDIR: folder },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    stack.defer(async () => {
      await process.stdin.close().catch(() => {}); // It was closed from the other end.
      await process.status;
    });
    const reader = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let printed = "";
    const read = async () => {
      const { value = "", done } = await reader.read();
      printed += value;
      return !done;
    };
    while (!printed.includes("got") && await read());
    const output = (async () => {
      while (await read());
      return printed;
    })();
    stack.defer(async () => void await output);
    return new Demonstration(folder, process, output, stack);
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

Deno.test("demo that is interrupted counts what was sent, leaves nothing, and ends with status 130", async () => {
  await using demo = await Demonstration.start("--seconds", "600");
  demo.process.kill("SIGINT");
  assertEquals([(await demo.process.status).code, await demo.errors], [130, ""]);
  assertCounted(await demo.output, 2, 2);
  assertEquals(demo.files, []);
});

terminalTest("demo that gets Ctrl-C in a terminal counts what was sent", async () => {
  await using demo = await Demonstration.startOnTerminal();
  const writer = demo.process.stdin.getWriter();
  await writer.write(Uint8Array.of(3));
  writer.releaseLock();
  const output = (await demo.output).replaceAll("\r", "");
  assertCounted(output, 2, 2);
  assertEquals((await demo.process.status).code, 130);
  assertEquals(demo.files, []);
});

Deno.test("demo ends at once when it is interrupted again, a second later", async () => {
  await using demo = await Demonstration.start("--seconds", "600");
  const { pid } = JSON.parse(
    await Deno.readTextFile(`${demo.folder}/${demo.files[0]}/broker.json`),
  );
  Deno.kill(pid, "SIGSTOP"); // So nothing comes of what is sent: it would wait for ever.
  await until(async () => {
    demo.process.kill("SIGINT");
    const { stdout } = await new Deno.Command("ps", { args: ["-eo", "args"] }).output();
    const lines = new TextDecoder().decode(stdout).split("\n");
    return !lines.some((line) => line.includes(demo.folder) && line.includes("--role=subscriber"));
  });
  Deno.kill(pid, "SIGCONT");
  assertEquals((await demo.process.status).code, 130);
  assert(!(await demo.output).includes("messages ("));
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
    ["--delay-min", "2s", "--delay-max", "1s"],
    ["--delay-max", "1"],
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
  const outcome = { sent: { a: 7, c: 2 }, remarks: {}, counts: [{ ...tally, local: 0 }] };
  assertEquals(summarise(outcome).isComplete, false);
});

Deno.test("demo calls a run complete when everybody got everything", () => {
  const whole = { received: 7, missing: 0, doubled: 0, late: 0, local: 2 };
  const outcome = { sent: { a: 3, b: 1 }, remarks: { c: 3, d: 0 }, counts: [whole, whole] };
  assertEquals(summarise(outcome), {
    text: "7 messages (4 of 2 publishers, 3 of subscribers) to 2 subscribers: 14 received, " +
      "0 missing, 0 doubled, 0 late; 4 more stayed in their processes",
    isComplete: true,
  });
  for (const fault of ["missing", "doubled", "late"]) {
    const counts = [whole, { ...whole, [fault]: 1 }];
    assertEquals(summarise({ ...outcome, counts }).isComplete, false, fault);
  }
});
