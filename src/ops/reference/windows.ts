/** @file Windows and their sums, in float64. */
import { numel, stridesOf } from "../../core/shape.ts";
import { WINDOW, windowStrides } from "../windows.ts";
import { type Entry, entry, strided } from "./places.ts";

export const windows = (): readonly Entry[] => [
  entry(WINDOW.windows, ([x], n) => strided(x, n.shape, windowStrides(stridesOf(x.shape), n.attrs))),
  entry(WINDOW.fold, ([x], n) => {
    const { axis, step, dilation } = n.attrs;
    const size = x.shape[x.shape.length - 1];
    const out = new Float64Array(numel(n.shape));
    const inner = numel(n.shape.slice(axis + 1));
    const count = x.shape[axis];
    x.data.forEach((v, i) => {
      const column = Math.floor(i / size);
      const window = Math.floor(column / inner);
      const at = (window % count) * step + (i % size) * dilation;
      out[(Math.floor(window / count) * n.shape[axis] + at) * inner + (column % inner)] += v;
    });
    return out;
  }),
];
