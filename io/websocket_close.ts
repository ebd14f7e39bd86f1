/**
 * How WebSockets end; sections 5.5.1 and 7.4 of RFC 6455.
 */
import { ProtocolError } from "../errors.ts";

/** Why a WebSocket is closed; section 7.4.1. */
export const CloseCode = {
  NORMAL: 1000,
  GOING_AWAY: 1001,
  PROTOCOL: 1002,
  UNSUPPORTED: 1003,
  INVALID: 1007,
  REFUSED: 1008,
  TOO_BIG: 1009,
  TRY_AGAIN_LATER: 1013,
} as const;

/** What is closed with; see `Farewell` in `protocol/link.ts`. */
export const FAREWELLS = {
  done: CloseCode.NORMAL,
  away: CloseCode.GOING_AWAY,
  busy: CloseCode.TRY_AGAIN_LATER,
  refused: CloseCode.REFUSED,
  answer: CloseCode.NORMAL,
} as const;

/** Why a side closes. */
export type Farewell = keyof typeof FAREWELLS;

/** Stands for a close without a code; section 7.1.5. */
export const NO_CODE = 1005;

/** How the other side closed. */
export interface Closing {
  /** Its code; 1005 if it gave none. */
  readonly code: number;
  readonly reason: string;
}

/** What the other side did against RFC 6455. */
export class Violation extends ProtocolError {
  /** What the WebSocket is closed with. */
  readonly code: number;

  /** Says what it did. */
  constructor(what: string, code: number = CloseCode.PROTOCOL) {
    super(`Cannot read a WebSocket: ${what}`);
    this.code = code;
  }
}

/** What a close says. */
export function closingOf(payload: Uint8Array): Closing {
  if (payload.length === 0) return { code: NO_CODE, reason: "" };
  if (payload.length === 1) throw new Violation("a close has half a code");
  const code = payload[0]! << 8 | payload[1]!;
  if (!isCloseCode(code)) throw new Violation(`the code ${code} must not be sent`);
  try {
    const reason = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(payload.subarray(2));
    return { code, reason };
  } catch (error) { // TypeError: it is not UTF-8.
    if (!(error instanceof TypeError)) throw error;
    throw new Violation("the reason of a close is not UTF-8", CloseCode.INVALID);
  }
}

/** Whether a peer may send this code: those that are registered, and those for programs. */
function isCloseCode(code: number): boolean {
  return code >= 1000 && code <= 1014 && code !== 1004 && code !== NO_CODE && code !== 1006 ||
    code >= 3000 && code <= 4999;
}
