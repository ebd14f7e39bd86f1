/**
 * The topics that are given as arguments: what can be used of them, and what is told of them.
 */
import { isLocalPath, type TopicPath, type TopicPattern } from "../topic.ts";
import { UsageError } from "./command.ts";
import { complain } from "./output.ts";
import { dotNotice, parsePattern, parseTopic, topicText } from "./syntax.ts";

/**
 * The topic that an argument names; says to standard error what may be a mistake.
 *
 * @throws {UsageError} If it is not a valid topic.
 */
export function topicOf(text: string): TopicPath {
  const path = parseTopic(text);
  advise(text);
  return path;
}

/** The same where one subscribes or grants, so that elements may be of any name. */
export function patternOf(text: string): TopicPattern {
  const pattern = parsePattern(text);
  advise(text);
  return pattern;
}

function advise(text: string): void {
  const notice = dotNotice(text);
  if (notice !== undefined) complain(notice);
}

/**
 * Refuses a topic whose messages stay in the process that publishes them: in that of a command, there
 * is nobody else.
 *
 * @throws {UsageError} If it is one.
 */
export function checkLeaves(action: "publish" | "subscribe", path: TopicPattern): void {
  if (!isLocalPath(path)) return;
  throw new UsageError(
    `Cannot ${action} to ${topicText(path)}: a message for a topic that ends with *local never ` +
      "leaves the process of its publisher",
  );
}
