/**
 * Which values can be sent, and explanations for those that cannot. `Encoder` only notices that there is
 * one; then the message is searched again to find it.
 */
import { MESSAGE_DEPTH_MAX } from "./format.ts";

/** Whether a value is a plain object: one that has nothing but its names and values. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Finds the value for which a message was refused. */
export function explainUnsendable(message: unknown): TypeError {
  const found = isPlain(message)
    ? findRefused(message, "message", [])
    : { path: "message", problem: `is ${describe(message)}; it must be a plain object` };
  const { path, problem } = found ?? { path: "message", problem: "changed while it was sent" };
  return new TypeError(`Cannot send ${path}: it ${problem}`);
}

function findRefused(
  value: unknown,
  path: string,
  parents: readonly unknown[],
): { path: string; problem: string } | undefined {
  const sendable = `send plain objects, arrays, Map, Set, Date, typed arrays or simple values`;
  if (parents.length > MESSAGE_DEPTH_MAX) {
    return { path, problem: `is nested deeper than ${MESSAGE_DEPTH_MAX}; send it in parts` };
  }
  if (value === undefined) return { path, problem: "is undefined; send null or leave it out" };
  if (typeof value === "function" || typeof value === "symbol") {
    return { path, problem: `is a ${typeof value}; ${sendable}` };
  }
  if (typeof value !== "object" || value === null) return undefined;
  if (parents.includes(value)) return { path, problem: "is part of a cycle; send a tree" };
  if (!isSendable(value)) return { path, problem: `is ${describe(value)}; ${sendable}` };
  if (value instanceof Date && Number.isNaN(value.getTime())) {
    return { path, problem: "is an invalid date" };
  }
  if (ArrayBuffer.isView(value) && isDetached(value)) {
    return { path, problem: "is empty because its buffer was transferred" };
  }
  const texts = new Set<string>();
  for (const [childPath, child, text] of childrenOf(value, path)) {
    if (typeof text === "string" && texts.size === texts.add(text.toWellFormed()).size) {
      const what = isPlain(value) ? "has the name of" : "is the same as";
      return { path: childPath, problem: `${what} another once lone surrogates are U+FFFD` };
    }
    const found = findRefused(child, childPath, [...parents, value]);
    if (found !== undefined) return found;
  }
}

function isSendable(value: object): boolean {
  if (ArrayBuffer.isView(value)) return !((value as unknown) instanceof DataView);
  return isPlain(value) || isGenuine(value);
}

/** Whether the bytes of a typed array were transferred elsewhere. */
export function isDetached({ buffer }: ArrayBufferView): boolean {
  return buffer instanceof ArrayBuffer && buffer.detached;
}

/** Whether a value really is an array, a `Date`, a `Map` or a `Set`, and does not only look like one. */
export function isGenuine(value: object): boolean {
  try {
    switch (Object.getPrototypeOf(value)) {
      case Array.prototype:
        return Array.isArray(value);
      case Date.prototype:
        Date.prototype.getTime.call(value);
        return true;
      case Map.prototype:
        Map.prototype.has.call(value, undefined);
        return true;
      case Set.prototype:
        Set.prototype.has.call(value, undefined);
        return true;
      default:
        return false;
    }
  } catch (error) { // The TypeError of a method that is called on something else.
    if (!(error instanceof TypeError)) throw error;
    return false;
  }
}

/** The path of each child, the child, and what must not come twice in one parent. */
function* childrenOf(value: object, path: string): Generator<[string, unknown, unknown?]> {
  if (isPlain(value)) {
    for (const [name, member] of Object.entries(value)) {
      if (member === undefined) continue;
      const plain = /^[A-Za-z_$][\w$]*$/.test(name);
      yield [plain ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`, member, name];
    }
  } else if (Array.isArray(value)) {
    for (const [i, member] of value.entries()) yield [`${path}[${i}]`, member];
  } else if (value instanceof Map) {
    for (const [key, member] of value) {
      yield [`a key of ${path}`, key, key];
      yield [`${path}.get(${describe(key)})`, member];
    }
  } else if (value instanceof Set) {
    for (const member of value) yield [`a member of ${path}`, member, member];
  }
}

function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value) && isGenuine(value)) return "an array";
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" ? `of class ${name}` : "an object";
}
