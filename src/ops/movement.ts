/**
 * @file Operations that move elements, and sums. Each stands beside its adjoint: expand | sum, permute | inverse permute,
 * reshape | reshape back, slice | pad, flip | flip. Forward and backward are duals here: a copy's gradient is a sum, a
 * sum's gradient is a copy.
 */
import { isFloat } from "../core/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { numel, reducedShape, sameShape, type Shape, show } from "../core/shape.ts";
import { makeNode, type NoAttrs, type Node, type OpDef } from "../graph/node.ts";
import { constantLike } from "./leaf.ts";
import { liftAxes, liftAxis, liftShape } from "./lift.ts";
import { type AxesAttrs, type AxisAttrs, keptExtents, linear, type ReduceAttrs, type ShapeAttrs } from "./linear.ts";

type Steps = { readonly begin: readonly number[]; readonly step: readonly number[] };
export type SliceAttrs = Steps & { readonly size: Shape };
/** Begins and steps along all axes, of one source after the other. */
export type PadAttrs = Steps & { readonly shape: Shape };

/** x at positions begin + k*step along each axis of a larger tensor. */
export interface Piece extends Steps {
  readonly x: Node;
}

// --- expand | sum -----------------------------------------------------------------------------------------------------

const EXPAND: OpDef<ShapeAttrs> = linear<ShapeAttrs>(
  "expand",
  "view",
  "sums",
  ([x], { shape }) => {
    if (shape.length !== x.shape.length || x.shape.some((d, i) => d !== 1 && d !== shape[i]))
      throw new ShapeError(`expand: cannot expand ${show(x.shape)} to ${show(shape)}`);
    return { shape, dtype: x.dtype };
  },
  (n, g) => sumTo(g, n.src[0].shape),
  keptExtents("free"),
  liftShape,
);

const SUM: OpDef<ReduceAttrs> = linear<ReduceAttrs>(
  "sum",
  "linear",
  "copies",
  ([x], attrs) => {
    if (x.dtype !== "float32" && x.dtype !== "int32") throw new DTypeError(`sum: dtype ${x.dtype} is not supported`);
    return { shape: reducedShape(x.shape, attrs.axes, attrs.keepdim), dtype: x.dtype };
  },
  (n, g) => expandBack(g, n.src[0].shape, n.attrs.axes),
  (n) => {
    const { axes, keepdim } = n.attrs;
    return n.src[0].shape.flatMap((_, a) => (!axes.includes(a) ? a : keepdim ? "free" : []));
  },
  liftAxes,
);

/** x broadcast to a shape by NumPy's rules. */
export function expand(x: Node, shape: Shape): Node {
  if (sameShape(x.shape, shape)) return x;
  const lead = shape.length - x.shape.length;
  const padded = lead > 0 ? reshape(x, [...new Array<number>(lead).fill(1), ...x.shape]) : x;
  return sameShape(padded.shape, shape) ? padded : makeNode(EXPAND, [padded], { shape });
}

/** Sum over axes (normalised, sorted). */
export function sum(x: Node, axes: readonly number[], keepdim = false): Node {
  return axes.length === 0 ? x : makeNode(SUM, [x], { axes, keepdim });
}

/** The adjoint of broadcasting: sums g down to a shape. */
export function sumTo(g: Node, shape: Shape): Node {
  if (sameShape(g.shape, shape)) return g;
  const lead = g.shape.length - shape.length;
  const axes = g.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && g.shape[i] !== 1));
  const kept = sum(g, axes, true);
  return reshape(kept, shape);
}

/** Undoes a reduction's shape: reinserts the axes and copies along them. */
export function expandBack(g: Node, shape: Shape, axes: readonly number[]): Node {
  return expand(reshape(g, reducedShape(shape, axes, true)), shape);
}

// --- reshape, permute, flip: their own kind is their adjoint ----------------------------------------------------------------

const RESHAPE: OpDef<ShapeAttrs> = linear<ShapeAttrs>(
  "reshape",
  "view",
  "passes",
  ([x], { shape }) => {
    if (numel(shape) !== numel(x.shape))
      throw new ShapeError(`reshape: cannot reshape ${show(x.shape)} to ${show(shape)}`);
    return { shape, dtype: x.dtype };
  },
  (n, g) => reshape(g, n.src[0].shape),
  "flat",
  liftShape,
);

