/**
 * What a program is told on its console without having asked for it.
 */
import { printable } from "./printable.ts";

/**
 * Writes a line to `console.warn`, safe to show. It never throws: Deno's console does where the line
 * cannot be written, on a full disk or a terminal that is gone, and that must end nothing.
 */
export function warn(text: string): void {
  try {
    console.warn(printable(`mpubsub: ${text}`));
  } catch {
    // There is nowhere to say it.
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
