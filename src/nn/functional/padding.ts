/** @file Padding. */
import { ShapeError, ValueError } from "../../core/errors.ts";
import { checkCount, show } from "../../core/shape.ts";
import * as movement from "../../ops/movement.ts";
import { full, tensor } from "../../tensor/creation.ts";
import { asItIs, cat } from "../../tensor/functions.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";

export type PadMode = "constant" | "reflect" | "replicate" | "circular";

/** Which element of an axis of n stands at position p, which may lie outside. */
const SOURCES: Record<Exclude<PadMode, "constant">, (p: number, n: number) => number> = {
  reflect: (p, n) => (p < 0 ? -p : p >= n ? 2 * (n - 1) - p : p),
  replicate: (p, n) => Math.min(Math.max(p, 0), n - 1),
  circular: (p, n) => ((p % n) + n) % n,
};

/** Most elements each mode can add to one side of an axis of n. */
const REACH: Record<Exclude<PadMode, "constant">, (n: number) => number> = {
  reflect: (n) => n - 1,
  replicate: (n) => (n > 0 ? Number.POSITIVE_INFINITY : 0),
  circular: (n) => n,
};

/**
 * Elements added before and after axes: [before, after] of the last axis, then of the one before it, ... Negative numbers take
 * elements away. `value` is what "constant" adds.
 */
export function pad(x: Tensor, padding: readonly number[], mode: PadMode = "constant", value = 0): Tensor {
  checkTensors("pad", { x });
  if (
    !Array.isArray(padding) ||
    padding.length % 2 !== 0 ||
    padding.length > 2 * x.ndim ||
    !padding.every(Number.isInteger)
  )
    throw new ValueError(
      `pad: padding ${String(padding)} must be pairs of integers, at most one for each of ${x.ndim} axes`,
    );
  const pairs = x.shape.map((_, i): [number, number] => {
    const k = 2 * (x.ndim - 1 - i);
    return [padding[k] ?? 0, padding[k + 1] ?? 0];
  });
  if (mode !== "constant" && !Object.hasOwn(SOURCES, mode))
    throw new ValueError(`pad: mode must be "constant", "reflect", "replicate" or "circular", got ${String(mode)}`);
  pairs.forEach(([before, after], axis) => {
    if (before === 0 && after === 0) return;
    const n = x.shape[axis];
    const reach = mode === "constant" ? Number.POSITIVE_INFINITY : REACH[mode](n);
    if (n + before + after < 0 || before > reach || after > reach)
      throw new ShapeError(
        `pad: ${before} and ${after} elements cannot be added to axis ${axis} of shape ${show(x.shape)} (${mode})`,
      );
  });
  pairs.forEach(([before, after], i) =>
    checkCount("pad", `elements of axis ${i}`, x.shape[i] + before + after, 2 ** 26),
  );
  if (mode === "constant") return padded(x, pairs, value);
  return pairs.reduce((y, [before, after], axis) => {
    if (before === 0 && after === 0) return y;
    const n = x.shape[axis];
    const places = new Int32Array(n + before + after);
    for (let i = 0; i < places.length; i++) places[i] = SOURCES[mode](i - before, n);
    return y.indexSelect(axis, tensor(places));
  }, asItIs(x));
}

/** x with elements of one value before and after each axis. */
export function padded(x: Tensor, pairs: readonly (readonly [number, number])[], value: number): Tensor {
  const more = pairs.map((p) => p.map((v) => Math.max(v, 0)));
  const begin = pairs.map(([before]) => Math.max(0, -before));
  const inner = x.slice(
    begin,
    x.shape.map((d, i) => d + Math.min(0, pairs[i][1])),
  );
  if (value === 0)
    return new Tensor(
      movement.pad(
        inner.node,
        more.map(([before]) => before),
        inner.shape.map((d, i) => d + more[i][0] + more[i][1]),
      ),
    );
  return more.reduce((y, counts, axis) => {
    const [before, after] = counts.map((n) => {
      const shape = y.shape.map((d, i) => (i === axis ? n : d));
      return n === 0 ? [] : [full(shape, value, { dtype: x.dtype })];
    });
    return cat([...before, y, ...after], axis);
  }, inner);
}
