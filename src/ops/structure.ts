/**
 * @file Operations that move elements, and sums. Each stands beside its adjoint: expand | sum, permute | inverse permute,
 * reshape | reshape back, slice | pad, flip | flip. Forward and backward are duals here: a copy's gradient is a sum, a
 * sum's gradient is a copy.
 */
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { isFloat } from "../core/dtype.ts";
import { numel, reducedShape, sameShape, type Shape, show } from "../core/shape.ts";
import { type Along, type Attrs, makeNode, type NoAttrs, type Node, type OpDef } from "../graph/node.ts";
import { apply, cast, COMPARE, div, mul, where } from "./elementwise.ts";
import { constantLike } from "./leaf.ts";
import { liftAxes, liftAxis, liftShape } from "./lift.ts";

export type ShapeAttrs = { readonly shape: Shape };
export type AxisAttrs = { readonly axis: number };
/** Normalised, sorted. */
export type AxesAttrs = { readonly axes: readonly number[] };
export type ReduceAttrs = AxesAttrs & { readonly keepdim: boolean };
export type ArgReduceAttrs = AxisAttrs & { readonly keepdim: boolean };
type Steps = { readonly begin: readonly number[]; readonly step: readonly number[] };
export type SliceAttrs = Steps & { readonly size: Shape };
export type PadAttrs = Steps & { readonly shape: Shape };

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
  };
  return op;
}

/** Runs along the axes whose extents stay; the others are something else. */
const keptExtents =
  (other: "free" | "mixed") =>
  (n: Node, i: number): Along[] =>
    n.shape.map((d, a) => (d === n.src[i].shape[a] ? a : other));

/** Runs along all axes of the source but the one it works on. */
export const offAxis = (n: Node<AxisAttrs>, i: number): Along[] =>
  n.shape.map((_, a) => (a === n.attrs.axis || a >= n.src[i].shape.length ? "mixed" : a));

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

/** The source at positions begin + k*step of a result of zeros. */
const PAD: OpDef<PadAttrs> = linear<PadAttrs>(
  "pad",
  "linear",
  "slices",
  ([x], { begin, step, shape }) => {
    x.shape.forEach((d, i) => {
      if (begin[i] < 0 || (d > 0 && begin[i] + (d - 1) * step[i] >= shape[i]))
        throw new ValueError(`pad: ${show(x.shape)} at ${show(begin)} step ${show(step)} leaves ${show(shape)}`);
    });
    return { shape, dtype: x.dtype };
  },
  (n, g) => makeNode(SLICE, [g], { begin: n.attrs.begin, step: n.attrs.step, size: n.src[0].shape }),
  keptExtents("mixed"),
  (attrs, count) => liftShape(liftSteps(attrs), count),
);

export function slice(x: Node, begin: readonly number[], size: readonly number[], step?: readonly number[]): Node {
  const steps = step ?? begin.map(() => 1);
  if (sameShape(size, x.shape) && begin.every((b) => b === 0) && steps.every((s) => s === 1)) return x;
  return makeNode(SLICE, [x], { begin, size, step: steps });
}

/** x inside a larger tensor of zeros, from `begin` on. */
export function pad(x: Node, begin: readonly number[], shape: Shape): Node {
  return sameShape(x.shape, shape) ? x : makeNode(PAD, [x], { begin, step: begin.map(() => 1), shape });
}

