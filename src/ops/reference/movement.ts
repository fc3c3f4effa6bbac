/** @file Moved elements, and sums, in float64. */
import { numel, stridesOf } from "../../core/shape.ts";
import { MOVEMENT, piecesOf } from "../movement.ts";
import { type Entry, eachPlace, entry, strided } from "./places.ts";
import { reduced } from "./reduction.ts";

const dot = (at: readonly number[], strides: readonly number[]): number =>
  at.reduce((s, a, i) => s + a * strides[i], 0);

export const movements = (): readonly Entry[] => [
  entry(MOVEMENT.expand, ([x], n) =>
    strided(
      x,
      n.shape,
      stridesOf(x.shape).map((s, i) => (x.shape[i] === 1 ? 0 : s)),
    ),
  ),
  entry(MOVEMENT.sum, ([x], n) => reduced(x, n.attrs.axes, 0, (a, b) => a + b)),
  entry(MOVEMENT.reshape, ([x]) => x.data.slice()),
  entry(MOVEMENT.permute, ([x], n) => {
    const strides = stridesOf(x.shape);
    return strided(
      x,
      n.shape,
      n.attrs.axes.map((a) => strides[a]),
    );
  }),
  entry(MOVEMENT.flip, ([x], n) => {
    const axes = n.attrs.axes;
    const strides = stridesOf(x.shape);
    const last = x.shape.map((d, i) => (axes.includes(i) ? d - 1 : 0));
    return strided(
      x,
      n.shape,
      strides.map((s, i) => (axes.includes(i) ? -s : s)),
      dot(last, strides),
    );
  }),
  entry(MOVEMENT.slice, ([x], n) => {
    const { begin, step } = n.attrs;
    const strides = stridesOf(x.shape);
    return strided(
      x,
      n.shape,
      strides.map((s, i) => s * step[i]),
      dot(begin, strides),
    );
  }),
  entry(MOVEMENT.pad, (src, n) => {
    const strides = stridesOf(n.shape);
    const out = new Float64Array(numel(n.shape));
    piecesOf(n.src, n.attrs).forEach(({ begin, step }, k) => {
      const steps = strides.map((s, i) => s * step[i]);
      eachPlace(src[k].shape, steps, dot(begin, strides), (i, to) => {
        out[to] = src[k].data[i];
      });
    });
    return out;
  }),
  entry(MOVEMENT.concat, (src, n) => {
    const axis = n.attrs.axis;
    const inner = numel(n.shape.slice(axis + 1));
    const outer = numel(n.shape.slice(0, axis));
    const out = new Float64Array(numel(n.shape));
    let at = 0;
    for (let o = 0; o < outer; o++)
      for (const x of src) {
        const run = x.shape[axis] * inner;
        out.set(x.data.subarray(o * run, (o + 1) * run), at);
        at += run;
      }
    return out;
  }),
  entry(MOVEMENT.bytes, ([x]) => Float64Array.from(new Uint8Array(Int32Array.from(x.data).buffer))),
];
