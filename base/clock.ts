/**
 * The time: as a monotonic number of milliseconds, and as that of day.
 *
 * It is the platform's as it was when this was loaded: a program that fakes its own time, as tests do,
 * stops neither connections nor the turns of others. Only this project's own tests put another one in
 * its place.
 */
const platform = performance;
const { now } = platform;
const date = Date.now;

/** Tells the time. */
export const clock: {
  /** Milliseconds since some moment; never goes back. */
  now: () => number;
  /** Milliseconds since 1970, as the machine's clock says; it may be set anew. */
  date: () => number;
} = { now: () => now.call(platform), date };
