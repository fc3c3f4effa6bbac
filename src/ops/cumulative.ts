/** @file Running sums along an axis, from the front | from the back, each the other's adjoint. */
import { DTypeError } from "../core/errors.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";
import { liftAxis } from "./lift.ts";
import { linear, offAxis } from "./linear.ts";

export type CumsumAttrs = { readonly axis: number; readonly reverse: boolean };

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

/** Sums of everything up to each element along an axis; with `reverse`, of everything from it on. */
export function cumsum(x: Node, axis: number, reverse = false): Node {
  return makeNode(CUMSUM, [x], { axis, reverse });
}

export const CUMULATIVE = { cumsum: CUMSUM };
