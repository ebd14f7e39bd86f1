/** What a page has, as far as the library looks at it. */
export interface Page {
  /** Where it is from; absent where there is no page. */
  readonly href?: string;
  readonly origin?: string;
  readonly visibilityState?: string;
  readonly WebSocket?: unknown;
}

/** Has the library find itself in a page while it lives. */
export class FakePage implements Disposable {
  readonly #before = new Map<string, PropertyDescriptor | undefined>();

  constructor({ href, origin, visibilityState, ...globals }: Page) {
    const location = href === undefined ? undefined : hostOf(href);
    const all = {
      location,
      origin: origin ?? (href === undefined ? undefined : new URL(href).origin),
      ...visibilityState !== undefined && { document: { visibilityState } },
      ...globals,
    };
    for (const [name, value] of Object.entries(all)) {
      this.#before.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
  }

  [Symbol.dispose](): void {
    for (const [name, before] of this.#before) {
      if (before === undefined) delete (globalThis as unknown as Record<string, unknown>)[name];
      else Object.defineProperty(globalThis, name, before);
    }
  }
}

function hostOf(href: string): { protocol: string; host: string; hostname: string } {
  const { protocol, host, hostname } = new URL(href);
  return { protocol, host, hostname };
}
