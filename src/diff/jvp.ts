/** @file Forward mode: tangents travel with the values, in topological order. */
import { isFloat } from "../core/dtype.ts";
import { FourlaneError } from "../core/errors.ts";
import { type Node, toposort } from "../graph/node.ts";
import { leaf } from "../ops/leaf.ts";
import { isDetached } from "../ops/structure.ts";
import { vjp } from "./vjp.ts";

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
  const [tangent] = vjp(
    pairs.map(({ g }) => g),
    pairs.map(({ t }) => t),
    [u],
  );
  if (tangent && toposort([tangent], (x) => x.id < u.id).includes(u))
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
  for (const n of toposort(outputs, isDetached)) {
    if (map.has(n)) continue;
    const ts = n.src.map((s) => map.get(s) ?? null);
    if (!isFloat(n.dtype) || ts.every((t) => t === null)) map.set(n, null);
    else if (n.op.jvp) map.set(n, n.op.jvp(n, ts));
    else if (n.op.decompose) map.set(n, jvp([n.op.decompose(n)], n.src, ts)[0]);
    else if (n.op.vjp) map.set(n, transposed(n, n.op.vjp, ts));
    else throw new FourlaneError("NO_GRADIENT", `${n.op.name}: has no forward-mode derivative`);
  }
  return outputs.map((y) => map.get(y) ?? null);
}
