/** The cases with the client for pages, as a program for whatever has `WebSocket`. */
import { NetPubSub } from "../../../web.ts";
import type { Setting } from "./context.ts";
import { runCases } from "./run_cases.ts";

/** Runs the cases in this process, and writes a line for each, in JSON. */
export async function main(setting: Setting): Promise<void> {
  await runCases(NetPubSub, setting, (outcome) => console.log(JSON.stringify(outcome)));
}
