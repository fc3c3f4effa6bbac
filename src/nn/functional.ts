/** @file Losses and layers as functions, with torch.nn.functional's names. */
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { sameShape, show } from "../core/shape.ts";
import { cast, COMPARE, apply } from "../ops/elementwise.ts";
import { crossEntropyRows } from "../ops/fused.ts";
import { constantLike } from "../ops/leaf.ts";
import { sum } from "../ops/structure.ts";
import { type RandomOptions, uniform } from "../random.ts";
import { Tensor, where } from "../tensor.ts";

export type Reduction = "mean" | "sum" | "none";

function checkReduction(op: string, reduction: Reduction): void {
  if (reduction !== "mean" && reduction !== "sum" && reduction !== "none")
    throw new ValueError(`${op}: reduction must be "mean", "sum" or "none", got ${String(reduction)}`);
}

function reduced(op: string, losses: Tensor, reduction: Reduction): Tensor {
  checkReduction(op, reduction);
  return reduction === "mean" ? losses.mean() : reduction === "sum" ? losses.sum() : losses;
}

/**
 * Cross-entropy between logits [N, C] (or [C]) and int32 class indices [N] (or []), in one pass each way.
 * @throws IndexError, when the value is read, if a label is neither in [0, C) nor `ignoreIndex`. The step has no effect then.
 */
export function crossEntropy(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; ignoreIndex?: number } = {},
): Tensor {
  const { reduction = "mean", ignoreIndex = -100 } = options;
  checkReduction("crossEntropy", reduction);
  if (input.ndim === 1 && target.ndim === 0) {
    const one = crossEntropy(input.unsqueeze(0), target.unsqueeze(0), options);
    return reduction === "none" ? one.squeeze(0) : one;
  }
  if (input.ndim !== 2 || target.ndim !== 1 || input.shape[0] !== target.shape[0])
    throw new ShapeError(
      `crossEntropy: input ${show(input.shape)} and target ${show(target.shape)} do not fit: [N, C] and [N] are wanted`,
    );
  if (target.dtype === "float32" || target.dtype === "bool")
    throw new DTypeError(`crossEntropy: target must hold int32 (or uint8) class indices, got ${target.dtype}`);
  const labels = cast(target.node, "int32");
  const losses = new Tensor(crossEntropyRows(input.node, labels, ignoreIndex));
  if (reduction !== "mean") return reduced("crossEntropy", losses, reduction);
  const counted = cast(apply(COMPARE.ne, labels, constantLike(labels, ignoreIndex)), "float32");
  return losses.sum().div(new Tensor(sum(counted, [0])));
}

/** Mean of (input - target)^2. */
export function mseLoss(input: Tensor, target: Tensor, options: { reduction?: Reduction } = {}): Tensor {
  if (!sameShape(input.shape, target.shape))
    throw new ShapeError(`mseLoss: input ${show(input.shape)} and target ${show(target.shape)} differ`);
  return reduced("mseLoss", input.sub(target).square(), options.reduction ?? "mean");
}

/** x W^T + b, for a weight of shape [out, in] and a bias of shape [out]. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  if (x.ndim === 0 || weight.ndim !== 2 || x.shape[x.ndim - 1] !== weight.shape[1])
    throw new ShapeError(`linear: input ${show(x.shape)} does not fit weight ${show(weight.shape)} ([out, in])`);
  const y = x.matmul(weight.t());
  return bias ? y.add(bias) : y;
}

/** Zeroes elements with probability p and scales the others by 1 / (1 - p); the identity unless `training`. */
export function dropout(x: Tensor, p = 0.5, training = true, options: RandomOptions = {}): Tensor {
  if (!(p >= 0 && p <= 1)) throw new ValueError(`dropout: p must be from 0 to 1, got ${p}`);
  if (!training || p === 0) return x;
  if (p === 1) return x.mul(0);
  const keep = uniform(x.shape, 0, 1, options).ge(p);
  return where(keep, x.mul(1 / (1 - p)), 0);
}

/** x Phi(x); with approximate: "tanh", 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (arXiv 1606.08415). */
export function gelu(x: Tensor, options: { approximate?: "none" | "tanh" } = {}): Tensor {
  const { approximate = "none" } = options;
  if (approximate === "none") return x.gelu();
  if (approximate !== "tanh")
    throw new ValueError(`gelu: approximate must be "none" or "tanh", got ${String(approximate)}`);
  const inner = x.add(x.mul(x).mul(x).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
  return x.mul(0.5).mul(inner.tanh().add(1));
}

/** max(x, 0). */
export function relu(x: Tensor): Tensor {
  return x.relu();
}
