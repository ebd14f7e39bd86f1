/**
 * The options of a `NetPubSub`, and what its callbacks get.
 */
import type { Outside } from "../io/outside.ts";
import { CLIENT_NAME_BYTES_MAX } from "../protocol/frame_bodies.ts";
import type { PubSubOptions } from "../pubsub/subscriber.ts";

/**
 * Whether a client is connected, or about to be.
 *
 * - `"disconnected"`: it has not connected, or has disconnected; its messages stay in this process.
 * - `"connecting"`: `connect()` tries for the first connection; its messages wait.
 * - `"connected"`: its messages go to the broker at once.
 * - `"reconnecting"`: it has lost its connection, and restores it; its messages wait.
 */
export type State = "disconnected" | "connecting" | "connected" | "reconnecting";

/** Says which messages were, or may have been, missed or repeated. */
export interface Gap {
  /**
   * Which messages: `"in"` for those to this object, `"out"` for those from it. When a session was
   * lost, that may be both; then it is `"in"` if this object has subscriptions.
   */
  readonly direction: "in" | "out";
  /**
   * Why.
   *
   * - `"overflow"`: messages came faster than this object took them, and the broker dropped the oldest.
   * - `"expired"`: the connection was lost for longer than the broker keeps a session (its
   *   `resumeWindow`), or its place was needed for another client.
   * - `"new broker"`: the broker was restarted, or replaced by another one.
   * - `"cut off"`: with `overflow: "wait"`, this object held publishers back too long, or too many
   *   bytes waited for it; or messages were lost between joined brokers.
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
   * What people see of this object in what the broker says of its clients: at most 64 bytes of UTF-8;
   * empty for none. The broker trusts it for nothing. By default the program's name and the number of
   * its process, such as `"logger.ts 4711"`; in a page none.
   */
  name?: string | undefined;
  /**
   * The name of the key, at most 64 bytes of UTF-8, or that of a ticket, at most 1024; empty for the
   * broker's `authkey`. By default the name in the connection file, if it has one.
   *
   * @default {""}
   */
  keyName?: string | undefined;
  /**
   * For a `tls://` or `wss://` address: certificates to trust besides those that the system trusts and the
   * one in the connection file. By default none. `@mpubsub/mpubsub/web` trusts what the browser trusts,
   * and nothing else.
   */
  tls?: {
    /**
     * Certificates of authorities, in PEM.
     *
     * @default {[]}
     */
    caCerts?: readonly string[] | undefined;
  } | undefined;
  /**
   * How many published bytes may be unacknowledged, those included that wait for a connection;
   * `publish` throws `BacklogError` rather than exceed it. If none are, a message of any size fits.
   *
   * @default {16777216}
   */
  backlog?: number | undefined;
  /**
   * What the broker does when messages come faster than this object takes them.
   *
   * - `"drop-oldest"`: it drops the oldest messages, and `onGap` gets their number.
   * - `"wait"`: it holds back those who publish them (backpressure), if its option `maxPatience` and
   *   the rights of the key allow that; otherwise it drops the oldest.
   *
   * @default {"drop-oldest"}
   */
  overflow?: "drop-oldest" | "wait" | undefined;
  /**
   * With `overflow: "wait"`: how long this object may hold publishers back without taking a message, in
   * milliseconds. After that it is cut off: the broker drops what waits for it, and `onGap` is called.
   * A shorter `maxPatience` of the broker takes precedence.
   *
   * @default {Infinity}
   */
  patience?: number | undefined;
  /**
   * Called on each change of `state`, and while `"reconnecting"` also when the reason changes, as when
   * the broker begins to refuse the key. So is it while `connect({ wait: true })` waits: with the first
   * reason, and when that changes.
   *
   * - By default a line of `console.warn` says that there is no connection for more than a second, or
   *   that the broker refuses the key, and another that there is a connection again. A line also says
   *   that the broker has ended the session for good.
   *
   * @param state The new state.
   * @param reason The error that caused the state; only for `"reconnecting"`, for `"connecting"` while
   * it waits, and for `"disconnected"` unless `disconnect()` succeeded.
   */
  onState?: ((state: State, reason?: Error) => void) | undefined;
  /**
   * Called whenever messages were, or may have been, missed or repeated. By default each such gap is
   * written to `console.warn`, on one line, as errors are without `onError`.
   *
   * @param gap Which messages, why, and how many.
   */
  onGap?: ((gap: Gap) => void) | undefined;
}

const BACKLOG_BYTES = 16 * 1024 * 1024;
const PATIENCE_MAX_MS = 2 ** 32 - 1;

/**
 * The name of a client: the option, or the default.
 *
 * @throws {TypeError} If it is of the wrong kind, or not well-formed.
 * @throws {RangeError} If it is too long.
 */
export function clientName({ name }: NetPubSubOptions, outside: Outside): string {
  if (name === undefined) return outside.programName?.(CLIENT_NAME_BYTES_MAX) ?? "";
  if (typeof name !== "string" || !name.isWellFormed()) {
    throw new TypeError(`Cannot use name ${String(name)}: it must be a well-formed string`);
  }
  const { length } = new TextEncoder().encode(name);
  if (length <= CLIENT_NAME_BYTES_MAX) return name;
  throw new RangeError(
    `Cannot use name "${name}": it has ${length} bytes; the limit is ${CLIENT_NAME_BYTES_MAX}`,
  );
}

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
 * @throws {TypeError} If `overflow` is of the wrong kind.
 * @throws {RangeError} If `patience` or `backlog` is out of range.
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
