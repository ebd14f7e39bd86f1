/**
 * `using` where a runtime has no symbols for it, and where a polyfill brings them later.
 *
 * Compilers write `using` for such a runtime in two ways: with the symbol of a polyfill, or with the one
 * that is registered under its name. A method `[Symbol.dispose]` would have the name "undefined" there.
 *
 * ```
 *                     the symbol is there   it is missing            a polyfill has come
 *  dispose is         Symbol.dispose        the registered symbol    the registered symbol
 *  found as well by                                                  Symbol.dispose: a Proxy looks it up
 * ```
 */

/** The key of the method that `using` calls. */
export const dispose: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for("Symbol.dispose");
/** The key of the method that `await using` calls. */
export const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose ??
  Symbol.for("Symbol.asyncDispose");

/**
 * Has the objects of a class found by the symbols of a polyfill, too, whenever that comes. Where no symbol
 * is missing, it does nothing.
 *
 * @param prototype The prototype of the class, which has a method {@linkcode dispose} or
 * {@linkcode asyncDispose}.
 * @param written The key of its one method that is written as `[Symbol.dispose]` or
 * `[Symbol.asyncDispose]`, as the declarations of a public class need it.
 */
export function followPolyfill(prototype: object, written?: symbol): void {
  if (dispose === Symbol.dispose && asyncDispose === Symbol.asyncDispose) return;
  if (written !== undefined && !(written in prototype)) rename(prototype, "undefined", written);
  const ours = (key: PropertyKey) =>
    key === Symbol.dispose ? dispose : key === Symbol.asyncDispose ? asyncDispose : key;
  // It is asked for what neither an object nor its class has.
  const between = new Proxy(Object.create(Object.getPrototypeOf(prototype)), {
    has: (above, key) => Reflect.has(ours(key) === key ? above : prototype, ours(key)),
    get: (above, key, object) =>
      Reflect.get(ours(key) === key ? above : prototype, ours(key), object),
  });
  Object.setPrototypeOf(prototype, between);
}

function rename(object: object, from: string, to: symbol): void {
  Object.defineProperty(object, to, Object.getOwnPropertyDescriptor(object, from)!);
  Reflect.deleteProperty(object, from);
}
