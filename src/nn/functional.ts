/** @file Losses and layers as functions, with torch.nn.functional's names. */
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { broadcast, checkShape, numel, sameShape, type Shape, show } from "../core/shape.ts";
import { norm } from "../composites.ts";
import { cast, COMPARE, apply } from "../ops/elementwise.ts";
import { crossEntropyRows } from "../ops/fused.ts";
import { constantLike } from "../ops/leaf.ts";
import { scaleGradient, sum } from "../ops/structure.ts";
import { type RandomOptions, uniform } from "../random.ts";
import { asItIs, checkTensors, full, Parameter, Tensor, where, zeros } from "../tensor.ts";

export { oneHot } from "../composites.ts";
export * from "./spatial.ts";

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
  const { reduction = "mean", ignoreIndex = -100, weight, labelSmoothing = 0 } = options;
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
  const { reduction = "mean", ignoreIndex = -100, weight } = options;
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
  return reduced("mseLoss", difference("mseLoss", input, target).square(), options.reduction ?? "mean");
}

/** x W^T + b, for a weight of shape [out, in] and a bias of shape [out]. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  checkTensors("linear", { input: x, weight });
  if (x.ndim === 0 || weight.ndim !== 2 || x.shape[x.ndim - 1] !== weight.shape[1])
    throw new ShapeError(`linear: input ${show(x.shape)} does not fit weight ${show(weight.shape)} ([out, in])`);
  const y = x.matmul(weight.t());
  return bias ? y.add(bias) : y;
}

/** Zeroes elements with probability p and scales the others by 1 / (1 - p); the identity unless `training`. */
export function dropout(x: Tensor, p = 0.5, training = true, options: RandomOptions = {}): Tensor {
  checkTensors("dropout", { x });
  if (!(p >= 0 && p <= 1)) throw new ValueError(`dropout: p must be from 0 to 1, got ${p}`);
  if (!training || p === 0) return asItIs(x);
  if (p === 1) return x.mul(0);
  const keep = uniform(x.shape, 0, 1, options).ge(p);
  return where(keep, x.mul(1 / (1 - p)), 0);
}

/** x Phi(x); with approximate: "tanh", 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (arXiv 1606.08415). */
export function gelu(x: Tensor, options: { approximate?: "none" | "tanh" } = {}): Tensor {
  checkTensors("gelu", { x });
  const { approximate = "none" } = options ?? {};
  if (approximate === "none") return x.gelu();
  if (approximate !== "tanh")
    throw new ValueError(`gelu: approximate must be "none" or "tanh", got ${String(approximate)}`);
  const inner = x.add(x.mul(x).mul(x).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
  return x.mul(0.5).mul(inner.tanh().add(1));
}

/** max(x, 0). */
export function relu(x: Tensor): Tensor {
  checkTensors("relu", { x });
  return x.relu();
}

/** x sigmoid(x). */
export function silu(x: Tensor): Tensor {
  checkTensors("silu", { x });
  return x.silu();
}

/** 1 / (1 + e^-x). */
export function sigmoid(x: Tensor): Tensor {
  checkTensors("sigmoid", { x });
  return x.sigmoid();
}

/** The hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  checkTensors("tanh", { x });
  return x.tanh();
}

/** e^x over its sum along an axis. */
export function softmax(x: Tensor, axis = -1): Tensor {
  checkTensors("softmax", { x });
  return x.softmax(axis);
}

/** Logarithm of softmax, stable. */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  checkTensors("logSoftmax", { x });
  return x.logSoftmax(axis);
}

// --- activations, made of the operations of Tensor --------------------------------------------------------------------

/** x where x > 0, else alpha (e^x - 1). */
export function elu(x: Tensor, alpha = 1): Tensor {
  checkTensors("elu", { x });
  const positive = x.gt(0);
  // The branch not taken gets a harmless argument, so that it cannot overflow.
  return where(positive, x, where(positive, 0, x).expm1().mul(alpha));
}

