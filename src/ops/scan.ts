/** @file Along an axis: running sums, from the front | from the back, each the other's adjoint; and the sorted order. */
import { DTypeError } from "../core/errors.ts";
import { numel } from "../core/shape.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";
import { linear, offAxis } from "./structure.ts";

const CUMSUM: OpDef = linear(
  "cumsum",
  "linear",
  "sums",
  ([x]) => {
    if (x.dtype !== "float32" && x.dtype !== "int32")
      throw new DTypeError(`cumsum: dtype ${x.dtype} is not supported, only float32 and int32`);
    return { shape: x.shape, dtype: x.dtype };
  },
  (n, g) => cumsum(g, n.attrs.axis as number, !n.attrs.reverse),
  ([x], n) => {
    const { axis, reverse } = n.attrs as { axis: number; reverse: boolean };
    const inner = numel(x.shape.slice(axis + 1));
    const out = x.data.slice();
    const start = (i: number): boolean => Math.floor(i / inner) % x.shape[axis] === (reverse ? x.shape[axis] - 1 : 0);
    const order = [...out.keys()];
    for (const i of reverse ? order.reverse() : order) if (!start(i)) out[i] += out[reverse ? i + inner : i - inner];
    return n.dtype === "int32" ? out.map((v) => v | 0) : out;
  },
  offAxis,
);

/** The positions along the last axis in stable sorted order; NaN counts as the largest. */
const ARGSORT: OpDef = {
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
  ref: ([x], n) => {
    const cols = x.shape[x.shape.length - 1];
    const sign = n.attrs.descending ? -1 : 1;
    const ascending = (a: number, b: number): number =>
      Number.isNaN(a) || Number.isNaN(b) ? Number(Number.isNaN(a)) - Number(Number.isNaN(b)) : Math.sign(a - b) || 0;
    const out = new Float64Array(x.data.length);
    for (let r = 0; r < x.data.length; r += cols) {
      const row = x.data.subarray(r, r + cols);
      // Equal infinities have no difference.
      const compare = (i: number, j: number): number => (row[i] === row[j] ? 0 : sign * ascending(row[i], row[j]));
      out.set([...row.keys()].sort(compare), r);
    }
    return out;
  },
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
