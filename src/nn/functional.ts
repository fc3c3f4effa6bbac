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
  return reduced("mseLoss", difference("mseLoss", input, target).square(), options.reduction ?? "mean");
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

// --- activations, made of the operations of Tensor --------------------------------------------------------------------

/** x where x > 0, else alpha (e^x - 1). */
export function elu(x: Tensor, alpha = 1): Tensor {
  const positive = x.gt(0);
  // The branch not taken gets a harmless argument, so that it cannot overflow.
  return where(positive, x, where(positive, 0, x).expm1().mul(alpha));
}

/** elu with the scale and alpha that keep mean and variance (arXiv 1706.02515). */
export function selu(x: Tensor): Tensor {
  return elu(x, 1.6732632423543772).mul(1.0507009873554805);
}

/** x where x > 0, else slope x. */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  return where(x.gt(0), x, x.mul(slope));
}

/** x where x > 0, else weight x; one weight, or one for each channel (axis 1). */
export function prelu(x: Tensor, weight: Tensor): Tensor {
  const perChannel = weight.numel() > 1 && x.ndim > 2;
  const w = perChannel ? weight.reshape([weight.numel(), ...new Array<number>(x.ndim - 2).fill(1)]) : weight;
  return where(x.gt(0), x, x.mul(w));
}

/** x limited to [low, high]; the gradient is 0 at and beyond the limits. */
export function hardtanh(x: Tensor, low = -1, high = 1): Tensor {
  const raised = where(x.le(low), low, x);
  return where(raised.ge(high), high, raised);
}

/** x relu6(x + 3) / 6. */
export function hardswish(x: Tensor): Tensor {
  const inner = x.mul(x.add(3)).div(6);
  return where(x.le(-3), 0, where(x.ge(3), x, inner));
}

/** x tanh(softplus(x)). */
export function mish(x: Tensor): Tensor {
  return x.mul(x.softplus().tanh());
}

/** log(1 + e^(beta x)) / beta; x itself where beta x is above the threshold. */
export function softplus(x: Tensor, beta = 1, threshold = 20): Tensor {
  const scaled = x.mul(beta);
  const linearPart = scaled.gt(threshold);
  return where(linearPart, x, scaled.softplus().div(beta));
}

// --- losses -----------------------------------------------------------------------------------------------------------

/** Mean of |input - target|. */
export function l1Loss(input: Tensor, target: Tensor, options: { reduction?: Reduction } = {}): Tensor {
  return reduced("l1Loss", difference("l1Loss", input, target).abs(), options.reduction ?? "mean");
}

/** Half the square where |input - target| < beta, divided by beta; else the distance less beta / 2. */
export function smoothL1Loss(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; beta?: number } = {},
): Tensor {
  const { reduction = "mean", beta = 1 } = options;
  if (!(beta >= 0)) throw new ValueError(`smoothL1Loss: beta must be at least 0, got ${beta}`);
  if (beta === 0) return l1Loss(input, target, { reduction });
  return huberLoss(input, target, { reduction, delta: beta }).div(beta);
}

/** Half the square where |input - target| < delta, else delta times (the distance less delta / 2). */
export function huberLoss(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; delta?: number } = {},
): Tensor {
  const { reduction = "mean", delta = 1 } = options;
  if (!(delta > 0)) throw new ValueError(`huberLoss: delta must be above 0, got ${delta}`);
  const d = difference("huberLoss", input, target);
  const distance = d.abs();
  const losses = where(distance.lt(delta), d.square().mul(0.5), distance.sub(delta / 2).mul(delta));
  return reduced("huberLoss", losses, reduction);
}

/** -(y log p + (1 - y) log(1 - p)) for probabilities p; logarithms are at least -100, as in PyTorch. */
export function binaryCrossEntropy(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; weight?: Tensor } = {},
): Tensor {
  difference("binaryCrossEntropy", input, target);
  const one = target.mul(input.log().maximum(-100));
  const other = target.neg().add(1).mul(input.neg().log1p().maximum(-100));
  const losses = one.add(other).neg();
  const weighted = options.weight ? losses.mul(options.weight) : losses;
  return reduced("binaryCrossEntropy", weighted, options.reduction ?? "mean");
}

/** binaryCrossEntropy of sigmoid(input), stable for any input. */
export function binaryCrossEntropyWithLogits(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; weight?: Tensor; posWeight?: Tensor } = {},
): Tensor {
  difference("binaryCrossEntropyWithLogits", input, target);
  // log(1 + e^-x) and log(1 + e^x), each weighted.
  const positive = input.neg().softplus().mul(target);
  const negative = input.softplus().mul(target.neg().add(1));
  const losses = (options.posWeight ? positive.mul(options.posWeight) : positive).add(negative);
  const weighted = options.weight ? losses.mul(options.weight) : losses;
  return reduced("binaryCrossEntropyWithLogits", weighted, options.reduction ?? "mean");
}

/** target (log target - input), for log-probabilities `input`; 0 where the target is 0. */
export function klDiv(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction | "batchmean"; logTarget?: boolean } = {},
): Tensor {
  const { reduction = "mean", logTarget = false } = options;
  difference("klDiv", input, target);
  const nothing = target.eq(0);
  const losses = logTarget
    ? target.exp().mul(target.sub(input))
    : where(nothing, 0, target.mul(where(nothing, 1, target).log().sub(input)));
  if (reduction === "batchmean") return losses.sum().div(Math.max(1, input.shape[0] ?? 1));
  return reduced("klDiv", losses, reduction);
}

/** input where the target is 1, max(0, margin - input) where it is -1. */
export function hingeEmbeddingLoss(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; margin?: number } = {},
): Tensor {
  const { reduction = "mean", margin = 1 } = options;
  difference("hingeEmbeddingLoss", input, target);
  const far = input.neg().add(margin).relu();
  const losses = where(target.ne(1), far, 0).add(where(target.ne(-1), input, 0));
  return reduced("hingeEmbeddingLoss", losses, reduction);
}

/** input - target, of one shape. */
function difference(op: string, input: Tensor, target: Tensor): Tensor {
  if (!sameShape(input.shape, target.shape))
    throw new ShapeError(`${op}: input ${show(input.shape)} and target ${show(target.shape)} differ`);
  return input.sub(target);
}
