/**
 * The program that this is part of, as people know it.
 */
import { nodeProcess } from "./process.ts";

/** What Deno calls the module of a program that is not a file, such as one that it was given to evaluate. */
const NOT_A_FILE = /^\$deno\$/;

/** What tells Node and Bun to evaluate an argument. */
const EVALUATES = /^(-e|-p|-pe|--eval|--print)(=|$)/;

/**
 * The name of the program's file and the number of its process: `logger.ts 4711`. Needs no permission.
 *
 * @param bytesMax How many bytes of UTF-8 it may have; the name of a file that is longer is cut.
 * @returns Empty where there are no processes, as in a page.
 */
export function programName(bytesMax: number): string {
  const { pid } = typeof Deno !== "undefined" ? Deno : nodeProcess() ?? {};
  if (pid === undefined) return "";
  const rest = ` ${pid}`;
  return cut(fileName(), bytesMax - rest.length) + rest;
}

/** The name of the file that the program began with; that of the runtime if there is none. */
function fileName(): string {
  if (typeof Deno !== "undefined") return lastPart(Deno.mainModule);
  const { argv: [, file], execArgv, versions } = nodeProcess()!;
  // If there is none, an argument of the program may stand there.
  const isFile = file !== "-" && !execArgv?.some((flag) => EVALUATES.test(flag));
  return isFile && file?.replace(/.*[/\\]/, "") || (versions.bun === undefined ? "node" : "bun");
}

/** The last part of the path of a module; `deno` if it has none, as in a worker. */
function lastPart(module: string | null): string {
  const [, name = ""] = /^(?:file|https?):.*\/([^/?#]+)/.exec(module ?? "") ?? [];
  if (name === "" || NOT_A_FILE.test(name)) return "deno";
  try {
    return decodeURIComponent(name);
  } catch { // It is not UTF-8; as it is written it is a name, too.
    return name;
  }
}

function cut(text: string, bytesMax: number): string {
  const bytes = new Uint8Array(bytesMax);
  const { read } = new TextEncoder().encodeInto(text, bytes);
  return text.slice(0, read);
}
