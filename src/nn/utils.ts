/** @file torch.nn.utils' names: gradients kept within bounds. They change `.grad`, inside compiled functions too. */
import { norm } from "../tensor/composites/reduction.ts";
import { ValueError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { zeros } from "../tensor/creation.ts";
import { stack, where } from "../tensor/functions.ts";
import { Tensor } from "../tensor/tensor.ts";

/** The tensors that have a gradient, of one or of a list. */
function withGradients(op: string, parameters: Tensor | Iterable<Tensor>): { t: Tensor; grad: Tensor }[] {
  const list = parameters instanceof Tensor ? [parameters] : parameters;
  if (typeof list?.[Symbol.iterator] !== "function")
    throw new ValueError(`${op}: parameters must be a tensor or a list of them, got ${String(parameters)}`);
  return [...list].flatMap((t, i) => {
    if (!(t instanceof Tensor)) throw new ValueError(`${op}: parameters[${i}] is no tensor: ${String(t)}`);
    // One without elements counts for nothing, and has no largest one.
    return t.grad && t.numel() > 0 ? [{ t, grad: t.grad }] : [];
  });
}

/**
 * What gradients are multiplied with before they are squared, powers of 2, so that it rounds nothing: squares of 1e-30 and of
 * all that is not large are in the middle of float32 by the first; of the largest by the second.
 */
const UP = 2 ** 44;
const DOWN = 2 ** -66;

/** The norm over all elements of all tensors, finite if the elements are and float32 can hold it. */
function totalNorm(tensors: readonly Tensor[], p: number): Tensor {
  if (p === 2) {
    // Squares of 1e30 are infinite in float32, those of 1e-30 are 0. Both sums are made in one pass.
    const scaled = (by: number): Tensor => norm(stack(tensors.map((t) => norm(t.mul(by))))).div(by);
    const usual = scaled(UP);
    return where(usual.lt(Number.POSITIVE_INFINITY), usual, scaled(DOWN));
  }
  if (p === Number.POSITIVE_INFINITY || p <= 1) return norm(stack(tensors.map((t) => norm(t, p))), p);
  const largest = stack(tensors.map((t) => norm(t, Number.POSITIVE_INFINITY))).max();
  const scale = where(largest.gt(0).mul(largest.lt(Number.POSITIVE_INFINITY)), largest, 1);
  return norm(stack(tensors.map((t) => norm(t.div(scale), p))), p).mul(scale);
}

/**
 * Scales all gradients by one factor so that their norm, taken over all elements together, is at most `maxNorm`.
 * @param options.normType The p of the p-norm (default 2), may be Infinity.
 * @returns The norm before clipping, a tensor of one element. `assertFinite` of it fails the step if a gradient is not finite.
 * @throws ValueError if maxNorm is negative or normType not above 0.
 */
export function clipGradNorm(
  parameters: Tensor | Iterable<Tensor>,
  maxNorm: number,
  options: { normType?: number } = {},
): Tensor {
  const { normType = 2 } = checkOptions("clipGradNorm", options, { normType: true });
  if (typeof maxNorm !== "number" || !(maxNorm >= 0))
    throw new ValueError(`clipGradNorm: maxNorm must be a number of at least 0, got ${maxNorm}`);
  if (typeof normType !== "number" || !(normType > 0))
    throw new ValueError(`clipGradNorm: normType must be a number above 0, got ${normType}`);
  const found = withGradients("clipGradNorm", parameters);
  if (found.length === 0) return zeros([]);
  const total = totalNorm(
    found.map(({ grad }) => grad),
    normType,
  ).detach();
  const factor = total.add(1e-6).reciprocal().mul(maxNorm).minimum(1);
  for (const { t, grad } of found) t.grad = grad.mul(factor);
  return total;
}

/**
 * Clamps every element of the gradients to [-clipValue, clipValue].
 * @throws ValueError if clipValue is negative.
 */
export function clipGradValue(parameters: Tensor | Iterable<Tensor>, clipValue: number): void {
  if (typeof clipValue !== "number" || !(clipValue >= 0))
    throw new ValueError(`clipGradValue: clipValue must be a number of at least 0, got ${clipValue}`);
  for (const { t, grad } of withGradients("clipGradValue", parameters)) t.grad = grad.clamp(-clipValue, clipValue);
}
