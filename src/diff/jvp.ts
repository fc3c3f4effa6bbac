/** @file Forward mode: tangents travel with the values, in topological order. */
import { isFloat } from "../core/dtype.ts";
import { FourlaneError } from "../core/errors.ts";
import { type Node, toposort } from "../graph/node.ts";
import { leaf } from "../ops/leaf.ts";
import { isDetached } from "../ops/structure.ts";
import { vjp, walk } from "./vjp.ts";

/** Whether a gradient by u reaches everything that was made of u: nothing on the way is cut off, or flat like a sign. */
function passesOn(outputs: readonly Node[], u: Node): boolean {
  const made = new Set([u]);
  for (const n of toposort(outputs, (x) => x.id < u.id)) {
    if (!n.src.some((s) => made.has(s))) continue;
    made.add(n);
    if (!isFloat(n.dtype)) return false;
    const back = n.op.vjp?.(n, leaf(n.shape, n.dtype));
    if (back ? n.src.some((s, i) => made.has(s) && !back[i]) : !n.op.decompose) return false;
  }
  return true;
}

/**
 * The tangent of a node from its reverse rule. That is linear in the cotangent u, as the tangent is in those of the sources;
 * one is the transpose of the other, and to transpose a linear map is to differentiate it, in reverse, by u.
 */
function transposed(n: Node, rule: NonNullable<Node["op"]["vjp"]>, tangents: readonly (Node | null)[]): Node | null {
  const u = leaf(n.shape, n.dtype);
  const pairs = rule(n, u).flatMap((g, i) => {
    const t = tangents[i];
    return g && t ? [{ g, t }] : [];
  });
  const gs = pairs.map(({ g }) => g);
  const [tangent] = vjp(
    gs,
    pairs.map(({ t }) => t),
    [u],
  );
  if (!passesOn(gs, u) || (tangent && toposort([tangent], (x) => x.id < u.id).includes(u)))
    throw new FourlaneError(
      "NO_GRADIENT",
      `${n.op.name}: has no forward-mode derivative, and its reverse-mode one is not linear in the gradient, so that none ` +
        "follows from it: give it a jvp",
    );
  return tangent;
}

/** Tangents of `outputs`, given those of `inputs`; null where zero. */
export function jvp(
  outputs: readonly Node[],
  inputs: readonly Node[],
  tangents: readonly (Node | null)[],
): (Node | null)[] {
  const map = new Map<Node, Node | null>(inputs.map((x, i) => [x, tangents[i]]));
  const { at, as } = walk;
  try {
    for (const n of toposort(outputs, isDetached)) {
      if (map.has(n)) continue;
      walk.at = n;
      walk.as = "forward";
      const ts = n.src.map((s) => map.get(s) ?? null);
      if (!isFloat(n.dtype) || ts.every((t) => t === null)) map.set(n, null);
      else if (n.op.jvp) map.set(n, n.op.jvp(n, ts));
      else if (n.op.decompose) map.set(n, jvp([n.op.decompose(n)], n.src, ts)[0]);
      else if (n.op.vjp) map.set(n, transposed(n, n.op.vjp, ts));
      else throw new FourlaneError("NO_GRADIENT", `${n.op.name}: has no forward-mode derivative`);
    }
  } finally {
    Object.assign(walk, { at, as });
  }
  return outputs.map((y) => map.get(y) ?? null);
}
