/**
 * The errors that a caller tells apart. Mistakes in arguments are `TypeError` and `RangeError`.
 *
 * Each class has a `name` that stays the same, and the values that its message speaks of as
 * properties, so that a program need not read the message.
 */

/** What the constructors of this module's errors take beside the message. */
export interface ErrorDetails {
  /** The error that led to this one. */
  cause?: unknown;
}

/**
 * The other side could not prove that it has the key, or it did not accept ours.
 *
 * - `connect()` rejects with it; trying again with the same key is of no use.
 */
export class AuthError extends Error {
  /** Always `"AuthError"`. */
  override readonly name = "AuthError";
  /** The name of the key that was used; empty for a broker's single key. */
  readonly keyName: string;

  /** Makes an error that says which key was refused, and by whom. */
  constructor(message: string, details: ErrorDetails & { keyName?: string } = {}) {
    super(message, details);
    this.keyName = details.keyName ?? "";
  }
}

/**
 * The other side sent what the protocol does not allow.
 *
 * - It ends the connection on which it came, and nothing else.
 */
export class ProtocolError extends Error {
  /** Always `"ProtocolError"`. */
  override readonly name = "ProtocolError";

  /** Makes an error that says what was sent and what is allowed. */
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details);
  }
}

/** The connection to the broker is gone, or could not be made. */
export class ConnectionLostError extends Error {
  /** Always `"ConnectionLostError"`. */
  override readonly name = "ConnectionLostError";
  /** How many published messages the broker did not acknowledge. */
  readonly undelivered: number;

  /** Makes an error that says which connection was lost, how, and what was lost with it. */
  constructor(message: string, details: ErrorDetails & { undelivered?: number } = {}) {
    super(message, details);
    this.undelivered = details.undelivered ?? 0;
  }
}

/**
 * A bounded queue is full.
 *
 * - Thrown by `publish`, it means that nobody got the message: not the broker, nor a subscriber here.
 * - Given to `onError`, it tells once that a subscription began to drop messages.
 */
export class BacklogError extends Error {
  /** Always `"BacklogError"`. */
  override readonly name = "BacklogError";
  /** The bound: messages for a queue of messages, bytes for a queue of bytes. */
  readonly limit: number;

  /** Makes an error that says which queue is full. */
  constructor(message: string, details: ErrorDetails & { limit: number }) {
    super(message, details);
    this.limit = details.limit;
  }
}

/** A message does not fit what a subscriber declared in `accepts`, and was not delivered to it. */
export class MessageError extends Error {
  /** Always `"MessageError"`. */
  override readonly name = "MessageError";
  /** The topic to which the message was published. */
  readonly topic: readonly string[];
  /** What does not fit: one sentence for each name or value. */
  readonly issues: readonly string[];

  /** Makes an error that says what does not fit. */
  constructor(
    message: string,
    details: ErrorDetails & { topic: readonly string[]; issues: readonly string[] },
  ) {
    super(message, details);
    this.topic = details.topic;
    this.issues = details.issues;
  }
}

/** The topic may not be used in this way. */
export class ForbiddenError extends Error {
  /** Always `"ForbiddenError"`. */
  override readonly name = "ForbiddenError";
  /** The topic concerned. */
  readonly topic: readonly string[];

  /** Makes an error that says what is not allowed, and to whom. */
  constructor(message: string, details: ErrorDetails & { topic: readonly string[] }) {
    super(message, details);
    this.topic = details.topic;
  }
}
