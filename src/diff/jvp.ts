/** @file Forward mode: tangents travel with the values, in topological order. */
import { isFloat } from "../core/dtype.ts";
import { FourlaneError } from "../core/errors.ts";
import { type Node, toposort } from "../graph/node.ts";

/** Tangents of `outputs`, given those of `inputs`; null where zero. */
export function jvp(
  outputs: readonly Node[],
  inputs: readonly Node[],
  tangents: readonly (Node | null)[],
): (Node | null)[] {
  const map = new Map<Node, Node | null>(inputs.map((x, i) => [x, tangents[i]]));
  for (const n of toposort(outputs)) {
    if (map.has(n)) continue;
    const ts = n.src.map((s) => map.get(s) ?? null);
    if (!isFloat(n.dtype) || ts.every((t) => t === null)) map.set(n, null);
    else if (n.op.jvp) map.set(n, n.op.jvp(n, ts));
    else if (n.op.decompose) map.set(n, jvp([n.op.decompose(n)], n.src, ts)[0]);
    else throw new FourlaneError("NO_GRADIENT", `${n.op.name}: has no forward-mode derivative`);
  }
  return outputs.map((y) => map.get(y) ?? null);
}
