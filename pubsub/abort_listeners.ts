/**
 * One listener for each signal, however many subscribers it removes: an `EventTarget` searches all its
 * listeners for each one that is added or removed.
 */

interface Group {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

/** What is called when signals abort. */
export class AbortListeners {
  readonly #groups = new Map<AbortSignal, Group>();

  /**
   * Calls `onAbort` once when the signal aborts, which has not yet.
   *
   * @returns Takes it away; twice is once.
   */
  add(signal: AbortSignal, onAbort: () => void): () => void {
    const group = this.#groups.get(signal) ?? this.#listen(signal);
    group.callbacks.add(onAbort);
    return () => {
      if (group.callbacks.delete(onAbort) && group.callbacks.size === 0) {
        signal.removeEventListener("abort", group.listener);
        this.#groups.delete(signal);
      }
    };
  }

  #listen(signal: AbortSignal): Group {
    const callbacks = new Set<() => void>();
    const listener = () => {
      for (const callback of callbacks) callback();
    };
    const group = { callbacks, listener };
    this.#groups.set(signal, group);
    signal.addEventListener("abort", listener, { once: true });
    return group;
  }
}
