/**
 * The options of a `NetPubSub`, and what its callbacks get.
 */
import type { PubSubOptions } from "../pubsub/subscriber.ts";

/**
 * Whether a client is connected, or about to be.
 *
 * - `"disconnected"`: it has not connected, or has disconnected; what it publishes stays here.
 * - `"connecting"`: `connect()` makes its first attempt.
 * - `"connected"`: what it publishes goes to the broker at once.
 * - `"reconnecting"`: the connection is lost, and is being made again; what it publishes waits.
 */
export type State = "disconnected" | "connecting" | "connected" | "reconnecting";

/** Tells of messages that were, or may have been, missed or repeated. */
export interface Gap {
  /**
   * Where: `"in"` on the way to this object, `"out"` on the way from it. After a session was lost, `"in"`
   * unless this object has no subscriptions.
   */
  readonly direction: "in" | "out";
  /**
   * Why.
   *
   * - `"overflow"`: messages came faster than they were taken here, and the broker dropped the oldest.
   * - `"expired"`: the connection was away for longer than the broker keeps a session.
   * - `"new broker"`: the broker was started again, or another one has taken its place.
   * - `"cut off"`: this object held its publishers back for longer than the broker allows, or the
   *   broker's memory was full; or messages were lost between joined brokers.
   */
  readonly reason: "overflow" | "expired" | "new broker" | "cut off";
  /** How many messages were missed; absent if that is not known. */
  readonly missed?: number;
  /**
   * How many messages of this object were sent again because it is not known whether they had arrived;
   * absent if there were none.
   */
  readonly resent?: number;
}

/** Options of a `NetPubSub`. */
export interface NetPubSubOptions extends PubSubOptions {
  /**
   * The name of the key, at most 64 bytes of UTF-8; empty for the broker's single key. By default the
   * name in the connection file, if there is one.
   *
   * @default {""}
   */
  keyName?: string;
  /**
   * For a broker whose address begins with `tls://`: which certificates to trust, besides those that the
   * system trusts and the one in the connection file.
   */
  tls?: {
    /**
     * Certificates of authorities, in PEM.
     *
     * @default {[]}
     */
    caCerts?: string[];
  };
  /**
   * How many bytes may be published and not yet acknowledged; beyond that, `publish` throws
   * `BacklogError`. A single message always fits.
   *
   * @default {16777216}
   */
  backlog?: number;
  /**
   * What the broker does when messages come faster than this object takes them.
   *
   * - `"drop-oldest"`: it drops the oldest, and `onGap` gets their number.
   * - `"wait"`: it holds their publishers back, if it allows that (`maxPatience`); otherwise it drops the
   *   oldest.
   *
   * @default {"drop-oldest"}
   */
  overflow?: "drop-oldest" | "wait";
  /**
   * With `overflow: "wait"`: how long this object may hold publishers back without taking anything, in
   * milliseconds. After that it is cut off, and `onGap` is called. A shorter `maxPatience` of the broker
   * takes precedence.
   *
   * @default {Infinity}
   */
  patience?: number;
  /**
   * Called on each change of `state`, and while `reconnecting` when the reason changes, because the
   * broker refuses the key, say.
   *
   * @param state The new state.
   * @param reason Why, unless `connect()` or `disconnect()` was called.
   */
  onState?(state: State, reason?: Error): void;
  /**
   * Called once whenever messages were, or may have been, missed or repeated. By default, such gaps go
   * unnoticed.
   *
   * @param gap Where, why, and how many.
   */
  onGap?(gap: Gap): void;
}

const BACKLOG_BYTES = 16 * 1024 * 1024;
const PATIENCE_MAX_MS = 2 ** 32 - 1;

/** The options about queues, with their values. */
export interface QueueOptions {
  /** Whether the broker is to hold publishers back rather than drop messages. */
  readonly wait: boolean;
  /** For how long without progress, in milliseconds. */
  readonly patience: number;
  /** How many bytes may be published and not acknowledged. */
  readonly backlog: number;
}

/**
 * Checks the options about queues.
 *
 * @throws {TypeError} When `overflow` is of the wrong kind.
 * @throws {RangeError} When `patience` or `backlog` is out of range.
 */
export function queueOptions(
  { overflow = "drop-oldest", patience = Infinity, backlog = BACKLOG_BYTES }: NetPubSubOptions,
): QueueOptions {
  if (overflow !== "drop-oldest" && overflow !== "wait") {
    throw new TypeError(
      `Cannot use overflow ${String(overflow)}: it must be "drop-oldest" or "wait"`,
    );
  }
  if (!(patience > 0)) {
    throw new RangeError(`Cannot use patience ${patience}: it must be a positive number of ms`);
  }
  if (!Number.isSafeInteger(backlog) || backlog < 1) {
    throw new RangeError(`Cannot use backlog ${backlog}: it must be a positive number of bytes`);
  }
  return {
    wait: overflow === "wait",
    patience: Math.min(Math.ceil(patience), PATIENCE_MAX_MS),
    backlog,
  };
}