const PERMUTE: OpDef<AxesAttrs> = linear<AxesAttrs>(
  "permute",
  "view",
  "passes",
  ([x], { axes }) => {
    if (axes.length !== x.shape.length || new Set(axes).size !== axes.length)
      throw new ValueError(`permute: axes ${show(axes)} do not fit shape ${show(x.shape)}`);
    return { shape: axes.map((a) => x.shape[a]), dtype: x.dtype };
  },
  (n, g) => {
    const { axes } = n.attrs;
    return permute(
      g,
      axes.map((_, i) => axes.indexOf(i)),
    );
  },
  (n) => n.attrs.axes,
  undefined,
  (n, [x]) => permute(x, [0, ...n.attrs.axes.map((a) => a + 1)]),
);

const FLIP: OpDef<AxesAttrs> = linear<AxesAttrs>(
  "flip",
  "view",
  "passes",
  ([x]) => ({ shape: x.shape, dtype: x.dtype }),
  (n, g) => makeNode(FLIP, [g], n.attrs),
  (n) => n.shape.map((_, a) => (n.attrs.axes.includes(a) ? { reversed: a } : a)),
  liftAxes,
);

export function reshape(x: Node, shape: Shape): Node {
  return sameShape(x.shape, shape) ? x : makeNode(RESHAPE, [x], { shape });
}

export function permute(x: Node, axes: readonly number[]): Node {
  return axes.every((a, i) => a === i) ? x : makeNode(PERMUTE, [x], { axes });
}

/** Swaps the last two axes. */
export function transposeLast(x: Node): Node {
  const r = x.shape.length;
  return permute(x, [...Array(r - 2).keys(), r - 1, r - 2]);
}

export function flip(x: Node, axes: readonly number[]): Node {
  return axes.length === 0 ? x : makeNode(FLIP, [x], { axes });
}

// --- slice | pad ------------------------------------------------------------------------------------------------------------

const liftSteps = <A extends Steps>(attrs: A): A => ({
  ...attrs,
  begin: [0, ...attrs.begin],
  step: [1, ...attrs.step],
});

/** Elements begin[i] + k*step[i], k < the result's extent. Steps are positive. */
const SLICE: OpDef<SliceAttrs> = linear<SliceAttrs>(
  "slice",
  "view",
  "pads",
  ([x], { begin, size, step }) => {
    x.shape.forEach((d, i) => {
      const last = begin[i] + (size[i] - 1) * step[i];
      if (begin[i] < 0 || size[i] < 0 || step[i] < 1 || (size[i] > 0 && last >= d))
        throw new ValueError(
          `slice: begin ${show(begin)}, size ${show(size)}, step ${show(step)} leave ${show(x.shape)}`,
        );
    });
    return { shape: size, dtype: x.dtype };
  },
  (n, g) => makeNode(PAD, [g], { begin: n.attrs.begin, step: n.attrs.step, shape: n.src[0].shape }),
  keptExtents("mixed"),
  (attrs, count) => ({ ...liftSteps(attrs), size: [count, ...attrs.size] }),
);

/** The sources at positions begin + k*step of a result of zeros: what is added to a tensor's gradient by its slices. No two of them overlap. */
const PAD: OpDef<PadAttrs> = {
  name: "pad",
  kind: "linear",
  along: keptExtents("mixed"),
  pattern: "slices",
  lift: ({ begin, step, shape }, count) => {
    const each = (list: readonly number[], first: number): number[] =>
      shape.length === 0 ? [first] : list.flatMap((v, i) => (i % shape.length === 0 ? [first, v] : v));
    return { begin: each(begin, 0), step: each(step, 1), shape: [count, ...shape] };
  },
  infer: (src, attrs) => {
    const { shape } = attrs;
    const { dtype } = src[0];
    for (const { x, begin, step } of piecesOf(src, attrs)) {
      if (x.dtype !== dtype) throw new DTypeError(`pad: dtypes ${dtype} and ${x.dtype} differ`);
      x.shape.forEach((d, i) => {
        if (begin[i] < 0 || (d > 0 && begin[i] + (d - 1) * step[i] >= shape[i]))
          throw new ValueError(`pad: ${show(x.shape)} at ${show(begin)} step ${show(step)} leaves ${show(shape)}`);
      });
    }
    return { shape, dtype };
  },
  vjp: (n, g) =>
    piecesOf(n.src, n.attrs).map(({ x, begin, step }) =>
      isFloat(x.dtype) ? makeNode(SLICE, [g], { begin, step, size: x.shape }) : null,
    ),
  jvp: (n, ts) => {
    const moved = piecesOf(n.src, n.attrs).flatMap((piece, i) => {
      const x = ts[i];
      return x ? { ...piece, x } : [];
    });
    return moved.length > 0 ? padAll(moved, n.shape) : null;
  },
};

