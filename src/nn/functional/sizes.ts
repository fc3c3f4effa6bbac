/** @file What functions of [N, C, ...] share: sizes for each spatial axis, a sample axis if there is none. */
import { ShapeError, ValueError } from "../../core/errors.ts";
import { show } from "../../core/shape.ts";
import { tensor } from "../../tensor/creation.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";

/** One number for all spatial axes, or one for each. */
export type Sizes = number | readonly number[];

/** One integer for each of `rank` axes. */
export function perAxis(op: string, name: string, value: Sizes, rank: number, least: number): number[] {
  const given: readonly number[] = Array.isArray(value) ? value : [value];
  const list = given.length === 1 ? new Array<number>(rank).fill(given[0]) : [...given];
  if (list.length !== rank || list.some((v) => !Number.isInteger(v) || v < least))
    throw new ValueError(
      `${op}: ${name} must be an integer of at least ${least}, or ${rank} of them, got ${String(value)}`,
    );
  return list;
}

/** x with a sample axis if it has none, for f; without it again. Its axes: [N, C, ...] with `rank` more. */
export function batched(op: string, x: Tensor, rank: number, f: (x: Tensor) => Tensor): Tensor {
  checkTensors(op, { "the input": x });
  const whole = x.ndim === rank + 2;
  if (!whole && x.ndim !== rank + 1)
    throw new ShapeError(`${op}: the input must have ${rank + 1} or ${rank + 2} axes, got shape ${show(x.shape)}`);
  return whole ? f(x) : f(x.unsqueeze(0)).squeeze(0);
}

/** Numbers along one of the spatial axes, for shapes with all of them. */
export const alongSpatial = (values: Int32Array | Float32Array, axis: number, rank: number): Tensor =>
  tensor(
    values,
    Array.from({ length: rank }, (_, i) => (i === axis ? values.length : 1)),
  );

/** x by the product of numbers along its spatial axes, `sizes` of each; where they are all the same, they are one number. */
export function dividedBy(x: Tensor, sizes: readonly Float32Array[]): Tensor {
  const same = sizes.map((s) => s.every((v) => v === s[0]));
  const one = sizes.reduce((p, s, i) => (same[i] ? p * s[0] : p), 1);
  const rest = sizes.flatMap((s, i) => (same[i] ? [] : [alongSpatial(s, i, sizes.length)]));
  // Products of few integers: exact.
  return rest.length === 0 ? x.div(one) : x.div(rest.reduce((a, b) => a.mul(b)).mul(one));
}
