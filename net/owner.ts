/**
 * What the owner of a client is told of its connection, and of messages that were missed: by its
 * callbacks. What has no callback is written to the console, so that a program that has none learns of
 * it, too:
 *
 * - each gap;
 * - a connection that is not back within a second, and that it is back then. A shorter cut costs
 *   nothing but time, or else there is a gap; and a test that ends its broker first is no news;
 * - that the broker refuses the client, which hardly passes by itself;
 * - that the connection has ended for good, unless a call rejects with that.
 */
import { later, type Timer } from "../base/timers.ts";
import { WarningLines } from "../base/warn.ts";
import { AuthError, ConnectionLostError } from "../errors.ts";
import type { Dispatcher } from "../pubsub/dispatcher.ts";
import type { Gap, NetPubSubOptions, State } from "./options.ts";

/** How long there may be no connection before that is written. */
const AWAY_MS = 1000;

type Callbacks = Pick<NetPubSubOptions, "onState" | "onGap">;

/** Tells the owner of one client. */
export class Owner {
  readonly #dispatcher: Dispatcher;
  readonly #callbacks: Callbacks;
  readonly #gapLines = new WarningLines("other gaps");
  readonly #stateLines = new WarningLines("other changes of the connection");
  /** Waits until it is time to write that there is no connection. */
  #notice: Timer | undefined;
  /** Why there is no connection. */
  #reason: Error | undefined;
  /** Whether that was written. */
  #isWritten = false;

  /** Makes one that calls these callbacks; the dispatcher reports what they throw. */
  constructor(dispatcher: Dispatcher, callbacks: Callbacks) {
    this.#dispatcher = dispatcher;
    this.#callbacks = callbacks;
  }

  /** Messages were, or may have been, missed or repeated. */
  gap(gap: Gap): void {
    const { onGap } = this.#callbacks;
    if (onGap === undefined) this.#gapLines.write(describe(gap));
    else this.#dispatcher.call(() => this.#callbacks.onGap?.(gap));
  }

  /**
   * The state, or the reason for it, has changed.
   *
   * @param isTold Whether the owner learns of the reason by a call that rejects.
   */
  state(state: State, reason: Error | undefined, isTold: boolean): void {
    const { onState } = this.#callbacks;
    if (onState === undefined) return this.#writeState(state, reason, isTold);
    const callbacks = this.#callbacks;
    this.#dispatcher.call(() =>
      reason === undefined ? callbacks.onState?.(state) : callbacks.onState?.(state, reason)
    );
  }

  #writeState(state: State, reason: Error | undefined, isTold: boolean): void {
    if (state === "connected" || state === "disconnected") {
      this.#dropNotice();
      if (state === "connected" && this.#isWritten) this.#write("Connected to the broker");
      this.#isWritten = false;
      if (state === "connected" || reason === undefined || isTold) return;
      this.#write(`Disconnected for good (${reason.message})`);
    } else if (reason !== undefined) this.#away(state, reason);
  }

  /** There is no connection, for this reason. */
  #away(state: State, reason: Error): void {
    this.#reason = reason;
    // A ticket ends, and mostly there is another at once.
    const mayPass = reason instanceof ConnectionLostError ||
      reason instanceof AuthError && reason.expired;
    if (this.#isWritten || !mayPass) this.#writeAway(state);
    else this.#notice ??= later(() => this.#writeAway(state), AWAY_MS);
  }

  #writeAway(state: State): void {
    this.#dropNotice();
    const what = state === "reconnecting"
      ? "No connection to the broker"
      : "Waiting for the broker";
    this.#write(`${what}; trying again (${this.#reason!.message})`);
    this.#isWritten = true;
  }

  #dropNotice(): void {
    this.#notice?.cancel();
    this.#notice = undefined;
  }

  #write(text: string): void {
    this.#stateLines.write(text);
  }
}

/** A gap in words. */
function describe({ direction, reason, missed, resent = 0 }: Gap): string {
  const what = missed !== undefined
    ? `Missed ${counted(missed)}`
    : direction === "in"
    ? "May have missed messages"
    : "Messages from here may be lost";
  const again = resent === 0 ? "" : `; ${counted(resent)} from here may arrive twice`;
  return `${what} (${reason})${again}`;
}

function counted(messages: number): string {
  return messages === 1 ? "1 message" : `${messages} messages`;
}
