/**
 * @file Windows that slide along an axis: windows | fold, each the other's adjoint. A convolution is windows and a matrix
 * product, a pooling is windows and a reduction; what flows back is folded.
 */
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { isFloat } from "../core/dtype.ts";
import { show } from "../core/shape.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";
import { liftAxis } from "./lift.ts";
import { linear, offAxis } from "./linear.ts";
import { slice } from "./movement.ts";

export type WindowSizes = {
  /** Elements of a window. */
  readonly size: number;
  /** From one window to the next. */
  readonly step: number;
  /** From one element of a window to the next. */
  readonly dilation: number;
};

export type WindowAttrs = WindowSizes & { readonly axis: number };
export type FoldAttrs = Omit<WindowAttrs, "size"> & { readonly extent: number };

/** Elements from the first to behind the last of a window, or of `count` windows. */
export function span({ size, step, dilation }: WindowSizes, count = 1): number {
  return (count - 1) * step + dilation * (size - 1) + 1;
}

/** Strides of the windows along an axis of elements with these strides; those of the elements of a window come last. */
export function windowStrides(strides: readonly number[], { axis, step, dilation }: WindowAttrs): number[] {
  return [...strides.map((s, i) => (i === axis ? s * step : s)), strides[axis] * dilation];
}

/** Element t of window w, element w * step + t * dilation of the axis; the t are a new last axis. */
const WINDOWS: OpDef<WindowAttrs> = linear<WindowAttrs>(
  "windows",
  "view",
  "folds",
  ([x], { axis, ...w }) => {
    for (const [name, v] of Object.entries(w))
      if (!Number.isInteger(v) || v < 1) throw new ValueError(`unfold: ${name} must be a positive integer, got ${v}`);
    const count = Math.floor((x.shape[axis] - span(w)) / w.step) + 1;
    if (count < 1)
      throw new ShapeError(`unfold: axis ${axis} of shape ${show(x.shape)} is shorter than a window of ${span(w)}`);
    return { shape: [...x.shape.map((d, i) => (i === axis ? count : d)), w.size], dtype: x.dtype };
  },
  (n, g) => {
    const { axis, step, dilation } = n.attrs;
    return fold(g, axis, { step, dilation }, n.src[0].shape[axis]);
  },
  offAxis,
  liftAxis,
);

/** The sum of all elements of windows that lie over each other, along an axis of `extent` elements. */
const FOLD: OpDef<FoldAttrs> = linear<FoldAttrs>(
  "fold",
  "linear",
  "unfolds",
  ([x], { axis, step, dilation, extent }) => {
    if (!isFloat(x.dtype)) throw new DTypeError(`fold: dtype ${x.dtype} is not supported, only float32`);
    const size = x.shape[x.shape.length - 1];
    if (span({ size, step, dilation }, x.shape[axis]) > extent)
      throw new ShapeError(`fold: windows ${show(x.shape)} along axis ${axis} leave an axis of extent ${extent}`);
    return { shape: x.shape.slice(0, -1).map((d, i) => (i === axis ? extent : d)), dtype: x.dtype };
  },
  (n, g) => {
    const { axis, step, dilation } = n.attrs;
    const [x] = n.src;
    const size = x.shape[x.shape.length - 1];
    const used = span({ size, step, dilation }, x.shape[axis]);
    const cut = slice(
      g,
      g.shape.map(() => 0),
      g.shape.map((d, i) => (i === axis ? used : d)),
    );
    return windows(cut, axis, { size, step, dilation });
  },
  offAxis,
  liftAxis,
);

/** Windows along an axis: [..., L, ...] to [..., count, ..., size]. */
export function windows(x: Node, axis: number, sizes: WindowSizes): Node {
  const { size, step, dilation } = sizes;
  return makeNode(WINDOWS, [x], { axis, size, step, dilation });
}

/** Windows along an axis added up: [..., count, ..., size] to [..., extent, ...]; elements no window has are 0. */
export function fold(x: Node, axis: number, sizes: Omit<WindowSizes, "size">, extent: number): Node {
  const { step, dilation } = sizes;
  return makeNode(FOLD, [x], { axis, step, dilation, extent });
}

export const WINDOW = { windows: WINDOWS, fold: FOLD };
