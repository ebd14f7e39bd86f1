/**
 * A turn of the event loop, in which everything else that is due has its turn as well.
 *
 * In a browser it is a message to ourselves: a timer would come after 4 ms, and in a hidden page after a
 * second or a minute. Elsewhere it is a timer of no time.
 *
 * It is apart from the other timers, because a bus within one process needs it, anywhere.
 */

// Those of the platform: where a test has put its own in their place, turns come all the same.
const setPlatformTimeout = setTimeout;
const clearPlatformTimeout = clearTimeout;
const Channel = typeof MessageChannel === "function" ? MessageChannel : undefined;

declare const document: object | undefined;
declare const importScripts: ((...urls: string[]) => void) | undefined;

/** Whether timers may be throttled here: in a page, or in a worker of a browser. */
const isBrowser = typeof document === "object" || typeof importScripts === "function";

/**
 * Calls `callback` in the next turn, which keeps the program running.
 *
 * @returns Calls it no more.
 */
export function inNextTurn(callback: () => void): () => void {
  return isBrowser && Channel !== undefined
    ? byMessage(new Channel(), callback)
    : byTimer(callback);
}

function byTimer(callback: () => void): () => void {
  const timer = setPlatformTimeout(callback, 0);
  return () => clearPlatformTimeout(timer);
}

/** Each has a channel of its own: one that stays open would keep some programs running. */
function byMessage({ port1, port2 }: MessageChannel, callback: () => void): () => void {
  const close = () => {
    port1.onmessage = null;
    port1.close();
  };
  port1.onmessage = () => {
    close();
    callback();
  };
  port2.postMessage(0);
  return close;
}

/** The next turn; it keeps the program running, because a loop goes on in it. */
export class Turn {
  /** Resolves in that turn. */
  readonly came: Promise<void>;
  #cancel: (() => void) | undefined;
  #hasCome = false;

  /** Asks for a turn. */
  constructor() {
    this.came = new Promise((resolve) => {
      this.#cancel = inNextTurn(() => {
        this.#hasCome = true;
        resolve();
      });
    });
  }

  /** Whether it has come. */
  get hasCome(): boolean {
    return this.#hasCome;
  }

  /** It is not needed any more. */
  cancel(): void {
    this.#cancel?.();
  }
}
