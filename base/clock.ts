/**
 * The time, as a monotonic number of milliseconds.
 *
 * It is the platform's as it was when this was loaded: a program that fakes its own time, as tests do,
 * stops neither connections nor the turns of others. Only this project's own tests put another one in
 * its place.
 */
const platform = performance;
const { now } = platform;

/** Tells the time. */
export const clock: { now: () => number } = { now: () => now.call(platform) };
