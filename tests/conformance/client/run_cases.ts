/** Runs the cases in whatever runtime this is, some at a time. */
import { CASES } from "./cases.ts";
import { type Case, Context, type Library, type Setting } from "./context.ts";

/** What became of a case. */
export interface Outcome {
  readonly name: string;
  /** What went wrong; missing if nothing did. */
  readonly problem?: string;
}

/** How many cases are under way at a time. */
const CASES_AT_A_TIME = 6;
const CASE_MS = 30_000;

/** The cases that have a meaning in a setting. */
export function casesFor(setting: Setting, hasFiles: boolean): Case[] {
  return CASES.filter((
    { isBrief = false, needsFiles = false, place = setting.place, transports },
  ) =>
    (setting.isWhole || isBrief) && (!needsFiles || hasFiles) && place === setting.place &&
    (transports === undefined || transports.includes(setting.transport))
  );
}

/** Runs all cases that this runtime and transport can, each with `tell`ing what became of it. */
export async function runCases(
  library: Library,
  setting: Setting,
  tell: (outcome: Outcome) => void,
): Promise<void> {
  const waiting = casesFor(setting, library.fromFile !== undefined);
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      tell(await outcomeOf(next, new Context(library, setting)));
    }
  };
  await Promise.all(Array.from({ length: CASES_AT_A_TIME }, work));
}

async function outcomeOf({ name, run }: Case, context: Context): Promise<Outcome> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`It took more than ${CASE_MS} ms`)), CASE_MS);
  });
  const problems: unknown[] = [];
  await Promise.race([run(context), late]).catch((error) => problems.push(error));
  clearTimeout(timer);
  problems.push(...context.unexpected);
  await context.close().catch((error) => problems.push(error));
  return problems.length === 0 ? { name } : { name, problem: describe(problems[0]) };
}

/** An error with where it was thrown; its stack has its message in some runtimes only. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { name, message, stack = "" } = error;
  return `${name}: ${message}\n${stack.replace(`${name}: ${message}`, "").trimStart()}`;
}
