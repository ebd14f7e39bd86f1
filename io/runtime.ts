/**
 * What runs this library. It can be loaded anywhere; sockets and files are Deno's.
 */

const NAME = "NotSupportedError";

/**
 * Makes sure that there is Deno; what reaches outside the process calls this first.
 *
 * @param action What is about to be done, after "Cannot".
 * @throws {DOMException} Its name is `NotSupportedError`, if there is no Deno.
 */
export function needDeno(action: string): void {
  if (typeof Deno !== "undefined") return;
  throw new DOMException(
    `Cannot ${action}: this needs Deno; elsewhere only PubSub works, within one process`,
    NAME,
  );
}

/** Whether an error says that there is no Deno. */
export function isNoDeno(error: Error): boolean {
  return error.name === NAME;
}
