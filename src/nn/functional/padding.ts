/** @file Padding. */
import { ShapeError, ValueError } from "../../core/errors.ts";
import { bordered } from "../../compile/extensions/borders.ts";
import { checkCount, show } from "../../core/shape.ts";
import type { BorderMode } from "../../ops/extend.ts";
import * as movement from "../../ops/movement.ts";
import { full } from "../../tensor/creation.ts";
import { cat } from "../../tensor/functions.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";

export type PadMode = "constant" | BorderMode;

/** Of a convolution's padding. */
export type PaddingMode = "zeros" | BorderMode;

export function checkPaddingMode(op: string, mode: unknown): void {
  if (mode !== "zeros" && !(typeof mode === "string" && Object.hasOwn(bordered.REACH, mode)))
    throw new ValueError(
      `${op}: paddingMode must be "zeros", "reflect", "replicate" or "circular", got ${JSON.stringify(mode)}`,
    );
}

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
  if (mode !== "constant" && !Object.hasOwn(bordered.REACH, mode))
    throw new ValueError(`pad: mode must be "constant", "reflect", "replicate" or "circular", got ${String(mode)}`);
  pairs.forEach(([before, after], axis) => {
    if (before === 0 && after === 0) return;
    const n = x.shape[axis];
    const reach = mode === "constant" ? Number.POSITIVE_INFINITY : bordered.REACH[mode](n);
    if (n + before + after < 0 || before > reach || after > reach)
      throw new ShapeError(
        `pad: ${before} and ${after} elements cannot be added to axis ${axis} of shape ${show(x.shape)} (${mode})`,
      );
  });
  pairs.forEach(([before, after], i) =>
    checkCount("pad", `elements of axis ${i}`, x.shape[i] + before + after, 2 ** 26),
  );
  if (mode === "constant") return padded(x, pairs, value);
  const [more, less] = [1, -1].map((sign) => pairs.map((pair) => pair.map((v) => Math.max(sign * v, 0))));
  const whole = bordered.extend(
    x.node,
    mode,
    more.map(([before]) => before),
    more.map(([, after]) => after),
  );
  return new Tensor(
    movement.slice(
      whole,
      less.map(([before]) => before),
      whole.shape.map((d, i) => d - less[i][0] - less[i][1]),
    ),
  );
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
