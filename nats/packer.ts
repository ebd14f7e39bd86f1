/**
 * Gathers messages into packets, in their order: several of one topic in one packet, and a message that
 * is too long for one in parts.
 */
import { clock } from "../base/clock.ts";
import { Fifo } from "../base/fifo.ts";
import { framesEnd, runAt } from "../protocol/topic_run.ts";
import {
  HEADER_BYTES_MAX,
  type Packet,
  PACKET_BYTES_MAX,
  PacketFlag,
  type PacketRoute,
  PART_BYTES,
} from "./packet.ts";
import { PacketBuffers } from "./packet_buffers.ts";

/** Packets that wait, the last of them open. */
export class Packer<R extends PacketRoute> {
  readonly #closed = new Fifo<Packet<R>>();
  #open: Packet<R> | undefined;
  #bytes = 0;
  readonly #buffers: PacketBuffers;

  /** Makes one that holds nothing; several may share their buffers. */
  constructor(buffers: PacketBuffers = new PacketBuffers()) {
    this.#buffers = buffers;
  }

  /** How many bytes it holds. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The packet that leaves first, if there is one. */
  get first(): Packet<R> | undefined {
    return this.#closed.at(0) ?? this.#open;
  }

  /**
   * Adds whole PUBLISH frames, which are copied.
   *
   * @param routeOf Where the frames go whose topic block is from `start` to before `end`; `undefined` if
   * nowhere.
   */
  addAll(
    bytes: Uint8Array,
    routeOf: (bytes: Uint8Array, start: number, end: number) => R | undefined,
  ): void {
    for (let at = 0; at < bytes.length;) {
      const { topic, payload, end, frames } = runAt(bytes, at);
      const route = routeOf(bytes, topic, payload);
      if (route !== undefined) this.#add(route, bytes, at, end, frames);
      at = end;
    }
  }

  /** Adds a copy of the frames in `bytes` from `start` to before `end`. */
  #add(route: R, bytes: Uint8Array, start: number, end: number, frames: number): void {
    const room = this.#open?.route === route ? PACKET_BYTES_MAX - this.#open.end : 0;
    if (end - start <= room) return this.#append(bytes, start, end, frames);
    for (let at = start, left = frames; left > 0;) {
      const first = framesEnd(bytes, at, 1);
      if (first - at > PART_BYTES) {
        this.#addParts(route, bytes, at, first);
        at = first;
        left--;
        continue;
      }
      this.#openFor(route, first - at);
      const limit = at + PACKET_BYTES_MAX - this.#open!.end;
      let [next, count] = [first, 1];
      while (count < left) {
        const further = framesEnd(bytes, next, 1);
        if (further > limit) break;
        next = further;
        count++;
      }
      this.#append(bytes, at, next, count);
      at = next;
      left -= count;
    }
  }

  #addParts(route: R, bytes: Uint8Array, start: number, end: number): void {
    this.#close();
    for (let at = start; at < end;) {
      const next = Math.min(end, at + PART_BYTES);
      this.#openFor(route, next - at);
      const packet = this.#open!;
      packet.flags = (at > start ? PacketFlag.REST : 0) | (next < end ? PacketFlag.MORE : 0);
      this.#append(bytes, at, next, next < end ? 0 : 1);
      this.#close();
      at = next;
    }
  }

  /** Opens a packet for the route, unless the open one has room. */
  #openFor(route: R, length: number): void {
    const open = this.#open;
    if (open?.route === route && open.end + length <= PACKET_BYTES_MAX) return;
    this.#close();
    this.#open = {
      route,
      since: clock.now(),
      buffer: this.#buffers.take(HEADER_BYTES_MAX + length),
      end: HEADER_BYTES_MAX,
      messages: 0,
      flags: 0,
    };
    this.#bytes += HEADER_BYTES_MAX;
  }

  #append(bytes: Uint8Array, start: number, end: number, frames: number): void {
    const packet = this.#open!;
    const length = end - start;
    if (packet.buffer.length - packet.end < length) {
      const larger = this.#buffers.take(Math.max(2 * packet.buffer.length, packet.end + length));
      larger.set(packet.buffer.subarray(0, packet.end));
      this.#buffers.leave(packet.buffer);
      packet.buffer = larger;
    }
    packet.buffer.set(bytes.subarray(start, end), packet.end);
    packet.end += length;
    packet.messages += frames;
    this.#bytes += length;
  }

  #close(): void {
    const packet = this.#open;
    if (packet === undefined) return;
    const { buffer, end } = packet;
    if (2 * end < buffer.length) { // It may wait for long: it must not take more than is counted.
      packet.buffer = this.#buffers.trim(buffer, end);
    }
    this.#closed.push(packet);
    this.#open = undefined;
  }

  /** Drops the oldest messages: those of a packet, and of others if a message spans several. */
  *drop(): Generator<Packet<R>, void, undefined> {
    for (let isWhole = false; !isWhole;) {
      const packet = this.next(true);
      if (packet === undefined) return;
      isWhole = !(packet.flags & PacketFlag.MORE);
      yield packet;
    }
  }

  /** Takes the next full packet; if there is none and `hurry` is true, the open one. */
  next(hurry: boolean): Packet<R> | undefined {
    let packet = this.#closed.shift();
    if (packet === undefined && hurry) {
      packet = this.#open;
      this.#open = undefined;
    }
    if (packet !== undefined) {
      this.#bytes -= packet.end;
      this.#buffers.leave(packet.buffer);
    }
    return packet;
  }
}
