/** @file Operations with their first source's value, which matter to differentiation, or to when something is computed. */
import { makeNode, type NoAttrs, type Node, type OpDef } from "../graph/node.ts";
import { mul } from "./elementwise.ts";

/** An operation with its first source's value: what it means to differentiation is another matter. */
export const identity = (name: string, through: boolean): OpDef<NoAttrs> => ({
  name,
  kind: "identity",
  pattern: through ? "passes" : "stops",
  infer: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
  vjp: (_, g) => [through ? g : null],
  jvp: (_, [t]) => (through ? t : null),
  ref: ([x]) => x.data.slice(),
});

const ALIAS = identity("alias", true);
const DETACH = identity("detach", false);

/** x; what flows back is multiplied by `factor`. No function has this gradient: forward mode knows nothing of it. */
const SCALE_GRADIENT: OpDef<NoAttrs> = {
  ...identity("scaleGradient", true),
  pattern: "scales",
  vjp: (n, g) => [mul(g, n.src[1]), null],
};

/** x, for a recomputation: its own node, so that nothing is merged with what was computed from x before. */
const FENCE: OpDef<NoAttrs> = { ...identity("fence", true), kind: "other", vjp: (_, g) => [g, null] };

/** A node of its own with x's value: what grad() differentiates with respect to. */
export function alias(x: Node): Node {
  return makeNode(ALIAS, [x]);
}

/** Whether no gradient flows through n: what lies behind it does not matter to differentiation. */
export function isDetached(n: Node): boolean {
  return n.op === DETACH;
}

/**
 * What n is a function of: of an operation with derivatives of its own, the sources behind its value, which is detached; not
 * what a fence waits for.
 */
export function operandsOf(n: Node): readonly Node[] {
  if (n.op === FENCE) return n.src.slice(0, 1);
  return n.op.kind === "identity" && n.src.length > 1 && isDetached(n.src[0]) ? n.src.slice(1) : n.src;
}

/** x's value; no gradient flows through. */
export function detach(x: Node): Node {
  return makeNode(DETACH, [x]);
}

/** x's value, to be read only when `after` has been computed. */
export function fence(x: Node, after: Node): Node {
  return makeNode(FENCE, [x, after]);
}

/** x, with its gradient multiplied by a factor of the same shape. */
export function scaleGradient(x: Node, factor: Node): Node {
  return makeNode(SCALE_GRADIENT, [x, factor]);
}

export const IDENTITY = { alias: ALIAS, detach: DETACH, scaleGradient: SCALE_GRADIENT, fence: FENCE };
