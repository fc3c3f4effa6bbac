/** @file Leaves: values from outside the graph, and constants. */
import type { DType } from "../core/dtype.ts";
import { numel, type Shape } from "../core/shape.ts";
import { makeNode, type Node, type OpDef, type Spec } from "../graph/node.ts";

const fromAttrs = (_: readonly Node[], attrs: Readonly<Record<string, unknown>>): Spec => ({
  shape: attrs.shape as Shape,
  dtype: attrs.dtype as DType,
});

/** A value that is bound when a program runs. Its identity is the node itself. */
export const LEAF: OpDef = { name: "leaf", kind: "leaf", pattern: "ends", infer: fromAttrs };

/** One number, repeated over a shape. */
export const CONSTANT: OpDef = {
  name: "constant",
  kind: "leaf",
  pattern: "ends",
  infer: fromAttrs,
  ref: (_, n) => new Float64Array(numel(n.shape)).fill(n.attrs.value as number),
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
  return n.op === CONSTANT ? (n.attrs.value as number) : undefined;
}
