/**
 * How far long work with topics goes in one step, so that everything else has its turn in time.
 */
import { any, type TopicPattern } from "../topic.ts";

/** After so much work a step is done: 32 short topics, or a long one. */
const STEP_WORK = 2048;
/** What an element costs besides its characters. */
const ELEMENT_WORK = 32;

/** Counts the work that topics are. */
export class Pace {
  #left = STEP_WORK;

  /** Notes one more topic; returns whether a step is done. */
  isStep(path: TopicPattern): boolean {
    let work = ELEMENT_WORK * (1 + path.length);
    for (const element of path) if (element !== any) work += element.length;
    this.#left -= work;
    if (this.#left > 0) return false;
    this.#left = STEP_WORK;
    return true;
  }
}
