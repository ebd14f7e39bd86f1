/**
 * The members of groups here, as a broker knows them: each connection begins with all of them, and who
 * comes or goes meanwhile is told at once.
 *
 * ```
 *  addSubscriber(…, { group }) ─▶ JOIN, or OPEN ─▶ broker ─▶ JOB ─▶ the member of that number
 *  remove()                    ─▶ LEAVE, and RETURNED for what it has not begun
 *  disconnect()                ─▶ the same for all
 * ```
 */
import { FrameType } from "../protocol/frame.ts";
import { encodeMember, encodeNumber } from "../protocol/job_bodies.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import type { Dispatcher } from "../pubsub/dispatcher.ts";
import type { Member } from "../pubsub/group_members.ts";
import type { ClientSession } from "./client_session.ts";

/** What JOIN, and OPEN, say of a member. */
export function bodyOf({ number, concurrency, group: { name: group, path } }: Member): Uint8Array {
  return encodeMember({ number, concurrency, group, topic: encodeTopic(path) });
}

/** Tells the broker of a session that a member has come, or has gone. */
export function tellMember(member: Member, isThere: boolean, remote: ClientSession): void {
  if (isThere) remote.interest(FrameType.JOIN, bodyOf(member));
  else remote.interest(FrameType.LEAVE, encodeNumber(member.number));
}

/** All members leave a session: they give back what they have not begun, and get nothing more. */
export function leaveAll(dispatcher: Dispatcher, remote: ClientSession): void {
  remote.isLeft = dispatcher.memberCount > 0;
  for (const member of dispatcher.members()) tellMember(member, false, remote);
  dispatcher.recallJobs();
}
