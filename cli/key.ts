/**
 * `mpubsub key`: the keys of a broker in a file: makes one, lists them, and prints a connection file for
 * one of them, or for a ticket of one.
 */
import { fromBase64 } from "../base/base64.ts";
import { type BrokerKey, createTicket, type TicketNarrow } from "../broker.ts";
import { parseKeys } from "../broker/keys.ts";
import { readConnectionFile } from "../io/connection_file.ts";
import { type ConnectionInfo, formatConnectionFile } from "../io/connection_info.ts";
import { takeLock } from "../io/lock_file.ts";
import { writeSecret } from "../io/secret_file.ts";
import { NARROWING } from "../protocol/ticket.ts";
import { looksLikePattern, shortestTopic, type Topic, type TopicPattern } from "../topic.ts";
import { type Arguments, type Command, doing, UsageError } from "./command.ts";
import { addressesOf, fileOf, outputMode, readKeys, readSecretText } from "./files.ts";
import { grantsOf, grantsText } from "./grants.ts";
import { complain, printLine } from "./output.ts";
import { type Column, tableOf } from "./table.ts";
import { patternOf } from "./topics.ts";

/** Makes, lists and hands out keys. */
export const key: Command = {
  usage: [
    "key new NAME [--publish TOPIC] [--subscribe TOPIC]",
    "key list --keys PATH",
    "key file NAME --keys PATH [--address ADDRESS] [FILE]",
    "key ticket NAME --expire-in TIME [--for WHO] [FILE]",
  ],
  about: `
"new" makes a key and adds it to the file of --keys, or prints it. "list" prints
what each key may do. "file" prints a connection file for the client that is to
have the key; address and certificate are those in FILE, that of the broker.
"ticket" prints one that ends by itself; without --keys, of the key in FILE.`,
  words: ["new", "list", "file", "ticket"],
  options: [
    { name: "keys", value: "PATH", about: "The keys of the broker, in a private file" },
    {
      name: "publish",
      value: "TOPIC",
      isMany: true,
      about: "Grant to publish to it and below; narrows a ticket",
    },
    {
      name: "subscribe",
      value: "TOPIC",
      isMany: true,
      about: "Grant to subscribe to it and below; narrows a ticket",
      both: "Grant it and all below, or narrow a ticket",
    },
    {
      name: "serve",
      value: "TOPIC",
      isMany: true,
      about: "Grant to be a member of groups there; narrows a ticket",
    },
    { name: "expire-in", value: "TIME", about: "How long a ticket can be used: 15m, 24h" },
    { name: "for", value: "WHO", about: "Who it is for, as lists of clients and logs say" },
    { name: "connections", value: "N", about: "How many clients may have the key at a time" },
    {
      name: "address",
      value: "ADDRESS",
      isMany: true,
      about: "The address at which clients reach the broker",
    },
  ],
  examples: [
    ["key new ann --keys keys.json --publish sensors/kitchen", ""],
    ["key file ann --keys keys.json x.json > ann.json", ""],
    ["key ticket page --keys keys.json --expire-in 1h x.json", ""],
  ],
  async run(args) {
    const [action = "", ...operands] = args.operands;
    if (!Object.hasOwn(ACTIONS, action)) {
      const what = action === "" ? "" : `; for the connection file of one, key file ${action}`;
      throw new UsageError(`Cannot tell what to do: write key new, list, file or ticket${what}`);
    }
    await ACTIONS[action]!(args, operands);
  },
};

type Action = (args: Arguments, operands: readonly string[]) => Promise<void>;

const ACTIONS: Readonly<Record<string, Action>> = {
  new: makeKey,
  list: listKeys,
  file: printFile,
  ticket: printTicket,
};

/** The options of a ticket that no other action has. */
const OF_TICKETS = ["expire-in", "for"];

/** How many bytes a key has. */
const KEY_BYTES = 32;

/** A key as it stands in a file. */
type Entry = Omit<BrokerKey, "key"> & { readonly key: string };

