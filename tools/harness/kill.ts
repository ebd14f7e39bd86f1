/** Sends a signal to a process, unless that has ended. */
export function killIfAlive(process: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    process.kill(signal);
  } catch (error) { // It has ended, and that is known or not.
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
  }
}
