/** @file Draws in float64. */
import { numel } from "../../core/shape.ts";
import { threefry } from "../../core/threefry.ts";
import type { Reference } from "../../graph/node.ts";
import { type DrawAttrs, RANDOM } from "../random.ts";
import { type Entry, entry } from "./places.ts";

/** Word (e >> 2) & 1 of block (e >> 3) * 4 + (e & 3). */
function word(k0: number, k1: number, counter: number, e: number): number {
  return threefry(k0, k1, (e >> 3) * 4 + (e & 3), counter)[(e >> 2) & 1];
}

const draw =
  (
    value: (k0: number, k1: number, counter: number, element: number, a: number, b: number) => number,
  ): Reference<DrawAttrs> =>
  ([state], n) => {
    const [k0, k1, counter] = state.data;
    const { draw: d, a, b } = n.attrs;
    return Float64Array.from({ length: numel(n.shape) }, (_, e) => value(k0, k1, counter + d, e, a, b));
  };

export const draws = (): readonly Entry[] => [
  entry(
    RANDOM.randomBits,
    draw((k0, k1, c, e) => word(k0, k1, c, e) | 0),
  ),
  entry(
    RANDOM.uniform,
    draw((k0, k1, c, e, a, b) => a + (b - a) * (word(k0, k1, c, e) >>> 8) * 2 ** -24),
  ),
  entry(
    RANDOM.normal,
    draw((k0, k1, c, e, a, b) => {
      const [x0, x1] = threefry(k0, k1, e, c);
      const u1 = ((x0 >>> 8) + 1) * 2 ** -24;
      return a + b * Math.sqrt(-2 * Math.log(u1)) * Math.cos(2 * Math.PI * (x1 >>> 8) * 2 ** -24);
    }),
  ),
];
