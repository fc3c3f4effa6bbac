/** @file Numbers for objects. */

/** Numbers for what a key cannot hold as text. */
const identities = new WeakMap<object, number>();
let lastIdentity = 0;

/** A number that no other object has. */
export function identityOf(x: object): number {
  let id = identities.get(x);
  if (id === undefined) {
    id = ++lastIdentity;
    identities.set(x, id);
  }
  return id;
}
