export function closestString(given: string, possible: readonly string[]): string;
