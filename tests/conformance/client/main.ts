/**
 * The cases as a program for Deno, Node and Bun: it writes its version and a line for each case, in JSON. At last it shows
 * that a client keeps a program running, and that one that is unreferenced does not.
 */
import { NetPubSub } from "../../../net.ts";
import { Context, type Setting } from "./context.ts";
import { runCases } from "./run_cases.ts";

/** What is shown at last. */
export const AT_LAST = "a connected client keeps the program running, until it is unreferenced";

/** Runs the cases in this process. */
export async function main(setting: Setting): Promise<void> {
  console.log(JSON.stringify({ version: version() }));
  await runCases(NetPubSub, setting, (outcome) => console.log(JSON.stringify(outcome)));
  await end(new Context(NetPubSub, setting));
}

/** The version of the runtime; Bun and Deno say which Node they stand for, too. */
function version(): string {
  const { versions } = (globalThis as unknown as { process: { versions: Versions } }).process;
  return versions.bun ?? versions.deno ?? versions.node;
}

type Versions = Readonly<Record<"bun" | "deno", string | undefined> & Record<"node", string>>;

/** Ends with a client that is connected; what comes to it is all that the program waits for. */
async function end(context: Context): Promise<void> {
  const stage = await context.stage();
  const bus = await stage.connected();
  bus.addSubscriber("end", () => {
    console.log(JSON.stringify({ name: AT_LAST }));
    bus.unref();
  });
  await bus.flush();
  bus.unref();
  bus.ref();
  await stage.call("publishLater", "end", 200);
}
