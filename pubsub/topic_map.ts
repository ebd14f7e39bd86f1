/**
 * The types of a typed bus: which topics it has, and which messages these take. For the compiler only.
 *
 * ```
 *  the map   { hello: Hello; stop: Stop }
 *
 *  topic                 a subscriber gets                          a publisher gives
 *  "hello"               Hello, at readonly ["hello", ...string[]]  Hello
 *  "hello" or "stop"     Hello or Stop                              what is Hello and Stop
 *  null, [any]           Hello or Stop, at any of these             Hello or Stop, at null
 *  what was delivered                                               what was delivered with it
 * ```
 */
import type { any, Topic, TopicPath } from "../topic.ts";

/**
 * The messages of a typed bus: an object type for each first element of a topic.
 *
 * - The map, and the type of each message, may be an `interface`.
 * - No name is optional: a topic has the same messages whether it is used or not.
 *
 * @typeParam T The map.
 */
export type TopicMap<T> = { readonly [K in keyof T]-?: K extends string ? object : never };

/** The {@linkcode TopicMap} of a bus without types: any topic takes any message. */
// deno-lint-ignore no-explicit-any
export type Untyped = Record<string, any>;

/** The root as a subscriber gets it: the topic of a broadcast. */
export type RootPath = TopicPath & { readonly length: 0; readonly 0?: never };

/**
 * The topics of a bus.
 *
 * - On a typed bus, the compiler must know the first element: `["count", id]` is a topic, a `string[]`
 *   is not.
 * - What a subscriber gets as the topic is one, too; see {@linkcode PathOf}.
 *
 * @typeParam T The map of the bus.
 */
export type TopicOf<T> = 0 extends 1 & T
  // Not `Topic`: a function that takes a `PubSub<any>` takes every bus.
  // deno-lint-ignore no-explicit-any
  ? any
  : string extends keyof T ? Topic
  :
    | (keyof T & string)
    | readonly [(keyof T & string) | typeof any, ...(string | typeof any)[]]
    | readonly []
    | RootPath
    | null;

/**
 * The topic that a subscriber of a typed bus gets with a message. It begins with the element with which
 * the one to which it subscribed begins; for a broadcast it is the root. On a bus without types it is
 * any {@linkcode TopicPath}.
 *
 * @typeParam T The map of the bus.
 * @typeParam K The topic to which it subscribed.
 */
export type PathOf<T, K> = string extends keyof T ? TopicPath
  : K extends string ? readonly [K, ...string[]] | RootPath
  : K extends readonly [infer First extends string, ...unknown[]]
    ? readonly [First, ...string[]] | RootPath
  : readonly [keyof T & string, ...string[]] | RootPath;

/**
 * The messages that a subscriber gets, which the first element of its topic decides.
 *
 * - At the root (`null`), and where the first element is `any`, it is the union of all message types. A
 *   broadcast also goes to subscribers that expect another type; the option `accepts` keeps it from them.
 *
 * @typeParam T The map of the bus.
 * @typeParam K The topic to which it subscribed.
 */
export type MessageOf<T, K> = K extends string ? K extends keyof T ? T[K] : never
  : K extends readonly [infer First extends string, ...unknown[]]
    ? First extends keyof T ? T[First] : never
  : T[keyof T];

/**
 * The message that a publisher gives.
 *
 * - The root takes the message of any topic.
 * - If the topic may be one of several, as far as the compiler knows, the message must fit each.
 * - The topic that a subscriber got takes the message that it got with it.
 *
 * @typeParam T The map of the bus.
 * @typeParam K The topic to which it publishes.
 */
export type MessageTo<T, K> = [string, Untyped, 0] extends // Where all topics have the same messages, it is known though `K` may not be.
[keyof T, T, 0 extends 1 & T ? never : unknown] ? T[keyof T]
  : [RootPath] extends [K] ? MessageOf<T, Exclude<K, RootPath>>
  // The compiler intersects what several functions take.
  : (
    K extends string ? (message: MessageOf<T, K>) => void
      : K extends readonly [infer First extends string, ...unknown[]]
        ? First extends string ? (message: MessageOf<T, First>) => void : never
      : (message: MessageOf<T, null>) => void
  ) extends (message: infer M) => void ? M
  : never;

/**
 * The arguments of `publish` after the topic: the message, which may be left out if nothing in it is
 * required, and options.
 *
 * @typeParam M The message; see {@linkcode MessageTo}.
 */
export type PublishArgs<M> = 0 extends 1 & M
  ? [message?: object | undefined, options?: PublishOptions | undefined]
  : Partial<Record<never, never>> extends M
    ? [message?: M | undefined, options?: PublishOptions | undefined]
  : [message: M, options?: PublishOptions | undefined];

/** Options of `publish`. */
export interface PublishOptions {
  /**
   * Keeps the message in this process, as a plain `PubSub` always does. By default a `NetPubSub` also
   * sends it to the broker.
   *
   * @default {false}
   */
  readonly local?: boolean | undefined;
}
