/**
 * Text from outside, made safe to show on one line.
 *
 * Whatever cannot be seen is escaped: what a terminal may obey, what reverses or breaks a line, and
 * what is blank or has no width. So two texts that differ only in such characters look different.
 * That holds within emoji, too: a joiner or a variation selector is escaped there as anywhere, because
 * it would hide in a name as well as in a picture, and terminals do not agree on how wide the result
 * is. Letters that only look alike, and combining marks, are shown.
 */

/**
 * The characters that are escaped: the categories Other (control, format, surrogate, private use and
 * unassigned) and Separator but for the space, all that a font may leave out (selectors, fillers, tags),
 * and three blanks that Unicode counts among the letters and symbols.
 */
const HIDDEN = /[[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\u{16fe4}\u{1d159}]--[ ]]/gv;
const ELLIPSIS = "…";

/**
 * A text as it can be shown: on one line, without characters that cannot be seen.
 *
 * - They are escaped as in JSON, `\u200b`, those beyond U+FFFF in two parts. So JSON stays equal JSON.
 * - What is printable already stays as it is. So a text may itself hold what looks like an escape;
 *   JSON, in which each backslash is doubled, cannot.
 *
 * @param max How many UTF-16 units are shown at most; `…` stands for the rest.
 */
export function printable(text: string, max = Infinity): string {
  // Escapes only make it longer, so no more than that is looked at, however long the text is.
  const whole = text.length > max ? undefined : text.replace(HIDDEN, escaped);
  return whole !== undefined && whole.length <= max ? whole : cut(text, max);
}

/** As much of a text as fits with the ellipsis; neither an escape nor a character is cut in two. */
function cut(text: string, max: number): string {
  let shown = "";
  for (const character of text.slice(0, max)) {
    const next = character.replace(HIDDEN, escaped);
    if (shown.length + next.length + ELLIPSIS.length > max) break;
    shown += next;
  }
  return shown + ELLIPSIS;
}

function escaped(character: string): string {
  let text = "";
  for (let index = 0; index < character.length; index++) {
    text += `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`;
  }
  return text;
}
