/**
 * Counts what the builtins of JavaScript do: the elements and bytes that they move, compare or visit.
 * V8 counts only what is written in JavaScript (steps.ts).
 *
 * - A method that calls a function for each element is not counted: that function is.
 * - Nothing here takes arrays apart by `[first] = …`: that is one of the things that are counted.
 * - A Map or Set whose members collide looks like any other here; that shows in time only.
 */

type Method = (this: never, ...args: never[]) => unknown;

/** How much a call has done, given its receiver, its result, its arguments, and the length before. */
type Cost = (call: {
  readonly self: ArrayLike<unknown>;
  readonly result: unknown;
  readonly args: readonly unknown[];
  readonly before: number;
}) => number;

const resultLength: Cost = ({ result }) => (result as ArrayLike<unknown>).length;
const selfLength: Cost = ({ before }) => before;
const untilFound: Cost = ({ result, before }) =>
  result as number < 0 ? before : result as number + 1;
const argumentLength: Cost = ({ args }) => sizeOf(args[0]);
const nothing: Cost = () => 0;
const one: Cost = () => 1;

const ARRAY: Readonly<Record<string, Cost>> = {
  concat: resultLength,
  copyWithin: selfLength,
  fill: selfLength,
  flat: resultLength,
  includes: ({ self, args, before }) => {
    const at = indexOf.call(self as unknown[], args[0]);
    return at < 0 ? before : at + 1;
  },
  indexOf: untilFound,
  join: selfLength,
  lastIndexOf: ({ result, before }) => result as number < 0 ? before : before - (result as number),
  reverse: selfLength,
  shift: selfLength,
  slice: resultLength,
  sort: selfLength,
  // What is removed and put in and, if that is not as much, what comes behind.
  splice: ({ self, result, args, before }) => {
    const removed = (result as unknown[]).length;
    const added = Math.max(0, args.length - 2);
    const start = Math.min(
      before,
      (args[0] as number) < 0 ? Math.max(0, before + (args[0] as number)) : args[0] as number,
    );
    return removed + added + (removed === added ? 0 : self.length - start - added);
  },
  toReversed: selfLength,
  toSorted: selfLength,
  toSpliced: selfLength,
  unshift: selfLength,
  with: selfLength,
};
const TYPED_ARRAY: Readonly<Record<string, Cost>> = {
  copyWithin: selfLength,
  fill: selfLength,
  includes: selfLength,
  indexOf: untilFound,
  join: selfLength,
  reverse: selfLength,
  set: argumentLength,
  slice: resultLength,
  sort: selfLength,
  toReversed: selfLength,
  toSorted: selfLength,
};
const STATIC: readonly (readonly [owner: object, methods: Readonly<Record<string, Cost>>])[] = [
  [Array, { from: resultLength }],
  [JSON, { parse: argumentLength, stringify: ({ result }) => sizeOf(result) }],
  [Object, {
    assign: nothing,
    entries: resultLength,
    freeze: argumentLength,
    keys: resultLength,
    values: resultLength,
  }],
  [TextEncoder.prototype, { encode: resultLength, encodeInto: argumentLength }],
  [TextDecoder.prototype, { decode: argumentLength }],
];

const { indexOf } = Array.prototype;

function sizeOf(value: unknown): number {
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (typeof value === "string" || Array.isArray(value)) return value.length;
  return 0;
}

/** What an iterator of this kind inherits from. */
function iteratorOf(iterable: Iterable<unknown>): object {
  return Object.getPrototypeOf(iterable[Symbol.iterator]());
}

/** Counts what builtins touch, from {@linkcode Builtins.install} on. */
export class Builtins {
  /** How many elements and bytes they have moved, compared or visited. */
  touched = 0;

  /** Takes the place of the builtins until it is disposed of. */
  install(): Disposable {
    const undo = new DisposableStack();
    const wrap = (owner: object, methods: Readonly<Record<string, Cost>>) => {
      for (const [name, cost] of Object.entries(methods)) undo.use(this.#wrap(owner, name, cost));
    };
    wrap(Array.prototype, ARRAY);
    wrap(Object.getPrototypeOf(Uint8Array.prototype), TYPED_ARRAY);
    for (const [owner, methods] of STATIC) wrap(owner, methods);
    // What is spread, or given to a Map or a Set, goes through one of these.
    for (const iterable of [[], new Map(), new Set()]) wrap(iteratorOf(iterable), { next: one });
    return undo;
  }

  #wrap(owner: object, name: string, cost: Cost): Disposable {
    const descriptor = Object.getOwnPropertyDescriptor(owner, name);
    if (descriptor === undefined) return { [Symbol.dispose]() {} }; // Not in this runtime.
    const original: Method = descriptor.value;
    const note = (touched: number) => void (this.touched += touched);
    const value = function (this: ArrayLike<unknown>, ...args: unknown[]): unknown {
      const before = this?.length ?? 0;
      const result = Reflect.apply(original, this, args);
      note(cost({ self: this, result, args, before }));
      return result;
    };
    Object.defineProperty(owner, name, { ...descriptor, value });
    return { [Symbol.dispose]: () => void Object.defineProperty(owner, name, descriptor) };
  }
}
