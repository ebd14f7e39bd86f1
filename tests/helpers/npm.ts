/** An npm registry on loopback that has nothing, and notes what it is asked for. */
export class EmptyNpm implements AsyncDisposable {
  /** What `NPM_CONFIG_REGISTRY` must be. */
  readonly url: string;
  readonly #asked = new Set<string>();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
    this.#server = Deno.serve(options, (request) => {
      this.#asked.add(decodeURIComponent(new URL(request.url).pathname.slice(1)));
      return new Response(null, { status: 404 });
    });
    this.url = `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  /** The packages that somebody has asked for. */
  get asked(): string[] {
    return [...this.#asked].toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}
