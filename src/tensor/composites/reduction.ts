/** @file Norms, deviations, sums of exponentials: reductions made of others, careful where these have no slope. */
import { DTypeError, ValueError } from "../../core/errors.ts";
import { checkOptions } from "../../core/options.ts";
import { normalizeAxes } from "../../core/shape.ts";
import { asItIs, where } from "../functions.ts";
import { checkTensors, type Tensor } from "../tensor.ts";

/** log(sum(e^x)) over axes, stable for any finite x. */
export function logsumexp(x: Tensor, axis: number | readonly number[], keepdim = false): Tensor {
  checkTensors("logsumexp", { x });
  if (x.dtype !== "float32") return logsumexp(x.float(), axis, keepdim);
  const axes = normalizeAxes("logsumexp", axis, x.ndim);
  if (x.ndim === 0) return asItIs(x);
  if (axes.some((a) => x.shape[a] === 0)) return x.exp().sum(axes, keepdim).log();
  const top = x.max(axes, true).detach();
  // An infinite maximum would be subtracted from itself.
  const shift = where(top.abs().eq(Number.POSITIVE_INFINITY), 0, top);
  const total = x.sub(shift).exp().sum(axes, true).log().add(shift);
  return keepdim ? total : total.reshape(x.shape.filter((_, i) => !axes.includes(i)));
}

/** log(e^a + e^b), elementwise with broadcasting, for any a and b without overflow; smooth where they meet. */
export function logaddexp(a: Tensor, b: Tensor): Tensor {
  checkTensors("logaddexp", { a, b });
  const difference = a.sub(b);
  // Infinity is as large as itself, but minus itself it is NaN.
  const apart = where(a.eq(b), where(a.abs().eq(Number.POSITIVE_INFINITY), 0, difference), difference);
  const aIsLarger = apart.ge(0);
  return where(aIsLarger, a, b).add(where(aIsLarger, apart.neg(), apart).softplus());
}

/** A root that is 0 at 0, and flat there: it has no finite slope, so a harmless 1 is rooted and nothing flows back. */
function root(x: Tensor, of: (x: Tensor) => Tensor): Tensor {
  const zero = x.eq(0);
  return where(zero, 0, of(where(zero, 1, x)));
}

/** Largest element over the axes (default all), as Tensor.max: its gradient is shared among ties. */
export function amax(x: Tensor, axis?: number | readonly number[], keepdim = false): Tensor {
  checkTensors("amax", { x });
  return x.max(normalizeAxes("amax", axis, x.ndim), keepdim);
}

/** Smallest element over the axes (default all), as Tensor.min: its gradient is shared among ties. */
export function amin(x: Tensor, axis?: number | readonly number[], keepdim = false): Tensor {
  checkTensors("amin", { x });
  return x.min(normalizeAxes("amin", axis, x.ndim), keepdim);
}

/** Standard deviation over axes, the root of var(); its gradient where it is 0 is 0. */
export function std(
  x: Tensor,
  axis?: number | readonly number[],
  options: { correction?: number; keepdim?: boolean } = {},
): Tensor {
  checkTensors("std", { x });
  checkOptions("std", options, { correction: true, keepdim: true });
  return root(x.var(normalizeAxes("std", axis, x.ndim), options), (v) => v.sqrt());
}

/**
 * (sum |x|^p)^(1/p) over axes (default all); p may be infinite, and 0 counts the elements that are not 0. The gradient of the
 * 2-norm at 0 is 0.
 */
export function norm(x: Tensor, p = 2, axis?: number | readonly number[], keepdim = false): Tensor {
  checkTensors("norm", { x });
  if (Number.isNaN(p) || typeof p !== "number") throw new ValueError(`norm: p must be a number, got ${String(p)}`);
  if (x.dtype !== "float32") throw new DTypeError(`norm: x must be float32, got ${x.dtype}`);
  if (p === 0) return x.ne(0).float().sum(axis, keepdim);
  if (p === Number.POSITIVE_INFINITY) return x.abs().max(axis, keepdim);
  if (p === Number.NEGATIVE_INFINITY) return x.abs().min(axis, keepdim);
  if (p === 1) return x.abs().sum(axis, keepdim);
  const total = (p === 2 ? x.square() : x.abs().pow(p)).sum(axis, keepdim);
  if (p < 0) return total.pow(1 / p);
  return root(total, (v) => (p === 2 ? v.sqrt() : v.pow(1 / p)));
}
