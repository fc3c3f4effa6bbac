/** @file Matrix products in float64. */
import { numel } from "../../core/shape.ts";
import { CONTRACT } from "../contract.ts";
import { type Entry, entry } from "./places.ts";

export const contractions = (): readonly Entry[] => [
  entry(CONTRACT.matmul, ([a, b], n) => {
    const [m, k] = a.shape.slice(-2);
    const cols = b.shape[b.shape.length - 1];
    const batch = numel(a.shape.slice(0, -2));
    const out = new Float64Array(numel(n.shape));
    const plus = (s: number, x: number, y: number): number =>
      n.dtype === "int32" ? (s + Math.imul(x, y)) | 0 : s + x * y;
    for (let t = 0; t < batch; t++)
      for (let i = 0; i < m; i++)
        for (let p = 0; p < k; p++) {
          const x = a.data[(t * m + i) * k + p];
          for (let j = 0; j < cols; j++) {
            const at = (t * m + i) * cols + j;
            out[at] = plus(out[at], x, b.data[(t * k + p) * cols + j]);
          }
        }
    return out;
  }),
];
