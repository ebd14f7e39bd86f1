/** The pages of the documentation, and their examples, run as a reader would. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { TextLineStream } from "@std/streams/text-line-stream";
import { killIfAlive } from "../../tools/harness/kill.ts";

const ROOT = new URL("../../", import.meta.url);

/** All pages, by their paths in the project. */
export const PAGES: ReadonlyMap<string, string> = new Map(
  await Promise.all(
    ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", ...pagesIn("docs/")].map(
      async (path) => [path, await Deno.readTextFile(new URL(path, ROOT))] as const,
    ),
  ),
);

/** The README. */
export const README = PAGES.get("README.md")!;

/** The pages in a folder, and in those within it. */
function pagesIn(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, ROOT))].flatMap(({ name, isDirectory }) =>
    isDirectory ? pagesIn(`${folder}${name}/`) : name.endsWith(".md") ? [folder + name] : []
  ).toSorted();
}

/** A code block, and the block of text that follows at once, if one does. */
export interface Example {
  readonly code: string;
  readonly prints: string | undefined;
}

/** The code blocks of a language in a page. */
export function blocks(page: string, language: string): Example[] {
  const block = `\`\`\`${language}\n([^]*?)\`\`\`\n`;
  return [...page.matchAll(new RegExp(`^${block}(?:\n\`\`\`text\n([^]*?)\`\`\`\n)?`, "gm"))].map(
    ([, code, prints]) => ({ code: code!, prints }),
  );
}

/** The arguments of the command in a page, by default the README, that runs this script. */
export function argsFor(script: string, page = README): string[] {
  return new RegExp(`^deno (run .*${script})(?: |$)`, "m").exec(page)![1]!.split(" ");
}

/** Where examples run, and what tells Deno there which package they mean. */
export interface Place {
  readonly folder: string;
  /** Flags of `deno run`. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a program there. */
export function start(
  { folder, env }: Place,
  command: string,
  args: readonly string[],
): Deno.ChildProcess {
  return new Deno.Command(command, {
    args: [...args],
    cwd: folder,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

/** Starts `deno run` there, or `deno test`. */
export function deno(place: Place, [run, ...args]: readonly string[]): Deno.ChildProcess {
  const flags = ["--no-prompt", "--quiet", ...place.flags ?? []];
  return start(place, Deno.execPath(), [run!, ...flags, ...args]);
}

/** What a process prints, line by line. */
export function linesOf(process: Deno.ChildProcess): ReadableStreamDefaultReader<string> {
  return process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
    .getReader();
}

/** Runs an example there, and compares what it prints with what its page says. */
export async function printsWhatItSays(place: Place, { code, prints }: Example): Promise<void> {
  await Deno.writeTextFile(`${place.folder}/example.ts`, code);
  const permissions = ["--allow-net", "--allow-read", "--allow-write"];
  const isTest = /^Deno\.test\(/m.test(code);
  const args = [isTest ? "test" : "run", ...permissions, "example.ts"];
  const { success, stdout } = await deno(place, args).output();
  const said = new TextDecoder().decode(stdout);
  assert(success, said);
  if (!isTest) assertEquals(said, prints ?? "");
}

/** A program that runs, and the lines that it prints. */
export class Running implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;

  /** Reads what the process prints; ends it with this. */
  constructor(process: Deno.ChildProcess) {
    this.#process = process;
    this.#lines = linesOf(process);
  }

  /** The next line; `undefined` when it has ended. */
  async line(): Promise<string | undefined> {
    return (await this.#lines.read()).value;
  }

  /** Its exit status, once it ends by itself. */
  async code(): Promise<number> {
    return (await this.#process.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    killIfAlive(this.#process, "SIGKILL");
    await this.#process.status;
    await this.#lines.cancel();
  }
}

/** A broker that was just started and listens; it ends in order with this. */
export class ListeningBroker implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;

  private constructor(process: Deno.ChildProcess) {
    this.#process = process;
    this.#lines = linesOf(process);
  }

  /** The broker of a process, once it says that it listens. */
  static async of(process: Deno.ChildProcess): Promise<ListeningBroker> {
    const broker = new ListeningBroker(process);
    assertMatch((await broker.#lines.read()).value!, /^Listening at /);
    return broker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGTERM");
    assertEquals((await this.#process.status).code, 0);
    await this.#lines.cancel();
  }
}

/** Runs the two scripts of the README there, while a broker listens whose file is `x.json`. */
export async function scriptsExchange(place: Place): Promise<void> {
  const [subscriber, publisher] = blocks(README, "ts ignore");
  await Deno.mkdir(`${place.folder}/examples`, { recursive: true });
  await Deno.writeTextFile(`${place.folder}/examples/subscriber.ts`, subscriber!.code);
  await Deno.writeTextFile(`${place.folder}/examples/publisher.ts`, publisher!.code);

  const listener = deno(place, argsFor("subscriber.ts"));
  const lines = linesOf(listener);
  assertEquals((await lines.read()).value, "Listening");
  const speaker = deno(place, argsFor("publisher.ts"));
  const { pid } = speaker;
  assertEquals((await speaker.output()).success, true);
  assertEquals((await lines.read()).value, `[ "greeting", "morning" ] hello from ${pid}`);

  listener.kill("SIGKILL");
  await listener.status;
  await lines.cancel();
  const again = deno(place, argsFor("publisher.ts"));
  assertEquals((await again.output()).success, true, "nobody is disturbed by a killed client");
}
