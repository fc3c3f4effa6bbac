/** @file Forward mode: tangents travel with the values, in topological order. */
import { isFloat } from "../core/dtype.ts";
import { FourlaneError } from "../core/errors.ts";
import { type Node, toposort } from "../graph/node.ts";
import { constantValue, leaf } from "../ops/leaf.ts";
import { isDetached, STRUCTURE } from "../ops/structure.ts";
import { vjp, walk } from "./vjp.ts";

/** Whether n is 0 where those of its sources are that are `made`, whatever the others are; data beside them may be zeros. */
function staysZero(n: Node, made: ReadonlySet<Node>): boolean {
  if (n.op === STRUCTURE.concat) return n.src.every((s) => made.has(s) || (constantValue(s) ?? 0) === 0);
  if (n.op.kind !== "elementwise") return true;
  return [0, 1].every((v) => {
    const any = (s: Node): number => constantValue(s) ?? (isFloat(s.dtype) ? v + 1 : v);
    const at = n.src.map((s) => ({ shape: [], data: Float64Array.of(made.has(s) ? 0 : any(s)) }));
    return n.op.ref?.(at, n)[0] === 0;
  });
}

/**
 * Whether a gradient by u is the whole story of what was made of u: it is 0 where u is, and nothing on the way is cut off, or
 * flat like a sign.
 */
function isProportional(outputs: readonly Node[], u: Node): boolean {
  const made = new Set([u]);
  for (const n of toposort(outputs, (x) => x.id < u.id)) {
    if (!n.src.some((s) => made.has(s))) continue;
    if (!isFloat(n.dtype) || !staysZero(n, made)) return false;
    made.add(n);
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
  if (!isProportional(gs, u) || (tangent && toposort([tangent], (x) => x.id < u.id).includes(u)))
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
