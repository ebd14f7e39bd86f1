// @ts-self-types="./unicode_width.d.ts"
// The module of deno-std lacks its table of widths.
export { default as unicodeWidth } from "npm:fast-string-width@3.0.2";
