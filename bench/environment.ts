/** Where and with what something was measured. */
import manifest from "../deno.json" with { type: "json" };
import bench from "./deno.json" with { type: "json" };
import type { System } from "./systems.ts";

/** What is written down beside figures. */
export interface Environment {
  readonly date: string;
  readonly commit: string;
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** This machine, now, with the versions of these systems. */
export async function environment(systems: readonly System[]): Promise<Environment> {
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: await commit(),
    machine: await machine(),
    versions: await versions(systems),
  };
}

/** What a program prints, or nothing where there is no such program. */
async function said(command: string, ...args: readonly string[]): Promise<string> {
  try {
    const { stdout, stderr } = await new Deno.Command(command, { args: [...args] }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } catch (error) { // It is for the record only.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return "";
  }
}

async function commit(): Promise<string> {
  const hash = (await said("git", "rev-parse", "--short", "HEAD")).trim();
  const changed = (await said("git", "status", "--porcelain", "--untracked-files=no")).trim();
  return changed === "" ? hash : `${hash} with changes`;
}

async function machine(): Promise<string> {
  const [, model] = /^model name\s*: (.*)$/m.exec(await said("cat", "/proc/cpuinfo")) ?? [];
  const gib = Math.round(Deno.systemMemoryInfo().total / 1024 ** 3);
  return `${model ?? Deno.build.arch}, ${navigator.hardwareConcurrency} cores, ${gib} GiB, ` +
    `${Deno.build.os} ${Deno.osRelease()}`;
}

/** The versions of all that is measured. */
async function versions(systems: readonly System[]): Promise<Record<string, string>> {
  const all: Record<string, string> = { deno: Deno.version.deno, mpubsub: manifest.version };
  for (const { name, command } of systems.flatMap(programs)) {
    if (name in all) continue;
    const text = await said(command, name === "mosquitto" ? "-h" : "--version");
    all[name] = /\d+\.\d+\.\d+/.exec(text)?.[0] ?? "unknown";
  }
  for (const specifier of Object.values(bench.imports)) {
    const [, name, version] = /^npm:(.+)@(.+)$/.exec(specifier) ?? [];
    if (name !== undefined) all[name] = version!;
  }
  return all;
}

/** What must be installed for a system. */
function programs({ program, runtime }: System): { name: string; command: string }[] {
  const server = program === undefined
    ? []
    : [{ name: program.replace(/.*\//, ""), command: program }];
  return runtime === undefined ? server : [...server, runtime];
}
