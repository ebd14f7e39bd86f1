/**
 * What a benchmark asks of a client of any system. Each module beside this one is one of them, and
 * exports `connect(target): Promise<Client>`; only processes that use a client load it.
 *
 * An adapter does what the documentation of its client recommends where messages are many, and adds
 * nothing to the path of a message but one call.
 */
import type { Target } from "../target.ts";

/** A path; systems with flat topics join its elements. */
export type Topic = readonly string[];

/** The "flat" message: about 100 bytes as JSON. */
export interface Row {
  readonly id: number;
  readonly time: number;
  readonly value: number;
  readonly name: string;
}

/** Publishes a message so many times; a promise where the client makes callers wait for each. */
export type Publish = (count: number) => void | Promise<void>;

/** A client that is connected. */
export interface Client {
  /** The most messages of a batch with which it is fastest, if not as many as one likes. */
  readonly batch?: number;
  /** What publishes these bytes. */
  bytesPublisher(topic: Topic, data: Uint8Array): Publish;
  /** What publishes a new row each time. */
  rowPublisher(topic: Topic): Publish;
  /**
   * Subscribes, most of them once only; resolves when the server knows. `take` is given a message, and how
   * many of them have come (one, but for a relay, which knows only their size).
   */
  onBytes(
    topic: Topic,
    take: (data: Uint8Array, count: number) => void,
    size: number,
  ): Promise<void>;
  /** The same for the topics below it, where a server has a subscription for all of them. */
  onBytesBelow?(topic: Topic, take: (data: Uint8Array, count: number) => void): Promise<void>;
  /** What subscribes to a topic, and the next time takes that back, and so on. */
  toggler?(topic: Topic): () => void;
  /** The same for rows, parsed. */
  onRows(topic: Topic, take: (row: Row) => void): Promise<void>;
  /** Called after each batch: waits as long as a publisher should before the next. */
  drain(): void | Promise<void>;
}

/** What each module of this folder exports. */
export interface ClientModule {
  connect(target: Target): Promise<Client>;
}

/** A row that differs from the one before. */
export function makeRow(id: number): Row {
  return {
    id,
    time: 1_767_225_600_000 + id,
    value: id * 0.25,
    name: "greenhouse/north/bed 7/soil moisture",
  };
}

/** What publishes rows, given what publishes one. */
export function rowsBy(publish: (row: Row) => void): Publish {
  let id = 0;
  return (count) => {
    for (let i = 0; i < count; i++) publish(makeRow(id++));
  };
}

/**
 * Waits for the batch before the latest: so there is always one under way while the next is made,
 * and never more than two.
 */
export class OneBehind {
  #latest: Promise<unknown> = Promise.resolve();

  /** Resolves when what was given the time before has. */
  async wait(latest: Promise<unknown>): Promise<void> {
    const before = this.#latest;
    this.#latest = latest;
    await before;
  }
}
