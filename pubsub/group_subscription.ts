/**
 * What `subscribe` returns for a member of a group: its queue, as the consumer has it.
 */
import type { LoopMember } from "./group_members.ts";
import { QueueSubscription } from "./queue_subscription.ts";
import type { Deliveries, Delivery } from "./subscriber.ts";

/** Iterates over the messages that a member gets; to ask for the next one is to have finished the last. */
export class GroupSubscription extends QueueSubscription {
  readonly #member: LoopMember;

  /** Makes one for a member whose queue nobody else iterates over. */
  constructor(member: LoopMember) {
    super(member.queue);
    this.#member = member;
  }

  override [Symbol.asyncIterator](): Deliveries<unknown> {
    const member = this.#member;
    const all = super[Symbol.asyncIterator]();
    return {
      async next(): Promise<IteratorResult<Delivery<unknown>, undefined>> {
        member.asks();
        const result = await all.next();
        if (!result.done) member.gets();
        return result;
      },
      return: () => all.return!(),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }
}
