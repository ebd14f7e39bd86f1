/** Tests of what the program does on a terminal, that of the program `script`. */

const HAS_SCRIPT = await (async () => {
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
