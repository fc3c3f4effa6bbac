/** @file Pooling in float64: windows, tap by tap. */
import { numel } from "../../core/shape.ts";
import { POOLING, type PoolSizes } from "../pooling.ts";
import { type Entry, entry } from "./places.ts";

/**
 * Calls `each` with every window of a plane, its taps in order, and the element each of these is, -1 for none. With `whole`, taps
 * behind the end of an adaptive window count too.
 */
function eachTap(
  image: readonly number[],
  count: readonly number[],
  { kernel, stride, dilation, padding, adaptive }: PoolSizes,
  whole: boolean,
  each: (window: number, tap: number, element: number) => void,
): void {
  const windows = numel(count);
  const taps = numel(kernel);
  for (let k = 0; k < windows; k++)
    for (let t = 0; t < taps; t++) {
      let [window, tap, element, step] = [k, t, 0, 1];
      for (let i = count.length - 1; i >= 0; i--) {
        const [n, m] = [image[i], count[i]];
        const at = window % m;
        const offset = tap % kernel[i];
        const place = adaptive ? Math.floor((at * n) / m) + offset : at * stride[i] - padding[i] + offset * dilation[i];
        const end = adaptive && !whole ? Math.ceil(((at + 1) * n) / m) : n;
        if (place < 0 || place >= end) element = Number.NEGATIVE_INFINITY;
        element += place * step;
        step *= n;
        window = Math.floor(window / m);
        tap = Math.floor(tap / kernel[i]);
      }
      each(k, t, element >= 0 ? element : -1);
    }
}

/** The spatial part of a shape, and how often it is there. */
const plane = (shape: readonly number[], { kernel }: PoolSizes): { extents: readonly number[]; times: number } => {
  const at = shape.length - kernel.length;
  return { extents: shape.slice(at), times: numel(shape.slice(0, at)) };
};

/** Calls `each` with the places of windows and elements in arrays of all planes. */
function eachElement(
  images: readonly number[],
  windows: readonly number[],
  of: PoolSizes,
  each: (window: number, tap: number, element: number) => void,
  whole = false,
): void {
  const image = plane(images, of);
  const count = plane(windows, of).extents;
  const [elements, places] = [numel(image.extents), numel(count)];
  for (let p = 0; p < image.times; p++)
    eachTap(image.extents, count, of, whole, (k, t, e) => each(p * places + k, t, e < 0 ? -1 : p * elements + e));
}

export const poolings = (): readonly Entry[] => [
  entry(POOLING.maxTaps, ([x], n) => {
    const taps = new Float64Array(numel(n.shape));
    const best = new Float64Array(numel(n.shape)).fill(Number.NaN);
    const isEmpty = new Uint8Array(numel(n.shape)).fill(1);
    eachElement(x.shape, n.shape, n.attrs, (k, t, e) => {
      if (e < 0) return;
      const v = x.data[e];
      if (!isEmpty[k] && !(v > best[k] || Number.isNaN(v))) return;
      [isEmpty[k], best[k], taps[k]] = [0, v, t];
    });
    return taps;
  }),
  entry(POOLING.takeTaps, ([x, taps], n) => {
    const out = new Float64Array(numel(n.shape)).fill(n.attrs.outside);
    eachElement(
      x.shape,
      n.shape,
      n.attrs,
      (k, t, e) => {
        if (e >= 0 && taps.data[k] === t) out[k] = x.data[e];
      },
      true,
    );
    return out;
  }),
  entry(POOLING.putTaps, ([y, taps], n) => {
    const out = new Float64Array(numel(n.shape));
    eachElement(
      n.shape,
      y.shape,
      n.attrs,
      (k, t, e) => {
        if (e >= 0 && taps.data[k] === t) out[e] += y.data[k];
      },
      true,
    );
    return out;
  }),
  entry(POOLING.sumWindows, ([x], n) => {
    const out = new Float64Array(numel(n.shape));
    eachElement(x.shape, n.shape, n.attrs, (k, _t, e) => {
      if (e >= 0) out[k] += x.data[e];
    });
    return out;
  }),
  entry(POOLING.spreadWindows, ([y], n) => {
    const out = new Float64Array(numel(n.shape));
    eachElement(n.shape, y.shape, n.attrs, (k, _t, e) => {
      if (e >= 0) out[e] += y.data[k];
    });
    return out;
  }),
];
