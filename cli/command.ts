/**
 * What all commands of the program share: options, help that fits a screen, and errors for people.
 */
import { parseArgs } from "@std/cli/parse-args";
import { closestString } from "@std/text/closest-string";
import { levenshteinDistance } from "@std/text/levenshtein-distance";

/** The name of the program in help and errors: that of its own file when it is compiled. */
export const PROGRAM: string = Deno.build.standalone ? fileName(Deno.execPath()) : "mpubsub";

function fileName(path: string): string {
  return path.replace(/^.*[/\\]/, "").replace(/\.exe$/i, "");
}

/** The arguments are wrong; the exit status is 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** An option of a command. */
export interface Option {
  /** Its name, without the dashes. */
  readonly name: string;
  /** One letter for the same. */
  readonly short?: string;
  /** The word for its value in the help; an option without one takes no value. */
  readonly value?: string;
  /** What the help says about it. */
  readonly about: string;
  /** What the help says about it and the option before it, to have both on one line. */
  readonly both?: string;
  /** Whether it may be given several times, each with a value; the help has `…` then. */
  readonly isMany?: boolean;
}

/** One command of the program. */
export interface Command {
  /** How it is used, without the program's name; one line for each way. */
  readonly usage: readonly string[];
  /** What it does, in a few lines of at most 80 characters. */
  readonly about: string;
  /** What its first operand may be, if that is one of a few words. */
  readonly words?: readonly string[];
  readonly options: readonly Option[];
  /** Command lines to learn from, after the program's name, each with what it does. */
  readonly examples: readonly (readonly [line: string, about: string])[];
  /**
   * Runs the command.
   *
   * @returns The exit status; by default 0.
   */
  run(args: Arguments): Promise<number | void>;
}

const HELP: Option = { name: "help", short: "h", about: "Print this" };

/** The options of a command, with those that all commands have. */
export function optionsOf({ options }: Pick<Command, "options">): readonly Option[] {
  return [...options, HELP];
}

/** The width of the screen that help has to fit. */
const COLUMNS = 80;
/** An option wider than this does not move the second column to the right. */
const OPTION_COLUMNS = 24;
/** How many letters of a misspelt option may be wrong for a suggestion. */
const FAULTS_MAX = 2;
/** The units of times, the largest first. */
const UNITS_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
/** The longest time that a timer can wait, in milliseconds. */
const DURATION_MAX_MS = 2 ** 31 - 1;

/** The arguments of a command, read by its options. */
export class Arguments {
  /** The name of the command. */
  readonly command: string;
  /** What is not an option. */
  readonly operands: readonly string[];
  readonly #flags: Readonly<Record<string, unknown>>;

  /** @throws {UsageError} If there is an option that the command does not have. */
  constructor(command: Pick<Command, "options">, args: readonly string[], name = "") {
    this.command = name;
    const known = optionsOf(command);
    // What the program itself takes, in place of a command.
    const others = name === "" ? ["version"] : [];
    const { _, ...flags } = parseArgs([...args], {
      boolean: known.filter(({ value }) => value === undefined).map(({ name }) => name),
      // An operand 7 is not a number.
      string: ["_", ...known.filter(({ value }) => value !== undefined).map(({ name }) => name)],
      collect: known.filter(({ isMany }) => isMany).map(({ name }) => name),
      alias: Object.fromEntries(
        known.flatMap(({ name, short }) => short === undefined ? [] : [[name, short]]),
      ),
      unknown: (arg, key) => {
        if (key === undefined) return;
        const nearest = closestString(key, [...known.map(({ name }) => name), ...others]);
        const isNear = levenshteinDistance(key, nearest) <= FAULTS_MAX;
        throw new UsageError(
          `Unknown option ${arg}${isNear ? `; did you mean --${nearest}?` : ""}`,
        );
      },
    });
    for (const { name, value } of known) {
      if (value === undefined || ![flags[name]].flat().includes("")) continue;
      throw new UsageError(`Option --${name} needs a value, ${value}`);
    }
    this.operands = _.map(String);
    this.#flags = flags;
  }

  /** Whether an option without a value is set. */
  has(name: string): boolean {
    return this.#flags[name] === true;
  }

  /** Whether an option with a value is given. */
  isGiven(name: string): boolean {
    const value = this.#flags[name] as string | readonly string[] | undefined;
    return value !== undefined && !(Array.isArray(value) && value.length === 0);
  }

  /** The value of an option, if it is given. */
  text(name: string): string | undefined {
    const value = this.#flags[name];
    return typeof value === "string" ? value : undefined;
  }

  /** The values of an option that may be given several times. */
  texts(name: string): readonly string[] {
    return this.#flags[name] as readonly string[] | undefined ?? [];
  }