async function makeKey(args: Arguments, operands: readonly string[]): Promise<void> {
  const [name, extra] = operands;
  if (!name) throw new UsageError("Cannot make a key: give its NAME");
  refuse(extra);
  refuseOptions(args, "new", ["address", ...OF_TICKETS]);
  const [publish, subscribe, serve] = NARROWING.map((right) =>
    args.texts(right).map((text) => grantOf(patternOf(text)))
  );
  const connections = args.whole("connections", 1);
  const entry: Entry = {
    name,
    key: crypto.getRandomValues(new Uint8Array(KEY_BYTES)).toBase64(),
    ...(publish!.length > 0 && { publish }),
    ...(subscribe!.length > 0 && { subscribe }),
    ...(serve!.length > 0 && { serve }),
    ...(connections !== undefined && { connections }),
  };
  const [made] = parseKeys(JSON.stringify({ keys: [entry] }));
  const path = args.text("keys");
  if (path === undefined) await printLine(JSON.stringify(entry));
  else {
    await addKey(path, entry);
    const text = `Added to ${path}: ${name} ${grantsText(made!)}`;
    await printLine(`${text}. A broker that runs with it reads it at SIGHUP`);
  }
  if (publish!.length + subscribe!.length > 0) return;
  complain(`The key ${name} grants nothing; --publish TOPIC and --subscribe TOPIC grant something`);
}

/** A topic as a grant in a file, where some names alone may be meant as something else. */
function grantOf(path: TopicPattern): Topic {
  const topic = shortestTopic(path);
  const isDoubtful = typeof topic === "string" && (topic.includes("/") || looksLikePattern(topic));
  return isDoubtful ? path : topic;
}

/** Adds a key to a file, which is made if it is not there. */
async function addKey(path: string, entry: Entry): Promise<void> {
  // Of two that add keys at the same time, none must get lost.
  using _lock = await doing(`write ${path}`, takeLock(`${path}.lock`, { onWait: complain }));
  const found = await entriesIn(path);
  const before = found ?? [];
  if (before.some(({ name }) => name === entry.name)) {
    throw new Error(`Cannot add the key ${entry.name}: there is one of that name in ${path}`);
  }
  const lines = [...before, entry].map((entry) => `    ${JSON.stringify(entry)}`);
  const text = `{\n  "keys": [\n${lines.join(",\n")}\n  ]\n}\n`;
  parseKeys(text); // Whatever it writes, it can read.
  const isThere = found !== undefined;
  const target = isThere ? await Deno.realPath(path) : path;
  await doing(`write ${path}`, writeSecret(target, text, { replace: isThere }));
}

