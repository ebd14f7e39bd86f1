/**
 * What NATS's errors say of a stream: whether a packet is refused for good, and why, for people.
 *
 * - For good is only what concerns the one packet: NATS takes others meanwhile. A stream that is full,
 *   sealed, gone or without a leader takes none, and what waits for it is bounded.
 */
import { JetStreamApiError } from "@nats-io/jetstream";
import { errors } from "@nats-io/nats-core";
import { RefusedError } from "./jetstream_sender.ts";
import { PAYLOAD_BYTES_MIN } from "./packet.ts";

/** NATS's code for a message that is longer than `max_msg_size` of its stream. */
const MESSAGE_TOO_LONG = 10054;

/** Why NATS will never take a packet; `undefined` if it may. */
export function refusalOf(error: unknown, stream: string): RefusedError | undefined {
  const { cause = error } = error as Error;
  if (cause instanceof errors.PermissionViolationError) {
    const message = `NATS does not allow publishing: ${cause.message}`;
    return new RefusedError(message, { isSubject: true });
  }
  if (error instanceof JetStreamApiError && error.code === MESSAGE_TOO_LONG) {
    const message = `The stream ${stream} refuses long packets: ${error.message}; set its ` +
      `max_msg_size to ${PAYLOAD_BYTES_MIN} or more, or to -1`;
    return new RefusedError(message, { isSubject: false });
  }
}

/** Why something went wrong with a stream. */
export function whyOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // NATS's client takes any silence for that; it does not export the class.
  return error.name === "JetStreamNotEnabled"
    ? "it has no leader at this moment, or NATS has no JetStream"
    : error.message;
}
