export function delay(ms: number, options?: { readonly signal?: AbortSignal }): Promise<void>;
