/**
 * `mpubsub`: a broker as a program of its own, and commands to use it from a terminal.
 *
 * ```sh
 * deno install --global --name mpubsub --allow-net --allow-read --allow-write \
 *   --allow-env=HOME,MPUBSUB_FILE jsr:@mpubsub/mpubsub/cli
 *
 * mpubsub x.json
 * mpubsub sub --connect x.json sensors
 * mpubsub pub --connect x.json sensors/kitchen celsius=21.5
 * ```
 *
 * Without a command, it runs a broker, which writes its address and key to the file, by default
 * `$MPUBSUB_FILE`, or else `~/.mpubsub.json`; `NetPubSub.fromFile` and the other commands read it.
 * `--help` lists the commands; after a command, it explains that command. The exit status is 0, 1 when
 * something failed, 2 when the arguments are wrong, or 130 when a signal interrupted a command.
 *
 * @module
 */
import { levenshteinDistance } from "@std/text/levenshtein-distance";
import {
  Arguments,
  columns,
  type Command,
  helpOf,
  messageOf,
  PROGRAM,
  UsageError,
} from "./cli/command.ts";
import { IgnoredHangups } from "./cli/signals.ts";
import { complain, finishOutput, printLine, printLines } from "./cli/output.ts";
import manifest from "./deno.json" with { type: "json" };

/** A command in the overview; its code is loaded only when it is used. */
interface Entry {
  readonly about: string;
  readonly load: () => Promise<Command>;
}

const COMMANDS: Readonly<Record<string, Entry>> = {
  broker: {
    about: "Run a broker; the word may be left out",
    load: async () => (await import("./cli/broker.ts")).broker,
  },
  pub: {
    about: "Publish a message, or messages from standard input",
    load: async () => (await import("./cli/pub.ts")).pub,
  },
  sub: {
    about: "Print the messages of topics as they come",
    load: async () => (await import("./cli/sub.ts")).sub,
  },
  ping: {
    about: "Measure round trips to the broker",
    load: async () => (await import("./cli/ping.ts")).ping,
  },
  bench: {
    about: "Measure how many messages pass, and how fast",
    load: async () => (await import("./cli/bench.ts")).bench,
  },
  top: {
    about: "Watch clients, topics, rates and queues",
    load: async () => (await import("./cli/top.ts")).top,
  },
  stats: {
    about: "Print what the broker counts, as JSON",
    load: async () => (await import("./cli/stats.ts")).stats,
  },
  key: {
    about: "Make, list and hand out the keys of a broker",
    load: async () => (await import("./cli/key.ts")).key,
  },
  completions: {
    about: "Print a script that makes a shell complete these commands",
    load: async () => (await import("./cli/completions.ts")).completionsOf(commands),
  },
};
const NAMES = Object.keys(COMMANDS);

/** What others call a command, and words that are none. */
const SYNONYMS: Readonly<Record<string, string>> = {
  start: "broker",
  run: "broker",
  serve: "broker",
  status: "stats",
  version: "--version",
};

/**
 * Runs the program to its end, and prints what went wrong.
 *
 * @param args The command line, without the program's name.
 * @returns The exit status: 0, 1 when something failed, 2 when the arguments are wrong, or 130 when a
 * signal interrupted it.
 */
