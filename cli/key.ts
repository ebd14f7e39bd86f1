/**
 * `mpubsub key NAME`: a connection file for one of the keys of a broker.
 */
import {
  type ConnectionFile,
  formatConnectionFile,
  readConnectionFile,
} from "../io/connection_file.ts";
import { type Arguments, type Command, doing, UsageError } from "./command.ts";
import { printLine } from "./output.ts";
import { addressOf, fileOf, readKeys } from "./files.ts";

/** Prints a connection file for one key. */
export const key: Command = {
  usage: ["key NAME --keys PATH [--address ADDRESS] [FILE]"],
  about: `
Prints a connection file for the key called NAME. Address and certificate are
those in the broker's FILE; --address gives another address.`,
  options: [
    { name: "keys", value: "PATH", about: "The keys of the broker, in a private file" },
    { name: "address", value: "ADDRESS", about: "The address at which clients reach the broker" },
  ],
  examples: [["key ann --keys keys.json x.json > ann.json", "after umask 077"]],
  run: printKey,
};

async function printKey(args: Arguments): Promise<void> {
  const [name, ...files] = args.operands;
  if (!name) throw new UsageError("Cannot print a key: give its NAME");
  const keysFile = args.text("keys");
  if (keysFile === undefined) throw new UsageError("Cannot print a key: give --keys PATH");
  const keys = await readKeys(keysFile);
  const found = keys.find((key) => key.name === name);
  if (found === undefined) {
    const names = keys.map((key) => key.name).join(", ");
    throw new Error(`Cannot find a key called "${name}" in ${keysFile}: it has ${names}`);
  }
  const address = addressOf(args);
  const file = address === undefined || files.length > 0 ? fileOf(files) : undefined;
  const broker = file && await doing(`read ${file}`, readConnectionFile(file));
  const content = { ...broker, ...(address && { address }) } as ConnectionFile;
  const authkey = found.key as Uint8Array;
  printLine(formatConnectionFile({ ...content, authkey, keyName: name }).trimEnd());
}
