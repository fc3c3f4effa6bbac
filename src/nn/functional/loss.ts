/** @file Losses, with torch.nn.functional's names. */
import { DTypeError, ShapeError, ValueError } from "../../core/errors.ts";
import { checkOptions } from "../../core/options.ts";
import { numel, sameShape, show } from "../../core/shape.ts";
import { apply, cast, COMPARE } from "../../ops/elementwise.ts";
import { crossEntropyRows } from "../../ops/fused.ts";
import { constantLike } from "../../ops/leaf.ts";
import { sum } from "../../ops/movement.ts";
import { full } from "../../tensor/creation.ts";
import { where } from "../../tensor/functions.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";

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
 * Cross-entropy between logits [N, C, ...] (or [C]) and int32 class indices [N, ...] (or []), in one pass each way; or
 * class probabilities of the logits' shape, float32. `weight` holds a factor for each class; the mean over class indices divides
 * by the sum of the factors. `labelSmoothing` mixes the target with equal probabilities.
 * @throws IndexError, when the value is read, if a label is neither in [0, C) nor `ignoreIndex`. The step has no effect then.
 */
export function crossEntropy(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; ignoreIndex?: number; weight?: Tensor; labelSmoothing?: number } = {},
): Tensor {
  const {
    reduction = "mean",
    ignoreIndex = -100,
    weight,
    labelSmoothing = 0,
  } = checkOptions("crossEntropy", options, {
    reduction: true,
    ignoreIndex: true,
    weight: true,
    labelSmoothing: true,
  });
  checkTensors("crossEntropy", { input, target });
  checkReduction("crossEntropy", reduction);
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1))
    throw new ValueError(`crossEntropy: labelSmoothing must be from 0 to 1, got ${labelSmoothing}`);
  if (input.ndim === 1) {
    const one = crossEntropy(input.unsqueeze(0), target.unsqueeze(0), options);
    return reduction === "none" ? one.squeeze(0) : one;
  }
  const { shape } = input;
  const places = [shape[0], ...shape.slice(2)];
  const probabilities = target.dtype === "float32" && sameShape(shape, target.shape);
  if (input.ndim < 2 || !(probabilities || sameShape(target.shape, places)))
    throw new ShapeError(
      `crossEntropy: input ${show(shape)} and target ${show(target.shape)} do not fit: [N, C, ...] and [N, ...] are wanted`,
    );
  if (weight && !sameShape(weight.shape, [shape[1]]))
    throw new ShapeError(
      `crossEntropy: weight ${show(weight.shape)} does not fit the ${shape[1]} classes of ${show(shape)}`,
    );
  const weighted = (x: Tensor): Tensor =>
    weight ? x.mul(weight.reshape([shape[1], ...shape.slice(2).map(() => 1)])) : x;
  if (probabilities) {
    const mixed = labelSmoothing > 0 ? target.mul(1 - labelSmoothing).add(labelSmoothing / shape[1]) : target;
    const losses = mixed
      .mul(weighted(input.logSoftmax(1)))
      .sum(1)
      .neg();
    return reduced("crossEntropy", losses, reduction);
  }
  checkClasses("crossEntropy", target);
  if (weight || labelSmoothing > 0) {
    const logs = input.logSoftmax(1);
    const own = nllLoss(logs, target, { reduction, ignoreIndex, weight });
    if (labelSmoothing === 0) return own;
    const counted = target.ne(ignoreIndex);
    const even = where(counted, weighted(logs).sum(1).neg().div(shape[1]), 0);
    const share = (): Tensor =>
      even.sum().div(nllLoss(full(shape, -1), target, { reduction: "sum", ignoreIndex, weight }));
    const smooth = reduction === "mean" ? share() : reduced("crossEntropy", even, reduction);
    return own.mul(1 - labelSmoothing).add(smooth.mul(labelSmoothing));
  }
  const classesLast = [0, ...shape.slice(2).map((_, i) => i + 2), 1];
  const rows = input.ndim === 2 ? input : input.permute(classesLast).reshape(numel(places), shape[1]);
  const labels = cast(target.flatten().node, "int32");
  const losses = new Tensor(crossEntropyRows(rows.node, labels, ignoreIndex));
  if (reduction === "none") return losses.reshape(places);
  if (reduction === "sum") return losses.sum();
  const counted = cast(apply(COMPARE.ne, labels, constantLike(labels, ignoreIndex)), "float32");
  return losses.sum().div(new Tensor(sum(counted, [0])));
}

