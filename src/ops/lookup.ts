/** @file Elements chosen by an index tensor: gather | scatterAdd, each the other's adjoint; and who was last to write. */
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { isFloat } from "../core/dtype.ts";
import { numel, type Shape, show } from "../core/shape.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";
import { liftAxis } from "./lift.ts";
import { type AxisAttrs, offAxis } from "./linear.ts";
import { expand, reshape } from "./movement.ts";

function checkIndex(op: string, index: Node, bound: number): void {
  if (index.dtype !== "int32") throw new DTypeError(`${op}: the index must be int32, got ${index.dtype}`);
  if (bound === 0 && numel(index.shape) > 0)
    throw new ValueError(`${op}: no index fits an axis of extent 0, the index has shape ${show(index.shape)}`);
}

function checkNumbers(op: string, x: Node): void {
  if (x.dtype !== "float32" && x.dtype !== "int32") throw new DTypeError(`${op}: dtype ${x.dtype} is not supported`);
}

const replaced = (shape: Shape, axis: number, extent: number): number[] =>
  shape.map((d, i) => (i === axis ? extent : d));

export type ScatterAttrs = { readonly axis: number; readonly extent: number };

const GATHER: OpDef<AxisAttrs> = {
  name: "gather",
  lift: liftAxis,
  kind: "other",
  along: offAxis,
  pattern: "scatters",
  infer: ([x, index], { axis }) => {
    checkNumbers("gather", x);
    checkIndex("gather", index, x.shape[axis]);
    if (show(replaced(x.shape, axis, index.shape[axis])) !== show(index.shape))
      throw new ShapeError(`gather: shapes ${show(x.shape)} and ${show(index.shape)} differ off axis ${axis}`);
    return { shape: index.shape, dtype: x.dtype };
  },
  vjp: (n, g) => {
    const { axis } = n.attrs;
    return [isFloat(n.dtype) ? scatterAdd(g, n.src[1], axis, n.src[0].shape[axis]) : null, null];
  },
  jvp: (n, [t]) => (t ? gather(t, n.src[1], n.attrs.axis) : null),
};

const SCATTER_ADD: OpDef<ScatterAttrs> = {
  name: "scatterAdd",
  lift: liftAxis,
  kind: "other",
  along: offAxis,
  pattern: "gathers",
  infer: ([x, index], { axis, extent }) => {
    checkNumbers("scatterAdd", x);
    checkIndex("scatterAdd", index, extent);
    if (show(x.shape) !== show(index.shape))
      throw new ShapeError(`scatterAdd: shapes ${show(x.shape)} and ${show(index.shape)} of values and index differ`);
    return { shape: replaced(x.shape, axis, extent), dtype: x.dtype };
  },
  vjp: (n, g) => [isFloat(n.dtype) ? gather(g, n.src[1], n.attrs.axis) : null, null],
  jvp: (n, [t]) => (t ? makeNode(SCATTER_ADD, [t, n.src[1]], n.attrs) : null),
};

/** Along the axis: the last position of the index that names a place, -1 if none does. */
const SCATTER_LAST: OpDef<ScatterAttrs> = {
  name: "scatterLast",
  lift: liftAxis,
  kind: "other",
  pattern: "stops",
  infer: ([index], { axis, extent }) => {
    checkIndex("scatterLast", index, extent);
    return { shape: replaced(index.shape, axis, extent), dtype: "int32" };
  },
};

/**
 * Element index[..., i, ...] along the axis, for each i; index and x have equal extents off the axis. An index outside it
 * fails the step with an IndexError.
 */
export function gather(x: Node, index: Node, axis: number): Node {
  return makeNode(GATHER, [x, index], { axis });
}

/** Zeros with `extent` places along the axis, plus each element of x at the place its index names, in order. */
export function scatterAdd(x: Node, index: Node, axis: number, extent: number): Node {
  return makeNode(SCATTER_ADD, [x, index], { axis, extent });
}

/** Which element along the axis would be written last to each of `extent` places; -1 where none is. */
export function scatterLast(index: Node, axis: number, extent: number): Node {
  return makeNode(SCATTER_LAST, [index], { axis, extent });
}

/** An index of rank 1 as one along an axis of a shape: the same for all rows, which costs no memory. */
export function alongAxis(index: Node, shape: Shape, axis: number): Node {
  const flat = reshape(
    index,
    shape.map((_, i) => (i === axis ? index.shape[0] : 1)),
  );
  return expand(flat, replaced(shape, axis, index.shape[0]));
}

export const LOOKUP = { gather: GATHER, scatterAdd: SCATTER_ADD, scatterLast: SCATTER_LAST };
