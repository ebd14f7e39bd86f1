/**
 * What happens to an uplink, reported to the program.
 */

/** Something that happened to a `NatsUplink`. */
export interface NatsUplinkEvent {
  /**
   * What happened.
   *
   * - `"connected"`: the uplink has connected to a server.
   * - `"disconnected"`: it has lost its connection, and connects again.
   * - `"unreachable"`: it cannot connect, and keeps trying; reported once for each reason.
   * - `"joined"`: another broker has joined the bus.
   * - `"left"`: another broker has left the bus, or has been silent for a minute.
   * - `"warning"`: NATS refused something, or something arrived that is not from a broker of the bus.
   */
  readonly type: "connected" | "disconnected" | "unreachable" | "joined" | "left" | "warning";
  /** What happened, as a sentence with the details. */
  readonly message: string;
}

/** How many different warnings are reported within that time, each once. */
const WARNINGS_MAX = 100;
const WARN_AGAIN_MS = 60_000;

/** Reports each event, and each warning once in a while. */
export class UplinkEvents {
  readonly #onEvent: ((event: NatsUplinkEvent) => void) | undefined;
  /** The latest warnings, and when they were reported. */
  readonly #warned = new Map<string, number>();

  /** Reports to `onEvent`, if there is one. */
  constructor(onEvent: ((event: NatsUplinkEvent) => void) | undefined) {
    this.#onEvent = onEvent;
  }

  /** Reports a warning, unless the same one was reported lately, or too many were. */
  warn(message: string): void {
    const now = performance.now();
    for (const [told, at] of this.#warned) if (now - at > WARN_AGAIN_MS) this.#warned.delete(told);
    if (this.#warned.has(message) || this.#warned.size >= WARNINGS_MAX) return;
    this.#warned.set(message, now);
    this.tell("warning", message);
  }

  /** Reports that something happened. */
  tell(type: NatsUplinkEvent["type"], message: string): void {
    try {
      this.#onEvent?.({ type, message });
    } catch (thrown) { // What the program throws must not end the connection.
      console.warn(`mpubsub: onEvent of the uplink failed: ${thrown}`);
    }
  }
}
