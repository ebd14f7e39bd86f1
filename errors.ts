/**
 * The errors that a program may have to tell apart. Mistakes in arguments are `TypeError` and
 * `RangeError`.
 *
 * Each class has a stable `name`, and the values in its message as properties, so that a program need
 * not read the message.
 */

/** What the constructor of each mpubsub error takes besides the message. */
export interface ErrorDetails {
  /** The error that led to this one. */
  cause?: unknown | undefined;
}

/**
 * What is wrong with the certificate of a broker:
 *
 * - `"untrusted"`: it is signed by nobody whom the client trusts. The option `tls.caCerts` says whom.
 * - `"other name"`: it is not for the name in the address.
 * - `"expired"` and `"not yet valid"`: now is not its time, by the clock of the client.
 * - `"other use"`: it is that of an authority, and not one for a server.
 * - `"other"`: something else.
 */
export type CertificateProblem =
  | "untrusted"
  | "other name"
  | "expired"
  | "not yet valid"
  | "other use"
  | "other";

/**
 * One side could not prove to the other that it has the key, or the broker's certificate cannot be used.
 *
 * - `connect()` rejects with it; trying again without a change does not help.
 * - While reconnecting, `onState` gets it, and the client tries again every few seconds, in case the
 *   broker accepts the key again.
 * - When the ticket with which a client is connected expires, `onState` gets it, with `expired`, and the
 *   client comes back as soon as it has another.
 */
export class AuthError extends Error {
  /** Always `"AuthError"`. */
  override readonly name = "AuthError";
  /** The name of the key that was used, or whose ticket was; empty for the broker's `authkey`. */
  readonly keyName: string;
  /** What is wrong with the broker's certificate; `undefined` if it is the key that is wrong. */
  readonly certificate: CertificateProblem | undefined;
  /** Whether what was used is a ticket that has expired; then a new one helps. */
  readonly expired: boolean;

  /**
   * Makes an error that says which key was refused, and by whom, or what is wrong with a certificate.
   *
   * @param message What was done, and what is wrong.
   * @param details The name of the key, what is wrong with the certificate, whether a ticket has expired,
   * and the error that led to this one.
   */
  constructor(
    message: string,
    details: ErrorDetails & {
      keyName?: string | undefined;
      certificate?: CertificateProblem | undefined;
      expired?: boolean | undefined;
    } = {},
  ) {
    super(message, details);
    this.keyName = details.keyName ?? "";
    this.certificate = details.certificate;
    this.expired = details.expired ?? false;
  }
}

/**
 * The other side sent what the protocol does not allow.
 *
 * - It ends that session only. The client is then disconnected, and its `closed` rejects with this
 *   error.
 * - If a client's `onError` gets it with a topic, only one message of that topic could not be read, and
 *   is lost.
 */
export class ProtocolError extends Error {
  /** Always `"ProtocolError"`. */
  override readonly name = "ProtocolError";

  /**
   * Makes an error that says what was sent and what is allowed.
   *
   * @param message What was sent, and what is allowed.
   * @param details The error that led to this one.
   */
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details);
  }
}

/**
 * The connection to the broker is gone, or could not be made.
 *
 * - `connect()` rejects with it when nobody answers, `flush()` when the object is disconnected, and
 *   `disconnect()` when messages were not delivered.
 * - `onError` gets it, with the number in `undelivered`, whenever the object is disconnected before the
 *   broker has acknowledged all its messages.
 * - A client restores a connection that is lost later; `onState` gets this error as the reason.
 */
export class ConnectionLostError extends Error {
  /** Always `"ConnectionLostError"`. */
  override readonly name = "ConnectionLostError";
  /**
   * How many messages were given up because the broker had not acknowledged them; otherwise 0. Some of
   * them may have arrived if there was a connection.
   */
  readonly undelivered: number;

  /**
   * Makes an error that says which connection was lost, how, and what was lost with it.
   *
   * @param message What was done, and why there is no connection.
   * @param details How many messages were not delivered, and the error that led to this one.
   */
  constructor(message: string, details: ErrorDetails & { undelivered?: number | undefined } = {}) {
    super(message, details);
    this.undelivered = details.undelivered ?? 0;
  }
}

/**
 * A bounded queue is full.
 *
 * - When `publish` throws it, nobody got the message: neither the broker nor a subscriber here.
 * - When `onError` gets it, a subscription has begun to drop messages.
 * - When a loop over a subscription throws it, the subscription was full (`overflow: "throw"`) and has
 *   ended.
 */
export class BacklogError extends Error {
  /** Always `"BacklogError"`. */
  override readonly name = "BacklogError";
  /** The bound: in bytes for the option `backlog`, otherwise in messages. */
  readonly limit: number;

  /**
   * Makes an error that says which queue is full.
   *
   * @param message What was done, what is full, and what makes room.
   * @param details The bound, and the error that led to this one.
   */
  constructor(message: string, details: ErrorDetails & { limit: number }) {
    super(message, details);
    this.limit = details.limit;
  }
}

/**
 * A message was not delivered because of its content, size or rate. Only `onError` gets this error.
 *
 * - Either it does not fit a subscriber's `accepts`; the other subscribers got it.
 * - Or the broker does not take it: it is too large, its topic is too long for that broker, or the key
 *   allows no more messages per second. Only subscribers in this process got it.
 */
export class MessageError extends Error {
  /** Always `"MessageError"`. */
  override readonly name = "MessageError";
  /** The topic to which the message was published. */
  readonly topic: readonly string[];
  /** What is wrong: one sentence for each name or value that does not fit. */
  readonly issues: readonly string[];

  /**
   * Makes an error that says what is wrong with a message.
   *
   * @param message Which message was not delivered, to whom, and why.
   * @param details The topic, what is wrong, and the error that led to this one.
   */
  constructor(
    message: string,
    details: ErrorDetails & { topic: readonly string[]; issues: readonly string[] },
  ) {
    super(message, details);
    this.topic = details.topic;
    this.issues = details.issues;
  }
}

/**
 * This client may not publish or subscribe to the topic.
 *
 * - `publish` throws it for topics that begin with `"*broker"`.
 * - `onError` gets it for a message or a subscription that the key does not grant; for a subscription,
 *   `connect()` or `flush()` also rejects with it.
 */
export class ForbiddenError extends Error {
  /** Always `"ForbiddenError"`. */
  override readonly name = "ForbiddenError";
  /** The topic concerned; where one subscribes, it may have symbols that stand for any name. */
  readonly topic: readonly (string | symbol)[];

  /**
   * Makes an error that says what is not allowed, and to whom.
   *
   * @param message What was done with which topic, and why that is not allowed.
   * @param details The topic, and the error that led to this one.
   */
  constructor(message: string, details: ErrorDetails & { topic: readonly (string | symbol)[] }) {
    super(message, details);
    this.topic = details.topic;
  }
}
