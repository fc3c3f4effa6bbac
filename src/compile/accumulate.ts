/**
 * @file Sums of matrix products, such as the gradient of a weight that is used in many steps: each product is added to the one
 * before it where that lies, in the order in which the graph adds them. None but the first has a buffer of its own.
 */
import { type Computation, isOp, mapSources, type Node, toposort } from "../graph/node.ts";
import { addmm, CONTRACT } from "../ops/contract.ts";
import { ADD } from "../ops/elementwise.ts";
import { rebuild, rootsOf, usesOf } from "./rebuild.ts";

/** A product that may be added to another: one that is to be precise, or of whole numbers, has a kernel that cannot. */
const isProduct = (n: Node): boolean => isOp(n, CONTRACT.matmul) && n.dtype === "float32" && !n.attrs.precise;

/** The graph with sums of products that nothing else uses as products that add. */
export function accumulate(graph: Computation): Computation {
  const roots = rootsOf(graph);
  const order = toposort(roots);
  if (!order.some((n) => n.op === ADD && n.src.some(isProduct))) return graph;
  const uses = usesOf(order, roots);
  return rebuild(graph, order, (n, sources) => {
    if (n.op === ADD && n.src.every((s) => uses.get(s) === 1)) {
      const [a, b] = n.src.map(sources);
      // The other way round the sum is the same.
      for (const [sum, last] of [
        [a, b],
        [b, a],
      ])
        if (isProduct(last) && (isProduct(sum) || sum.op === CONTRACT.addmm))
          return addmm(sum, last.src[0], last.src[1]);
    }
    return mapSources(n, sources);
  });
}