/**
 * -input at the target's class, times the weight of the class: log-probabilities [N, C, ...] (or [C]) and int32 classes
 * [N, ...] (or []). The mean divides by the sum of weights.
 * @throws IndexError, when the value is read, if a class is neither in [0, C) nor `ignoreIndex`.
 */
export function nllLoss(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; ignoreIndex?: number; weight?: Tensor } = {},
): Tensor {
  const {
    reduction = "mean",
    ignoreIndex = -100,
    weight,
  } = checkOptions("nllLoss", options, {
    reduction: true,
    ignoreIndex: true,
    weight: true,
  });
  checkTensors("nllLoss", { input, target });
  checkReduction("nllLoss", reduction);
  if (input.ndim === 1) {
    const one = nllLoss(input.unsqueeze(0), target.unsqueeze(0), options);
    return reduction === "none" ? one.squeeze(0) : one;
  }
  const { shape } = input;
  if (input.ndim < 2 || !sameShape(target.shape, [shape[0], ...shape.slice(2)]))
    throw new ShapeError(
      `nllLoss: input ${show(shape)} and target ${show(target.shape)} do not fit: [N, C, ...] and [N, ...] are wanted`,
    );
  if (weight && !sameShape(weight.shape, [shape[1]]))
    throw new ShapeError(
      `nllLoss: weight ${show(weight.shape)} does not fit the ${shape[1]} classes of ${show(shape)}`,
    );
  checkClasses("nllLoss", target);
  const counted = target.ne(ignoreIndex);
  const classes = where(counted, target, 0);
  const picked = input.gather(1, classes.unsqueeze(1)).squeeze(1);
  const ofClass = weight ? weight.indexSelect(0, classes.flatten()).reshape(classes.shape) : full(classes.shape, 1);
  const weights = where(counted, ofClass, 0);
  const losses = where(counted, picked.neg().mul(ofClass), 0);
  return reduction === "mean" ? losses.sum().div(weights.sum()) : reduced("nllLoss", losses, reduction);
}

function checkClasses(op: string, target: Tensor): void {
  if (target.dtype === "float32" || target.dtype === "bool")
    throw new DTypeError(`${op}: target must hold int32 (or uint8) class indices, got ${target.dtype}`);
}

/** Mean of (input - target)^2. */
export function mseLoss(input: Tensor, target: Tensor, options: { reduction?: Reduction } = {}): Tensor {
  const { reduction = "mean" } = checkOptions("mseLoss", options, { reduction: true });
  return reduced("mseLoss", difference("mseLoss", input, target).square(), reduction);
}

/** Mean of |input - target|. */
export function l1Loss(input: Tensor, target: Tensor, options: { reduction?: Reduction } = {}): Tensor {
  const { reduction = "mean" } = checkOptions("l1Loss", options, { reduction: true });
  return reduced("l1Loss", difference("l1Loss", input, target).abs(), reduction);
}

/** Half the square where |input - target| < beta, divided by beta; else the distance less beta / 2. */
export function smoothL1Loss(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; beta?: number } = {},
): Tensor {
  const { reduction = "mean", beta = 1 } = checkOptions("smoothL1Loss", options, { reduction: true, beta: true });
  if (!(beta >= 0)) throw new ValueError(`smoothL1Loss: beta must be at least 0, got ${beta}`);
  if (Math.fround(beta) === 0) return l1Loss(input, target, { reduction });
  return huberLoss(input, target, { reduction, delta: beta }).div(beta);
}

