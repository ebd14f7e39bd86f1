/** The examples of the README, run as a reader would, each in a process of its own. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { TextLineStream } from "@std/streams/text-line-stream";

/** The README. */
export const PAGE = await Deno.readTextFile(new URL("../../README.md", import.meta.url));

/** A code block, and the block of text that follows at once, if one does. */
export interface Example {
  readonly code: string;
  readonly prints: string | undefined;
}

/** The code blocks of a language. */
export function blocks(language: string): Example[] {
  const block = `\`\`\`${language}\n([^]*?)\`\`\`\n`;
  return [...PAGE.matchAll(new RegExp(`^${block}(?:\n\`\`\`text\n([^]*?)\`\`\`\n)?`, "gm"))].map(
    ([, code, prints]) => ({ code: code!, prints }),
  );
}

/** The arguments of the command in the README that runs this script. */
function argsFor(script: string): string[] {
  return new RegExp(`^deno (run .*${script})$`, "m").exec(PAGE)![1]!.split(" ");
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

/** Starts `deno run` there. */
export function deno(place: Place, [run, ...args]: readonly string[]): Deno.ChildProcess {
  const flags = ["--no-prompt", "--quiet", ...place.flags ?? []];
  return start(place, Deno.execPath(), [run!, ...flags, ...args]);
}

function linesOf(process: Deno.ChildProcess): ReadableStreamDefaultReader<string> {
  return process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
    .getReader();
}

/** Runs an example there, and compares what it prints with what the README says. */
export async function printsWhatItSays(place: Place, { code, prints }: Example): Promise<void> {
  await Deno.writeTextFile(`${place.folder}/example.ts`, code);
  const args = ["run", "--allow-net", "--allow-read", "--allow-write", "example.ts"];
  const { success, stdout } = await deno(place, args).output();
  assert(success);
  assertEquals(new TextDecoder().decode(stdout), prints);
}

/** Does something while a broker listens that was just started, and ends the broker. */
export async function withBroker(
  broker: Deno.ChildProcess,
  body: () => Promise<void>,
): Promise<void> {
  const lines = linesOf(broker);
  assertMatch((await lines.read()).value!, /^Listening at /);
  try {
    await body();
  } finally {
    broker.kill("SIGTERM");
    assertEquals((await broker.status).code, 0);
    await lines.cancel();
  }
}

/** Runs the two scripts there, while a broker listens whose file is `x.json`. */
export async function scriptsExchange(place: Place): Promise<void> {
  const [subscriber, publisher] = blocks("ts ignore");
  await Deno.writeTextFile(`${place.folder}/subscriber.ts`, subscriber!.code);
  await Deno.writeTextFile(`${place.folder}/publisher.ts`, publisher!.code);

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
