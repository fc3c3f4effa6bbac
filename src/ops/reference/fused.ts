/** @file Operations on whole rows, in float64. */
import { numel } from "../../core/shape.ts";
import type { NoAttrs, Reference } from "../../graph/node.ts";
import { FUSED } from "../fused.ts";
import { eachRow, type Entry, entry } from "./places.ts";

function logSumExp(row: Float64Array): number {
  const m = Math.max(...row);
  if (m === -Infinity && row.length > 0) return Number.NaN;
  return m + Math.log(row.reduce((s, v) => s + Math.exp(v - m), 0));
}

const rowMap =
  (f: (v: number, lse: number) => number): Reference<NoAttrs> =>
  ([x], n) => {
    const out = new Float64Array(numel(n.shape));
    eachRow(x, (row, r) => {
      const lse = logSumExp(row);
      row.forEach((v, c) => {
        out[r * row.length + c] = f(v, lse);
      });
    });
    return out;
  };

const rowGrad =
  (f: (y: number, g: number, total: number) => number, weight: (y: number, g: number) => number): Reference<NoAttrs> =>
  ([y, g], n) => {
    const out = new Float64Array(numel(n.shape));
    eachRow(y, (row, r) => {
      const at = r * row.length;
      let s = 0;
      row.forEach((v, c) => {
        s += weight(v, g.data[at + c]);
      });
      row.forEach((v, c) => {
        out[at + c] = f(v, g.data[at + c], s);
      });
    });
    return out;
  };

export const fusions = (): readonly Entry[] => [
  entry(
    FUSED.softmax,
    rowMap((v, lse) => Math.exp(v - lse)),
  ),
  entry(
    FUSED.logSoftmax,
    rowMap((v, lse) => v - lse),
  ),
  entry(
    FUSED.softmaxGrad,
    rowGrad(
      (y, g, s) => y * (g - s),
      (y, g) => y * g,
    ),
  ),
  entry(
    FUSED.logSoftmaxGrad,
    rowGrad(
      (y, g, s) => g - Math.exp(y) * s,
      (_, g) => g,
    ),
  ),
  entry(FUSED.crossEntropyRows, ([x, labels], n) => {
    const out = new Float64Array(numel(n.shape));
    eachRow(x, (row, r) => {
      out[r] = labels.data[r] === n.attrs.ignore ? 0 : logSumExp(row) - row[labels.data[r]];
    });
    return out;
  }),
  entry(FUSED.crossEntropyGradRows, ([x, labels, g], n) => {
    const out = new Float64Array(numel(n.shape));
    eachRow(x, (row, r) => {
      if (labels.data[r] === n.attrs.ignore) return;
      const lse = logSumExp(row);
      row.forEach((v, c) => {
        out[r * row.length + c] = (Math.exp(v - lse) - (c === labels.data[r] ? 1 : 0)) * g.data[r];
      });
    });
    return out;
  }),
];
