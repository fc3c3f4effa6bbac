/** @file Reductions that are no sums: extrema and where they are, products, means. */
import { DTypeError, ShapeError } from "../core/errors.ts";
import { numel, reducedShape, show } from "../core/shape.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";
import { apply, cast, COMPARE, div, mul, where } from "./elementwise.ts";
import { constantLike } from "./leaf.ts";
import { liftAxes, liftAxis } from "./lift.ts";
import type { AxisAttrs, ReduceAttrs } from "./linear.ts";
import { concat, expandBack, permute, reshape, slice, sum } from "./movement.ts";

export type ArgReduceAttrs = AxisAttrs & { readonly keepdim: boolean };

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

export const REDUCTION = { max: MAX, min: MIN, prod: PROD, argmax: ARGMAX, argmin: ARGMIN };
