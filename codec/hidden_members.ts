/**
 * Members that an encoder does not see where it walks over names, elements or entries: those that a symbol
 * names, those that are not enumerable, and those that an array, a Map, a Set or a Date has besides. They
 * cannot be sent, so what has one is refused.
 *
 * V8 has no quick way to ask for them: a look takes 80 ns, a third of what a short message takes on its
 * whole way. So not everything is looked at in a burst:
 *
 * ```
 *  in each turn      the first objects and short arrays, and about one of 64 others
 *  what is large     the first, and again when 64 times as many names or elements have passed
 * ```
 *
 * What has such members has them mostly whenever it is sent, so it is noticed.
 */

import type { Kind } from "./kinds.ts";

/** What is looked at first in each turn: so many objects, and elements of arrays. */
const CREDIT = 16;
/** About one of so many others is looked at, and of twice as many at least one. */
const OTHERS = 64;
/** What has more names or elements is large. */
const SHORT_MAX = 32;
/** What has more is never looked at: a list of the names would take too much memory. */
const LOOKED_AT_MAX = 65_536;

const { getOwnPropertyNames, getOwnPropertySymbols, keys } = Object;
const { ownKeys } = Reflect;

/** Says at what to look. */
export class HiddenMembers {
  #credit = CREDIT;
  /** How many others pass before the next look at one. */
  #others = OTHERS;
  #random = 1;
  /** How many names and elements of what is large pass before the next look. */
  #left = 0;
  readonly #refill = () => void (this.#credit = CREDIT);

  /** Whether an object with so many names is to be looked at. */
  isObjectDue(names: number): boolean {
    // However few they are, V8 takes the same time.
    return this.isDue(names > SHORT_MAX ? names : 0);
  }

  /** Whether an array with so many elements is to be looked at, or something without any. */
  isDue(elements = 0): boolean {
    if (elements > SHORT_MAX) return this.#isLargeDue(elements);
    if (this.#credit > 0) {
      this.#credit -= 1 + elements;
      // In a later turn of the program; a microtask is one, too.
      if (this.#credit <= 0) Promise.resolve().then(this.#refill);
      return true;
    }
    if (--this.#others > 0) return false;
    // Not the same number each time: it could meet the same place of each message.
    this.#random = Math.imul(this.#random, 0x41c64e6d) + 12345 | 0;
    this.#others = 1 + (this.#random >>> 16) % (2 * OTHERS - 1);
    return true;
  }

  #isLargeDue(size: number): boolean {
    this.#left -= size;
    if (this.#left > 0 || size > LOOKED_AT_MAX) return false;
    this.#left = OTHERS * size;
    return true;
  }
}

/** Whether a plain object with so many enumerable names has other members. */
export function objectHasHidden(object: object, names: number): boolean {
  return getOwnPropertyNames(object).length !== names || getOwnPropertySymbols(object).length > 0;
}

/** Whether an array without holes has members besides its elements. */
export function arrayHasHidden(array: readonly unknown[]): boolean {
  const { length } = array;
  if (length <= SHORT_MAX) return ownKeys(array).length !== length + 1; // One is "length".
  return keys(array).length !== length || getOwnPropertySymbols(array).length > 0;
}

/** Whether a Map, a Set or a Date has members of its own. */
export function hasOwnMembers(value: object): boolean {
  return getOwnPropertyNames(value).some((name) => !isOfFakeDate(value, name)) ||
    getOwnPropertySymbols(value).length > 0;
}

/** Whether this is what programs that fake their time give each date, so that it tells its class. */
function isOfFakeDate(value: object, key: string): boolean {
  return key === "constructor" && value instanceof Date;
}

/** Finds such a member in an object of this kind, and says what is wrong with it. */
export function hiddenProblem(value: object, kind: Kind): string | undefined {
  for (const key of ownKeys(value)) {
    if (typeof key === "symbol") {
      return `has a member named by ${
        String(key)
      }; send a copy without it, as only texts are names`;
    }
    if (isOfFakeDate(value, key)) continue;
    const name = JSON.stringify(key);
    if (kind === "Array") {
      if (key === "length" || String(Number(key) >>> 0) === key) continue;
      return `has a member ${name} besides its elements; send a copy of these, or an object`;
    }
    if (kind !== "Object") return `has a member ${name} of its own; send a copy, or an object`;
    if (!Object.getOwnPropertyDescriptor(value, key)?.enumerable) {
      return `has a member ${name} that is not enumerable; send a copy without it, or make it so`;
    }
  }
  return undefined;
}