/** elu with the scale and alpha that keep mean and variance (arXiv 1706.02515). */
export function selu(x: Tensor): Tensor {
  checkTensors("selu", { x });
  return elu(x, 1.6732632423543772).mul(1.0507009873554805);
}

/** x where x > 0, else slope x. */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  checkTensors("leakyRelu", { x });
  return where(x.gt(0), x, x.mul(slope));
}

/** x where x > 0, else weight x; one weight, or one for each channel (axis 1). */
export function prelu(x: Tensor, weight: Tensor): Tensor {
  checkTensors("prelu", { x, weight });
  const perChannel = weight.numel() > 1 && x.ndim > 2;
  const w = perChannel ? weight.reshape([weight.numel(), ...new Array<number>(x.ndim - 2).fill(1)]) : weight;
  return where(x.gt(0), x, x.mul(w));
}

/** x limited to [low, high]; the gradient is 0 at and beyond the limits. */
export function hardtanh(x: Tensor, low = -1, high = 1): Tensor {
  checkTensors("hardtanh", { x });
  const raised = where(x.le(low), low, x);
  return where(raised.ge(high), high, raised);
}

/** x relu6(x + 3) / 6. */
export function hardswish(x: Tensor): Tensor {
  checkTensors("hardswish", { x });
  // The branch not taken gets a harmless argument, so that it cannot overflow.
  const near = where(x.abs().gt(3), 0, x);
  const inner = near.mul(near.add(3)).div(6);
  return where(x.lt(-3), 0, where(x.gt(3), x, inner));
}

/** x tanh(softplus(x)). */
export function mish(x: Tensor): Tensor {
  checkTensors("mish", { x });
  return x.mul(x.softplus().tanh());
}

/** log(1 + e^(beta x)) / beta; x itself where beta x is above the threshold. */
export function softplus(x: Tensor, beta = 1, threshold = 20): Tensor {
  checkTensors("softplus", { x });
  const scaled = x.mul(beta);
  const linearPart = scaled.gt(threshold);
  return where(linearPart, x, scaled.softplus().div(beta));
}

// --- normalisation ----------------------------------------------------------------------------------------------------

/** (x - mean) / sqrt(variance + eps) over axes; the variance divides by the number of elements. */
function standardized(x: Tensor, axes: readonly number[], eps: number): Tensor {
  const centered = x.sub(x.mean(axes, true));
  return centered.mul(centered.square().mean(axes, true).add(eps).rsqrt());
}

/** Standardised over the last axes, whose extents are `normalizedShape`; then times weight, plus bias. */
export function layerNorm(
  x: Tensor,
  normalizedShape: Shape,
  weight?: Tensor | null,
  bias?: Tensor | null,
  eps = 1e-5,
): Tensor {
  checkTensors("layerNorm", { x });
  checkShape("layerNorm", normalizedShape, "normalizedShape");
  const first = x.ndim - normalizedShape.length;
  if (first < 0 || normalizedShape.length === 0 || !sameShape(x.shape.slice(first), normalizedShape))
    throw new ShapeError(`layerNorm: shape ${show(x.shape)} does not end in ${show(normalizedShape)}`);
  const y = standardized(
    x,
    normalizedShape.map((_, i) => first + i),
    eps,
  );
  const scaled = weight ? y.mul(weight) : y;
  return bias ? scaled.add(bias) : scaled;
}

/** Channels (axis 1) standardised in groups; then times weight, plus bias, per channel. */
export function groupNorm(x: Tensor, groups: number, weight?: Tensor | null, bias?: Tensor | null, eps = 1e-5): Tensor {
  checkTensors("groupNorm", { x });
  const [n, channels, ...rest] = x.shape;
  if (x.ndim < 2 || !Number.isInteger(groups) || groups < 1 || channels % groups !== 0)
    throw new ShapeError(`groupNorm: the channels of shape ${show(x.shape)} do not divide into ${groups} groups`);
  const y = standardized(x.reshape(n, groups, (channels / groups) * numel(rest)), [2], eps).reshape(x.shape);
  const perChannel = (t: Tensor): Tensor => t.reshape([channels, ...rest.map(() => 1)]);
  const scaled = weight ? y.mul(perChannel(weight)) : y;
  return bias ? scaled.add(perChannel(bias)) : scaled;
}

