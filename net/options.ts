/**
 * The options of a `NetPubSub`, and what it tells by them.
 */
import type { PubSubOptions } from "../pubsub/subscriber.ts";

/**
 * What a client is doing about its connection.
 *
 * - `"disconnected"`: nothing; it was never connected, or is no more, and what it publishes stays here.
 * - `"connecting"`: `connect()` is under way for the first time.
 * - `"connected"`: what it publishes goes to the broker at once.
 * - `"reconnecting"`: the connection is lost, and is being made again; what it publishes waits.
 */
export type State = "disconnected" | "connecting" | "connected" | "reconnecting";

/** What was, or may have been, missed or repeated. */
export interface Gap {
  /**
   * Where: `"in"` on the way to this object, `"out"` on the way from it. After a new session, `"in"`
   * unless this object has no subscriptions.
   */
  readonly direction: "in" | "out";
  /**
   * Why.
   *
   * - `"overflow"`: messages came faster than they were taken here, and the broker dropped the oldest.
   * - `"expired"`: the connection was away for longer than the broker keeps a session.
   * - `"new broker"`: the broker was started again, or another one has its place.
   * - `"cut off"`: this object held back those who publish to it for longer than the broker allows, or
   *   the broker's memory was full; or messages were lost between brokers that are joined.
   */
  readonly reason: "overflow" | "expired" | "new broker" | "cut off";
  /** How many messages did not come; not there where that is not known. */
  readonly missed?: number;
  /**
   * How many messages of this object were sent a second time, since it is not known whether they had
   * arrived; not there where there were none.
   */
  readonly resent?: number;
}

/** Options of a `NetPubSub`. */
export interface NetPubSubOptions extends PubSubOptions {
  /**
   * The name under which the broker knows the key, at most 64 bytes of UTF-8; without one it is the
   * broker's single key. By default the name that stands in the connection file, if there is one.
   *
   * @default {""}
   */
  keyName?: string;
  /**
   * For a broker whose address begins with `tls://`: in `caCerts` what vouches for its certificate, in
   * PEM, beside what the system trusts and what stands in the connection file.
   */
  tls?: {
    /**
     * Certificates, in PEM.
     *
     * @default {[]}
     */
    caCerts?: string[];
  };
  /**
   * How many bytes may be published and not acknowledged; beyond it `publish` throws
   * `BacklogError`. A single message always fits.
   *
   * @default {16777216}
   */
  backlog?: number;
  /**
   * What the broker does when messages come faster than this object takes them.
   *
   * - `"drop-oldest"`: the oldest go, and `onGap` is told how many.
   * - `"wait"`: those who publish them are held back, as far as the broker allows it (`maxPatience`);
   *   where it does not, the oldest go.
   *
   * @default {"drop-oldest"}
   */
  overflow?: "drop-oldest" | "wait";
  /**
   * With `overflow: "wait"`: for how long this object may hold others back without taking anything, in
   * milliseconds. Then it is cut off and told by `onGap`. The broker's `maxPatience` may be less, and
   * counts then.
   *
   * @default {Infinity}
   */
  patience?: number;
  /**
   * Told each change of `state`, with the reason when it was not asked for; and while `reconnecting`
   * when the reason changes, because the broker refuses the key, say.
   *
   * @param state The new state.
   * @param reason Why, unless `connect()` or `disconnect()` was called.
   */
  onState?(state: State, reason?: Error): void;
  /**
   * Told once whenever messages were or may have been missed or repeated.
   *
   * @param gap What, why, and how many.
   */
  onGap?(gap: Gap): void;
}

const BACKLOG_BYTES = 16 * 1024 * 1024;
const PATIENCE_MAX_MS = 2 ** 32 - 1;

/** How a client treats what waits. */
export interface QueueOptions {
  /** Whether the broker is to hold publishers back rather than drop messages. */
  readonly wait: boolean;
  /** For how long without progress, in milliseconds. */
  readonly patience: number;
  /** How many bytes may be published and not acknowledged. */
  readonly backlog: number;
}

/**
 * Checks the options about what waits.
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
