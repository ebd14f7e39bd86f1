/**
 * A registry on loopback that does as much of what JSR does as `deno publish`, `deno add`,
 * `deno install` and imports need. Deno takes it for JSR when `JSR_URL` names it.
 */
import { withPackageCopy } from "../../tools/release/package_copy.ts";
import { TempFolder } from "./folder.ts";

/** The packages that stand in for those of others. */
const STAND_INS = new URL("../../links/", import.meta.url);

/** A version of a package: its entry points, and its files by their paths. */
export interface Published {
  readonly version: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

/** What stands in a package's `deno.json`. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: string | Readonly<Record<string, string>>;
}

const TAR_BLOCK_BYTES = 512;

/** The files of an archive as `deno publish` sends it: a header of one block, then the content. */
function untar(archive: Uint8Array<ArrayBuffer>): Map<string, Uint8Array<ArrayBuffer>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const text = (from: number, to: number) =>
    new TextDecoder().decode(archive.subarray(from, to)).replace(/\0.*$/s, "");
  for (let header = 0; archive[header];) {
    const content = header + TAR_BLOCK_BYTES;
    const size = parseInt(text(header + 124, header + 136), 8);
    files.set(`/${text(header, header + 100)}`, archive.slice(content, content + size));
    header = content + Math.ceil(size / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
  }
  return files;
}

/** All files of a folder, by their paths in the package that it is. */
async function filesIn(folder: URL): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for await (const { name } of Deno.readDir(folder)) {
    files.set(`/${name}`, await Deno.readFile(new URL(name, folder)));
  }
  return files;
}

/** What lets Deno see that a file is the one that was published. */
async function manifestOf(files: Published["files"]): Promise<Record<string, unknown>> {
  const manifest: Record<string, unknown> = {};
  for (const [path, bytes] of files) {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
    manifest[path] = { size: bytes.length, checksum: `sha256-${hash}` };
  }
  return manifest;
}

/** The registry; it holds one version of each package. */
export class Registry implements AsyncDisposable {
  /** What `JSR_URL` must be. */
  readonly url: string;
  /** Until when whoever asks has to wait. */
  opens: Promise<void> = Promise.resolve();
  readonly #packages = new Map<string, Published>();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
    this.#server = Deno.serve(options, (request) => this.#answer(request));
    this.url = `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  /** Takes the package in, from `deno publish`. */
  async publish(): Promise<Published> {
    await withPackageCopy(async (cwd) => {
      const { success, stderr } = await new Deno.Command(Deno.execPath(), {
        // Types are checked by tools/release/publish_dry_run.ts.
        args: ["publish", "--allow-dirty", "--no-check", "--no-provenance", "--token=any"],
        cwd,
        env: { JSR_URL: this.url },
        stdin: "null",
      }).output();
      if (!success) throw new Error(`deno publish failed: ${new TextDecoder().decode(stderr)}`);
    });
    return this.#packages.get("@mpubsub/mpubsub")!;
  }

  /**
   * Takes a package in from a folder.
   *
   * @param isWhole Whether its modules get all that they import into themselves, so that they need no
   * other registry; they have no types then.
   */
  async add(folder: URL, { isWhole = false } = {}): Promise<void> {
    const files = await filesIn(folder);
    if (isWhole) {
      await using bundles = await TempFolder.make();
      const modules = [...files.keys()].filter((path) => path.endsWith(".js"));
      const { success, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["bundle", "--quiet", "--no-lock", "--code-splitting", "--outdir", bundles.path]
          .concat(modules.map((path) => `.${path}`)),
        cwd: folder,
      }).output();
      if (!success) throw new Error(`deno bundle failed: ${new TextDecoder().decode(stderr)}`);
      const whole = await filesIn(new URL(`file://${bundles.path}/`));
      for (const [path, bytes] of whole) files.set(path, bytes);
    }
    this.#add(files);
  }

  /** Takes in all that stands in for packages of others, as {@linkcode Registry.add} does. */
  async addStandIns(options?: { readonly isWhole?: boolean }): Promise<void> {
    for await (const { name, isDirectory } of Deno.readDir(STAND_INS)) {
      if (isDirectory) await this.add(new URL(`${name}/`, STAND_INS), options);
    }
  }

  #add(files: Published["files"]): void {
    const manifest = new TextDecoder().decode(files.get("/deno.json"));
    const { name, version, exports } = JSON.parse(manifest) as Manifest;
    this.#packages.set(name, {
      version,
      exports: typeof exports === "string" ? { ".": exports } : exports,
      files,
    });
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    await this.opens;
    if (request.method === "POST") {
      const archive = request.body!.pipeThrough(new DecompressionStream("gzip"));
      this.#add(untar(new Uint8Array(await new Response(archive).arrayBuffer())));
      return Response.json({ id: "", status: "success", error: null });
    }
    // Any package may be published; its version was not.
    if (/^\/api\/scopes\/[^/]+\/packages\/[^/]+$/.test(pathname)) return Response.json({});
    return await this.#read(pathname) ?? new Response(null, { status: 404 });
  }

  /** What stands at a path, as https://jsr.io/docs/api has it. */
  async #read(pathname: string): Promise<Response | undefined> {
    const [, name = "", path = ""] = /^\/(@[^/]+\/[^/]+)(\/.+)$/.exec(pathname) ?? [];
    const published = this.#packages.get(name);
    if (published === undefined) return undefined;
    const { version, exports, files } = published;
    if (path === "/meta.json") {
      // Long ago, since Deno may be told to pass over what is too new.
      const createdAt = "2025-01-01T00:00:00Z";
      return Response.json({ latest: version, versions: { [version]: { createdAt } } });
    }
    if (path === `/${version}_meta.json`) {
      return Response.json({ exports, manifest: await manifestOf(files) });
    }
    const bytes = path.startsWith(`/${version}/`) && files.get(path.slice(version.length + 1));
    return bytes ? new Response(bytes) : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}
