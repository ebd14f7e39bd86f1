/** What a case checks with, in any runtime. */
import { show } from "../../../tools/harness/payload.ts";

// deno-lint-ignore no-explicit-any -- Any constructor of errors.
type ErrorClass<E extends Error> = new (...args: any[]) => E;

/** Fails unless what is said holds. */
export function check(holds: unknown, what: string): asserts holds {
  if (!holds) throw new Error(`Not so: ${what}`);
}

/** Fails unless both are the same value to the last bit: kinds, -0, the order of members. */
export function same(actual: unknown, expected: unknown, what = ""): void {
  const [got, wanted] = [show(actual), show(expected)];
  if (got === wanted) return;
  throw new Error(`${what}\n     got ${excerpt(got)}\nexpected ${excerpt(wanted)}`.trim());
}

function excerpt(text: string): string {
  return text.length <= 1000 ? text : `${text.slice(0, 1000)} … (${text.length} characters)`;
}

/** Fails unless the call throws such an error, whose message has `text`; returns it. */
export function throws<E extends Error>(call: () => unknown, kind: ErrorClass<E>, text = ""): E {
  try {
    call();
  } catch (error) { // The case is about it.
    return ofKind(error, kind, text);
  }
  throw new Error(`Nothing was thrown; expected ${kind.name} with "${text}"`);
}

/** Fails unless the promise rejects with such an error, whose message has `text`; returns it. */
export async function rejects<E extends Error>(
  promise: Promise<unknown>,
  kind: ErrorClass<E>,
  text = "",
): Promise<E> {
  try {
    await promise;
  } catch (error) { // The case is about it.
    return ofKind(error, kind, text);
  }
  throw new Error(`Nothing was rejected; expected ${kind.name} with "${text}"`);
}

/** Fails unless it is an error of this class and name, whose message has `text`; returns it. */
export function ofKind<E extends Error>(error: unknown, kind: ErrorClass<E>, text = ""): E {
  if (!(error instanceof kind) || error.name !== kind.name || !error.message.includes(text)) {
    throw new Error(`Expected ${kind.name} with "${text}", got ${error}`, { cause: error });
  }
  return error;
}
