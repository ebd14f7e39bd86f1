/**
 * What interests take of memory, in bytes, as measured: node by node of the tree of topics, and for each
 * peer that wants one. `docs/decisions.md` has the figures.
 */
import { any, type PatternElement, type TopicPattern } from "../topic.ts";

/** What a node takes besides its element: the object, its path, and the table in which it stands. */
const NODE_BYTES = 430;
/** What is at a node that somebody wants. */
export const PLACE_BYTES = 230;
/** One peer that wants a topic. */
export const MEMBER_BYTES = 110;
/** One peer that gets less than the whole topic, besides the text of the topic. */
export const NARROWED_BYTES = 250;

/** What a node takes whose topic ends with this element. */
export function nodeBytes(element: PatternElement): number {
  return NODE_BYTES + (element === any ? 0 : element.length);
}

/** What an interest takes, if nobody else wants anything of its topic. */
export function interestBytes(path: TopicPattern): number {
  let sum = MEMBER_BYTES + PLACE_BYTES;
  for (const element of path) sum += nodeBytes(element);
  return sum;
}
