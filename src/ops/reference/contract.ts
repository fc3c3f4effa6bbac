/** @file Matrix products in float64. */
import { numel } from "../../core/shape.ts";
import type { Node, RefArray } from "../../graph/node.ts";
import { CONTRACT } from "../contract.ts";
import { type Entry, entry } from "./places.ts";

/** Adds the product of a and b to out. */
function addProduct(out: Float64Array, a: RefArray, b: RefArray, { dtype }: Node): Float64Array {
  const [m, k] = a.shape.slice(-2);
  const cols = b.shape[b.shape.length - 1];
  const batch = numel(a.shape.slice(0, -2));
  const plus = (s: number, x: number, y: number): number => (dtype === "int32" ? (s + Math.imul(x, y)) | 0 : s + x * y);
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
}

export const contractions = (): readonly Entry[] => [
  entry(CONTRACT.matmul, ([a, b], n) => addProduct(new Float64Array(numel(n.shape)), a, b, n)),
  entry(CONTRACT.addmm, ([c, a, b], n) => addProduct(c.data.slice(), a, b, n)),
];
