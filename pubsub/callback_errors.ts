/**
 * Errors of the program's own code, which must stop nobody else: notices a promise that rejects, and by
 * default writes one line to `console.warn`.
 */
import { printable } from "../base/printable.ts";
import { formatTopic } from "../topic.ts";
import type { ErrorContext } from "./subscriber.ts";

/** Calls `failed` if `result` is a promise, or like one, and rejects. */
export function watch(result: unknown, failed: (error: unknown) => void): void {
  if (typeof result !== "object" && typeof result !== "function" || result === null) return;
  if (typeof (result as { then?: unknown }).then !== "function") return;
  Promise.resolve(result).then(undefined, failed);
}

/** Says something that whoever writes the program should know. */
export function advise(text: string): void {
  console.warn(printable(`mpubsub: ${text}`));
}

/** The default `onError`; never throws. */
export function warn(error: unknown, { topic }: ErrorContext, prefix = ""): void {
  let text: string;
  try {
    text = String(error);
  } catch {
    // Its toString threw, or it has none.
    text = `${typeof error} that has no text`;
  }
  console.warn(printable(`mpubsub: ${topic ? `${formatTopic(topic)}: ` : ""}${prefix}${text}`));
}
