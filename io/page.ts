/**
 * The page, or the worker of one, that this runs in, if there is one.
 */

/** What a page, and its workers, tell of themselves. */
interface PageGlobals {
  /** Absent in Deno without `--location`, in Node and in Bun. */
  readonly location?: {
    readonly protocol: string;
    readonly host: string;
    readonly hostname: string;
  };
  /** `"null"` for a page from disk and for a sandboxed one. */
  readonly origin?: string;
  /** Absent in a worker. */
  readonly document?: { readonly visibilityState: string };
}

/** What tells of the page; fields are missing outside of one. */
export function page(): PageGlobals {
  return globalThis as PageGlobals;
}

/** Whether it is a page that nobody sees: its timers may fire once a minute. */
export function isHidden(): boolean {
  return page().document?.visibilityState === "hidden";
}
