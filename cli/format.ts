/**
 * Figures as people read them.
 */
import { format } from "@std/fmt/bytes";

/** The smallest value below or at which a part of the values lies (nearest rank); 0.5 for the median. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? NaN;
}

/** A time: `42 µs`, `1.23 ms`, `12.3 s`. */
export function formatMs(ms: number): string {
  if (ms < 1) return `${threeDigits(ms * 1000)} µs`;
  return ms < 1000 ? `${threeDigits(ms)} ms` : `${threeDigits(ms / 1000)} s`;
}

/** A number with three significant digits: `1.23`, `12.3`, `123`, `1,234`. */
function threeDigits(value: number): string {
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return value < 1000 ? value.toFixed(digits) : Math.round(value).toLocaleString("en");
}

/** A count: `987`, `12.3 k`, `1.23 M`. */
export function formatCount(count: number): string {
  if (count < 10 && !Number.isInteger(count)) return threeDigits(count);
  if (count < 1000) return String(Math.round(count));
  if (count < 1e6) return `${threeDigits(count / 1e3)} k`;
  return count < 1e9 ? `${threeDigits(count / 1e6)} M` : `${threeDigits(count / 1e9)} G`;
}

/** A number of bytes: `1.21 MB`. */
export function formatBytes(bytes: number): string {
  return format(bytes);
}

/** How long something has been up: `42 s`, `3 min`, `2 h 5 min`, `4 d 3 h`. */
export function formatUptime(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.floor(ms / 1000)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 24
    ? `${hours} h ${minutes % 60} min`
    : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
