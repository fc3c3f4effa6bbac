/**
 * @file Groups elementwise nodes that run as one instruction.
 *
 * Nodes of one group share shape and depth, where depth counts the edges on the longest path from the leaves that are not
 * direct elementwise-to-elementwise of one shape. A path that leaves a group and comes back would cross such an edge and
 * arrive deeper, so no group depends on itself through others: the graph of groups is acyclic, in linear time. A node that
 * only feeds its own kind waits for the first of them: then the two halves of an optimiser's update meet in one group.
 */
import { sameShape } from "../core/shape.ts";
import { type Computation, type Node, toposort } from "../graph/node.ts";

/**
 * Most nodes of one group: with few operands they fit into one instruction. Lowering, which knows what operands are, halves
 * those that do not.
 */
const GROUP_LIMIT = 20;

export type Group = Node[];

const fusible = (n: Node): boolean => n.op.kind === "elementwise";

export interface Fused {
  /** Topological for groups too: what needs a group comes after its last node. */
  readonly order: readonly Node[];
  /** The group of each elementwise node, in topological order. */
  readonly groups: ReadonlyMap<Node, Group>;
}

/** The nodes of a graph in an order to lower them in, and groups of the elementwise ones. */
export function fuse({ inputs, residents, outputs, updates }: Computation): Fused {
  const order = toposort([...inputs, ...residents, ...outputs, ...updates]);
  // Nodes by their position, edges one after the other: source `source[e]` of node i for e from first[i] to first[i + 1].
  const count = order.length;
  const position = new Map<Node, number>();
  const first = new Int32Array(count + 1);
  for (let i = 0; i < count; i++) {
    position.set(order[i], i);
    first[i + 1] = first[i] + order[i].src.length;
  }
  const source = new Int32Array(first[count]);
  /** Whether the edge is elementwise to elementwise of one shape. */
  const direct = new Uint8Array(first[count]);
  const depth = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const n = order[i];
    const can = fusible(n);
    for (let e = first[i]; e < first[i + 1]; e++) {
      const s = n.src[e - first[i]];
      const p = position.get(s) as number;
      source[e] = p;
      direct[e] = can && fusible(s) && sameShape(n.shape, s.shape) ? 1 : 0;
      depth[i] = Math.max(depth[i], depth[p] + 1 - direct[e]);
    }
  }
  // Backwards: the least depth of the users, where all of them are direct ones.
  const latest = new Int32Array(count).fill(-1);
  for (let i = count - 1; i >= 0; i--) {
    if (fusible(order[i]) && latest[i] > depth[i]) depth[i] = latest[i];
    for (let e = first[i]; e < first[i + 1]; e++) {
      const p = source[e];
      const limit = depth[direct[e] ? i : p];
      if (latest[p] < 0 || limit < latest[p]) latest[p] = limit;
    }
  }
  // Nodes that direct edges of one depth join, by a representative: union-find.
  const parent = Int32Array.from({ length: count }, (_, i) => i);
  const find = (i: number): number => {
    let at = i;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]];
      at = parent[at];
    }
    return at;
  };
  for (let i = 0; i < count; i++)
    for (let e = first[i]; e < first[i + 1]; e++)
      if (direct[e] && depth[source[e]] === depth[i]) parent[find(source[e])] = find(i);
  // Groups of bounded size: a cut by position keeps the graph acyclic.
  const groups = new Map<Node, Group>();
  const open = new Map<number, Group>();
  for (let i = 0; i < count; i++) {
    if (!fusible(order[i])) continue;
    const root = find(i);
    let group = open.get(root);
    if (!group || group.length === GROUP_LIMIT) {
      group = [];
      open.set(root, group);
    }
    group.push(order[i]);
    groups.set(order[i], group);
  }
  return { order: sortByDepth(order, depth), groups };
}

/** Sorted by depth, in linear time; nodes of one depth keep their order. */
function sortByDepth(order: readonly Node[], depth: Int32Array): Node[] {
  const at = new Int32Array(depth.reduce((a, b) => Math.max(a, b), 0) + 2);
  for (const d of depth) at[d + 1]++;
  for (let d = 1; d < at.length; d++) at[d] += at[d - 1];
  const sorted = new Array<Node>(order.length);
  for (let i = 0; i < order.length; i++) sorted[at[depth[i]]++] = order[i];
  return sorted;
}
