/**
 * Where NATS is, and as whom we log in: the options of an uplink, as NATS's client takes them.
 */
import { type Authenticator, type ConnectionOptions, credsAuthenticator } from "@nats-io/nats-core";

const CONNECT_MS = 5000;
const PING_MS = 10_000;

/** Those of the `NatsUplinkOptions`, which explain them. */
export interface ServerOptions {
  readonly servers: string | readonly string[];
  readonly credentials?: string | Uint8Array | undefined;
  readonly tls?: { caCerts?: readonly string[] | undefined } | undefined;
}

/**
 * Where to connect, in that order, and as whom.
 *
 * @throws {TypeError} If a server is not a valid address, servers have different users, or the
 * credentials are not valid.
 */
export function connectionOptions(
  { servers, credentials, tls }: ServerOptions,
): { hosts: readonly string[]; options: ConnectionOptions } {
  const { hosts, ...options } = connectionOf(typeof servers === "string" ? [servers] : servers);
  return {
    hosts,
    options: {
      ...options,
      ...(credentials !== undefined && { authenticator: authenticatorOf(credentials) }),
      ...(tls?.caCerts !== undefined && { tls: { ca: tls.caCerts.join("\n") } }),
    },
  };
}

function connectionOf(
  servers: readonly string[],
): ConnectionOptions & { hosts: readonly string[] } {
  if (servers.length === 0) {
    throw new TypeError("Cannot use servers: it is empty; give nats://host:4222");
  }
  const users = new Set<string>();
  const hosts: string[] = [];
  let isTls = false;
  for (const text of servers) {
    const url = URL.parse(text);
    const isKnown = url?.protocol === "nats:" || url?.protocol === "tls:";
    const more = url === null ? "" : `${url.pathname}${url.search}${url.hash}`;
    if (url === null || !isKnown || url.hostname === "" || !/^\/?$/.test(more)) {
      throw new TypeError(`Cannot use the server ${shown(text)}: it must be like nats://host:4222`);
    }
    isTls ||= url.protocol === "tls:";
    hosts.push(`${url.hostname}:${url.port || 4222}`);
    users.add(JSON.stringify(userOf(url, text)));
  }
  if (users.size > 1) throw new TypeError("Cannot use the servers: they have different users");
  const [user, pass]: [string, string] = JSON.parse([...users][0]!);
  return {
    hosts,
    name: "mpubsub",
    noEcho: true,
    noRandomize: true, // The first is the nearest.
    reconnect: false, // Done here: it must be known what is sent over which connection.
    timeout: CONNECT_MS,
    pingInterval: PING_MS,
    maxPingOut: 1,
    ...(isTls && { tls: {} }),
    ...(pass !== "" ? { user, pass } : user !== "" && { token: user }),
  };
}

function userOf({ username, password }: URL, text: string): [string, string] {
  try {
    return [decodeURIComponent(username), decodeURIComponent(password)];
  } catch (error) { // URIError: a % that is not the start of an escape.
    throw new TypeError(
      `Cannot use the server ${shown(text)}: write % in a user or a password as %25`,
      { cause: error },
    );
  }
}

/** An address without what is secret in it. */
function shown(text: string): string {
  return JSON.stringify(text.replace(/^([^@]*\/\/)?.*@/, "$1…@"));
}

/** Logs in with the content of a credentials file. */
function authenticatorOf(credentials: string | Uint8Array): Authenticator {
  const text = typeof credentials === "string"
    ? credentials
    : new TextDecoder().decode(credentials);
  // The client reads lines as Unix ends them, the last one as well.
  const lines = `${text.replaceAll("\r\n", "\n")}\n`;
  const authenticator = credsAuthenticator(new TextEncoder().encode(lines));
  try {
    authenticator("any"); // Otherwise it would fail only when a server asks.
  } catch { // A part is missing, or the seed is not valid; the error may show some of that.
    throw new TypeError(
      "Cannot use the credentials: they must be the content of a NATS credentials file, " +
        "a JWT and the seed of a key",
    );
  }
  return authenticator;
}
