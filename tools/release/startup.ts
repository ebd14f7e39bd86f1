/**
 * How large a compiled broker is, and how soon it is there: until it has printed its version and has
 * ended, and until it listens. Several programs take turns.
 *
 * ```sh
 * deno task compile && deno task startup ./mpubsub-broker
 * deno task startup ./before ./after --rounds 50
 * ```
 */
import { parseArgs } from "@std/cli/parse-args";
import { TextLineStream } from "@std/streams/text-line-stream";

/** What was measured of one program, in milliseconds. */
interface Figures {
  readonly version: number[];
  readonly listening: number[];
}

async function untilVersion(program: string): Promise<number> {
  const begin = performance.now();
  const { success } = await new Deno.Command(program, { args: ["--version"] }).output();
  if (!success) throw new Error(`${program} --version failed`);
  return performance.now() - begin;
}

async function untilListening(program: string): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-startup-" });
  const begin = performance.now();
  const process = new Deno.Command(program, {
    args: [`${folder}/broker.json`],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const lines = process.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream()).getReader();
  const { value } = await lines.read();
  const took = performance.now() - begin;
  process.kill("SIGTERM");
  await process.status;
  await lines.cancel();
  await Deno.remove(folder, { recursive: true });
  if (!value?.includes("Listening at")) throw new Error(`${program} does not listen: ${value}`);
  return took;
}

function quartiles(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.floor((sorted.length - 1) * part)]!.toFixed(0);
  return `${at(0.5)} ms (${at(0.25)} to ${at(0.75)})`;
}

const { _: programs, rounds } = parseArgs(Deno.args, {
  string: ["_", "rounds"],
  default: { rounds: "30" },
}) as unknown as { _: string[]; rounds: string };
if (programs.length === 0 || !/^[1-9]\d*$/.test(rounds)) {
  console.error("Usage: deno task startup PROGRAM … [--rounds 30]");
  Deno.exit(2);
}

const figures = new Map<string, Figures>();
for (const program of programs) figures.set(program, { version: [], listening: [] });
for (let round = 0; round < Number(rounds); round++) {
  for (const [program, { version, listening }] of figures) {
    version.push(await untilVersion(program));
    listening.push(await untilListening(program));
  }
}
for (const [program, { version, listening }] of figures) {
  const { size } = await Deno.stat(program);
  console.log(
    `${program}: ${(size / 1e6).toFixed(1)} MB; --version ${quartiles(version)}; ` +
      `listening after ${quartiles(listening)}`,
  );
}