/** The elements of x `step` apart along each axis, zeros between them. */
export function spread(x: Node, step: readonly number[], shape: Shape): Node {
  return step.every((s) => s === 1) ? x : makeNode(PAD, [x], { begin: step.map(() => 0), step, shape });
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

// --- max, min: the gradient is routed to the winners, shared equally among ties, as PyTorch's amax --------------------------

const checkNonEmpty = (name: string, x: Node, axes: readonly number[]): void => {
  if (axes.some((a) => x.shape[a] === 0))
    throw new ShapeError(`${name}: cannot reduce the empty axes ${show(axes)} of shape ${show(x.shape)}`);
};

function extremum(name: "max" | "min"): OpDef<ReduceAttrs> {
  return {
    name,
    lift: liftAxes,
    kind: "other",
    pattern: "routes",
    infer: ([x], attrs) => {
      checkNonEmpty(name, x, attrs.axes);
      if (x.dtype !== "float32" && x.dtype !== "int32")
        throw new DTypeError(`${name}: dtype ${x.dtype} is not supported`);
      return { shape: reducedShape(x.shape, attrs.axes, attrs.keepdim), dtype: x.dtype };
    },
    vjp: (n, g) => {
      const [x] = n.src;
      const { axes } = n.attrs;
      const mask = cast(winners(n), "float32");
      const share = div(mask, expandBack(sum(mask, axes, true), x.shape, axes));
      return [mul(expandBack(g, x.shape, axes), share)];
    },
    jvp: (n, [t]) => {
      if (!t) return null;
      const { axes } = n.attrs;
      const mask = cast(winners(n), "float32");
      const keep = n.attrs.keepdim;
      const hit = sum(where(winners(n), t, constantLike(t, 0)), axes, keep);
      return div(hit, sum(mask, axes, keep));
    },
  };
}

/** Where x equals its reduction. */
function winners(n: Node<ReduceAttrs>): Node {
  const [x] = n.src;
  return apply(COMPARE.eq, x, expandBack(n, x.shape, n.attrs.axes));
}

/** Half of the axis times the other half, until one is left: any derivative of it is right where elements are 0. */
const PROD: OpDef<ReduceAttrs> = {
  name: "prod",
  lift: liftAxes,
  kind: "other",
  pattern: "switches",
  infer: ([x], attrs) => {
    if (x.dtype !== "float32" && x.dtype !== "int32") throw new DTypeError(`prod: dtype ${x.dtype} is not supported`);
    return { shape: reducedShape(x.shape, attrs.axes, attrs.keepdim), dtype: x.dtype };
  },
  decompose: (n) => {
    const { axes } = n.attrs;
    const [x] = n.src;
    // The axes become one, behind the others.
    const rest = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
    const count = numel(axes.map((a) => x.shape[a]));
    let y = reshape(permute(x, [...rest, ...axes]), [...rest.map((i) => x.shape[i]), count]);
    if (count === 0) return constantLike(n, 1);
    const part = (from: number, size: number): Node =>
      slice(
        y,
        y.shape.map((_, i) => (i === rest.length ? from : 0)),
        [...y.shape.slice(0, -1), size],
      );
    for (let left = count; left > 1; left = left - Math.floor(left / 2)) {
      const half = Math.floor(left / 2);
      const product = mul(part(0, half), part(half, half));
      y = left % 2 === 0 ? product : concat([product, part(2 * half, 1)], rest.length);
    }
    return reshape(y, n.shape);
  },
};

function argExtremum(name: "argmax" | "argmin"): OpDef<ArgReduceAttrs> {
  return {
    name,
    lift: liftAxis,
    kind: "other",
    pattern: "stops",
    infer: ([x], attrs) => {
      checkNonEmpty(name, x, [attrs.axis]);
      if (x.dtype !== "float32" && x.dtype !== "int32")
        throw new DTypeError(`${name}: dtype ${x.dtype} is not supported`);
      return { shape: reducedShape(x.shape, [attrs.axis], attrs.keepdim), dtype: "int32" };
    },
    vjp: () => [null],
    jvp: () => null,
  };
}

const MAX = extremum("max");
const MIN = extremum("min");
const ARGMAX = argExtremum("argmax");
const ARGMIN = argExtremum("argmin");

export function max(x: Node, axes: readonly number[], keepdim = false): Node {
  return axes.length === 0 ? x : makeNode(MAX, [x], { axes, keepdim });
}

export function min(x: Node, axes: readonly number[], keepdim = false): Node {
  return axes.length === 0 ? x : makeNode(MIN, [x], { axes, keepdim });
}

/** Product over axes; 1 over none. */
export function prod(x: Node, axes: readonly number[], keepdim = false): Node {
  return axes.length === 0 ? x : makeNode(PROD, [x], { axes, keepdim });
}

export function argmax(x: Node, axis: number, keepdim = false): Node {
  return makeNode(ARGMAX, [x], { axis, keepdim });
}

export function argmin(x: Node, axis: number, keepdim = false): Node {
  return makeNode(ARGMIN, [x], { axis, keepdim });
}

/** Mean over axes; NaN over none. */
export function mean(x: Node, axes: readonly number[], keepdim = false): Node {
  const count = numel(axes.map((a) => x.shape[a]));
  const s = sum(x, axes, keepdim);
  return div(s, constantLike(s, count));
}

/** The sources of an operation for a batch of `size` examples: those without a batch axis in front, repeated. */
export function forEveryExample(src: readonly Node[], has: readonly boolean[], size: number): Node[] {
  return src.map((s, i) => (has[i] ? s : expand(s, [size, ...s.shape])));
}

// --- identities that matter to differentiation ------------------------------------------------------------------------------

/** An operation with its first source's value: what it means to differentiation is another matter. */
export const identity = (name: string, through: boolean): OpDef<NoAttrs> => ({
  name,
  kind: "identity",
  pattern: through ? "passes" : "stops",
  infer: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
  vjp: (_, g) => [through ? g : null],
  jvp: (_, [t]) => (through ? t : null),
  ref: ([x]) => x.data.slice(),
});

const ALIAS = identity("alias", true);
const DETACH = identity("detach", false);

/** x; what flows back is multiplied by `factor`. No function has this gradient: forward mode knows nothing of it. */
const SCALE_GRADIENT: OpDef<NoAttrs> = {
  ...identity("scaleGradient", true),
  pattern: "scales",
  vjp: (n, g) => [mul(g, n.src[1]), null],
};

/** x, for a recomputation: its own node, so that nothing is merged with what was computed from x before. */
const FENCE: OpDef<NoAttrs> = { ...identity("fence", true), kind: "other", vjp: (_, g) => [g, null] };

/** A node of its own with x's value: what grad() differentiates with respect to. */
export function alias(x: Node): Node {
  return makeNode(ALIAS, [x]);
}

/** Whether no gradient flows through n: what lies behind it does not matter to differentiation. */
export function isDetached(n: Node): boolean {
  return n.op === DETACH;
}

/**
 * What n is a function of: of an operation with derivatives of its own, the sources behind its value, which is detached; not
 * what a fence waits for.
 */
export function operandsOf(n: Node): readonly Node[] {
  if (n.op === FENCE) return n.src.slice(0, 1);
  return n.op.kind === "identity" && n.src.length > 1 && isDetached(n.src[0]) ? n.src.slice(1) : n.src;
}

/** x's value; no gradient flows through. */
export function detach(x: Node): Node {
  return makeNode(DETACH, [x]);
}

/** x's value, to be read only when `after` has been computed. */
export function fence(x: Node, after: Node): Node {
  return makeNode(FENCE, [x, after]);
}

/** x, with its gradient multiplied by a factor of the same shape. */
export function scaleGradient(x: Node, factor: Node): Node {
  return makeNode(SCALE_GRADIENT, [x, factor]);
}

// --- iota -------------------------------------------------------------------------------------------------------------------

const IOTA: OpDef<ShapeAttrs> = {
  name: "iota",
  kind: "other",
  pattern: "ends",
  infer: (_, attrs) => ({ shape: attrs.shape, dtype: "int32" }),
};

/** 0, 1, 2, ... as int32, in row-major order. */
export function iota(shape: Shape): Node {
  return makeNode(IOTA, [], { shape });
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

export const STRUCTURE = {
  expand: EXPAND,
  sum: SUM,
  reshape: RESHAPE,
  permute: PERMUTE,
  flip: FLIP,
  slice: SLICE,
  pad: PAD,
  concat: CONCAT,
  max: MAX,
  min: MIN,
  prod: PROD,
  argmax: ARGMAX,
  argmin: ARGMIN,
  alias: ALIAS,
  detach: DETACH,
  scaleGradient: SCALE_GRADIENT,
  fence: FENCE,
  iota: IOTA,
  bytes: BYTES,
};
