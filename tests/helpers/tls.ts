/** Certificates for tests, valid for localhost and 127.0.0.1, and what vouches for them. */

function read(name: string): string {
  return Deno.readTextFileSync(pathOf(name));
}

/** Where the file of that name is. */
export function pathOf(name: string): string {
  return new URL(`tls/${name}`, import.meta.url).pathname;
}

/** A certificate, and the authority that signed it. */
export const SIGNED = { cert: read("cert.pem"), key: read("key.pem"), ca: read("ca.pem") };

/** Certificates that vouch for themselves, and that no client takes. */
export const WRONG = Object.fromEntries(
  ["expired", "future", "authority", "client"].map((name) => {
    const cert = read(`${name}.pem`);
    return [name, { cert, key: read("self-key.pem"), ca: cert }];
  }),
);

/** A certificate that vouches for itself. */
export const SELF_SIGNED = {
  cert: read("self.pem"),
  key: read("self-key.pem"),
  ca: read("self.pem"),
};
