/**
 * Why nobody can be reached, and whether to go on trying.
 */
import { ConnectionLostError } from "../errors.ts";
import { type Endpoint, formatEndpoint } from "./address.ts";

const NOT_SUPPORTED = "NotSupportedError";

/** Nobody answers at an address: another may be tried. */
export class UnreachableError extends ConnectionLostError {
  /** The same where it is said of which address. */
  readonly why: string;

  /** Says where and why. */
  constructor(endpoint: Endpoint, why: string, cause?: unknown) {
    super(`Cannot connect to ${formatEndpoint(endpoint)}: ${why}`, { cause });
    this.why = why;
  }
}

/** This runtime lacks what is needed. */
export function notSupported(message: string): DOMException {
  return new DOMException(message, NOT_SUPPORTED);
}

/** Whether something can never succeed in this program: it lacks a permission, or what it needs. */
export function isHopeless(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { name, code } = error as { name: string; code?: unknown };
  return name === "NotCapable" || name === NOT_SUPPORTED || code === "ERR_ACCESS_DENIED";
}
