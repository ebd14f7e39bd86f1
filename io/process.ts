/**
 * The process that this is part of, as each runtime tells of it. A page has none.
 */

/** What Node and Bun tell of the process. */
export interface NodeProcess {
  readonly pid: number;
  readonly argv: readonly string[];
  /** The flags of the runtime itself. */
  readonly execArgv?: readonly string[];
  readonly platform: string;
  readonly versions: { readonly node?: string; readonly bun?: string };
  cwd(): string;
  /** Absent where there are no users. */
  getuid?(): number;
  /** Absent in versions that are too old. */
  getBuiltinModule?(name: string): unknown;
}

/** The process, if this is Node or Bun; it has the same name there. */
export function nodeProcess(): NodeProcess | undefined {
  return (globalThis as { process?: NodeProcess }).process;
}

/** What this is, with its version: `Node 22.3.0`; `undefined` if it is neither Node nor Bun. */
export function nodeName(): string | undefined {
  const { node, bun } = nodeProcess()?.versions ?? {};
  if (bun !== undefined) return `Bun ${bun}`;
  return node === undefined ? undefined : `Node ${node}`;
}

/** The operating system, as Deno calls it; `undefined` in a page. */
export function operatingSystem(): string | undefined {
  if (typeof Deno !== "undefined") return Deno.build.os;
  const platform = nodeProcess()?.platform;
  return platform === "win32" ? "windows" : platform;
}

/** The folder that relative paths begin at. */
export function workingFolder(): string {
  return typeof Deno !== "undefined" ? Deno.cwd() : nodeProcess()?.cwd() ?? "";
}
