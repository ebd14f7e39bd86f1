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

const FIRST = /-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/;
/** The object identifier of subjectAltName, 2.5.29.17, in DER. */
const NAMES_ID = "\x06\x03\x55\x1d\x11";
const ENCRYPTED = /^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m;
/** What editors on Windows put before a text, and what reads PEM does not expect. */
const BOM = /^\ufeff/;
/** What each text must have, of whatever kind the key is. */
const KINDS = {
  cert: { what: "certificate", line: "-----BEGIN CERTIFICATE-----" },
  key: { what: "private key", line: "PRIVATE KEY-----" },
} as const;

/**
 * Checks that this is a certificate with its key, as far as the texts tell.
 *
 * @returns It, without byte order marks.
 * @throws {TypeError} If it is not, with what to give.
 */
export function readCertificate({ cert, key }: Certificate): Certificate {
  const certificate = { cert: pem("cert", cert), key: pem("key", key) };
  if (ENCRYPTED.test(certificate.key)) {
    throw new TypeError(
      "Cannot use tls.key: it is encrypted; openssl pkey prints it without its password",
    );
  }
  return certificate;
}

function pem(field: keyof typeof KINDS, text: string): string {
  const { what, line } = KINDS[field];
  if (typeof text === "string" && text.includes(line)) return text.replace(BOM, "");
  throw new TypeError(
    `Cannot use tls.${field}: there is no ${what} in it; give the text of a file in PEM, ` +
      `with a line like -----BEGIN ${line.replace("-----BEGIN ", "")}`,
  );
}

/** What clients will say against a certificate, as a sentence; `undefined` if nothing is known. */
export function certificateAdvice({ cert }: Certificate, now = new Date()): string | undefined {
  const why = whyRefused(cert, now);
  return why && `Clients will refuse the certificate: ${why}`;
}

function whyRefused(cert: string, now: Date): string | undefined {
  const read = firstOf(cert);
  if (read === undefined) return undefined;
  const { ca, validFrom, validTo } = read;
  const [from, until] = [new Date(validFrom), new Date(validTo)];
  if (until < now) return `it expired on ${until.toISOString()}`;
  if (from > now) return `it is not valid before ${from.toISOString()}; look at the clock`;
  if (ca) {
    return "it is that of an authority, which is what openssl makes unless told otherwise; " +
      "make it with -addext basicConstraints=critical,CA:FALSE";
  }
  if (!hasNames(cert)) {
    return "it names no host, and its CN does not count; " +
      "make it with -addext subjectAltName=DNS:NAME or IP:ADDRESS";
  }
  return undefined;
}

/** Whether it has a subjectAltName. Deno 2.6.8 says of none that it has; so its number is looked for. */
function hasNames(cert: string): boolean {
  const [, base64 = ""] = FIRST.exec(cert) ?? [];
  return atob(base64).includes(NAMES_ID);
}

/** The certificate itself; the key may come before it. `undefined` if only TLS can read it. */
function firstOf(cert: string) {
  // Not imported: what bundles the library for a page would look for it.
  const { X509Certificate } = process.getBuiltinModule("node:crypto");
  try {
    return new X509Certificate(FIRST.exec(cert)?.[0] ?? "");
  } catch { // It has a form that is not known here; clients tell what they have against it.
    return undefined;
  }
}
