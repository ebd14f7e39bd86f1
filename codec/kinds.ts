/**
 * What a value really is, wherever it comes from.
 *
 * - A value of another realm, such as a frame or a context of `node:vm`, has the prototypes of that realm.
 *   Its kind is what counts.
 * - A program that fakes its time has another `Date`, whose objects are dates nevertheless.
 * - What only has the prototype of a kind is none: an `Object.create(Map.prototype)`, or a proxy of a Map.
 */
import { KINDS } from "./format.ts";

/** The kinds of objects that have members, or are dates. */
export type Kind = "Object" | "Array" | "Date" | "Map" | "Set";

/** The platform's, as it was when this was loaded. */
export const PlatformDate: DateConstructor = Date;

const { getPrototypeOf, getOwnPropertyDescriptor } = Object;
const { getTime } = Date.prototype;
const { has: mapHas } = Map.prototype;
const { has: setHas } = Set.prototype;

/** Those of all typed arrays, for what has lost them or has others of the same name. */
const TypedArrayPrototype = getPrototypeOf(Uint8Array.prototype);
const { indexOf } = TypedArrayPrototype;
const typeName = getterOf(TypedArrayPrototype, Symbol.toStringTag);
const buffer = getterOf(TypedArrayPrototype, "buffer");
const byteOffset = getterOf(TypedArrayPrototype, "byteOffset");
const byteLength = getterOf(TypedArrayPrototype, "byteLength");

/** Throws a `TypeError` for what is not of the kind. */
const CHECKS: Readonly<Record<Kind, (value: never) => unknown>> = {
  Object: () => {},
  Array: (value: unknown[]) => {
    if (!Array.isArray(value)) throw new TypeError("no array");
  },
  Date: (value: Date) => getTime.call(value),
  Map: (value: Map<unknown, unknown>) => mapHas.call(value, undefined),
  Set: (value: Set<unknown>) => setHas.call(value, undefined),
};

function getterOf(prototype: object, key: PropertyKey): () => unknown {
  return getOwnPropertyDescriptor(prototype, key)!.get!;
}

/** Whether a value is a plain object of this realm: one that has nothing but its names and values. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The kind of an object; `undefined` for any other, and for what only looks like one. */
export function kindOf(value: object): Kind | undefined {
  const kind = kindOfPrototype(getPrototypeOf(value));
  if (kind === undefined) return undefined;
  try {
    CHECKS[kind](value as never);
    return kind;
  } catch (error) { // The TypeError of a method that is called on something else.
    if (!(error instanceof TypeError)) throw error;
    return undefined;
  }
}

/** The kind of which this is the prototype, in any realm. */
export function kindOfPrototype(prototype: object | null): Kind | undefined {
  switch (prototype) {
    case null:
    case Object.prototype:
      return "Object";
    case Array.prototype:
      return "Array";
    case PlatformDate.prototype:
    case Date.prototype:
      return "Date";
    case Map.prototype:
      return "Map";
    case Set.prototype:
      return "Set";
    default:
      return kindOfForeign(prototype);
  }
}

function kindOfForeign(prototype: object): Kind | undefined {
  const made: unknown = getOwnPropertyDescriptor(prototype, "constructor")?.value;
  if (typeof made !== "function" || made.prototype !== prototype) return undefined;
  // A function of a program shows its source, and one that is bound has no name.
  const source = Function.prototype.toString.call(made);
  const [, name] = /^function (\w+)\(\) \{\s*\[native code\]\s*\}$/.exec(source) ?? [];
  return name !== undefined && Object.hasOwn(CHECKS, name) ? name as Kind : undefined;
}

/** The name of the type of a typed array, whatever its prototype is; `undefined` for a `DataView`. */
export function typeNameOf(view: ArrayBufferView): string | undefined {
  return typeName.call(view) as string | undefined;
}

/** How many bytes a typed array has, whatever it says itself. */
export function sizeOf(view: ArrayBufferView): number {
  return byteLength.call(view) as number;
}

/** Where the elements of a typed array are. */
export function bufferOf(view: ArrayBufferView): ArrayBufferLike {
  return buffer.call(view) as ArrayBufferLike;
}

/** The bytes of a typed array. */
export function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(bufferOf(view), byteOffset.call(view) as number, sizeOf(view));
}

/** The kind on the wire of typed arrays whose type has this name; below 0 for those that have none. */
export function typedKindOf(name: string | undefined): number {
  return name === undefined ? -1 : KINDS.findIndex((type) => type?.name === name);
}

/**
 * Whether an empty typed array has lost its elements: its buffer was transferred, or has become shorter
 * than where they were.
 */
export function isOutOfBounds(view: ArrayBufferView): boolean {
  try {
    indexOf.call(view, 0);
    return false;
  } catch (error) { // The TypeError of each method of such an array.
    if (!(error instanceof TypeError)) throw error;
    return true;
  }
}
