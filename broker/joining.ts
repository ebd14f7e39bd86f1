/**
 * What a client tells of a member of a group.
 */
import type { Limits } from "../protocol/frame.ts";
import { decodeMember } from "../protocol/job_bodies.ts";
import { decodePattern } from "../protocol/topic_block.ts";
import { interestBytes } from "../routing/interest_bytes.ts";
import type { TopicPattern } from "../topic.ts";

/** What a member takes besides its place in its group, as measured; the most that its name adds. */
const MEMBER_BYTES = 700;

/** A member that comes. */
export interface Joining {
  /** Which of its session's it is. */
  readonly number: number;
  /** How many jobs it may have unfinished. */
  readonly concurrency: number;
  readonly group: string;
  readonly path: TopicPattern;
}

/**
 * The member of which a client tells from `at` on, and where that ends.
 *
 * @throws {ProtocolError} If it cannot be one.
 */
export function readJoining(
  body: Uint8Array,
  at: number,
  limits: Limits,
): { member: Joining; end: number } {
  const { member, end } = decodeMember(body, at);
  const { topic, ...rest } = member;
  return { member: { ...rest, path: decodePattern(topic, 0, topic.length, limits) }, end };
}

/** What a member takes of memory, with its group if that has no other. */
export function joiningBytes({ group, path }: Joining): number {
  return MEMBER_BYTES + 2 * group.length + interestBytes(path);
}
