/**
 * @file Sums of matrix products, such as the gradient of a weight that is used in many steps: each product is added to the one
 * before it where that lies, in the order in which the graph adds them. None but the first has a buffer of its own. And sums of
 * rows by index, such as the gradient of a table that is looked up several times: all rows are added in one go, to one buffer.
 */
import { type Computation, isOp, mapSources, type Node, toposort } from "../graph/node.ts";
import { addmm, CONTRACT } from "../ops/contract.ts";
import { ADD } from "../ops/elementwise.ts";
import { LOOKUP, scatterAdd } from "../ops/lookup.ts";
import { concat, expand, MOVEMENT } from "../ops/movement.ts";
import { rebuild, rootsOf, usesOf } from "./rebuild.ts";

/** A product that may be added to another: one that is to be precise, or of whole numbers, has a kernel that cannot. */
const isProduct = (n: Node): boolean => isOp(n, CONTRACT.matmul) && n.dtype === "float32" && !n.attrs.precise;

/** The sum of two products, if it is one. */
function sumOfProducts(a: Node, b: Node): Node | undefined {
  // The other way round the sum is the same.
  for (const [sum, last] of [
    [a, b],
    [b, a],
  ])
    if (isProduct(last) && (isProduct(sum) || sum.op === CONTRACT.addmm)) return addmm(sum, last.src[0], last.src[1]);
  return undefined;
}

/** Two indices one after the other; where each is the same for all places off the axis, so is what comes of it. */
function joined(a: Node, b: Node, axis: number): Node {
  const isSame = (n: Node): boolean =>
    n.op === MOVEMENT.expand && n.src[0].shape.every((d, i) => (i === axis ? d === n.shape[i] : d === 1));
  if (!isSame(a) || !isSame(b)) return concat([a, b], axis);
  const both = concat([a.src[0], b.src[0]], axis);
  return expand(
    both,
    a.shape.map((d, i) => (i === axis ? both.shape[axis] : d)),
  );
}

/** The graph with sums of products, and of rows by index, that nothing else uses as operations that add. */
export function accumulate(graph: Computation): Computation {
  const roots = rootsOf(graph);
  const order = toposort(roots);
  const summed = order.flatMap((n) => (n.op === ADD ? n.src : []));
  if (!summed.some((n) => isProduct(n) || n.op === LOOKUP.scatterAdd)) return graph;
  const uses = usesOf(order, roots);
  // An index out of range is found, and its place told, by the operation that looks it up.
  const checked = new Set(order.filter((n) => n.op === LOOKUP.gather).map((n) => n.src[1]));
  const byIndex = new Set<Node>();
  return rebuild(graph, order, (n, sources) => {
    if (n.op === ADD && n.src.every((s) => uses.get(s) === 1)) {
      const [a, b] = n.src.map(sources);
      const product = sumOfProducts(a, b);
      if (product) return product;
      const isRows = (i: number, s: Node): boolean =>
        byIndex.has(s) || (s.op === LOOKUP.scatterAdd && checked.has(n.src[i].src[1]));
      if (isOp(a, LOOKUP.scatterAdd) && isOp(b, LOOKUP.scatterAdd) && isRows(0, a) && isRows(1, b)) {
        const { axis, extent } = a.attrs;
        if (axis === b.attrs.axis) {
          const values = concat([a.src[0], b.src[0]], axis);
          const rows = scatterAdd(values, joined(a.src[1], b.src[1], axis), axis, extent);
          byIndex.add(rows);
          return rows;
        }
      }
    }
    return mapSources(n, sources);
  });
}
