/**
 * The scopes of a router: made when somebody wants one, in steps, because each of its topics gets a
 * place; and kept for a while when nobody is in it, because whoever leaves one often comes back.
 */
import type { TopicPattern } from "../topic.ts";
import { type Place, Scope } from "./audience.ts";
import { Pace } from "./pace.ts";
import type { Share } from "./share.ts";

/** How many bytes those without members may take that were made for them alone. */
const IDLE_BYTES_MAX = 4 * 2 ** 20;

/** What {@linkcode Scopes} do to the places of a scope. */
export interface ScopePlaces<P> {
  /** Makes the place of a topic one of the places of a scope. */
  attach(path: TopicPattern, scope: Scope<P>): Place<P>;
  /** Undoes that. */
  detach(place: Place<P>, scope: Scope<P>): void;
}

/** All scopes of one router, by their shares. */
export class Scopes<P> {
  readonly #places: ScopePlaces<P>;
  readonly #all = new Map<Share, Scope<P>>();
  /** Those without members: since the latest sweep, and since the one before. */
  #idle = new Set<Scope<P>>();
  #longIdle = new Set<Scope<P>>();
  /** What these take that was made for them alone. */
  #idleBytes = 0;

  /** Makes one without scopes. */
  constructor(places: ScopePlaces<P>) {
    this.#places = places;
  }

  /** The scope of a share, if there is one and it is whole. */
  get(share: Share): Scope<P> | undefined {
    const scope = this.#all.get(share);
    return scope?.isWhole ? scope : undefined;
  }

  /**
   * Makes the scope of a share, or what is missing of it, in steps. Several may do so by turns. If too
   * much is kept of scopes that nobody is in, that goes first: whoever makes many pays for it.
   *
   * @returns Does that; returns the scope.
   */
  *make(share: Share): Generator<void, Scope<P>, undefined> {
    if (!this.#all.has(share)) yield* this.#makeRoom();
    const scope = this.#all.get(share) ?? this.#begin(share);
    scope.makers++;
    try {
      for (const pace = new Pace(); !scope.isWhole;) {
        const path = share.topics[scope.places.length]!;
        scope.places.push(this.#places.attach(path, scope));
        if (pace.isStep(path)) yield;
      }
    } finally {
      scope.makers--;
    }
    return scope;
  }

  #begin(share: Share): Scope<P> {
    const scope = new Scope<P>(share);
    this.#all.set(share, scope);
    this.#rest(scope);
    return scope;
  }

  /** Somebody joins a scope. */
  joins(scope: Scope<P>): void {
    if (this.#idle.delete(scope) || this.#longIdle.delete(scope)) {
      this.#idleBytes -= scope.share.bytes;
    }
  }

  /** Somebody has left a scope. */
  left(scope: Scope<P>): void {
    if (scope.size === 0) this.#rest(scope);
  }

  #rest(scope: Scope<P>): void {
    this.#idle.add(scope);
    this.#idleBytes += scope.share.bytes;
  }

  /**
   * Forgets the scopes that nobody has used since the call before.
   *
   * @returns Does that, in steps.
   */
  *sweep(): Generator<void, void, undefined> {
    const idle = this.#longIdle;
    this.#longIdle = this.#idle;
    this.#idle = new Set();
    for (const scope of idle) {
      this.#idleBytes -= scope.share.bytes;
      if (scope.size > 0) continue;
      if (scope.makers > 0) this.#rest(scope);
      else yield* this.#close(scope);
    }
  }

  *#makeRoom(): Generator<void, void, undefined> {
    while (this.#idleBytes > IDLE_BYTES_MAX) {
      const idle = this.#takeIdle();
      if (idle === undefined) return;
      yield* this.#close(idle);
    }
  }

  /** One of those without members that nobody is making, the longest without first. */
  #takeIdle(): Scope<P> | undefined {
    for (const idle of [this.#longIdle, this.#idle]) {
      for (const scope of idle) {
        if (scope.makers > 0) continue;
        idle.delete(scope);
        this.#idleBytes -= scope.share.bytes;
        return scope;
      }
    }
    return undefined;
  }

  *#close(scope: Scope<P>): Generator<void, void, undefined> {
    // It may have been closed already, and another one may have taken its place.
    if (this.#all.get(scope.share) !== scope) return;
    this.#all.delete(scope.share);
    const pace = new Pace();
    for (const place of scope.places) {
      this.#places.detach(place, scope);
      if (pace.isStep(place.node.path)) yield;
    }
  }
}
