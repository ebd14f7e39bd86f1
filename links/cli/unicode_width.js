// @ts-self-types="./unicode_width.d.ts"
// The module of deno-std lacks its table of widths.
export { default as unicodeWidth } from "npm:string-width@8.1.0";
