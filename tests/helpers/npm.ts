/** Registries of npm, on loopback. */

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

/** A package as npm has it: its `package.json`, and its archive. */
export interface NpmPackage {
  readonly manifest: { readonly name: string; readonly version: string };
  readonly archive: Uint8Array<ArrayBuffer>;
}

/** An npm registry on loopback that has one version of one package, such as that of JSR. */
export class NpmRegistry implements AsyncDisposable {
  /** What `@SCOPE:registry` must be in `.npmrc`. */
  readonly url: string;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor({ manifest, archive }: NpmPackage) {
    const { name, version } = manifest;
    const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
    this.#server = Deno.serve(options, async (request) => {
      const path = decodeURIComponent(new URL(request.url).pathname);
      if (path === "/archive.tgz") return new Response(archive);
      if (path !== `/${name}`) return new Response(null, { status: 404 });
      const sum = new Uint8Array(await crypto.subtle.digest("SHA-512", archive)).toBase64();
      const dist = { tarball: `${this.url}archive.tgz`, integrity: `sha512-${sum}` };
      const versions = { [version]: { ...manifest, dist } };
      return Response.json({ name, "dist-tags": { latest: version }, versions });
    });
    this.url = `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}
