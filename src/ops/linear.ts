/** @file What families of linear operations are made of: attributes, the entry of one that is its own tangent map, its axes. */
import type { Shape } from "../core/shape.ts";
import { type Along, type Attrs, makeNode, type Node, type OpDef } from "../graph/node.ts";

export type ShapeAttrs = { readonly shape: Shape };
export type AxisAttrs = { readonly axis: number };
/** Normalised, sorted. */
export type AxesAttrs = { readonly axes: readonly number[] };
export type ReduceAttrs = AxesAttrs & { readonly keepdim: boolean };

/** A linear operation is its own tangent map; its vjp is its adjoint. */
export function linear<A extends Attrs>(
  name: string,
  kind: "linear" | "view",
  pattern: string,
  infer: OpDef<A>["infer"],
  adjoint: (n: Node<A>, g: Node) => Node,
  along: OpDef<A>["along"],
  lift?: (attrs: A, size: number) => A,
  batch?: OpDef<A>["batch"],
  decompose?: OpDef<A>["decompose"],
): OpDef<A> {
  const op: OpDef<A> = {
    name,
    kind,
    pattern,
    infer,
    vjp: (n, g) => [adjoint(n, g)],
    jvp: (n, [t]) => (t ? makeNode<A>(op, [t], n.attrs) : null),
    along,
    lift,
    batch,
    decompose,
  };
  return op;
}

/** Runs along the axes whose extents stay; the others are something else. */
export const keptExtents =
  (other: "free" | "mixed") =>
  (n: Node, i: number): Along[] =>
    n.shape.map((d, a) => (d === n.src[i].shape[a] ? a : other));

/** Runs along all axes of the source but the one it works on. */
export const offAxis = (n: Node<AxisAttrs>, i: number): Along[] =>
  n.shape.map((_, a) => (a === n.attrs.axis || a >= n.src[i].shape.length ? "mixed" : a));
