/**
 * The cases as a program for Deno, Node and Bun: it writes a line for each, in JSON. At last it shows
 * that a client keeps a program running, and that one that is unreferenced does not.
 */
import { NetPubSub } from "../../../net.ts";
import { Context, type Setting } from "./context.ts";
import { runCases } from "./run_cases.ts";

/** Runs the cases in this process. */
export async function main(setting: Setting): Promise<void> {
  await runCases(NetPubSub, setting, (outcome) => console.log(JSON.stringify(outcome)));
  await end(new Context(NetPubSub, setting));
}

/** Ends with a client that is connected; what comes to it is all that the program waits for. */
async function end(context: Context): Promise<void> {
  const stage = await context.stage();
  const bus = await stage.connected();
  bus.addSubscriber("end", () => {
    console.log(JSON.stringify({ name: "a connected client keeps the program running" }));
    bus.unref();
  });
  await bus.flush();
  bus.unref();
  bus.ref();
  await stage.call("publishLater", "end", 200);
}
