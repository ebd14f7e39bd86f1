export function unicodeWidth(text: string): number;
