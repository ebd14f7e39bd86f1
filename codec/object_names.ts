/**
 * The names of an object that arrives: each once, and not so that an object becomes slow.
 */
import { ProtocolError } from "../errors.ts";
import type { HashFloodGuard } from "./hash_flooding.ts";

/** Fewer names cannot cost much, however they collide. */
const WATCHED_NAMES_MIN = 256;
/** The largest array index. */
const INDEX_LARGEST = "4294967294";
/** It is below this. */
const INDEX_END = "4294967295";

/** Makes or sets a member without calling a setter. */
export function setMember(object: Record<string, unknown>, name: string, value: unknown): void {
  if (name in Object.prototype) {
    const attributes = { value, enumerable: true, configurable: true, writable: true };
    Object.defineProperty(object, name, attributes);
  } else object[name] = value;
}

/**
 * Checks the names of an object before it gets their values.
 *
 * @param object The object, still empty. Names that are array indexes may be in it afterwards: their
 * order does not depend on which came first.
 * @throws {ProtocolError} If one comes twice, or they collide.
 */
export function checkNames(
  names: readonly string[],
  object: Record<string, unknown>,
  guard: HashFloodGuard,
): void {
  if (names.length < WATCHED_NAMES_MIN) return checkDistinct(names);
  // V8 has another table for these, in which honest ones do not collide as they do in a Set.
  const indexes = indexesAmong(names);
  const others = indexes.length === 0 ? names : names.filter((name) => !isArrayIndex(name));
  const seen = new Set<string>();
  guard.addAll(others.length, (i) => seen.add(others[i]!));
  if (seen.size < others.length) checkDistinct(others);
  guard.addAll(indexes.length, (i) => {
    const name = indexes[i]!;
    if (object[name] !== undefined) comesTwice(name);
    setMember(object, name, null);
  });
}

/**
 * Prepares an empty object for names of which some are array indexes, far apart: otherwise V8 makes room
 * for the elements between them, 12 KB for the name `"999"` alone.
 *
 * @returns Whether it was necessary.
 */
export function spareElements(names: readonly string[], object: Record<string, unknown>): boolean {
  let count = 0, largest = -1;
  for (let i = 0; i < names.length; i++) {
    if (!isArrayIndex(names[i]!)) continue;
    count++;
    largest = Math.max(largest, Number(names[i]));
  }
  if (largest < 2 * count) return false;
  // From the largest index on, V8 keeps the elements of an object in a table.
  setMember(object, INDEX_LARGEST, null);
  delete object[INDEX_LARGEST];
  return true;
}

function indexesAmong(names: readonly string[]): string[] {
  const indexes: string[] = [];
  for (let i = 0; i < names.length; i++) if (isArrayIndex(names[i]!)) indexes.push(names[i]!);
  return indexes;
}

function checkDistinct(names: readonly string[]): void {
  if (names.length < 2) return;
  const seen = new Set<string>();
  for (const name of names) if (seen.size === seen.add(name).size) comesTwice(name);
}

function comesTwice(name: string): never {
  throw new ProtocolError(`Cannot read a message: the name ${JSON.stringify(name)} comes twice`);
}

/** Whether objects have this name among their elements: `"0"` to `"4294967294"`. */
function isArrayIndex(name: string): boolean {
  const { length } = name;
  const first = name.charCodeAt(0);
  if (length === 0 || length > INDEX_END.length || first < 0x30 || first > 0x39) return false;
  if (first === 0x30) return length === 1;
  for (let i = 1; i < length; i++) {
    const code = name.charCodeAt(i);
    if (code < 0x30 || code > 0x39) return false;
  }
  return length < INDEX_END.length || name < INDEX_END;
}
