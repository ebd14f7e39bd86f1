/**
 * `mpubsub-broker top`.
 */
import { CONNECTION } from "./cli_client.ts";
import type { Command } from "./cli_command.ts";

/** Not written yet. */
export const top: Command = {
  usage: ["top [OPTIONS]"],
  about: "",
  options: CONNECTION,
  examples: [],
  run: () => Promise.reject(new Error("Cannot do that yet")),
};
