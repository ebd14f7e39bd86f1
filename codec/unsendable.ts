/**
 * Which values can be sent, and explanations for those that cannot. `Encoder` only notices that there is
 * one; then the message is searched again to find it.
 */
import { MESSAGE_DEPTH_MAX } from "./format.ts";
import { hiddenProblem } from "./hidden_members.ts";
import {
  bufferOf,
  isOutOfBounds,
  kindOf,
  kindOfPrototype,
  sizeOf,
  typedKindOf,
  typeNameOf,
} from "./kinds.ts";

const TypedArray = Object.getPrototypeOf(Uint8Array);
const SENDABLE = "send plain objects, arrays, Map, Set, Date, typed arrays or simple values";

/** What is wrong with a value, and where it stands. */
interface Refused {
  readonly path: string;
  readonly problem: string;
}

/** Finds the value for which a message was refused. */
export function explainUnsendable(message: unknown): TypeError {
  const { path, problem } = findIn(message) ??
    { path: "message", problem: "changed while it was sent" };
  return new TypeError(`Cannot send ${path}: it ${problem}`);
}

/**
 * Finds out why a value could not be read: a proxy that was revoked, or what a getter threw.
 *
 * @returns What to throw: `cause`, if nothing is found.
 */
export function explainUnreadable(message: object, cause: unknown): unknown {
  const found = findIn(message);
  if (found === undefined) return cause;
  return new TypeError(`Cannot send ${found.path}: it ${found.problem}`, { cause });
}

function findIn(message: unknown): Refused | undefined {
  const path = "message";
  try {
    if (typeof message === "object" && message !== null && kindOf(message) === "Object") {
      return findRefused(message, path, []);
    }
    return { path, problem: `is ${describe(message)}; it must be a plain object` };
  } catch (error) { // What a proxy throws.
    return { path, problem: unreadable(error) };
  }
}

function unreadable(error: unknown): string {
  // An error may be of another realm.
  const text: unknown = (error as Partial<Error> | null | undefined)?.message;
  return `cannot be read: ${typeof text === "string" ? text : `a ${typeof error} was thrown`}`;
}

function findRefused(
  value: unknown,
  path: string,
  parents: readonly unknown[],
): Refused | undefined {
  if (parents.length > MESSAGE_DEPTH_MAX) {
    return { path, problem: `is nested deeper than ${MESSAGE_DEPTH_MAX}; send it in parts` };
  }
  if (value === undefined) return { path, problem: "is undefined; send null or leave it out" };
  if (typeof value === "function" || typeof value === "symbol") {
    return { path, problem: `is a ${typeof value}; ${SENDABLE}` };
  }
  if (typeof value !== "object" || value === null) return undefined;
  if (parents.includes(value)) return { path, problem: "is part of a cycle; send a tree" };
  try {
    const problem = problemOf(value);
    return problem === undefined ? findBelow(value, path, [...parents, value]) : { path, problem };
  } catch (error) { // What a proxy, or a getter, throws.
    return { path, problem: unreadable(error) };
  }
}

function findBelow(value: object, path: string, parents: readonly unknown[]): Refused | undefined {
  const texts = new Set<string>();
  for (const [childPath, child, text] of childrenOf(value, path)) {
    if (typeof text === "string" && texts.size === texts.add(text.toWellFormed()).size) {
      const what = kindOf(value) === "Object" ? "has the name of" : "is the same as";
      return { path: childPath, problem: `${what} another once lone surrogates are U+FFFD` };
    }
    const found = findRefused(child, childPath, parents);
    if (found !== undefined) return found;
  }
}

/** What is wrong with an object itself, whatever is in it. */
function problemOf(value: object): string | undefined {
  if (ArrayBuffer.isView(value)) {
    const name = typeNameOf(value);
    if (typedKindOf(name) < 0 && name !== "Uint8Array") {
      return `is ${describe(value)}; ${SENDABLE}`;
    }
    return sizeOf(value) === 0 && isOutOfBounds(value)
      ? `is empty because its buffer ${fateOf(bufferOf(value))}`
      : undefined;
  }
  const kind = kindOf(value);
  if (kind === undefined) return `is ${describe(value)}; ${adviceFor(value)}`;
  if (kind === "Date" && Number.isNaN(Date.prototype.getTime.call(value))) {
    return "is an invalid date";
  }
  return hiddenProblem(value, kind);
}

function fateOf(buffer: ArrayBufferLike): string {
  // Of any realm; one that is shared cannot be transferred.
  return (buffer as Partial<ArrayBuffer>).detached
    ? "was transferred"
    : "has become shorter; make another view of it";
}

/** What to send instead of an object that is of no kind that can be sent. */
function adviceFor(value: object): string {
  const prototype = Object.getPrototypeOf(value);
  if (kindOfPrototype(prototype) !== undefined || prototype instanceof TypedArray) {
    return "it only looks like one, as a proxy does; send what is behind it (in Vue toRaw(it)), or " +
      "a copy";
  }
  const copy = COPIES.find(([type]) => value instanceof type)?.[1];
  return copy === undefined ? SENDABLE : `send a copy that is of no subclass: ${copy}`;
}

/** How to copy an object of a subclass. */
const COPIES: readonly (readonly [new () => object, string])[] = [
  [Array, "Array.from(it)"],
  [Date, "new Date(it.getTime())"],
  [Map, "new Map(it)"],
  [Set, "new Set(it)"],
];

/** The path of each child, the child, and what must not come twice in one parent. */
function* childrenOf(value: object, path: string): Generator<[string, unknown, unknown?]> {
  switch (ArrayBuffer.isView(value) ? undefined : kindOf(value)) {
    case "Object":
      for (const [name, member] of Object.entries(value)) {
        if (member === undefined) continue;
        const plain = /^[A-Za-z_$][\w$]*$/.test(name);
        yield [plain ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`, member, name];
      }
      break;
    case "Array":
      for (const [i, member] of (value as unknown[]).entries()) yield [`${path}[${i}]`, member];
      break;
    case "Map":
      for (const [key, member] of value as Map<unknown, unknown>) {
        yield [`a key of ${path}`, key, key];
        yield [`${path}.get(${describe(key)})`, member];
      }
      break;
    case "Set":
      for (const member of value as Set<unknown>) yield [`a member of ${path}`, member, member];
      break;
  }
}

function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  if (typeof value !== "object" || value === null) return String(value);
  if (kindOf(value) === "Array") return "an array";
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" ? `of class ${name}` : "an object";
}
