/**
 * The certificate of a broker: whether it can be used, and whether clients will take it.
 */
/** The certificate with which a broker proves its name to clients that connect with TLS. */
export interface Certificate {
  /** The certificate, then those that lead from it to one that clients trust, in PEM. */
  cert: string;
  /** Its private key, in PEM. */
  key: string;
}

const FIRST = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/;
const BEGIN = "-----BEGIN ";
/** What editors on Windows put before a text, and what reads PEM does not expect. */
const BOM = /^\ufeff/;

/**
 * Checks that this is a certificate with its key, as far as the texts tell.
 *
 * @returns It, without byte order marks.
 * @throws {TypeError} If it is not, with what to give.
 */
export function readCertificate({ cert, key }: Certificate): Certificate {
  return { cert: pem("cert", "CERTIFICATE-----", cert), key: pem("key", "PRIVATE KEY-----", key) };
}

function pem(field: keyof Certificate, kind: string, text: string): string {
  if (typeof text === "string" && text.includes(BEGIN) && text.includes(kind)) {
    return text.replace(BOM, "");
  }
  const what = field === "cert" ? "certificate" : "private key";
  throw new TypeError(
    `Cannot use tls.${field}: there is no ${what} in it; give the text of a file in PEM, ` +
      `with a line like ${BEGIN}${kind}`,
  );
}

/** What clients will say against a certificate, as a sentence; `undefined` if nothing is known. */
export function certificateAdvice({ cert }: Certificate, now = new Date()): string | undefined {
  // Not imported: what bundles the library for a page would look for it.
  const { X509Certificate } = process.getBuiltinModule("node:crypto");
  // The key may be in the same text.
  const [first = ""] = FIRST.exec(cert) ?? [];
  const { ca, validTo } = new X509Certificate(first);
  const until = new Date(validTo);
  if (until < now) {
    return `Clients will refuse the certificate: it expired on ${until.toISOString()}`;
  }
  if (!ca) return undefined;
  return "Clients will refuse the certificate: it is that of an authority, which is what openssl makes " +
    "unless told otherwise; make it with -addext basicConstraints=critical,CA:FALSE";
}
