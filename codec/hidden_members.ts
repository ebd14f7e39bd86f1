/**
 * Members that an encoder does not see where it walks over names, elements or entries: those that a symbol
 * names, those that are not enumerable, and those that an array, a Map, a Set or a Date has besides. They
 * cannot be sent, so what has one is refused.
 *
 * V8 has no quick way to ask for them: a look takes 60 ns, a quarter of what a short message takes on its
 * whole way, and for arrays as much again for each element. So in a burst not everything is looked at:
 *
 * ```
 *  always            short objects whose names did not come lately; matches of regular expressions; what
 *                    has a key for which something else was refused
 *  in each turn      the first objects and short arrays, and about one of 128 others
 *  what is large     the first, and again when 128 times as many names or elements have passed
 * ```
 *
 * What has such members has them mostly whenever it is sent, so it is noticed, and from then on always.
 */

import type { Kind } from "./kinds.ts";

/** What is looked at first in each turn: so many objects, and elements of arrays. */
const CREDIT = 8;
/** About one of so many others is looked at, and of twice as many at least one. */
const OTHERS = 128;
/** What has more names or elements is large. */
const SHORT_MAX = 32;
/** What has more is looked at only for what is suspect: a list of the names would take too much memory. */
const LOOKED_AT_MAX = 65_536;
/** How many suspect keys are kept for each kind. */
const SUSPECTS_MAX = 8;

const { getOwnPropertyDescriptor, getOwnPropertyNames, getOwnPropertySymbols, hasOwn, keys } =
  Object;
const { ownKeys } = Reflect;

