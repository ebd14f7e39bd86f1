/**
 * The scopes of a router: made when somebody wants one, in steps, because each of its topics gets a
 * place; and kept for a while when nobody is in it, because whoever leaves one often comes back.
 */
import type { TopicPath } from "../topic.ts";
import { type Place, Scope } from "./audience.ts";
import { Pace } from "./pace.ts";

/** What {@linkcode Scopes} do to the places of a scope. */
export interface ScopePlaces<P> {
  /** Makes the place of a topic one of the places of a scope. */
  attach(path: TopicPath, scope: Scope<P>): Place<P>;
  /** Undoes that. */
  detach(place: Place<P>, scope: Scope<P>): void;
}

/** All scopes of one router, by their topics. */
export class Scopes<P> {
  readonly #places: ScopePlaces<P>;
  readonly #all = new Map<readonly TopicPath[], Scope<P>>();
  /** Those without members: since the latest sweep, and since the one before. */
  #idle = new Set<Scope<P>>();
  #longIdle = new Set<Scope<P>>();

  /** Makes one without scopes. */
  constructor(places: ScopePlaces<P>) {
    this.#places = places;
  }

  /** The scope of these topics, if there is one and it is whole. */
  get(topics: readonly TopicPath[]): Scope<P> | undefined {
    const scope = this.#all.get(topics);
    return scope?.isWhole ? scope : undefined;
  }

  /**
   * Makes the scope of these topics, or what is missing of it, in steps. Several may do so by turns.
   *
   * @returns Does that; returns the scope.
   */
  *make(topics: readonly TopicPath[]): Generator<void, Scope<P>, undefined> {
    const scope = this.#all.get(topics) ?? this.#begin(topics);
    scope.makers++;
    try {
      for (const pace = new Pace(); !scope.isWhole;) {
        const path = topics[scope.places.length]!;
        scope.places.push(this.#places.attach(path, scope));
        if (pace.isStep(path)) yield;
      }
    } finally {
      scope.makers--;
    }
    return scope;
  }

  #begin(topics: readonly TopicPath[]): Scope<P> {
    const scope = new Scope<P>(topics);
    this.#all.set(topics, scope);
    this.#idle.add(scope);
    return scope;
  }

  /** Somebody joins a scope. */
  joins(scope: Scope<P>): void {
    this.#idle.delete(scope);
    this.#longIdle.delete(scope);
  }

  /** Somebody has left a scope. */
  left(scope: Scope<P>): void {
    if (scope.size === 0) this.#idle.add(scope);
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
      if (scope.size > 0) continue;
      if (scope.makers > 0) this.#idle.add(scope);
      else yield* this.#close(scope);
    }
  }

  *#close(scope: Scope<P>): Generator<void, void, undefined> {
    // It may have been closed already, and another one may have taken its place.
    if (this.#all.get(scope.topics) !== scope) return;
    this.#all.delete(scope.topics);
    const pace = new Pace();
    for (const place of scope.places) {
      this.#places.detach(place, scope);
      if (pace.isStep(place.node.path)) yield;
    }
  }
}
