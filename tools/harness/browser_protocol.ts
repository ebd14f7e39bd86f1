/**
 * What the DevTools Protocol of Chromium and WebDriver BiDi have in common: calls, answers and events in
 * JSON, over one WebSocket. In the former each page has a session; the browser itself is the session
 * `undefined`.
 */

type Values = Readonly<Record<string, unknown>>;
type Listener = (params: Values) => void;

/** Whom a call, or an event, concerns; a page by the id of its session. */
export type SessionId = string | undefined;

interface Pending {
  readonly method: string;
  resolve(result: Values): void;
  reject(error: Error): void;
}

interface Incoming {
  readonly id?: number;
  readonly result?: Values;
  /** An object with the message; with WebDriver BiDi a text that the message explains. */
  readonly error?: string | { readonly message: string };
  readonly message?: string;
  readonly sessionId?: string;
  readonly method: string;
  readonly params: Values;
}

/** A connection to the browser at an address. */
export class BrowserProtocol implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #closed = Promise.withResolvers<void>();
  #count = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    socket.onclose = () => this.#close();
  }

  static async open(address: string): Promise<BrowserProtocol> {
    const socket = new WebSocket(address);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.onopen = () => resolve();
    socket.onerror = () => reject(new Error(`Cannot connect to the browser at ${address}`));
    await promise;
    return new BrowserProtocol(socket);
  }

  /** Calls a method; resolves with what it returns. */
  call<T = Values>(method: string, params: object = {}, sessionId?: SessionId): Promise<T> {
    const id = ++this.#count;
    const { promise, resolve, reject } = Promise.withResolvers<Values>();
    if (this.#socket.readyState === WebSocket.OPEN) {
      this.#pending.set(id, { method, resolve, reject });
      this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    } else {
      reject(new Error(`Cannot call ${method}: the browser has ended`));
    }
    return promise as Promise<T>;
  }

  /** Has `listener` called for each such event, until what it returns is called. */
  on(event: string, listener: (params: Values) => void, sessionId?: SessionId): () => void {
    const key = `${sessionId} ${event}`;
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** Resolves with the next such event. */
  next(event: string, sessionId?: SessionId): Promise<Values> {
    const { promise, resolve } = Promise.withResolvers<Values>();
    const remove = this.on(event, (params) => {
      remove();
      resolve(params);
    }, sessionId);
    return promise;
  }

  #take({ id, result, error, message, sessionId, method, params }: Incoming): void {
    if (id === undefined) {
      for (const listener of this.#listeners.get(`${sessionId} ${method}`) ?? []) listener(params);
      return;
    }
    const pending = this.#pending.get(id)!;
    this.#pending.delete(id);
    if (error === undefined) pending.resolve(result!);
    else {
      const why = typeof error === "string" ? `${error} (${message})` : error.message;
      pending.reject(new Error(`The browser refused ${pending.method}: ${why}`));
    }
  }

  #close(): void {
    for (const { method, reject } of this.#pending.values()) {
      reject(new Error(`${method} was not answered: the browser has ended`));
    }
    this.#pending.clear();
    this.#closed.resolve();
  }

  /** Resolves once the connection has ended. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.closed;
  }
}
