/**
 * What happens to an uplink, reported to the program.
 *
 * Whoever may publish to the bus can make things happen, and names of theirs stand in what is reported.
 * So a text is cut, and shown without characters that cannot be seen; and there is a bound to how much
 * is reported of one broker, and in all. What is left out is counted, and the next report tells it.
 */
import { Allowance } from "../base/allowance.ts";
import { clock } from "../base/clock.ts";
import { printable } from "../base/printable.ts";
import { REPORT_CHARS_MAX, Reports } from "../base/reports.ts";
import { textOf, warn } from "../base/warn.ts";

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
   * - `"warning"`: NATS refused something, or something arrived that is not from a broker of the bus;
   *   the same warning is reported once a minute.
   *
   * Of one broker at most 4 changes are reported, and then one a minute; of all brokers at most 100, and
   * then 10 a minute; of different warnings, too. The number of what is left out stands in the next
   * event of its kind, or in a warning of its own.
   */
  readonly type: "connected" | "disconnected" | "unreachable" | "joined" | "left" | "warning";
  /** What happened, as a sentence with the details, on one line; at most 1000 characters. */
  readonly message: string;
}

/** How many changes of one broker are reported at once, and how many a minute in the long run. */
const CHANGES_MAX = 4;
const CHANGES_PER_MINUTE = 1;
/** Of how many brokers is known how much was reported of them. */
const BROKERS_MAX = 4096;
const WARN_AGAIN_MS = 60_000;

/** Reports events, as far as there are not too many. */
export class UplinkEvents {
  readonly #onEvent: ((event: NatsUplinkEvent) => void) | undefined;
  readonly #now: () => number;
  /** The latest warnings, and when they were reported, the earliest first. */
  readonly #warned = new Map<string, number>();
  readonly #warnings = new Reports("other warnings");
  readonly #changes = new Reports("other changes of brokers");
  /** Of how many changes of each broker is still to be reported. */
  readonly #brokers = new Map<string, Allowance>();

  /** Reports to `onEvent`, if there is one; `now` is a monotonic time in milliseconds. */
  constructor(
    onEvent: ((event: NatsUplinkEvent) => void) | undefined,
    now: () => number = () => clock.now(),
  ) {
    this.#onEvent = onEvent;
    this.#now = now;
  }

  /** Reports a warning, unless the same one was reported lately, or too many were. */
  warn(message: string): void {
    const now = this.#now();
    const text = printable(message, REPORT_CHARS_MAX);
    for (const [warning, at] of this.#warned) {
      if (now - at <= WARN_AGAIN_MS) break;
      this.#warned.delete(warning);
    }
    if (this.#warned.has(text) || !this.#warnings.admit(now)) return;
    this.#warned.set(text, now);
    this.#report("warning", text, this.#warnings);
  }

  /** Reports that a broker has joined or left, unless too much was reported of it, or of all. */
  change(type: "joined" | "left", broker: string, message: string): void {
    const now = this.#now();
    const own = this.#brokers.get(broker) ?? new Allowance(CHANGES_MAX, CHANGES_PER_MINUTE / 60);
    this.#brokers.delete(broker);
    this.#brokers.set(broker, own);
    if (this.#brokers.size > BROKERS_MAX) {
      this.#brokers.delete(this.#brokers.keys().next().value!);
    }
    if (this.#changes.admit(now, own.spend(now))) this.#report(type, message, this.#changes);
  }

  /** Reports what happened to the connection. */
  tell(type: "connected" | "disconnected" | "unreachable", message: string): void {
    this.#report(type, message);
  }

  /** Reports how much was left out, if nothing else has; call it now and then. */
  look(): void {
    const now = this.#now();
    for (const reports of [this.#changes, this.#warnings]) {
      const rest = reports.rest(now);
      if (rest !== undefined) this.#report("warning", rest);
    }
  }

  #report(type: NatsUplinkEvent["type"], text: string, reports?: Reports): void {
    const rest = reports?.told() ?? "";
    const end = rest === "" ? "" : ` (${rest})`;
    const message = printable(text, REPORT_CHARS_MAX - end.length) + end;
    try {
      this.#onEvent?.({ type, message });
    } catch (thrown) { // What the program throws must not end the connection.
      warn(`onEvent of the uplink failed: ${textOf(thrown)}`);
    }
  }
}
