/** Serves pages on loopback, over HTTP and HTTPS, as strictly as a careful site does. */

/** What lies at a path; `undefined` if nothing does. */
export type Files = (path: string) => Content | undefined | Promise<Content | undefined>;
type Content = string | Uint8Array<ArrayBuffer>;

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
};
const HEADERS = {
  // Scripts stand in files of their own, and none is made of text.
  "content-security-policy":
    "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src *; frame-src *; img-src *",
  // A page from disk gets its scripts here.
  "access-control-allow-origin": "*",
};

/** A server that is two: one of them with TLS. */
export class PageServer implements AsyncDisposable {
  readonly #open: Deno.HttpServer<Deno.NetAddr>;
  readonly #secured: Deno.HttpServer<Deno.NetAddr> | undefined;

  /** Serves these files, and over HTTPS where there is a certificate. */
  constructor(files: Files, tls?: { readonly cert: string; readonly key: string }) {
    const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
    const handler = (request: Request) => answer(files, request);
    this.#open = Deno.serve(options, handler);
    if (tls !== undefined) {
      this.#secured = Deno.serve({ ...options, cert: tls.cert, key: tls.key }, handler);
    }
  }

  /** The origin of its pages; `host` is a name of this machine. */
  origin(scheme: "http" | "https" = "http", host = "127.0.0.1"): string {
    const server = scheme === "http" ? this.#open : this.#secured!;
    return `${scheme}://${host}:${server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#open.shutdown(), this.#secured?.shutdown()]);
  }
}

async function answer(files: Files, request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const type = TYPES[pathname.replace(/.*\./, "")];
  const content = type === undefined ? undefined : await files(pathname);
  if (content === undefined) return new Response(null, { status: 404 });
  return new Response(content, { headers: { ...HEADERS, "content-type": type! } });
}
