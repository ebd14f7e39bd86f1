/**
 * `mpubsub-broker bench`.
 */
import { CONNECTION } from "./cli_client.ts";
import type { Command } from "./cli_command.ts";

/** Not written yet. */
export const bench: Command = {
  usage: ["bench [OPTIONS]"],
  about: "",
  options: CONNECTION,
  examples: [],
  run: () => Promise.reject(new Error("Cannot do that yet")),
};
