/** @file Convolutions in float64: all that meets, once for each of the three. */
import { numel } from "../../core/shape.ts";
import { type ConvAttrs, CONVOLUTIONS } from "../convolution.ts";
import { type Entry, entry } from "./places.ts";

/** Calls `meet` with the places of x, w and y that meet, for shapes of all three. */
function eachMeeting(
  x: readonly number[],
  w: readonly number[],
  y: readonly number[],
  { stride, dilation, padding, groups }: ConvAttrs,
  meet: (x: number, w: number, y: number) => void,
): void {
  const [inner, kernel, outer] = [x, w, y].map((s) => s.slice(2));
  const [plane, taps, places] = [inner, kernel, outer].map((s) => numel(s));
  const [out, perGroup] = w;
  const rank = inner.length;
  const at = new Array<number>(rank);
  for (let t = 0; t < taps; t++)
    for (let q = 0; q < places; q++) {
      let inside = 0;
      let [tap, place] = [t, q];
      for (let i = rank - 1; i >= 0; i--) {
        at[i] = (place % outer[i]) * stride[i] + (tap % kernel[i]) * dilation[i] - padding[i];
        tap = Math.floor(tap / kernel[i]);
        place = Math.floor(place / outer[i]);
        if (at[i] < 0 || at[i] >= inner[i]) inside = -1;
      }
      if (inside < 0) continue;
      for (let i = 0; i < rank; i++) inside = inside * inner[i] + at[i];
      for (let n = 0; n < x[0]; n++)
        for (let o = 0; o < out; o++)
          for (let c = 0; c < perGroup; c++) {
            const channel = Math.floor(o / (out / groups)) * perGroup + c;
            meet((n * x[1] + channel) * plane + inside, (o * perGroup + c) * taps + t, (n * out + o) * places + q);
          }
    }
}

export const convolutions = (): readonly Entry[] => [
  entry(CONVOLUTIONS.convolution, ([x, w], n) => {
    const out = new Float64Array(numel(n.shape));
    eachMeeting(x.shape, w.shape, n.shape, n.attrs, (i, j, k) => {
      out[k] += x.data[i] * w.data[j];
    });
    return out;
  }),
  entry(CONVOLUTIONS.convolutionInput, ([y, w], n) => {
    const out = new Float64Array(numel(n.shape));
    eachMeeting(n.shape, w.shape, y.shape, n.attrs, (i, j, k) => {
      out[i] += y.data[k] * w.data[j];
    });
    return out;
  }),
  entry(CONVOLUTIONS.convolutionKernel, ([x, y], n) => {
    const out = new Float64Array(numel(n.shape));
    eachMeeting(x.shape, n.shape, y.shape, n.attrs, (i, j, k) => {
      out[j] += x.data[i] * y.data[k];
    });
    return out;
  }),
];