/** Finds such members. */
export class HiddenMembers {
  /** Keys of which something was refused that is walked over by its names, or by its elements. */
  readonly #suspects: PropertyKey[] = [];
  readonly #suspectsOfArrays: PropertyKey[] = [];
  #credit = CREDIT;
  /** How many others pass before the next look at one; none while there is credit. */
  #passes = 0;
  /** How many will when that is used up. */
  #passesLater = OTHERS;
  #random = 1;
  /** How many names and elements of what is large pass before the next look. */
  #left = 0;
  readonly #refill = () => {
    this.#credit = CREDIT;
    this.#passesLater = this.#passes;
    this.#passes = 0;
  };

  /**
   * Whether such a member is seen in a plain object with so many enumerable names.
   *
   * @param isNew Whether the names did not come lately.
   */
  inObject(object: object, names: number, isNew: boolean): boolean {
    if (this.#passes > 0 && !isNew && names <= SHORT_MAX && this.#suspects.length === 0) {
      this.#passes--;
      return false;
    }
    const isDue = this.#isDue(names > SHORT_MAX ? names : 0) || // V8 takes the same time for few.
      isNew && names <= SHORT_MAX || hasOneOf(object, this.#suspects);
    if (!isDue || !objectHasHidden(object, names)) return false;
    keep(this.#suspects, hiddenKey(object, "Object"));
    return true;
  }

  /** Whether such a member is seen in an array. */
  inArray(array: readonly unknown[]): boolean {
    const isDue = this.#isDue(array.length) || isOfLanguage(array) ||
      hasOneOf(array, this.#suspectsOfArrays);
    if (!isDue || !arrayHasHidden(array)) return false;
    keep(this.#suspectsOfArrays, hiddenKey(array, "Array"));
    return true;
  }

  /**
   * Whether such a member is seen in a Map, a Set or a Date.
   *
   * @param names How many enumerable names it has.
   */
  inOther(value: object, kind: Kind, names: number): boolean {
    const isDue = this.#isDue(0) || names > 0 || hasOneOf(value, this.#suspects);
    if (!isDue || !hasOwnMembers(value)) return false;
    keep(this.#suspects, hiddenKey(value, kind));
    return true;
  }

  /** Whether it is the turn of something with so many names or elements. */
  #isDue(elements: number): boolean {
    if (elements > SHORT_MAX) return this.#isLargeDue(elements);
    if (this.#credit > 0) {
      this.#credit -= 1 + elements;
      if (this.#credit > 0) return true;
      this.#passes = this.#passesLater;
      // In a later turn of the program; a microtask is one, too.
      Promise.resolve().then(this.#refill);
      return true;
    }
    if (this.#passes-- > 0) return false;
    // Not the same number each time: it could meet the same place of each message.
    this.#random = Math.imul(this.#random, 0x41c64e6d) + 12345 | 0;
    this.#passes = (this.#random >>> 16) % (2 * OTHERS - 1);
    return true;
  }

  #isLargeDue(size: number): boolean {
    this.#left -= size;
    if (this.#left > 0 || size > LOOKED_AT_MAX) return false;
    this.#left = OTHERS * size;
    return true;
  }
}

/** Whether an array seems to be the match of a regular expression, or the texts of a template. */
function isOfLanguage(array: unknown): boolean {
  const { index, raw } = array as { readonly index?: unknown; readonly raw?: unknown };
  return index !== undefined || raw !== undefined;
}

function hasOneOf(value: object, keys: readonly PropertyKey[]): boolean {
  for (let i = 0; i < keys.length; i++) if (hasOwn(value, keys[i]!)) return true;
  return false;
}

/** Keeps a key among those that were found last. */
function keep(keys: PropertyKey[], key: PropertyKey | undefined): void {
  if (key === undefined || keys.includes(key)) return;
  if (keys.length === SUSPECTS_MAX) keys.shift();
  keys.push(key);
}

/** Whether a plain object with so many enumerable names has other members. */
function objectHasHidden(object: object, names: number): boolean {
  return getOwnPropertyNames(object).length !== names || getOwnPropertySymbols(object).length > 0;
}

/** Whether an array without holes has members besides its elements. */
function arrayHasHidden(array: readonly unknown[]): boolean {
  const { length } = array;
  if (length <= SHORT_MAX) return ownKeys(array).length !== length + 1; // One is "length".
  return keys(array).length !== length || getOwnPropertySymbols(array).length > 0;
}

/** Whether a Map, a Set or a Date has members of its own. */
function hasOwnMembers(value: object): boolean {
  return getOwnPropertyNames(value).some((name) => !isOfFakeDate(value, name)) ||
    getOwnPropertySymbols(value).length > 0;
}

/** Whether this is what programs that fake their time give each date, so that it tells its class. */
function isOfFakeDate(value: object, key: string): boolean {
  if (key !== "constructor" || !(value instanceof Date)) return false;
  const { value: made, enumerable } = getOwnPropertyDescriptor(value, key)!;
  return typeof made === "function" && !enumerable;
}

/** Finds such a member in an object of this kind, and says what is wrong with it. */
export function hiddenProblem(value: object, kind: Kind): string | undefined {
  const key = hiddenKey(value, kind);
  return key === undefined ? undefined : problemOf(value, kind, key);
}

function hiddenKey(value: object, kind: Kind): PropertyKey | undefined {
  return ownKeys(value).find((key) => problemOf(value, kind, key) !== undefined);
}

function problemOf(value: object, kind: Kind, key: PropertyKey): string | undefined {
  if (typeof key !== "string") {
    return `has a member named by ${String(key)}; send a copy without it, as only texts are names`;
  }
  if (isOfFakeDate(value, key)) return undefined;
  const name = JSON.stringify(key);
  if (kind === "Array") {
    if (key === "length" || String(Number(key) >>> 0) === key) return undefined;
    return `has a member ${name} besides its elements; send a copy of these, or an object`;
  }
  if (kind !== "Object") return `has a member ${name} of its own; send a copy, or an object`;
  if (getOwnPropertyDescriptor(value, key)?.enumerable) return undefined;
  return `has a member ${name} that is not enumerable; send a copy without it, or make it so`;
}
