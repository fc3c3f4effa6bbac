/** @file What passes over graphs are made of. */
import type { Computation, Node } from "../graph/node.ts";

/** What a graph computes. */
export const rootsOf = (graph: Computation): Node[] => [...graph.outputs, ...graph.updates];

/** How often each node is used: by nodes of `order`, and as a root. */
export function usesOf(order: readonly Node[], roots: readonly Node[]): ReadonlyMap<Node, number> {
  const uses = new Map<Node, number>();
  const count = (n: Node): void => {
    uses.set(n, (uses.get(n) ?? 0) + 1);
  };
  for (const n of order) n.src.forEach(count);
  roots.forEach(count);
  return uses;
}

/** The graph with each node replaced; `replace` gets it together with what its sources became. `order` is topological. */
export function rebuild(
  graph: Computation,
  order: readonly Node[],
  replace: (n: Node, sources: (s: Node) => Node) => Node,
): Computation {
  const done = new Map<Node, Node>();
  const rebuilt = (n: Node): Node => done.get(n) as Node;
  for (const n of order) done.set(n, replace(n, rebuilt));
  const { inputs, residents, outputs, updates } = graph;
  return { inputs, residents, outputs: outputs.map(rebuilt), updates: updates.map(rebuilt) };
}
