/**
 * What a browser tells a page about its life, in three words; a worker is told only of the network.
 *
 * | event              | of       | when                                                    | word      |
 * | ------------------ | -------- | ------------------------------------------------------- | --------- |
 * | `visibilitychange` | document | it is seen again                                        | wake      |
 * | `resume`           | document | it was frozen                                           | wake      |
 * | `pageshow`         | window   | it was kept for going back to it (`persisted`)          | wake      |
 * | `online`           | both     | there is a network again                                | wake      |
 * | `freeze`           | document | its tasks stop                                          | sleep     |
 * | `pagehide`         | window   | it may be kept (`persisted`), or it goes                | sleep, leave |
 */
import { page } from "./page.ts";

/** Who follows the life of a page. */
export interface PageListener {
  /** It runs, and may not have for a while. */
  wake(): void;
  /** It does not run from now on, for a while. */
  sleep(): void;
  /** It goes. */
  leave(): void;
}

/** What tells of events. */
type Events = Pick<EventTarget, "addEventListener" | "removeEventListener">;

/** The global object of a page, or of a worker. */
export interface PageScope extends Events {
  /** A page has one. */
  readonly document?: (Events & { readonly visibilityState: string }) | undefined;
}

/**
 * Has a listener follow the life of the page in which this runs.
 *
 * @returns Has it follow no longer.
 */
export function watchPage(
  listener: PageListener,
  scope: Partial<PageScope> = page() as Partial<PageScope>,
): () => void {
  const { document } = scope;
  const wake = () => listener.wake();
  const sleep = () => listener.sleep();
  const isKept = (event: object) => (event as { persisted?: boolean }).persisted === true;
  const listeners: [Partial<Events> | undefined, string, (event: object) => void][] = [
    [scope, "online", wake],
    [scope, "pageshow", (event) => isKept(event) && wake()],
    [scope, "pagehide", (event) => isKept(event) ? sleep() : listener.leave()],
    [document, "freeze", sleep],
    [document, "resume", wake],
    [document, "visibilitychange", () => document?.visibilityState === "visible" && wake()],
  ];
  for (const [target, type, listen] of listeners) target?.addEventListener?.(type, listen);
  return () => {
    for (const [target, type, listen] of listeners) target?.removeEventListener?.(type, listen);
  };
}
