/** @file Axes made longer, and shorter again, in float64: element by element, by the definition of each mode. */
import { numel, type Shape } from "../../core/shape.ts";
import { type BorderMode, type ExtendAttrs, EXTENSION } from "../extend.ts";
import { type Entry, entry } from "./places.ts";

/** Which element of an axis of n stands at place p, which may lie outside. */
const SOURCES: Record<BorderMode, (p: number, n: number) => number> = {
  reflect: (p, n) => (p < 0 ? -p : p >= n ? 2 * (n - 1) - p : p),
  replicate: (p, n) => Math.min(Math.max(p, 0), n - 1),
  circular: (p, n) => (p + n) % n,
};

/** Calls f with each element of the longer array, and the one it came from. */
function eachSource(
  short: Shape,
  long: Shape,
  { mode, before }: ExtendAttrs,
  f: (i: number, from: number) => void,
): void {
  for (let i = 0, count = numel(long); i < count; i++) {
    let [rest, from, step] = [i, 0, 1];
    for (let a = long.length - 1; a >= 0; a--) {
      from += SOURCES[mode]((rest % long[a]) - before[a], short[a]) * step;
      rest = Math.floor(rest / long[a]);
      step *= short[a];
    }
    f(i, from);
  }
}

export const extensions = (): readonly Entry[] => [
  entry(EXTENSION.extend, ([x], n) => {
    const out = new Float64Array(numel(n.shape));
    eachSource(x.shape, n.shape, n.attrs, (i, from) => {
      out[i] = x.data[from];
    });
    return out;
  }),
  entry(EXTENSION.retract, ([g], n) => {
    const out = new Float64Array(numel(n.shape));
    eachSource(n.shape, g.shape, n.attrs, (i, from) => {
      out[from] += g.data[i];
    });
    return out;
  }),
];
