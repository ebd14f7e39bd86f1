/**
 * What happens to an uplink, told to the program that it is part of.
 */

/** Something that happened to a `NatsUplink`. */
export interface NatsUplinkEvent {
  /**
   * - `"connected"`: there is a connection to a server.
   * - `"disconnected"`: it is lost; a new one is made.
   * - `"unreachable"`: none can be made; told once for each reason, and tried for ever.
   * - `"joined"`: another broker of the bus was heard of.
   * - `"left"`: it said goodbye, or was not heard of for a minute.
   * - `"warning"`: NATS refused something, or something came that is not of the bus.
   */
  readonly type: "connected" | "disconnected" | "unreachable" | "joined" | "left" | "warning";
  /** That, as a sentence. */
  readonly message: string;
}

/** So many different warnings are told within that time, each once. */
const WARNINGS_MAX = 100;
const WARN_AGAIN_MS = 60_000;

/** Tells each event, and each warning once in a while. */
export class UplinkEvents {
  readonly #onEvent: ((event: NatsUplinkEvent) => void) | undefined;
  /** What was warned of lately, and when. */
  readonly #warned = new Map<string, number>();

  /** Tells `onEvent`, if there is one. */
  constructor(onEvent: ((event: NatsUplinkEvent) => void) | undefined) {
    this.#onEvent = onEvent;
  }

  /** Warns, unless the same was said lately, or too much. */
  warn(message: string): void {
    const now = performance.now();
    for (const [told, at] of this.#warned) if (now - at > WARN_AGAIN_MS) this.#warned.delete(told);
    if (this.#warned.has(message) || this.#warned.size >= WARNINGS_MAX) return;
    this.#warned.set(message, now);
    this.tell("warning", message);
  }

  /** Tells that something happened. */
  tell(type: NatsUplinkEvent["type"], message: string): void {
    try {
      this.#onEvent?.({ type, message });
    } catch (thrown) { // The program's mistake must not end the connection.
      console.warn(`mpubsub: onEvent of the uplink failed: ${thrown}`);
    }
  }
}
