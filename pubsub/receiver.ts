/**
 * What a method of a bus, or of a subscription, is called on, if that is none: JavaScript would only say that it cannot read a
 * private member.
 */

/** What is wrong with the `this` of a method; `name` is that of the class. */
export function noReceiver(receiver: unknown, name: string, isOfClass: boolean): TypeError {
  if (isOfClass) {
    return new TypeError(
      `Cannot use a ${name} through a proxy: call the methods of the object itself, and keep it ` +
        "where nothing makes a proxy of it (in Vue shallowRef() or markRaw())",
    );
  }
  const what = receiver === undefined
    ? "without one"
    : `on something else, of type ${receiver === null ? "null" : typeof receiver}`;
  return new TypeError(
    `Cannot use a ${name}: its method was called ${what}; ` +
      "write bus.publish(…), and pass (…) => bus.publish(…) to others",
  );
}
