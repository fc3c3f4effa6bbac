/** @file Elements by index, in float64. */
import { numel } from "../../core/shape.ts";
import type { RefArray } from "../../graph/node.ts";
import { LOOKUP } from "../lookup.ts";
import { type Entry, entry } from "./places.ts";

/** Calls f(i, place, row) for each element i of the index: it names element `place` of the other tensor; row is its own. */
function eachIndexed(
  index: RefArray,
  axis: number,
  bound: number,
  f: (i: number, to: number, row: number) => void,
): void {
  const inner = numel(index.shape.slice(axis + 1));
  const rows = index.shape[axis];
  index.data.forEach((k, i) => {
    const row = Math.floor(i / inner);
    f(i, (Math.floor(row / rows) * bound + k) * inner + (i % inner), row % rows);
  });
}

export const lookups = (): readonly Entry[] => [
  entry(LOOKUP.gather, ([x, index], n) => {
    const out = new Float64Array(numel(n.shape));
    eachIndexed(index, n.attrs.axis, x.shape[n.attrs.axis], (i, from) => {
      out[i] = x.data[from];
    });
    return out;
  }),
  entry(LOOKUP.scatterAdd, ([x, index], n) => {
    const out = new Float64Array(numel(n.shape));
    eachIndexed(index, n.attrs.axis, n.attrs.extent, (i, to) => {
      out[to] += x.data[i];
    });
    return out;
  }),
  entry(LOOKUP.scatterLast, ([index], n) => {
    const out = new Float64Array(numel(n.shape)).fill(-1);
    eachIndexed(index, n.attrs.axis, n.attrs.extent, (_, to, row) => {
      out[to] = row;
    });
    return out;
  }),
];
