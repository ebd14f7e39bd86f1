/**
 * What the broker as a program logs while it runs: one line for each event, in words or as JSON.
 */
import { complain, leftOutLine, leftOutText, say, sayJson, setLeftOutLine } from "./output.ts";

/** How important an event is. */
export type Level = "debug" | "info" | "warn" | "error";

const LEVELS: readonly Level[] = ["debug", "info", "warn", "error"];

/** Prints one line for each event that is important enough. */
export class Log {
  readonly #isJson: boolean;
  readonly #least: number;

  /**
   * @param isJson Whether each line is a JSON object: `time`, `level`, `event`, `message`, and the
   * fields of the event.
   * @param least The least important level that is printed.
   */
  constructor(isJson: boolean, least: Level) {
    this.#isJson = isJson;
    this.#least = LEVELS.indexOf(least);
    setLeftOutLine(isJson ? leftOutJson : leftOutLine);
  }

  /** Prints one event: warnings and errors to standard error, all else to standard output. */
  say(level: Level, event: string, message: string, fields: Record<string, unknown> = {}): void {
    const rank = LEVELS.indexOf(level);
    if (rank < this.#least) return;
    const isProblem = rank >= LEVELS.indexOf("warn");
    if (this.#isJson) sayJson({ time: new Date(), level, event, message, ...fields }, isProblem);
    else if (isProblem) complain(message);
    else say(message);
  }
}

function leftOutJson(count: number): string {
  const message = leftOutText(count);
  return JSON.stringify({ time: new Date(), level: "warn", event: "left-out", message, count });
}