/** Half the square where |input - target| < delta, else delta times (the distance less delta / 2). */
export function huberLoss(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; delta?: number } = {},
): Tensor {
  const { reduction = "mean", delta = 1 } = checkOptions("huberLoss", options, { reduction: true, delta: true });
  if (!(Math.fround(delta) > 0)) throw new ValueError(`huberLoss: delta must be above 0, got ${delta}`);
  const d = difference("huberLoss", input, target);
  const distance = d.abs();
  const far = distance.ge(delta);
  // The branch not taken gets a harmless argument, so that it cannot overflow.
  const losses = where(far, distance.sub(delta / 2).mul(delta), where(far, 0, d).square().mul(0.5));
  return reduced("huberLoss", losses, reduction);
}

/**
 * -(y log p + (1 - y) log(1 - p)) for probabilities p; logarithms are at least -100, as in PyTorch, and so is the gradient
 * (p - y) / max(p (1 - p), 1e-12): where a sigmoid is saturated on the right side it is 0.
 */
export function binaryCrossEntropy(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; weight?: Tensor } = {},
): Tensor {
  const { reduction = "mean", weight } = checkOptions("binaryCrossEntropy", options, { reduction: true, weight: true });
  difference("binaryCrossEntropy", input, target);
  const inside = input.mul(input.neg().add(1)).ge(1e-12);
  const p = where(inside, input, input.detach());
  const one = target.mul(p.log().maximum(-100));
  const other = target.neg().add(1).mul(p.neg().log1p().maximum(-100));
  // At 0 and 1 logarithms have no slope: there a line of the gradient's slope, which is 0 high.
  const line = input.sub(input.detach()).mul(input.sub(target).mul(1e12));
  const losses = where(inside, 0, line).sub(one.add(other));
  return reduced("binaryCrossEntropy", weight ? losses.mul(weight) : losses, reduction);
}

/** binaryCrossEntropy of sigmoid(input), stable for any input. */
export function binaryCrossEntropyWithLogits(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction; weight?: Tensor; posWeight?: Tensor } = {},
): Tensor {
  const {
    reduction = "mean",
    weight,
    posWeight,
  } = checkOptions("binaryCrossEntropyWithLogits", options, {
    reduction: true,
    weight: true,
    posWeight: true,
  });
  difference("binaryCrossEntropyWithLogits", input, target);
  // log(1 + e^-x) and log(1 + e^x), each weighted.
  const positive = input.neg().softplus().mul(target);
  const negative = input.softplus().mul(target.neg().add(1));
  const losses = (posWeight ? positive.mul(posWeight) : positive).add(negative);
  return reduced("binaryCrossEntropyWithLogits", weight ? losses.mul(weight) : losses, reduction);
}

/** target (log target - input), for log-probabilities `input`; 0 where the target is 0. */
export function klDiv(
  input: Tensor,
  target: Tensor,
  options: { reduction?: Reduction | "batchmean"; logTarget?: boolean } = {},
): Tensor {
  const { reduction = "mean", logTarget = false } = checkOptions("klDiv", options, {
    reduction: true,
    logTarget: true,
  });
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
  const { reduction = "mean", margin = 1 } = checkOptions("hingeEmbeddingLoss", options, {
    reduction: true,
    margin: true,
  });
  difference("hingeEmbeddingLoss", input, target);
  const far = input.neg().add(margin).clamp(0);
  const losses = where(target.ne(1), far, 0).add(where(target.ne(-1), input, 0));
  return reduced("hingeEmbeddingLoss", losses, reduction);
}

/** input - target, of one shape. */
function difference(op: string, input: Tensor, target: Tensor): Tensor {
  checkTensors(op, { input, target });
  if (!sameShape(input.shape, target.shape))
    throw new ShapeError(`${op}: input ${show(input.shape)} and target ${show(target.shape)} differ`);
  return input.sub(target);
}