/** Each channel of each sample standardised by itself; then times weight, plus bias, per channel. */
export function instanceNorm(x: Tensor, weight?: Tensor | null, bias?: Tensor | null, eps = 1e-5): Tensor {
  checkTensors("instanceNorm", { x });
  if (x.ndim < 3) throw new ShapeError(`instanceNorm: shape ${show(x.shape)} has no axes beside sample and channel`);
  return groupNorm(x, x.shape[1], weight, bias, eps);
}

export interface BatchNormOptions {
  /** Whether the batch's own mean and variance count, and running ones follow them. */
  training?: boolean;
  /** How much of the batch goes into running statistics. */
  momentum?: number | Tensor;
  eps?: number;
}

/**
 * Each channel (axis 1) standardised over all others, by the batch's mean and variance while training, else by running ones;
 * then times weight, plus bias. While training, running statistics that are Parameters are updated (with n - 1 for n).
 */
export function batchNorm(
  x: Tensor,
  runningMean?: Tensor | null,
  runningVar?: Tensor | null,
  weight?: Tensor | null,
  bias?: Tensor | null,
  options: BatchNormOptions = {},
): Tensor {
  const { training = false, momentum = 0.1, eps = 1e-5 } = options;
  const perChannelTensors = Object.fromEntries(
    Object.entries({ runningMean, runningVar, weight, bias }).filter(([, t]) => t !== undefined && t !== null),
  ) as Record<string, Tensor>;
  checkTensors("batchNorm", { x, ...perChannelTensors });
  if (x.numel() === 0) return asItIs(x);
  if (x.ndim < 2) throw new ShapeError(`batchNorm: the input must have 2 axes or more, got shape ${show(x.shape)}`);
  const channels = x.shape[1];
  for (const [name, t] of Object.entries(perChannelTensors))
    if (!sameShape(t.shape, [channels]))
      throw new ShapeError(
        `batchNorm: ${name} ${show(t.shape)} does not fit the ${channels} channels of ${show(x.shape)}`,
      );
  const perChannel = (t: Tensor): Tensor => t.reshape([channels, ...x.shape.slice(2).map(() => 1)]);
  const axes = x.shape.map((_, i) => i).filter((i) => i !== 1);
  let y: Tensor;
  if (training) {
    const count = x.numel() / channels;
    if (count === 1)
      throw new ShapeError(
        `batchNorm: more than one value per channel is wanted while training, got shape ${show(x.shape)}`,
      );
    y = standardized(x, axes, eps);
    const follow = (running: Tensor | null | undefined, now: () => Tensor): void => {
      if (running instanceof Parameter) running.assign(running.add(now().sub(running).mul(momentum)));
    };
    follow(runningMean, () => x.mean(axes));
    follow(runningVar, () => x.var(axes));
  } else {
    if (!runningMean || !runningVar)
      throw new ValueError("batchNorm: runningMean and runningVar are wanted where `training` is false");
    y = x.sub(perChannel(runningMean)).mul(perChannel(runningVar.add(eps).rsqrt()));
  }
  const scaled = weight ? y.mul(perChannel(weight)) : y;
  return bias ? scaled.add(perChannel(bias)) : scaled;
}

export interface EmbeddingOptions {
  /** A row that gets no gradient. */
  paddingIdx?: number | null;
  /** Rows with a larger norm are shortened to it before they are used. */
  maxNorm?: number | null;
  /** Which norm; default 2. */
  normType?: number;
  /** Whether the gradient of a row is divided by how often it was used. */
  scaleGradByFreq?: boolean;
}

/**
 * Rows of a table [rows, width] by an integer tensor [...]: [..., width]. With maxNorm the rows that are used are shortened in
 * the table too, if that is a Parameter; the gradient does not see it.
 * @throws IndexError, when the value is read, if an index is outside the table.
 */
