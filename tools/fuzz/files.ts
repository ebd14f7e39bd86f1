/**
 * Addresses, connection files and files of keys: any other text is refused with an error that a
 * person can read, and a valid address stays the same when it is written and read.
 */
import { parseKeys } from "../../broker/keys.ts";
import { type Address, formatEndpoint, isExposed, parseAddress } from "../../io/address.ts";
import { readConnectionFile } from "../../io/connection_file.ts";
import type { Random } from "../harness/random.ts";
import { mangle, must, type Notes, type Target } from "./target.ts";

const KEY = btoa("0123456789abcdef0123456789abcdef");
const ADDRESSES = [
  "unix:///run/bus.sock",
  "unix://bus.sock",
  "tcp://127.0.0.1:7411",
  "127.0.0.1:0",
  "localhost:65535",
  "tls://bus.example.org:7411",
  "tcp://[::1]:7411",
  "[fe80::1%eth0]:1",
  "tls://[2001:db8::1]:7411",
];
const VALUES = [
  null,
  0,
  -1,
  1.5,
  1e999,
  true,
  "",
  "\u0000",
  "\ud800",
  "x".repeat(300),
  [],
  {},
  [null],
  [["a"]],
  ["*broker"],
  { length: 2 },
];
const FIELDS = [
  ...["version", "address", "authkey", "keyName", "ca", "pid", "keys"],
  ...["name", "key", "publish", "subscribe", "serve", "wait", "messagesPerSecond"],
  ...["__proto__", "constructor", ""],
];
const utf8 = new TextEncoder();

/** A text with a few bytes changed, which need not be UTF-8. */
function changed(random: Random, text: string): Uint8Array {
  return mangle(random, utf8.encode(text));
}

function lossy(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** An object with some of its fields gone, or of another kind, or of another name. */
function warped(random: Random, fields: object): object {
  const entries = Object.entries(fields).flatMap(([name, value]): [string, unknown][] => {
    switch (random.int(12)) {
      case 0:
        return [];
      case 1:
        return [[name, random.pick(VALUES)]];
      case 2:
        return [[random.pick(FIELDS), value]];
      default:
        return [[name, value]];
    }
  });
  return Object.fromEntries(entries);
}

/** JSON of a value, mostly as it is; now and then within something else, or very deep. */
function jsonOf(random: Random, value: unknown): Uint8Array {
  const text = JSON.stringify(value);
  switch (random.int(10)) {
    case 0: {
      const levels = random.pick([1, 1, 1, 1, 1, 1, 1, 1, 50_000]);
      return utf8.encode(`${"[".repeat(levels)}${text}${"]".repeat(levels)}`);
    }
    case 1:
      return utf8.encode(JSON.stringify(random.pick([...VALUES, [value]])) ?? "");
    case 2:
    case 3:
      return changed(random, text);
    case 4:
      return utf8.encode(`\ufeff${text}\n`);
    default:
      return utf8.encode(text);
  }
}

/** An error that a person can read: it names what it is about, and is short. */
function failedClearly(notes: Notes, error: unknown): void {
  notes.failed(error, TypeError, RangeError);
  const { message } = error as Error;
  must(message.length > 10 && message.length < 5000, `an error says ${message}`);
  const isInternal = /undefined \(reading|is not a function|not iterable|call stack/.test(message);
  must(!isInternal, `an error shows its inside: ${message}`);
}

function tryAddress(address: Address, notes: Notes): void {
  notes.fed(`address ${JSON.stringify(address)}`);
  try {
    const endpoint = parseAddress(address);
    isExposed(endpoint);
    const text = formatEndpoint(endpoint);
    const again = parseAddress(text);
    must(JSON.stringify(again) === JSON.stringify(endpoint), `${text} is another address`);
    notes.ended(`address of ${endpoint.transport}`);
  } catch (error) {
    failedClearly(notes, error);
  }
}

function runAddress(random: Random, notes: Notes): void {
  const text = random.pick(ADDRESSES);
  const pair = [random.pick([lossy(changed(random, "localhost")), ...VALUES]), random.pick(VALUES)];
  const wild = random.pick<unknown>([...VALUES, pair]) as Address;
  tryAddress(random.int(4) === 0 ? wild : lossy(changed(random, text)), notes);
}

async function runConnectionFile(random: Random, notes: Notes): Promise<void> {
  const address = random.int(4) > 0
    ? random.pick(ADDRESSES)
    : lossy(changed(random, ADDRESSES[0]!));
  const content = { version: 1, address, authkey: KEY, keyName: "ann", ca: "PEM", pid: 1 };
  const bytes = jsonOf(random, warped(random, content));
  notes.fed("as a connection file");
  notes.fed(bytes);
  const path = await Deno.makeTempFile({ prefix: "mpubsub-fuzz-" });
  try {
    await Deno.writeFile(path, bytes);
    const { address, authkey, pid } = await readConnectionFile(path);
    parseAddress(address);
    must(authkey === undefined || authkey.length > 0, "the key is empty");
    must(pid === undefined || Number.isInteger(pid), `the pid is ${pid}`);
    notes.ended("connection file");
  } catch (error) {
    failedClearly(notes, error);
    must((error as Error).message.includes(path), `an error does not name the file: ${error}`);
  } finally {
    await Deno.remove(path);
  }
}

function runKeys(random: Random, notes: Notes): void {
  const keys = Array.from({ length: random.int(4) }, (_, i) =>
    warped(random, {
      name: random.pick(["ann", `key ${i}`, "é".repeat(33)]),
      key: KEY,
      publish: random.pick([[["a", "b"]], [null], [], ["x".repeat(256)]]),
      subscribe: [["a"], "b", null],
      serve: random.pick([[["a", null]], [null], [["*broker"]]]),
      wait: true,
      messagesPerSecond: 10,
    }));
  const bytes = jsonOf(random, warped(random, { keys }));
  notes.fed("as a file of keys");
  notes.fed(bytes);
  try {
    const parsed = parseKeys(lossy(bytes));
    must(parsed.every(({ key }) => key instanceof Uint8Array), "a key is not bytes");
    notes.ended(`${parsed.length} keys`);
  } catch (error) {
    failedClearly(notes, error);
  }
}

async function runFiles(random: Random, notes: Notes): Promise<void> {
  for (let n = 0; n < 10; n++) {
    runAddress(random, notes);
    runKeys(random, notes);
  }
  await runConnectionFile(random, notes);
}

/** See the module. */
export const files: Target = { name: "files", run: runFiles };
