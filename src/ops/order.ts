/** @file The sorted order along an axis. */
import { DTypeError } from "../core/errors.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";

export type ArgsortAttrs = { readonly descending: boolean };

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

/** Positions in sorted order along the last axis. */
export function argsort(x: Node, descending: boolean): Node {
  return makeNode(ARGSORT, [x], { descending });
}

export const ORDER = { argsort: ARGSORT };
