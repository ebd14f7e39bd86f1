/** Ports for servers that cannot say which one they were given, or are to have the same again later. */
import { delay } from "@std/async/delay";

const HOST = "127.0.0.1";
/** How often it is tried, and the first pause; each further one is twice as long. */
const ATTEMPTS = 8;
const PAUSE_MS = 20;
/** Below the ports that systems give to whoever asks for any: nobody gets them while a server is down. */
const PORT_MIN = 10_000;
const PORT_MAX = 32_000;

/**
 * Starts something; again, with other ports or the same, if it rejects with an `AddrInUse`. A program that
 * is being started elsewhere in this process has copies of all sockets until its own code runs, also of
 * those that are closed meanwhile.
 */
export async function withOtherPorts<T>(start: () => Promise<T>): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await start();
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse) || attempt === ATTEMPTS) throw error;
      await delay(PAUSE_MS * 2 ** (attempt - 1));
    }
  }
}

/** Ports of loopback that are free, if nobody takes them meanwhile. */
export function freePorts(count: number): number[] {
  const listeners: Deno.Listener[] = [];
  const ports: number[] = [];
  while (ports.length < count) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    try {
      listeners.push(Deno.listen({ hostname: HOST, port }));
      ports.push(port);
    } catch (error) { // Another, then.
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  for (const listener of listeners) listener.close();
  return ports;
}

/** An address with a free port in the place of 0. */
export function withFreePort(address: string): string {
  return address.replace(/:0(?=$|\/)/, () => `:${freePorts(1)[0]}`);
}
