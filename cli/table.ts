/**
 * Tables in a terminal.
 */
import { unicodeWidth } from "@std/cli/unicode-width";
import { printable } from "../base/printable.ts";

/** How many units of a text are looked at for each column of the terminal. */
const LETTERS_PER_COLUMN_MAX = 4;

/** A column of a table. */
export interface Column<R> {
  readonly title: string;
  readonly text: (row: R) => string;
  /** Whether it is aligned to the left, as names are. */
  readonly isLeft?: boolean;
}

/**
 * A table as printable lines of at most `width` columns, the titles first; a first column too wide is
 * cut.
 */
export function tableOf<R>(
  columns: readonly Column<R>[],
  rows: readonly R[],
  width = Infinity,
): string[] {
  const cells = [columns.map(({ title }) => title)];
  for (const row of rows) cells.push(columns.map(({ text }) => cut(printable(text(row)), width)));
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => unicodeWidth(row[at]!))));
  const excess = widths.reduce((sum, wide) => sum + wide + 2, -2) - width;
  if (excess > 0) widths[0] = Math.max(columns[0]!.title.length, widths[0]! - excess);
  return cells.map((row) =>
    row.map((cell, at) => padded(cell, widths[at]!, columns[at]!.isLeft === true))
      .join("  ").trimEnd()
  );
}

function padded(text: string, width: number, isLeft: boolean): string {
  const shown = cut(text, width);
  const space = " ".repeat(width - unicodeWidth(shown));
  return isLeft ? shown + space : space + shown;
}

/** A text that takes at most `width` columns. */
export function cut(text: string, width: number): string {
  // There could be any number of letters without a width of their own.
  const some = text.slice(0, LETTERS_PER_COLUMN_MAX * width);
  if (some.length === text.length && unicodeWidth(text) <= width) return text;
  let shown = "";
  let used = 0;
  for (const letter of some) {
    used += unicodeWidth(letter);
    if (used >= width) break;
    shown += letter;
  }
  return `${shown}…`;
}