/** The sources of a pad, each with its place. */
export function piecesOf(src: readonly Node[], { begin, step, shape }: PadAttrs): Piece[] {
  const r = shape.length;
  return src.map((x, i) => ({ x, begin: begin.slice(i * r, (i + 1) * r), step: step.slice(i * r, (i + 1) * r) }));
}

/** Pieces of which no two overlap, and zeros where none is. */
export function padAll(pieces: readonly Piece[], shape: Shape): Node {
  const begin = pieces.flatMap((p) => p.begin);
  const step = pieces.flatMap((p) => p.step);
  return makeNode(
    PAD,
    pieces.map((p) => p.x),
    { begin, step, shape },
  );
}

export function slice(x: Node, begin: readonly number[], size: readonly number[], step?: readonly number[]): Node {
  const steps = step ?? begin.map(() => 1);
  if (sameShape(size, x.shape) && begin.every((b) => b === 0) && steps.every((s) => s === 1)) return x;
  return makeNode(SLICE, [x], { begin, size, step: steps });
}

/** x inside a larger tensor of zeros, from `begin` on. */
export function pad(x: Node, begin: readonly number[], shape: Shape): Node {
  return sameShape(x.shape, shape) ? x : padAll([{ x, begin, step: begin.map(() => 1) }], shape);
}

// --- concat | slices --------------------------------------------------------------------------------------------------------

const CONCAT: OpDef<AxisAttrs> = {
  name: "concat",
  lift: liftAxis,
  kind: "linear",
  along: keptExtents("mixed"),
  pattern: "splits",
  infer: (src, { axis }) => {
    const [x] = src;
    for (const y of src) {
      if (y.dtype !== x.dtype) throw new DTypeError(`concat: dtypes ${x.dtype} and ${y.dtype} differ`);
      if (y.shape.length !== x.shape.length || y.shape.some((d, i) => i !== axis && d !== x.shape[i]))
        throw new ShapeError(`concat: shapes ${show(x.shape)} and ${show(y.shape)} differ off axis ${axis}`);
    }
    const total = src.reduce((s, y) => s + y.shape[axis], 0);
    return { shape: x.shape.map((d, i) => (i === axis ? total : d)), dtype: x.dtype };
  },
  vjp: (n, g) => {
    let at = 0;
    return n.src.map((x) => {
      const begin = x.shape.map((_, i) => (i === n.attrs.axis ? at : 0));
      at += x.shape[n.attrs.axis];
      return isFloat(x.dtype) ? slice(g, begin, x.shape) : null;
    });
  },
  jvp: (n, ts) =>
    ts.every((t) => t === null)
      ? null
      : makeNode(
          CONCAT,
          n.src.map((x, i) => ts[i] ?? constantLike(x, 0)),
          n.attrs,
        ),
};

export function concat(xs: readonly Node[], axis: number): Node {
  return xs.length === 1 ? xs[0] : makeNode(CONCAT, xs, { axis });
}

// --- bytes ------------------------------------------------------------------------------------------------------------------

const BYTES: OpDef<NoAttrs> = {
  name: "bytes",
  kind: "other",
  pattern: "stops",
  infer: ([x]) => {
    if (x.dtype !== "int32" || x.shape.length === 0)
      throw new DTypeError(`bytes: int32 of rank 1 or more is wanted, got ${x.dtype}${show(x.shape)}`);
    return { shape: [...x.shape.slice(0, -1), 4 * x.shape[x.shape.length - 1]], dtype: "uint8" };
  },
};

/** The bytes of int32 words as uint8, the lowest first: [..., n] gives [..., 4 n]. */
export function bytes(x: Node): Node {
  return makeNode(BYTES, [x]);
}

// --- batches ----------------------------------------------------------------------------------------------------------------

/** The sources of an operation for a batch of `size` examples: those without a batch axis in front, repeated. */
export function forEveryExample(src: readonly Node[], has: readonly boolean[], size: number): Node[] {
  return src.map((s, i) => (has[i] ? s : expand(s, [size, ...s.shape])));
}

export const MOVEMENT = {
  expand: EXPAND,
  sum: SUM,
  reshape: RESHAPE,
  permute: PERMUTE,
  flip: FLIP,
  slice: SLICE,
  pad: PAD,
  concat: CONCAT,
  bytes: BYTES,
};
