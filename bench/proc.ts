/** What Linux tells of processes in `/proc`; elsewhere nothing. */

/** Linux counts a process's time in ticks of 10 ms. */
const TICKS_PER_SECOND = 100;

/** Whether there is anything to read. */
export const HAS_PROC = Deno.build.os === "linux";

/** The seconds that these processes, with all their threads, have computed. */
export function cpuSeconds(pids: readonly number[]): number {
  if (!HAS_PROC) return NaN;
  let ticks = 0;
  for (const pid of pids) {
    const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The name before may hold anything, even ")".
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]); // utime, stime
  }
  return ticks / TICKS_PER_SECOND;
}

/** The KiB of memory that each of these processes does not share with others. */
export function privateKib(pids: readonly number[]): number {
  if (!HAS_PROC) return NaN;
  return pids.map((pid) => Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`))
    .flatMap((text) => [...text.matchAll(/^Private_\w+: +(\d+) kB$/gm)])
    .reduce((sum, [, kib]) => sum + Number(kib), 0);
}