export async function main(args: readonly string[]): Promise<number> {
  // `help pub` is `pub --help`.
  const [first = "", ...rest] = args[0] === "help" ? [...args.slice(1), "--help"] : args;
  const name = Object.hasOwn(COMMANDS, first) ? first : "";
  using _hangups = name === "" || name === "broker" ? new IgnoredHangups() : undefined;
  try {
    if (rest.length === 0 && (first === "--help" || first === "-h")) {
      await printLines(overview());
      return 0;
    }
    if (first === "--version") {
      await printLine(`${PROGRAM} ${manifest.version}`);
      return 0;
    }
    const command = await COMMANDS[name || "broker"]!.load();
    if (name === "") checkNoCommand([first, ...rest], command);
    const parsed = new Arguments(command, name === "" ? args : rest, name);
    if (parsed.has("help")) {
      await printLines(helpOf(command));
      return 0;
    }
    if (name === "" || name === "broker") checkFile(parsed.operands[0], name);
    return await command.run(parsed) ?? 0;
  } catch (error) { // Whatever it is, it is for a person to read.
    // Whoever reads the output, `head` say, has had enough.
    if (error instanceof Deno.errors.BrokenPipe) return 0;
    const isUsage = error instanceof UsageError;
    const more = ` (${`${PROGRAM} ${name}`.trimEnd()} --help tells more)`;
    complain(`${messageOf(error)}${isUsage ? more : ""}`);
    return isUsage ? 2 : 1;
  } finally {
    await finishOutput();
  }
}

function overview(): string {
  return [
    `Usage: ${PROGRAM} [OPTIONS] [FILE]`,
    `       ${PROGRAM} COMMAND [OPTIONS] …`,
    "",
    "Publish-subscribe between programs. Without a command it runs a broker, which",
    "writes its address and key to FILE [~/.mpubsub.json] for the other commands.",
    "",
    "Commands:",
    ...columns(Object.entries(COMMANDS).map(([name, { about }]) => [name, about])),
    "",
    "Try it, each in a terminal of its own:",
    ...columns([
      [`${PROGRAM} x.json`, "a broker"],
      [`${PROGRAM} sub -c x.json sensors`, "subscribes"],
      [`${PROGRAM} pub -c x.json sensors/kitchen celsius=21.5`, "publishes"],
    ]),
    "",
    `${PROGRAM} COMMAND --help tells more; --version prints the version.`,
  ].join("\n");
}

/** Refuses what looks like a command that is misspelt, or comes after options. */
function checkNoCommand(args: readonly string[], { options }: Command): void {
  const [first = ""] = args;
  if (!first.startsWith("-")) return checkFile(first);
  const late = args.find((arg, at) =>
    Object.hasOwn(COMMANDS, arg) &&
    !options.some(({ name, value }) => value !== undefined && args[at - 1] === `--${name}`)
  );
  if (late === undefined) return;
  throw new UsageError(
    `Write the command first: ${PROGRAM} ${late} …; a file would be ./${late}`,
  );
}

/** Refuses a FILE that looks like a command; a broker would listen, and leave the file. */
function checkFile(word = "", command = ""): void {
  if (word === "" || /[./\\]/.test(word)) return;
  if (command !== "") {
    throw new UsageError(`Cannot use ${word} as a FILE: for a file of that name write ./${word}`);
  }
  const near = nearest(word);
  throw new UsageError(
    `No command is called ${word}${near === undefined ? "." : `; did you mean ${near}?`} ` +
      `Commands: ${NAMES.join(", ")}; a FILE has a dot or a slash in it: ./${word}`,
  );
}

/** What somebody may have meant who typed this word. */
function nearest(word: string): string | undefined {
  const typed = word.toLowerCase();
  if (Object.hasOwn(SYNONYMS, typed)) return SYNONYMS[typed];
  return NAMES.find((name) => isNear(typed, name)) ??
    NAMES.find((name) => typed.startsWith(name) || typed.length > 1 && name.startsWith(typed));
}

/** Whether a word differs from a name by one letter, or by two that are swapped. */
function isNear(word: string, name: string): boolean {
  if (levenshteinDistance(word, name) <= 1) return true;
  return Array.from(
    word,
    (letter, at) => word.slice(0, at) + word.slice(at + 1, at + 2) + letter + word.slice(at + 2),
  )
    .includes(name);
}

/** All commands, loaded. */
async function commands(): Promise<Map<string, Command & { readonly summary: string }>> {
  const loaded = NAMES.map(async (name) => {
    const { about, load } = COMMANDS[name]!;
    return [name, { ...await load(), summary: about }] as const;
  });
  return new Map(await Promise.all(loaded));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
