/**
 * What a program is told on its console without having asked for it.
 */
import { clock } from "./clock.ts";
import { printable } from "./printable.ts";
import { REPORT_CHARS_MAX, Reports } from "./reports.ts";

/**
 * Writes a line to `console.warn`, safe to show. It never throws: a console may where the line cannot be
 * written, on a full disk or a terminal that is gone, and that must end nothing.
 */
export function warn(text: string): void {
  try {
    console.warn(printable(`mpubsub: ${text}`));
  } catch {
    // There is nowhere to say it.
  }
}

/**
 * Lines of one kind. What others send can make any number of them, so a bounded number is written, each
 * of a bounded length; what was left out stands in the next line.
 */
export class WarningLines {
  readonly #reports: Reports;

  /** Makes one that has written nothing; `others` says what is left out, in the plural. */
  constructor(others: string) {
    this.#reports = new Reports(others);
  }

  /** Writes a line, unless there were too many; never throws. */
  write(text: string): void {
    if (!this.#reports.admit(clock.now())) return;
    const rest = this.#reports.told();
    warn(printable(text, REPORT_CHARS_MAX) + (rest === "" ? "" : ` (${rest})`));
  }
}

/** The text of whatever was thrown. */
export function textOf(error: unknown): string {
  try {
    return String(error);
  } catch {
    // Its toString threw, or it has none.
    return `${typeof error} that has no text`;
  }
}
