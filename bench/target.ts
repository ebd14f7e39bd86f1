/** Where a server listens, and with what one gets in; whatever runs a client can load this. */

/** Where a server listens: the ports of loopback, for WebSockets or else, or the path of a Unix socket. */
export type Target =
  | { readonly ports: readonly number[]; readonly isWeb?: boolean }
  | { readonly path: string };

/** The user, the password and the key of every server. */
export const AUTH = "bench";

/** A port on loopback where a server listens. */
export function portOf(target: Target, index = 0): number {
  const port = "ports" in target ? target.ports[index] : undefined;
  if (port === undefined) throw new TypeError(`No port ${index} in ${JSON.stringify(target)}`);
  return port;
}

/** Where a server listens, as Deno.connect takes it. */
export function endpointOf(target: Target): Deno.UnixConnectOptions | Deno.ConnectOptions {
  return "path" in target
    ? { transport: "unix", path: target.path }
    : { transport: "tcp", hostname: "127.0.0.1", port: portOf(target, target.ports.length - 1) };
}

/** Where a server listens, as this project writes it. */
export function urlOf(target: Target): string {
  if ("path" in target) return `unix://${target.path}`;
  return `${isWeb(target) ? "ws" : "tcp"}://127.0.0.1:${portOf(target)}`;
}

/** Whether WebSockets are taken there. */
export function isWeb(target: Target): boolean {
  return "ports" in target && target.isWeb === true;
}