/** The keys in a file as they stand there; `undefined` if it is not there. */
async function entriesIn(path: string): Promise<readonly Entry[] | undefined> {
  try {
    await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  await readKeys(path); // Says what is wrong with it.
  return JSON.parse(await readSecretText(path)).keys;
}

const COLUMNS: readonly Column<BrokerKey>[] = [
  { title: "KEY", text: ({ name }) => name, isLeft: true },
  { title: "PUBLISH", text: (key) => listed(grantsOf(key).publish), isLeft: true },
  { title: "SUBSCRIBE", text: (key) => listed(grantsOf(key).subscribe), isLeft: true },
  { title: "OTHER", text: (key) => grantsOf(key).other.join(", "), isLeft: true },
];

function listed(topics: readonly string[]): string {
  return topics.length === 0 ? "–" : topics.join(", ");
}

async function listKeys(args: Arguments, [extra]: readonly string[]): Promise<void> {
  refuse(extra);
  refuseOptions(args, "list", [...NARROWING, "connections", "address", ...OF_TICKETS]);
  const keys = await readKeys(keysFile(args, "list the keys"));
  for (const line of tableOf(COLUMNS, keys)) await printLine(line);
}

async function printFile(args: Arguments, operands: readonly string[]): Promise<void> {
  const [name, ...files] = operands;
  if (!name) throw new UsageError("Cannot print the file of a key: give its NAME");
  refuseOptions(args, "file", [...NARROWING, "connections", ...OF_TICKETS]);
  const authkey = await namedKey(keysFile(args, "print the file of a key"), name);
  await printConnectionFile({ ...await brokerOf(args, files), authkey, keyName: name });
}

async function printTicket(args: Arguments, operands: readonly string[]): Promise<void> {
  const [name, ...files] = operands;
  if (name === undefined) {
    throw new UsageError('Cannot make a ticket: give the NAME of its key; "" is the one without');
  }
  refuseOptions(args, "ticket", ["connections"]);
  const expireIn = args.time("expire-in");
  if (expireIn === undefined) throw new UsageError("Cannot make a ticket: give --expire-in TIME");
  const who = args.text("for");
  const narrow: TicketNarrow = {};
  for (const right of NARROWING) {
    if (args.isGiven(right)) narrow[right] = args.texts(right).map(patternOf);
  }
  const path = args.text("keys");
  const named = path === undefined ? undefined : await namedKey(path, name);
  const broker = await brokerOf(args, files);
  const key = named ?? keyIn(broker, name);
  const { authkey, keyName, expires } = await createTicket(key, {
    name,
    narrow,
    expireIn,
    ...(who !== undefined && { for: who }),
  });
  await printConnectionFile({ ...broker, authkey: fromBase64(authkey), keyName, expires });
}

/** The key of that name in a file. */
async function namedKey(path: string, name: string): Promise<Uint8Array> {
  const keys = await readKeys(path);
  const found = keys.find((key) => key.name === name);
  if (found !== undefined) return found.key as Uint8Array;
  const names = keys.map((key) => key.name).join(", ");
  throw new Error(`Cannot find a key called "${name}" in ${path}: it has ${names}`);
}

/** The key in a connection file, which must have that name. */
function keyIn({ authkey, keyName = "" }: ConnectionInfo, name: string): Uint8Array {
  if (authkey !== undefined && keyName === name) return authkey;
  throw new UsageError(
    `Cannot make a ticket of the key "${name}": give --keys PATH, or a FILE that holds that key`,
  );
}

/** What a file for a client has of its broker: what stands in FILE, and the addresses that are given. */
async function brokerOf(args: Arguments, files: readonly string[]): Promise<ConnectionInfo> {
  const addresses = addressesOf(args);
  const [address] = addresses;
  if (address !== undefined && files.length === 0) return { address, ...severalOf(addresses) };
  const file = fileOf(files);
  // It may be the file of a ticket, which ends; what is printed has a key of its own.
  const { expires: _, ...broker } = await doing(`read ${file}`, readConnectionFile(file));
  return address === undefined ? broker : { ...broker, address, ...severalOf(addresses) };
}

/** The list of addresses in a connection file, which has none if there is one. */
function severalOf(addresses: readonly string[]): Pick<ConnectionInfo, "addresses"> {
  return { addresses: addresses.length > 1 ? addresses : undefined };
}

async function printConnectionFile(content: ConnectionInfo): Promise<void> {
  await printLine(formatConnectionFile(content).trimEnd());
  const mode = await outputMode();
  if (mode === undefined || (mode & 0o077) === 0) return;
  complain(
    `Others can read what was written (mode ${mode.toString(8)}): make it private, chmod 600`,
  );
}

function keysFile(args: Arguments, action: string): string {
  const path = args.text("keys");
  if (path === undefined) throw new UsageError(`Cannot ${action}: give --keys PATH`);
  return path;
}

function refuse(extra: string | undefined): void {
  if (extra === undefined) return;
  throw new UsageError(`Cannot use "${extra}": it is one argument too many`);
}

function refuseOptions(args: Arguments, action: string, names: readonly string[]): void {
  const given = names.find((name) => args.isGiven(name));
  if (given === undefined) return;
  throw new UsageError(`Cannot use --${given} with key ${action}`);
}
