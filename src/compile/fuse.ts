/**
 * @file Groups elementwise nodes that run as one instruction.
 *
 * Nodes of one group share shape and depth, where depth counts the edges on the longest path from the leaves that are not
 * direct elementwise-to-elementwise of one shape. A path that leaves a group and comes back would cross such an edge and
 * arrive deeper, so no group depends on itself through others: the graph of groups is acyclic, in linear time. A node that
 * only feeds its own kind waits for the first of them: then the two halves of an optimiser's update meet in one group.
 */
import { sameShape } from "../core/shape.ts";
import { type Node } from "../graph/node.ts";

/** Most nodes of one group: bounds the slots and registers of the instruction. */
const GROUP_LIMIT = 20;

export type Group = Node[];

const fusible = (n: Node): boolean => n.op.kind === "elementwise";

export interface Fused {
  /** Topological for groups too: what needs a group comes after its last node. */
  readonly order: readonly Node[];
  /** The group of each elementwise node, in topological order. */
  readonly groups: ReadonlyMap<Node, Group>;
}

/** Groups of elementwise nodes; `order` must be topological. */
export function fuse(order: readonly Node[]): Fused {
  const depth = new Map<Node, number>();
  const groupOf = new Map<Node, Group>();
  const join = (n: Node, m: Node): void => {
    const a = groupOf.get(n) as Group;
    const b = groupOf.get(m) as Group;
    if (a === b) return;
    const [into, from] = a.length >= b.length ? [a, b] : [b, a];
    for (const x of from) {
      into.push(x);
      groupOf.set(x, into);
    }
  };
  const direct = (n: Node, s: Node): boolean => fusible(n) && fusible(s) && sameShape(n.shape, s.shape);
  for (const n of order) {
    let d = 0;
    for (const s of n.src) d = Math.max(d, (depth.get(s) as number) + (direct(n, s) ? 0 : 1));
    depth.set(n, d);
  }
  // Backwards: the least depth of the users, where all of them are direct ones.
  const latest = new Map<Node, number>();
  for (let i = order.length - 1; i >= 0; i--) {
    const n = order[i];
    const late = latest.get(n);
    if (fusible(n) && late !== undefined && late > (depth.get(n) as number)) depth.set(n, late);
    for (const s of n.src) {
      const limit = direct(n, s) ? (depth.get(n) as number) : (depth.get(s) as number);
      latest.set(s, Math.min(latest.get(s) ?? Number.POSITIVE_INFINITY, limit));
    }
  }
  for (const n of order) {
    if (!fusible(n)) continue;
    groupOf.set(n, [n]);
    for (const s of n.src) if (direct(n, s) && depth.get(s) === depth.get(n)) join(n, s);
  }
  // Topological order within each group, and groups of bounded size: a cut by position keeps the graph acyclic.
  const position = new Map(order.map((n, i) => [n, i]));
  for (const group of new Set(groupOf.values())) {
    group.sort((a, b) => (position.get(a) as number) - (position.get(b) as number));
    if (group.length <= GROUP_LIMIT) continue;
    for (let i = 0; i < group.length; i += GROUP_LIMIT) {
      const part = group.slice(i, i + GROUP_LIMIT);
      for (const n of part) groupOf.set(n, part);
    }
  }
  const byDepth = [...order].sort((a, b) => (depth.get(a) as number) - (depth.get(b) as number));
  return { order: byDepth, groups: groupOf };
}
