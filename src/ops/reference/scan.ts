/** @file Loops in float64, step by step. */
import { numel } from "../../core/shape.ts";
import type { FunctionOf } from "../../graph/node.ts";
import { isStacked, resultOf, SCANS } from "../scan.ts";
import { type Entry, entry } from "./places.ts";

export const loops = (): readonly Entry[] => [
  entry(SCANS.scan, (src, { attrs }, functionOf) => {
    const { loop, output } = attrs;
    const { length, reverse, carry, xs, leaves, next } = loop;
    const count = carry.length;
    const result = resultOf(attrs);
    const body = (functionOf as FunctionOf)([...next, result], leaves, new Map());
    const values = src.map((s) => s.data);
    const size = numel(result.shape);
    const all = new Float64Array(isStacked(attrs) ? length * size : 0);
    let state = values.slice(0, count);
    for (let k = 0; k < length; k++) {
      const t = reverse ? length - 1 - k : k;
      const parts = xs.map((x, i) => values[count + i].subarray(t * numel(x.shape), (t + 1) * numel(x.shape)));
      const results = body(...state, ...parts, ...values.slice(count + xs.length));
      if (isStacked(attrs)) all.set(results[count], t * size);
      state = results.slice(0, count);
    }
    return isStacked(attrs) ? all : state[output];
  }),
];
