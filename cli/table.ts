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
  /** Whether the end of a text too wide is shown, as that of a path, and not its beginning. */
  readonly keepsEnd?: boolean;
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
  for (const row of rows) {
    cells.push(columns.map((column) => cutIn(column, printable(column.text(row)), width)));
  }
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => unicodeWidth(row[at]!))));
  const excess = widths.reduce((sum, wide) => sum + wide + 2, -2) - width;
  if (excess > 0) widths[0] = Math.max(columns[0]!.title.length, widths[0]! - excess);
  return cells.map((row) =>
    row.map((cell, at) => padded(cell, widths[at]!, columns[at]!))
      .join("  ").trimEnd()
  );
}

function padded<R>(text: string, width: number, column: Column<R>): string {
  const shown = cutIn(column, text, width);
  const space = " ".repeat(width - unicodeWidth(shown));
  return column.isLeft ? shown + space : space + shown;
}

function cutIn<R>({ keepsEnd }: Column<R>, text: string, width: number): string {
  return keepsEnd ? cutStart(text, width) : cut(text, width);
}

/** A text that takes at most `width` columns: its beginning. */
export function cut(text: string, width: number): string {
  if (fits(text, width)) return text;
  return `${lettersWithin(text.slice(0, LETTERS_PER_COLUMN_MAX * width), width).join("")}…`;
}

/** A text that takes at most `width` columns: its end. */
export function cutStart(text: string, width: number): string {
  if (fits(text, width)) return text;
  const some = [...text.slice(-LETTERS_PER_COLUMN_MAX * width)].reverse();
  return `…${lettersWithin(some, width).reverse().join("")}`;
}

function fits(text: string, width: number): boolean {
  // There could be any number of letters without a width of their own.
  return text.length <= LETTERS_PER_COLUMN_MAX * width && unicodeWidth(text) <= width;
}

/** The first letters, which leave a column for what stands for the rest. */
function lettersWithin(letters: Iterable<string>, width: number): string[] {
  const shown: string[] = [];
  let used = 0;
  for (const letter of letters) {
    used += unicodeWidth(letter);
    if (used >= width) break;
    shown.push(letter);
  }
  return shown;
}
