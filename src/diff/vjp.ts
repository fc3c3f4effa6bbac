/**
 * @file Reverse mode: one walk over the graph against its topological order. The result is graph again, so it nests.
 */
import { isFloat } from "../core/dtype.ts";
import { FourlaneError } from "../core/errors.ts";
import { isOpen, makeNode, type Node, toposort, withSources } from "../graph/node.ts";
import { sumCotangents } from "../ops/cotangents.ts";
import { constantLike } from "../ops/leaf.ts";
import { alias, fence, isDetached } from "../ops/identity.ts";

/** The node that is being differentiated, or made again: for all examples, or for backward. For messages. */
export const walk: { at?: Node; as?: "forward" | "again" } = {};

/** Calls `each` for one node after the other; meanwhile it is the one that is walked. */
export function walkOver(nodes: readonly Node[], as: typeof walk.as, each: (n: Node) => void): void {
  const before = { at: walk.at, as: walk.as };
  try {
    for (const n of nodes) {
      Object.assign(walk, { at: n, as });
      each(n);
    }
  } finally {
    Object.assign(walk, before);
  }
}

/** Cotangents of a node's sources: its own rule, or that of its decomposition. */
export function pullback(n: Node, g: Node): (Node | null)[] {
  if (n.op.vjp) return n.op.vjp(n, g);
  if (n.op.loop) return n.op.loop.back([n], [g], vjp);
  if (n.op.decompose) {
    // Sources of its own: one may be made from another, and that path is the outer walk's.
    const src = n.src.map(alias);
    return vjp([n.op.decompose(withSources(n, src))], [g], src);
  }
  throw new FourlaneError("NO_GRADIENT", `${n.op.name}: has no reverse-mode derivative`);
}

/** The nodes of each region, sources first, with what lies behind detached ones: values a gradient may need. */
function byRegion(outputs: readonly Node[]): Map<object, Node[]> {
  const members = new Map<object, Node[]>();
  for (const n of toposort(outputs)) {
    if (!n.region) continue;
    const list = members.get(n.region);
    if (list) list.push(n);
    else members.set(n.region, [n]);
  }
  return members;
}

/** Results of one loop, those of several in the order given: by the first of them. */
function byLoop(order: readonly Node[]): Map<Node, readonly Node[]> {
  const loops = new Map<Node, Node[]>();
  for (const n of order) {
    if (!n.op.loop) continue;
    const first = [...loops.keys()].find((m) => m.op === n.op && n.op.loop?.together(m, n));
    if (first) (loops.get(first) as Node[]).push(n);
    else loops.set(n, [n]);
  }
  return loops;
}

/**
 * Cotangents of `inputs`, given those of `outputs`; null for an input no output depends on differentiably. An input that
 * another input was made from gets what flows through it too, as in torch.autograd.grad.
 */
export function vjp(outputs: readonly Node[], cotangents: readonly Node[], inputs: readonly Node[]): (Node | null)[] {
  const stops = new Set(inputs);
  const order = toposort(outputs, isDetached);
  const reaches = new Set<Node>();
  for (const n of order) if (isFloat(n.dtype) && (stops.has(n) || n.src.some((s) => reaches.has(s)))) reaches.add(n);

  /** What checkpointed calls computed, computed anew when the gradient of their result is there. */
  const anew = new Map<object, Map<Node, Node>>();
  let members: Map<object, Node[]> | undefined;
  const recomputed = (n: Node, g: Node): Node => {
    // A derivative that is part of a checkpointed call is computed again with it.
    if (!n.region || isOpen(n.region) || stops.has(n)) return n;
    const known = anew.get(n.region);
    if (known) return known.get(n) as Node;
    const copies = new Map<Node, Node>();
    anew.set(n.region, copies);
    members ??= byRegion(outputs);
    walk.as = "again";
    for (const m of members.get(n.region) as Node[]) {
      walk.at = m;
      for (const s of m.src) if (!copies.has(s)) copies.set(s, s.src.length > 0 ? fence(s, g) : s);
      const src = m.src.map((s) => copies.get(s) as Node);
      copies.set(m, src.length === 0 ? m : stops.has(m) ? fence(m, g) : makeNode(m.op, src, m.attrs));
    }
    walk.as = undefined;
    return copies.get(n) as Node;
  };

  /** What has come for a node so far, in the order in which it came; one node once it is summed. */
  const grads = new Map<Node, Node[]>();
  const accumulate = (n: Node, g: Node): void => {
    const before = grads.get(n);
    if (before) before.push(g);
    else grads.set(n, [g]);
  };
  const total = (n: Node): Node | undefined => {
    const terms = grads.get(n);
    if (terms && terms.length > 1) terms.splice(0, terms.length, sumCotangents(terms));
    return terms?.[0];
  };
  outputs.forEach((y, i) => {
    if (reaches.has(y)) accumulate(y, cotangents[i]);
  });
  const loops = byLoop(order);
  const outer = walk.at;
  try {
    for (let k = order.length - 1; k >= 0; k--) {
      const n = order[k];
      if (!n.src.some((s) => reaches.has(s))) continue;
      if (n.op.loop) {
        // When the first of a loop's results is reached, all that uses any of them is behind.
        const results = loops.get(n)?.filter((m) => isFloat(m.dtype)) ?? [];
        const gs = results.map((m) => total(m) ?? null);
        const some = gs.find((g) => g !== null);
        if (!some) continue;
        walk.at = n;
        n.op.loop
          .back(
            results.map((m) => recomputed(m, some)),
            gs,
            vjp,
          )
          .forEach((gi, i) => {
            if (gi && reaches.has(n.src[i])) accumulate(n.src[i], gi);
          });
        continue;
      }
      const g = total(n);
      if (!g) continue;
      const valued = recomputed(n, g);
      walk.at = n;
      pullback(valued, g).forEach((gi, i) => {
        if (gi && reaches.has(n.src[i])) accumulate(n.src[i], gi);
      });
    }
  } finally {
    walk.at = outer;
  }
  return inputs.map((x) => total(x) ?? null);
}

/** Gradients of the sum of y with respect to the inputs; zeros where it does not depend on one. */
export function gradients(y: Node, inputs: readonly Node[]): Node[] {
  return vjp([y], [constantLike(y, 1)], inputs).map((g, i) => g ?? constantLike(inputs[i], 0));
}
