export function format(bytes: number, options?: {
  readonly binary?: boolean;
  readonly minimumFractionDigits?: number;
  readonly maximumFractionDigits?: number;
}): string;