export function embedding(input: Tensor, weight: Tensor, options: EmbeddingOptions = {}): Tensor {
  const { paddingIdx, maxNorm, normType = 2, scaleGradByFreq = false } = options;
  checkTensors("embedding", { input, weight });
  if (weight.ndim !== 2) throw new ShapeError(`embedding: the table must have 2 axes, got shape ${show(weight.shape)}`);
  const [count, width] = weight.shape;
  if (typeof paddingIdx === "number" && !(Number.isInteger(paddingIdx) && paddingIdx >= -count && paddingIdx < count))
    throw new ValueError(`embedding: paddingIdx ${paddingIdx} is out of range for ${count} rows`);
  const at = input.flatten();
  let rows = weight.indexSelect(0, at);
  const uses = (): Tensor =>
    zeros([count], { dtype: "int32" }).scatterAdd(0, at, full(at.shape, 1, { dtype: "int32" }));
  if (typeof maxNorm === "number") {
    const shortened = (t: Tensor): Tensor => {
      const length = norm(t, normType, 1, true);
      return where(length.gt(maxNorm), t.mul(length.add(1e-7).reciprocal().mul(maxNorm)), t).detach();
    };
    const short = shortened(rows);
    if (weight instanceof Parameter) weight.assign(where(uses().gt(0).unsqueeze(1), shortened(weight), weight));
    // The value of one, the gradient of the other.
    rows = rows.sub(rows.detach()).add(short);
  }
  if (scaleGradByFreq) {
    const share = uses().indexSelect(0, at).float().reciprocal().unsqueeze(1);
    rows = new Tensor(scaleGradient(rows.node, share.expand(rows.shape).node));
  }
  if (typeof paddingIdx === "number") {
    const padding = at.eq(paddingIdx < 0 ? paddingIdx + count : paddingIdx).unsqueeze(1);
    rows = where(padding, rows.detach(), rows);
  }
  return rows.reshape([...input.shape, width]);
}

/** The cosine of the angle between vectors along an axis; lengths count as at least eps. */
export function cosineSimilarity(x1: Tensor, x2: Tensor, axis = 1, eps = 1e-8): Tensor {
  checkTensors("cosineSimilarity", { x1, x2 });
  const shape = broadcast("cosineSimilarity", x1.shape, x2.shape);
  const [a, b] = [x1.expand(shape), x2.expand(shape)];
  const length = (x: Tensor): Tensor => norm(x, 2, axis).maximum(eps);
  return a
    .mul(b)
    .sum(axis)
    .div(length(a).mul(length(b)));
}

/** [..., C r^2, H, W] to [..., C, H r, W r]. */
export function pixelShuffle(x: Tensor, upscaleFactor: number): Tensor {
  checkTensors("pixelShuffle", { x });
  const r = upscaleFactor;
  const [c, h, w] = x.shape.slice(-3);
  if (x.ndim < 3 || !Number.isInteger(r) || r < 1 || c % (r * r) !== 0)
    throw new ShapeError(`pixelShuffle: the channels of shape ${show(x.shape)} do not divide by ${r} squared`);
  const lead = x.shape.slice(0, -3);
  const k = lead.length;
  return x
    .reshape([...lead, c / (r * r), r, r, h, w])
    .permute([...lead.map((_, i) => i), k, k + 3, k + 1, k + 4, k + 2])
    .reshape([...lead, c / (r * r), h * r, w * r]);
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
  difference("binaryCrossEntropy", input, target);
  const inside = input.mul(input.neg().add(1)).ge(1e-12);
  const p = where(inside, input, input.detach());
  const one = target.mul(p.log().maximum(-100));
  const other = target.neg().add(1).mul(p.neg().log1p().maximum(-100));
  // At 0 and 1 logarithms have no slope: there a line of the gradient's slope, which is 0 high.
  const line = input.sub(input.detach()).mul(input.sub(target).mul(1e12));
  const losses = where(inside, 0, line).sub(one.add(other));
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
