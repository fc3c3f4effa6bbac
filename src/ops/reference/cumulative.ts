/** @file Running sums in float64. */
import { numel } from "../../core/shape.ts";
import { CUMULATIVE } from "../cumulative.ts";
import { type Entry, entry } from "./places.ts";

export const cumulatives = (): readonly Entry[] => [
  entry(CUMULATIVE.cumsum, ([x], n) => {
    const { axis, reverse } = n.attrs;
    const inner = numel(x.shape.slice(axis + 1));
    const out = x.data.slice();
    const start = (i: number): boolean => Math.floor(i / inner) % x.shape[axis] === (reverse ? x.shape[axis] - 1 : 0);
    const order = [...out.keys()];
    for (const i of reverse ? order.reverse() : order) if (!start(i)) out[i] += out[reverse ? i + inner : i - inner];
    return n.dtype === "int32" ? out.map((v) => v | 0) : out;
  }),
];
