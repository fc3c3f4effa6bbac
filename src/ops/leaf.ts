/** @file Values made of no others: those from outside the graph, constants, the numbers of places. */
import type { DType } from "../core/dtype.ts";
import { numel, type Shape } from "../core/shape.ts";
import { isOp, makeNode, type Node, type OpDef, type Spec } from "../graph/node.ts";

export type LeafAttrs = { readonly shape: Shape; readonly dtype: DType };
export type ConstantAttrs = LeafAttrs & { readonly value: number };

const fromAttrs = (_: readonly Node[], { shape, dtype }: LeafAttrs): Spec => ({ shape, dtype });

/** A value that is bound when a program runs. Its identity is the node itself. */
export const LEAF: OpDef<LeafAttrs> = { name: "leaf", kind: "leaf", pattern: "ends", infer: fromAttrs };

/** One number, repeated over a shape. */
export const CONSTANT: OpDef<ConstantAttrs> = {
  name: "constant",
  kind: "leaf",
  pattern: "ends",
  infer: fromAttrs,
  ref: (_, n) => new Float64Array(numel(n.shape)).fill(n.attrs.value),
};

/** 0, 1, 2, ... in row-major order. */
export const IOTA: OpDef<{ readonly shape: Shape }> = {
  name: "iota",
  kind: "other",
  pattern: "ends",
  infer: (_, attrs) => ({ shape: attrs.shape, dtype: "int32" }),
};

export function leaf(shape: Shape, dtype: DType): Node {
  return makeNode(LEAF, [], { shape, dtype });
}

export function constant(value: number, shape: Shape = [], dtype: DType = "float32"): Node {
  return makeNode(CONSTANT, [], { value: dtype === "float32" ? Math.fround(value) : value, shape, dtype });
}

/** The constant v with the shape and dtype of n. */
export function constantLike(n: Spec, v: number): Node {
  return constant(v, n.shape, n.dtype);
}

/** The value of a constant node, or undefined for any other node. */
export function constantValue(n: Node): number | undefined {
  return isOp(n, CONSTANT) ? n.attrs.value : undefined;
}

/** 0, 1, 2, ... as int32, in row-major order. */
export function iota(shape: Shape): Node {
  return makeNode(IOTA, [], { shape });
}
