/**
 * `mpubsub completions`: scripts that make a shell complete the commands and their options.
 */
import {
  type Arguments,
  type Command,
  type Option,
  optionsOf,
  PROGRAM,
  UsageError,
} from "./command.ts";
import { printLines } from "./output.ts";

/** A command with its line in the overview. */
export type Listed = Command & { readonly summary: string };

/** The names under which the program may be installed. */
const NAMES = [...new Set(["mpubsub", "mpubsub-broker", PROGRAM])];
/** Options whose value is the path of a file. */
const FILES = ["FILE", "PATH"];

type Script = (commands: ReadonlyMap<string, Listed>) => string;

const SCRIPTS: Readonly<Record<string, Script>> = { bash, zsh, fish };

/** Makes the command; `load` loads all commands. */
export function completionsOf(load: () => Promise<Map<string, Listed>>): Command {
  return {
    usage: ["completions bash|zsh|fish"],
    about: `
Prints a script that makes the shell complete commands and options.`,
    words: Object.keys(SCRIPTS),
    options: [],
    examples: [
      ["completions bash > ~/.mpubsub.bash", "source it in ~/.bashrc"],
      ["completions zsh > ~/.mpubsub.zsh", "source it in ~/.zshrc"],
      ["completions fish | source", "in config.fish"],
    ],
    async run(args: Arguments) {
      args.atMost(1);
      const [shell = ""] = args.operands;
      if (!Object.hasOwn(SCRIPTS, shell)) {
        const what = shell === "" ? "print a script" : `complete for "${shell}"`;
        throw new UsageError(`Cannot ${what}: give bash, zsh or fish`);
      }
      await printLines(SCRIPTS[shell]!(await load()));
    },
  };
}

function wordsOf({ name, short }: Option): string[] {
  return short === undefined ? [`--${name}`] : [`-${short}`, `--${name}`];
}

function takesFile({ value = "" }: Option): boolean {
  return FILES.includes(value);
}

function bash(commands: ReadonlyMap<string, Listed>): string {
  const cases = [...commands].map(([name, command]) => {
    const words = [...command.words ?? [], ...optionsOf(command).flatMap(wordsOf)];
    return `    ${name}) words="${words.join(" ")}" ;;`;
  });
  const all = [...commands.values()].flatMap(({ options }) => options);
  const files = [...new Set(all.filter(takesFile).flatMap(wordsOf))];
  return `_mpubsub() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]} words
  case $before in
    ${files.join("|")})
      COMPREPLY=($(compgen -f -- "$word"))
      return ;;
  esac
  case \${COMP_WORDS[1]} in
${cases.join("\n")}
    *) words="${[...commands.keys()].join(" ")} ${
    optionsOf(commands.get("broker")!).flatMap(wordsOf).join(" ")
  } --version" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _mpubsub ${NAMES.join(" ")}`;
}

function zsh(commands: ReadonlyMap<string, Listed>): string {
  const quoted = (text: string) => text.replaceAll("'", "'\\''");
  const specOf = (option: Option) => {
    const { value, about } = option;
    const shown = quoted(about).replaceAll(/[[\]:]/g, "\\$&");
    const action = value === undefined ? "" : `:${value}:${takesFile(option) ? "_files" : ""}`;
    const [first, second] = wordsOf(option);
    const again = option.isMany ? "*" : "";
    const names = second === undefined ? `'${again}${first}` : `${again}{${first},${second}}'`;
    return `${names}[${shown}]${action}'`;
  };
  const list = [...commands].map(([name, { summary }]) =>
    `    '${name}:${quoted(summary).replaceAll(":", "\\:")}'`
  );
  const cases = [...commands].map(([name, command]) => {
    const words = command.words === undefined ? "" : ` '1:word:(${command.words.join(" ")})'`;
    const options = optionsOf(command).map(specOf).join(" ");
    return `    ${name}) _arguments ${options}${words} '*:operand:_files' ;;`;
  });
  return `#compdef ${NAMES.join(" ")}
_mpubsub() {
  local -a commands
  commands=(
${list.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    _files
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join("\n")}
    *) _arguments ${optionsOf(commands.get("broker")!).map(specOf).join(" ")} '*:file:_files' ;;
  esac
}
# Sourced, or found in fpath and called.
if [[ $funcstack[1] == _mpubsub ]]; then
  _mpubsub "$@"
else
  if (( ! $+functions[compdef] )); then autoload -Uz compinit && compinit; fi
  compdef _mpubsub ${NAMES.join(" ")}
fi`;
}

function fish(commands: ReadonlyMap<string, Listed>): string {
  const quoted = (text: string) => `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
  const lines = NAMES.flatMap((program) => {
    const names = [...commands.keys()].join(" ");
    const inNone = quoted(`not __fish_seen_subcommand_from ${names}`);
    return [...commands].flatMap(([name, command]) => [
      `complete -c ${program} -n ${inNone} -a ${name} -d ${quoted(command.summary)}`,
      ...(command.words ?? []).map((word) =>
        `complete -c ${program} -n ${quoted(`__fish_seen_subcommand_from ${name}`)} -a ${word}`
      ),
      ...optionsOf(command).map((option) => {
        const short = option.short === undefined ? "" : ` -s ${option.short}`;
        const value = option.value === undefined ? "" : takesFile(option) ? " -rF" : " -x";
        const when = quoted(`__fish_seen_subcommand_from ${name}`);
        return `complete -c ${program} -n ${when} -l ${option.name}${short}${value} -d ${
          quoted(option.about)
        }`;
      }),
    ]);
  });
  return lines.join("\n");
}
