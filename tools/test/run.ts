/**
 * Runs `deno test` in a temporary folder and a group of processes of its own. Of neither is anything
 * left at the end, also when it is interrupted; what the tests themselves leave makes the run fail.
 *
 * ```sh
 * deno task test                                  # all tests
 * deno task test tests/net_test.ts --filter TLS   # those of a file whose names have this
 * ```
 *
 * ```
 *  this ── deno test, TMPDIR=/tmp/mt-1a2b3c          one group: a signal to this goes to all of it
 *            ├── a worker for each file
 *            └── brokers, NATS servers, other programs
 * ```
 *
 * Its arguments are those of `deno test`; what follows `--` there is added, and files take the place of
 * those before.
 */
import { delay } from "@std/async/delay";

const HELLO = "Runs all tests, in about four minutes on two cores; Ctrl-C ends it";
/** How long processes may take to end in order. */
const END_MS = 5000;
const POLL_MS = 50;
/** The files that take longest, most of it waiting; they begin first, so that none is left alone. */
const LONGEST = [
  "tests/nats_jetstream_test.ts",
  "tests/reliability_test.ts",
  "tests/cli_pub_sub_test.ts",
  "tests/nats_core_test.ts",
  "tests/cli_watch_test.ts",
  "tests/nats_transport_test.ts",
  "tests/demo_test.ts",
  "tests/conformance_test.ts",
  "tests/npm_package_test.ts",
  "tests/browser_life_test.ts",
  "tests/page_conformance_test.ts",
];
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** As `bash` ends when it is interrupted. */
const INTERRUPTED = 130;

/** A new folder in that for temporary ones, with a short name: the paths of sockets are limited. */
function makeFolder(): string {
  const parent = (Deno.env.get("TMPDIR") ?? "/tmp").replace(/\/+$/, "");
  const folder = `${parent}/mt-${crypto.randomUUID().slice(0, 6)}`;
  Deno.mkdirSync(folder, { mode: 0o700 });
  return folder;
}

/** The arguments of `deno test`; those that a person has given last. */
function argumentsOf(args: readonly string[]): { args: string[]; isAll: boolean } {
  const end = args.indexOf("--");
  const [usual, own] = end < 0 ? [args, []] : [args.slice(0, end), args.slice(end + 1)];
  const isFile = (arg: string) => /^[^-].*(\/|\.(ts|md))$/.test(arg);
  const isAll = !own.some(isFile);
  // A file that is named twice runs once, where it is named first; before Deno 2.9 it runs twice.
  const isOnce = Number(Deno.version.deno.split(".")[1]) >= 9;
  const begin = isAll && isOnce && usual.includes("tests/") ? LONGEST : [];
  const files = usual.filter(isFile);
  const flags = usual.filter((arg) => !isFile(arg));
  return { args: [...flags, ...(isAll ? [...begin, ...files] : []), ...own], isAll };
}

/** Processes with one group, whose number is that of the first of them. */
class Group {
  readonly #id: number;

  constructor(id: number) {
    this.#id = id;
  }

  /** Sends all a signal. */
  signal(signal: Deno.Signal): void {
    try {
      Deno.kill(-this.#id, signal);
    } catch (error) { // There are none any more.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** The commands of those that run; one that only waits to be noticed has ended. */
  async running(): Promise<string[]> {
    const all = Deno.build.os === "linux" ? processesOfLinux() : await processesOfPs();
    return all.filter(({ group, state }) => group === this.#id && !state.startsWith("Z"))
      .map(({ command }) => command);
  }

  /** Waits until all have ended, and kills those that have not then; their commands. */
  async end(): Promise<string[]> {
    // While others end, a list of all processes may lack the latest: only two in a row say that none is left.
    let empty = 0;
    for (const end = performance.now() + END_MS; performance.now() < end;) {
      empty = (await this.running()).length === 0 ? empty + 1 : 0;
      if (empty === 2) return [];
      await delay(POLL_MS);
    }
    const running = await this.running();
    this.signal("SIGKILL");
    return running;
  }
}

/** A process of the system. */
interface ProcessState {
  readonly group: number;
  readonly state: string;
  readonly command: string;
}

/** All processes, where there may be no program `ps`. */
function processesOfLinux(): ProcessState[] {
  return [...Deno.readDirSync("/proc")].filter(({ name }) => /^\d+$/.test(name))
    .flatMap(({ name }) => {
      try {
        // The name of the program, in parentheses, may have any letters.
        const stat = Deno.readTextFileSync(`/proc/${name}/stat`).replace(/^.*\) /s, "");
        const [state, , group] = stat.split(" ");
        const command = Deno.readTextFileSync(`/proc/${name}/cmdline`).replaceAll("\0", " ");
        return [{ group: Number(group), state: state!, command }];
      } catch (error) { // It has ended in the meantime.
        if (error instanceof Deno.errors.NotFound) return [];
        if (error instanceof Error && error.message.includes("os error 3")) return [];
        throw error;
      }
    });
}

async function processesOfPs(): Promise<ProcessState[]> {
  const args = ["-A", "-o", "pgid=,stat=,args="];
  const { stdout } = await new Deno.Command("ps", { args }).output();
  return new TextDecoder().decode(stdout).split("\n").flatMap((line) => {
    const [, group, state, command] = /^ *(\d+) +(\S+) +(.*)$/.exec(line) ?? [];
    return group === undefined ? [] : [{ group: Number(group), state: state!, command: command! }];
  });
}

/** Runs `deno test`; its exit status. */
async function run(args: readonly string[]): Promise<number> {
  const folder = makeFolder();
  try {
    const tests = new Deno.Command(Deno.execPath(), {
      args: ["test", ...args],
      env: {
        TMPDIR: folder,
        // Many files wait more than they compute.
        DENO_JOBS: Deno.env.get("DENO_JOBS") ?? String(navigator.hardwareConcurrency + 1),
      },
      stdin: "null",
      detached: true,
    }).spawn();
    const group = new Group(tests.pid);
    let interruptions = 0;
    const handlers = SIGNALS.map((signal) => {
      const interrupt = () => {
        console.error(`Ends because of ${signal}`);
        group.signal(interruptions++ === 0 ? "SIGINT" : "SIGKILL");
      };
      Deno.addSignalListener(signal, interrupt);
      return () => Deno.removeSignalListener(signal, interrupt);
    });
    const { code } = await tests.status;
    const running = await group.end();
    for (const remove of handlers) remove();
    if (interruptions > 0) return INTERRUPTED;
    const files = [...Deno.readDirSync(folder)].map(({ name }) => name);
    for (const left of [...running, ...files]) console.error(`FAILED: the tests left ${left}`);
    return code === 0 && running.length + files.length > 0 ? 1 : code;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) {
  const { args, isAll } = argumentsOf(Deno.args);
  if (isAll) console.log(HELLO);
  Deno.exitCode = await run(args);
}
