/**
 * What a program is told without having asked for it: errors of its own code, which must stop nobody
 * else, and whatever else has no callback. It is written to `console.warn`, one line each.
 */
import { clock } from "../base/clock.ts";
import { printable } from "../base/printable.ts";
import { REPORT_CHARS_MAX, Reports } from "../base/reports.ts";
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

/**
 * Lines of one kind, as the default `onError` writes them. What others send can make any number of
 * errors, so there is a bounded number of lines, each of a bounded length; what was left out stands in
 * the next line.
 */
export class WarningLines {
  readonly #reports: Reports;

  /** Makes one that has written nothing; `others` says what is left out, in the plural. */
  constructor(others: string) {
    this.#reports = new Reports(others);
  }

  /** Writes a line for an error, or a text, unless there were too many; never throws. */
  write(error: unknown, { topic }: ErrorContext = {}, prefix = ""): void {
    if (!this.#reports.admit(clock.now())) return;
    const rest = this.#reports.told();
    const text = `mpubsub: ${topic ? `${formatTopic(topic)}: ` : ""}${prefix}${textOf(error)}`;
    console.warn(printable(text, REPORT_CHARS_MAX) + (rest === "" ? "" : ` (${rest})`));
  }
}

function textOf(error: unknown): string {
  try {
    return String(error);
  } catch {
    // Its toString threw, or it has none.
    return `${typeof error} that has no text`;
  }
}
