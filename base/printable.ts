/**
 * Text from outside, made safe to show.
 */

/** A text on one line: characters that a terminal may obey, or that reverse a line, are escaped. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