  /** The value of an option as a whole number, at least `min`. */
  whole(name: string, min = 0): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const number = Number(value);
    if (/^\d{1,12}$/.test(value) && number >= min) return number;
    throw new UsageError(
      `Option --${name} needs a whole number${min > 0 ? `, at least ${min}` : ""}, not ${value}`,
    );
  }

  /** The value of an option as a time, in milliseconds; see {@linkcode parseTime}. */
  time(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const ms = parseTime(value);
    if (ms !== undefined) return ms;
    const most = Math.floor(DURATION_MAX_MS / UNITS_MS.h!);
    throw new UsageError(
      `Option --${name} needs a time like 250ms, 5s or 2m, at most ${most}h, not ${value}`,
    );
  }

  /** Refuses operands beyond the first `most`. */
  atMost(most: number): void {
    const extra = this.operands[most];
    if (extra !== undefined) {
      throw new UsageError(`Cannot use "${extra}": it is one argument too many`);
    }
  }
}

/** A time in milliseconds: `250ms`, `5s`, `2m`, `1h`, or `0`; `undefined` for anything else. */
export function parseTime(text: string): number | undefined {
  if (text === "0") return 0;
  const [, digits, unit = ""] = /^(\d{1,10}(?:\.\d{1,6})?)(ms|s|m|h)$/.exec(text) ?? [];
  const ms = Number(digits) * UNITS_MS[unit]!;
  return ms <= DURATION_MAX_MS ? ms : undefined;
}

/** A number of milliseconds as {@linkcode parseTime} reads it. */
export function timeText(ms: number): string {
  if (ms === 0) return "0";
  const [unit, size] = Object.entries(UNITS_MS).find(([, size]) => ms % size === 0) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}

/** The help of a command. */
export function helpOf(command: Command): string {
  const { usage, about, examples } = command;
  const [first, ...others] = usage.map((line) => `${PROGRAM} ${line}`.trimEnd());
  const shown: [string, string][] = [];
  let last = "";
  for (const { name, short, value: word = "", isMany, about, both } of optionsOf(command)) {
    const value = isMany ? `${word}…` : word;
    const before = both === undefined ? "" : shown.pop()![0].trim();
    // A value that both have comes once.
    const names = last === value ? before.replace(/ .*/, "") : before;
    const left = `${short === undefined ? "    " : `-${short}, `}${names}${names && ", "}--${name}`;
    shown.push([`${left} ${value}`.trimEnd(), both ?? about]);
    last = value;
  }
  return [
    `Usage: ${first}`,
    ...others.map((line) => `       ${line}`),
    about,
    "",
    "Options:",
    ...columns(shown, OPTION_COLUMNS),
    "",
    "Examples:",
    ...columns(examples.map(([line, does]) => [`${PROGRAM} ${line}`.trimEnd(), does])),
  ].join("\n");
}

/**
 * Pairs in two columns, within the screen; the second column is wrapped. If the first is wider than
 * `most`, the second follows it directly.
 */
export function columns(pairs: readonly (readonly [string, string])[], most = COLUMNS): string[] {
  const widths = pairs.map(([left]) => left.length).filter((width) => width <= most);
  const usual = Math.max(...widths) + 2;
  return pairs.flatMap(([left, right]) => {
    const width = Math.max(usual, left.length + 2);
    return wrapped(right, COLUMNS - 2 - width).map((line, at) =>
      `  ${(at === 0 ? left : "").padEnd(width)}${line}`.trimEnd()
    );
  });
}

function wrapped(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Waits for `work`; when it fails, the error says what could not be done. */
export async function doing<T>(action: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) { // Whatever it is, it is for a person to read.
    throw new Error(asSentence(action, error), { cause: error });
  }
}

/** What could not be done, and why; our own errors say both themselves. */
export function asSentence(action: string, error: unknown): string {
  const message = missing(action, error) ?? messageOf(error);
  return isWhole(message) ? message : `Cannot ${action}: ${message}`;
}

/** Whether a message says what could not be done; some of a system's begin as ours do. */
function isWhole(message: string): boolean {
  return message.startsWith("Cannot ") && !/^Cannot [^:]*\(os error \d+\)/.test(message);
}

/** Says in words that a file is not there; the system would name the lock that stands beside it. */
function missing(action: string, error: unknown): string | undefined {
  if (!(error instanceof Deno.errors.NotFound)) return undefined;
  const [verb = ""] = action.split(" ");
  return verb === "read"
    ? "there is no such file"
    : ["use", "write"].includes(verb)
    ? "there is no such folder"
    : undefined;
}

/** What the library's errors advise, and what a command line has for it. */
const ADVICE: readonly (readonly [string, string])[] = [
  ["as the option tls.caCerts", "with --tls-ca PATH"],
  [", or wait for one with connect({ wait: true })", ""],
  ["mpubsub key file", `${PROGRAM} key file`],
];

/** An error's message, on one line. */
export function messageOf(error: unknown): string {
  let text = error instanceof Error ? error.message : String(error);
  for (const [theirs, ours] of ADVICE) text = text.replaceAll(theirs, ours);
  return text.replaceAll(/\s*\n\s*/g, " ");
}
