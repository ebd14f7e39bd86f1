/**
 * Errors of the program's own code, which must stop nobody else.
 */
import { textOf } from "../base/warn.ts";
import { formatTopic } from "../topic.ts";
import type { ErrorContext } from "./subscriber.ts";

/** Calls `failed` if `result` is a promise, or like one, and rejects. */
export function watch(result: unknown, failed: (error: unknown) => void): void {
  if (typeof result !== "object" && typeof result !== "function" || result === null) return;
  if (typeof (result as { then?: unknown }).then !== "function") return;
  Promise.resolve(result).then(undefined, failed);
}

/** An error as the default `onError` writes it. */
export function describeError(error: unknown, { topic }: ErrorContext, prefix = ""): string {
  return `${topic ? `${formatTopic(topic)}: ` : ""}${prefix}${textOf(error)}`;
}
