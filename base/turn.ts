/**
 * A turn of the event loop, in which everything else that is due has its turn as well.
 *
 * It is apart from the other timers, because a bus within one process needs it, anywhere.
 */

// Those of the platform: where a test has put its own in their place, turns come all the same.
const setPlatformTimeout = setTimeout;
const clearPlatformTimeout = clearTimeout;

/** The next turn; it keeps the program running, because a loop goes on in it. */
export class Turn {
  /** Resolves in that turn. */
  readonly came: Promise<void>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hasCome = false;

  /** Asks for a turn. */
  constructor() {
    this.came = new Promise((resolve) => {
      this.#timer = setPlatformTimeout(() => {
        this.#hasCome = true;
        resolve();
      }, 0);
    });
  }

  /** Whether it has come. */
  get hasCome(): boolean {
    return this.#hasCome;
  }

  /** It is not needed any more. */
  cancel(): void {
    clearPlatformTimeout(this.#timer);
  }
}
