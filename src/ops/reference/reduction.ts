/** @file Reductions in float64. */
import { numel, reducedShape, stridesOf } from "../../core/shape.ts";
import type { RefArray, Reference } from "../../graph/node.ts";
import type { AxesAttrs, AxisAttrs } from "../linear.ts";
import { REDUCTION } from "../reduction.ts";
import { eachPlace, type Entry, entry } from "./places.ts";

export function reduced(
  x: RefArray,
  axes: readonly number[],
  init: number,
  f: (a: number, b: number) => number,
): Float64Array {
  const keep = reducedShape(x.shape, axes, true);
  const strides = stridesOf(keep).map((s, i) => (axes.includes(i) ? 0 : s));
  const out = new Float64Array(numel(keep)).fill(init);
  eachPlace(x.shape, strides, 0, (i, o) => {
    out[o] = f(out[o], x.data[i]);
  });
  return out;
}

const extremum =
  (f: (...v: number[]) => number, init: number): Reference<AxesAttrs> =>
  ([x], n) =>
    reduced(x, n.attrs.axes, init, f);

const argExtremum =
  (isBetter: (a: number, b: number) => boolean): Reference<AxisAttrs> =>
  ([x], n) => {
    const axis = n.attrs.axis;
    const inner = numel(x.shape.slice(axis + 1));
    const r = x.shape[axis];
    const out = new Float64Array(numel(n.shape));
    for (let i = 0; i < out.length; i++) {
      const base = Math.floor(i / inner) * r * inner + (i % inner);
      let best = 0;
      for (let k = 1; k < r; k++) {
        const a = x.data[base + k * inner];
        const b = x.data[base + best * inner];
        if (Number.isNaN(b)) break;
        if (Number.isNaN(a) || isBetter(a, b)) best = k;
      }
      out[i] = best;
    }
    return out;
  };

export const reductions = (): readonly Entry[] => [
  entry(REDUCTION.max, extremum(Math.max, Number.NEGATIVE_INFINITY)),
  entry(REDUCTION.min, extremum(Math.min, Number.POSITIVE_INFINITY)),
  entry(REDUCTION.prod, ([x], n) =>
    reduced(x, n.attrs.axes, 1, (a, b) => (n.dtype === "int32" ? Math.imul(a, b) : a * b)),
  ),
  entry(
    REDUCTION.argmax,
    argExtremum((a, b) => a > b),
  ),
  entry(
    REDUCTION.argmin,
    argExtremum((a, b) => a < b),
  ),
];
