/** @file Along an axis: running sums, from the front | from the back, each the other's adjoint; and the sorted order. */
import { DTypeError } from "../core/errors.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";
import { liftAxis } from "./lift.ts";
import { linear, offAxis } from "./structure.ts";

export type CumsumAttrs = { readonly axis: number; readonly reverse: boolean };
export type ArgsortAttrs = { readonly descending: boolean };

const CUMSUM: OpDef<CumsumAttrs> = linear<CumsumAttrs>(
  "cumsum",
  "linear",
  "sums",
  ([x]) => {
    if (x.dtype !== "float32" && x.dtype !== "int32")
      throw new DTypeError(`cumsum: dtype ${x.dtype} is not supported, only float32 and int32`);
    return { shape: x.shape, dtype: x.dtype };
  },
  (n, g) => cumsum(g, n.attrs.axis, !n.attrs.reverse),
  offAxis,
  liftAxis,
);

/** The positions along the last axis in stable sorted order; NaN counts as the largest. */
const ARGSORT: OpDef<ArgsortAttrs> = {
  name: "argsort",
  kind: "other",
  pattern: "stops",
  infer: ([x]) => {
    if (x.dtype !== "float32" && x.dtype !== "int32")
      throw new DTypeError(`argsort: dtype ${x.dtype} is not supported, only float32 and int32`);
    return { shape: x.shape, dtype: "int32" };
  },
  vjp: () => [null],
  jvp: () => null,
};

/** Sums of everything up to each element along an axis; with `reverse`, of everything from it on. */
export function cumsum(x: Node, axis: number, reverse = false): Node {
  return makeNode(CUMSUM, [x], { axis, reverse });
}

/** Positions in sorted order along the last axis. */
export function argsort(x: Node, descending: boolean): Node {
  return makeNode(ARGSORT, [x], { descending });
}

export const SCAN = { cumsum: CUMSUM, argsort: ARGSORT };
