/**
 * One lane of a session: frames with numbers, acknowledgements and a window of their own, in both
 * directions.
 */
import { Inbox, type InboxHandler } from "./inbox.ts";
import { Outbox, type OutboxOptions } from "./outbox.ts";

/** The frames of one lane. */
export class Lane {
  /** What is on its way to the other side. */
  readonly outbox: Outbox;
  /** What comes from the other side. */
  readonly inbox: Inbox;
  /** Which of this side's requests is meant to open the window. */
  unblocking = 0;
  /** How much was acknowledged when it was sent. */
  unblockingAt = -1;

  /** Makes one in which nothing was sent. */
  constructor(
    window: number,
    handler: InboxHandler,
    onBytes: ((change: number) => void) | undefined,
    options: Required<OutboxOptions>,
  ) {
    this.outbox = new Outbox(window, onBytes, options);
    this.inbox = new Inbox(window, handler, options.first);
  }

  /** There is another connection, over which nothing was requested. */
  reconnect(): void {
    this.inbox.rewind();
    this.unblocking = 0;
    this.unblockingAt = -1;
  }
}
