/**
 * Why a client could not begin TLS, from what Deno's TLS (rustls) says, or the codes of Node and Bun
 * (OpenSSL, BoringSSL): what is wrong, and what helps.
 */
import { printable } from "../base/printable.ts";
import {
  AuthError,
  type CertificateProblem,
  ConnectionLostError,
  ProtocolError,
} from "../errors.ts";
import { type Endpoint, formatEndpoint, isWeb } from "./address.ts";

/** How much is shown of what TLS says, which may list the names in a certificate. */
const REASON_CHARS_MAX = 500;

/** What TLS says of a certificate, what that means, and what helps. */
const PROBLEMS: readonly {
  readonly says: RegExp;
  readonly problem: CertificateProblem;
  readonly means: string;
  readonly helps: string;
}[] = [
  {
    says: /UnknownIssuer|UNABLE_TO_(GET_ISSUER|VERIFY_LEAF)|SELF_SIGNED/,
    problem: "untrusted",
    means: "its certificate is not trusted",
    helps: "to trust it, give it, or that of its authority, as the option tls.caCerts",
  },
  {
    says: /not valid for name|NotValidForName|ERR_TLS_CERT_ALTNAME/,
    problem: "other name",
    means: "its certificate is for another name",
    helps: "connect to a name in its certificate",
  },
  {
    says: /expired/i,
    problem: "expired",
    means: "its certificate has expired",
    helps: "give the broker a new one, or check this machine's clock",
  },
  {
    says: /not valid yet|NotValidYet|NOT_YET_VALID/,
    problem: "not yet valid",
    means: "its certificate is not valid yet",
    helps: "check the clocks of both machines",
  },
  {
    says: /CaUsedAsEndEntity/,
    problem: "other use",
    means: "its certificate is that of an authority, and not one for a broker",
    helps: "make it with basicConstraints=CA:FALSE",
  },
  {
    says: /InvalidPurpose|extended key usage|INVALID_PURPOSE/,
    problem: "other use",
    means: "its certificate is not one for a server",
    helps: "make it with extendedKeyUsage=serverAuth, or without extendedKeyUsage",
  },
];

/** The error for a client that could not begin TLS at an endpoint. */
export function tlsError(endpoint: Endpoint, cause: unknown): Error {
  const to = `Cannot connect to ${formatEndpoint(endpoint)}`;
  const says = printable(textOf(cause), REASON_CHARS_MAX);
  if (/invalid peer certificate|CERT|SELF_SIGNED|UNABLE_TO|INVALID_PURPOSE/.test(says)) {
    return certificateError(to, says, cause);
  }
  const transport = isWeb(endpoint) ? "ws" : "tcp";
  const plain = formatEndpoint({ ...endpoint, transport } as Endpoint);
  if (/corrupt message|InvalidContentType|WRONG_VERSION_NUMBER|PACKET_LENGTH/.test(says)) {
    return new ProtocolError(
      `${to}: what answers does not speak TLS (${says}); if it is a broker, use ${plain}`,
      { cause },
    );
  }
  if (/^UnexpectedEof|ECONNRESET/.test(says)) {
    return new ConnectionLostError(
      `${to}: the other side closed the connection before TLS began; ` +
        `if it is a broker without TLS, use ${plain}`,
      { cause },
    );
  }
  return new ConnectionLostError(`${to}: TLS could not begin (${says})`, { cause });
}

/** What an error says, with its code or the name of its kind where that says more. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { name, code, reason } = error as Error & { code?: unknown; reason?: unknown };
  // The message of OpenSSL has lines of its code, too.
  const message = typeof reason === "string" && reason !== "" ? reason : error.message;
  if (typeof code === "string" && !message.includes(code)) return `${message} (${code})`;
  return name === "UnexpectedEof" ? `${name}: ${message}` : message;
}

function certificateError(to: string, says: string, cause: unknown): AuthError {
  const known = PROBLEMS.find((one) => one.says.test(says));
  const { problem, means, helps } = known ??
    { problem: "other", means: "its certificate cannot be used", helps: "give it another one" };
  const text = `${to}: ${means} (${withDates(says)}); ${helps}`;
  return new AuthError(text, { certificate: problem, cause });
}

/** The error for a client that could not even try: a certificate to trust cannot be read, say. */
export function cannotBeginTls(hostname: string, cause: unknown): TypeError {
  const what = cause instanceof Error ? cause.message : cause;
  return new TypeError(
    `Cannot begin TLS with ${JSON.stringify(hostname)}: the name or a certificate to trust ` +
      `cannot be used (${what})`,
    { cause },
  );
}

/** A text in which times are dates, and not seconds since 1970. */
function withDates(text: string): string {
  return text.replaceAll(
    /\b(time|after|before) (\d{9,12})\b(?: \(UNIX\))?/g,
    (_, when, seconds) => {
      return `${when} ${new Date(1000 * Number(seconds)).toISOString()}`;
    },
  );
}

/**
 * Checks certificates that are to be trusted.
 *
 * @throws {TypeError} If one is not a certificate in PEM.
 */
export function checkCaCerts(caCerts: readonly string[]): void {
  if (!Array.isArray(caCerts)) {
    throw new TypeError("Cannot use tls.caCerts: it must be an array of certificates in PEM");
  }
  for (const [index, cert] of caCerts.entries()) {
    if (typeof cert === "string" && cert.includes("-----BEGIN CERTIFICATE-----")) continue;
    const what = typeof cert === "string" ? printable(JSON.stringify(cert), 80) : typeof cert;
    throw new TypeError(
      `Cannot use tls.caCerts: entry ${index} is ${what}; it must be the text of a certificate in ` +
        `PEM, which a file such as ca.pem holds`,
    );
  }
}
