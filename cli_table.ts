/**
 * Tables in a terminal.
 */
import { unicodeWidth } from "@std/cli/unicode-width";

/** A column of a table. */
export interface Column<R> {
  readonly title: string;
  readonly text: (row: R) => string;
  /** Whether it stands at the left side of its column, as names do. */
  readonly isLeft?: boolean;
}

/** A table as lines of at most `width` columns, the titles first; a first column too wide is cut. */
export function tableOf<R>(
  columns: readonly Column<R>[],
  rows: readonly R[],
  width = Infinity,
): string[] {
  const cells = [columns.map(({ title }) => title)];
  for (const row of rows) cells.push(columns.map(({ text }) => text(row)));
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
  if (unicodeWidth(text) <= width) return text;
  let shown = "";
  for (const letter of text) {
    if (unicodeWidth(shown + letter) >= width) break;
    shown += letter;
  }
  return `${shown}…`;
}
