/**
 * TCP within a process and without a system call: what `Deno.connect` and `Deno.listen` give, for as
 * long as they are replaced, are streams of bytes in memory.
 *
 * ```
 *  write() ─▶ ring of 256 KiB ─▶ read()      one for each direction; a full one holds the writer back
 * ```
 *
 * What `bench/path.ts` compares must not share this module: code that has seen the objects of one
 * side is slower for the other. So it is imported once for each, `memory_net.ts?base` say, and
 * imports nothing itself.
 */

/** What a direction holds, about as a socket does. */
const RING_BYTES = 256 * 1024;
const HOSTNAME = "127.0.0.1";

/** One direction. */
class Pipe {
  readonly #ring = new Uint8Array(RING_BYTES);
  /** How many bytes one read gets at most. */
  readonly #readMax: number;
  #start = 0;
  #size = 0;
  #reader:
    | { into: Uint8Array; resolve(count: number | null): void; reject(error: Error): void }
    | undefined;
  #writer:
    | { bytes: Uint8Array; resolve(count: number): void; reject(error: Error): void }
    | undefined;
  /** Nothing more is written. */
  #ended = false;
  /** Nothing more is read. */
  #broken = false;

  constructor(readMax: number) {
    this.#readMax = readMax;
  }

  read(into: Uint8Array): Promise<number | null> {
    if (this.#broken) return Promise.reject(new Deno.errors.BadResource("the reader has closed"));
    if (this.#size > 0) {
      const count = this.#take(into);
      const writer = this.#writer;
      if (writer !== undefined) {
        this.#writer = undefined;
        writer.resolve(this.#put(writer.bytes));
      }
      return Promise.resolve(count);
    }
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve, reject) => this.#reader = { into, resolve, reject });
  }

  write(bytes: Uint8Array): Promise<number> {
    if (this.#broken || this.#ended) return Promise.reject(brokenPipe());
    if (this.#size === RING_BYTES) {
      return new Promise((resolve, reject) => this.#writer = { bytes, resolve, reject });
    }
    const count = this.#put(bytes);
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve(this.#take(reader.into));
    }
    return Promise.resolve(count);
  }

  #put(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, RING_BYTES - this.#size);
    const at = (this.#start + this.#size) % RING_BYTES;
    const first = Math.min(count, RING_BYTES - at);
    this.#ring.set(bytes.subarray(0, first), at);
    if (first < count) this.#ring.set(bytes.subarray(first, count));
    this.#size += count;
    return count;
  }

  #take(into: Uint8Array): number {
    const count = Math.min(into.length, this.#size, this.#readMax);
    const first = Math.min(count, RING_BYTES - this.#start);
    into.set(this.#ring.subarray(this.#start, this.#start + first));
    if (first < count) into.set(this.#ring.subarray(0, count - first), first);
    this.#size -= count;
    this.#start = this.#size === 0 ? 0 : (this.#start + count) % RING_BYTES;
    return count;
  }

  /** What was written can still be read. */
  end(): void {
    this.#ended = true;
    this.#writer?.reject(brokenPipe());
    this.#reader?.resolve(null); // It waits, so nothing is left.
    this.#reader = this.#writer = undefined;
  }

  break(): void {
    this.#broken = true;
    this.#writer?.reject(brokenPipe());
    this.#reader?.reject(new Deno.errors.Interrupted("closed while reading"));
    this.#reader = this.#writer = undefined;
  }
}

function brokenPipe(): Error {
  return new Deno.errors.BrokenPipe("the connection is closed");
}

/** One end of a connection: a `Deno.TcpConn` without its `readable` and `writable`. */
class MemoryConn {
  readonly localAddr: Deno.NetAddr;
  readonly remoteAddr: Deno.NetAddr;
  readonly #in: Pipe;
  readonly #out: Pipe;

  constructor(incoming: Pipe, outgoing: Pipe, localPort: number, remotePort: number) {
    this.#in = incoming;
    this.#out = outgoing;
    this.localAddr = addressOf(localPort);
    this.remoteAddr = addressOf(remotePort);
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#in.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#out.write(bytes);
  }

  closeWrite(): Promise<void> {
    this.#out.end();
    return Promise.resolve();
  }

  close(): void {
    this.#in.break();
    this.#out.end();
  }

  setNoDelay(): void {}
  setKeepAlive(): void {}
  ref(): void {}
  unref(): void {}

  [Symbol.dispose](): void {
    this.close();
  }
}

function addressOf(port: number): Deno.NetAddr {
  return { transport: "tcp", hostname: HOSTNAME, port };
}

/** A `Deno.TcpListener`. */
class MemoryListener {
  readonly addr: Deno.NetAddr;
  readonly #onClose: () => void;
  /** Those that nobody has accepted: the latest last, and the earliest of them last. */
  #latest: MemoryConn[] = [];
  #earliest: MemoryConn[] = [];
  #accepting: PromiseWithResolvers<MemoryConn> | undefined;
  #closed = false;

  constructor(port: number, onClose: () => void) {
    this.addr = addressOf(port);
    this.#onClose = onClose;
  }

  offer(conn: MemoryConn): void {
    if (this.#accepting === undefined) this.#latest.push(conn);
    else this.#accepting.resolve(conn);
    this.#accepting = undefined;
  }

  accept(): Promise<MemoryConn> {
    if (this.#closed) return Promise.reject(new Deno.errors.BadResource("the listener is closed"));
    if (this.#earliest.length === 0) {
      this.#earliest = this.#latest.reverse();
      this.#latest = [];
    }
    const conn = this.#earliest.pop();
    if (conn !== undefined) return Promise.resolve(conn);
    this.#accepting = Promise.withResolvers<MemoryConn>();
    return this.#accepting.promise;
  }

  close(): void {
    this.#closed = true;
    this.#onClose();
    for (const conn of [...this.#earliest, ...this.#latest]) conn.close();
    this.#accepting?.reject(new Deno.errors.Interrupted("closed while accepting"));
  }

  ref(): void {}
  unref(): void {}

  async *[Symbol.asyncIterator](): AsyncGenerator<MemoryConn> {
    while (!this.#closed) yield await this.accept();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Ports in memory, at which clients reach a broker without sockets. */
export class MemoryNet {
  readonly #listeners = new Map<number, MemoryListener>();
  readonly #readMax: number;
  #ports = 0;

  /** Makes one where a read gets at most so many bytes. */
  constructor(readMax = Infinity) {
    this.#readMax = readMax;
  }

  /** Takes the place of `Deno.connect` and `Deno.listen` until it is disposed of. */
  install(): Disposable {
    const { connect, listen } = Deno;
    Object.assign(Deno, {
      connect: (options: Deno.ConnectOptions) => this.#connect(options),
      listen: (options: Deno.TcpListenOptions) => this.#listen(options),
    });
    return { [Symbol.dispose]: () => void Object.assign(Deno, { connect, listen }) };
  }

  #listen({ port = 0 }: Deno.TcpListenOptions): MemoryListener {
    const own = port === 0 ? ++this.#ports : port;
    if (this.#listeners.has(own)) throw new Deno.errors.AddrInUse(`port ${own} is taken`);
    const listener = new MemoryListener(own, () => this.#listeners.delete(own));
    this.#listeners.set(own, listener);
    return listener;
  }

  #connect({ port }: Deno.ConnectOptions): Promise<MemoryConn> {
    const listener = this.#listeners.get(port);
    if (listener === undefined) {
      return Promise.reject(new Deno.errors.ConnectionRefused(`nobody listens at port ${port}`));
    }
    const [there, back] = [new Pipe(this.#readMax), new Pipe(this.#readMax)];
    const own = ++this.#ports;
    listener.offer(new MemoryConn(there, back, port, own));
    return Promise.resolve(new MemoryConn(back, there, own, port));
  }
}
