/** What programs do on a terminal, that of the program `script`. */

/** Whether there is such a terminal here. */
export const HAS_SCRIPT: boolean = await (async () => {
  try {
    return (await new Deno.Command("script", { args: ["--version"] }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
})();

/** A test on a terminal; the name says why it is ignored where there is none. */
export function terminalTest(name: string, fn: () => Promise<void>): void {
  const note = HAS_SCRIPT ? "" : " (ignored: there is no program `script` here)";
  Deno.test({ name: `${name}${note}`, ignore: !HAS_SCRIPT, fn });
}

/** The command that runs a command on a terminal that is so large that Deno shows what it downloads. */
export function onTerminal(command: readonly string[]): [string, ...string[]] {
  const line = `stty cols 100 rows 30; exec ${command.join(" ")}`;
  return ["script", "--quiet", "--command", line, "/dev/null"];
}

/** The lines that a person sees who has such a terminal, after this was written to it. */
export function screenOf(written: string): string[] {
  const lines: string[] = [];
  let [x, y] = [0, 0];
  // deno-lint-ignore no-control-regex
  for (const [piece, , count, command] of written.matchAll(/(\x1b\[([\d;]*)([A-Za-z])|[^])/g)) {
    const line = lines[y] ?? "";
    const number = Number(count || 0);
    if (command === "A") y = Math.max(0, y - Math.max(1, number));
    else if (command === "B") y += Math.max(1, number);
    else if (command === "G") x = Math.max(0, number - 1);
    else if (command === "K") lines[y] = number === 0 ? line.slice(0, x) : "";
    else if (command === "J") lines.splice(y, Infinity, line.slice(0, x));
    else if (piece === "\r") x = 0;
    else if (piece === "\n") y++;
    else if (command === undefined) {
      lines[y] = line.slice(0, x).padEnd(x) + piece + line.slice(x + 1);
      x++;
    }
  }
  return Array.from(lines, (line = "") => line.trimEnd()).filter((line) => line !== "");
}
