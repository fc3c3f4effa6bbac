/** @file Normalisation in float64. */
import type { RefArray, Reference } from "../../graph/node.ts";
import { NORM, type NormAttrs } from "../norm.ts";
import { type Entry, entry } from "./places.ts";

/** Calls f(element, row, parameter) for each element of x [A, Q, G, J, S]: rows are the (Q, G), parameters the (G, J). */
function eachElement(
  { shape: [a, q, g, j, s] }: RefArray,
  f: (i: number, row: number, parameter: number) => void,
): void {
  for (let i = 0; i < a * q * g * j * s; i++) {
    const channel = Math.floor(i / s) % j;
    const row = Math.floor(i / (s * j)) % (q * g);
    f(i, row, (row % g) * j + channel);
  }
}

/** Mean (0 where not centered) and variance of each row. */
function statistics(x: RefArray, centered: boolean): { mean: Float64Array; variance: Float64Array } {
  const [a, q, g, j, s] = x.shape;
  const count = a * j * s;
  const mean = new Float64Array(q * g);
  const variance = new Float64Array(q * g);
  if (centered)
    eachElement(x, (i, row) => {
      mean[row] += x.data[i] / count;
    });
  eachElement(x, (i, row) => {
    variance[row] += (x.data[i] - mean[row]) ** 2 / count;
  });
  return { mean, variance };
}

/** x standardised. */
function standardized(x: RefArray, { eps, centered }: NormAttrs): { xhat: Float64Array; scale: Float64Array } {
  const { mean, variance } = statistics(x, centered);
  const scale = variance.map((v) => 1 / Math.sqrt(v + Math.fround(eps)));
  const xhat = new Float64Array(x.data.length);
  eachElement(x, (i, row) => {
    xhat[i] = (x.data[i] - mean[row]) * scale[row];
  });
  return { xhat, scale };
}

const standardize: Reference<NormAttrs> = ([x, w, b], n) => {
  const { xhat } = standardized(x, n.attrs);
  eachElement(x, (i, _, p) => {
    xhat[i] = xhat[i] * w.data[p] + b.data[p];
  });
  return xhat;
};

const toInput: Reference<NormAttrs> = ([x, w, g], n) => {
  const { xhat, scale } = standardized(x, n.attrs);
  const [a, , , j, s] = x.shape;
  const count = a * j * s;
  const total = new Float64Array(scale.length);
  const along = new Float64Array(scale.length);
  eachElement(x, (i, row, p) => {
    if (n.attrs.centered) total[row] += (g.data[i] * w.data[p]) / count;
    along[row] += (g.data[i] * w.data[p] * xhat[i]) / count;
  });
  const out = new Float64Array(x.data.length);
  eachElement(x, (i, row, p) => {
    out[i] = scale[row] * (g.data[i] * w.data[p] - total[row] - xhat[i] * along[row]);
  });
  return out;
};

const toParameters: Reference<NormAttrs> = ([x, w, g], n) => {
  const { xhat } = standardized(x, n.attrs);
  const out = new Float64Array(2 * w.data.length);
  eachElement(x, (i, _, p) => {
    out[p] += g.data[i];
    out[w.data.length + p] += g.data[i] * xhat[i];
  });
  return out;
};

export const norms = (): readonly Entry[] => [
  entry(NORM.standardize, standardize),
  entry(NORM.standardizeInput, toInput),
  entry(NORM.standardizeParameters, toParameters),
  entry(NORM.moments, ([x]) => {
    const { mean, variance } = statistics(x, true);
    return Float64Array.of(...mean, ...variance);
  }),
];
