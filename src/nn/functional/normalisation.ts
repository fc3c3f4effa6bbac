/** @file Normalisation: by batch, layer, group, instance, neighbouring channels. */
import { checkNumber } from "../../core/check.ts";
import { isFloat } from "../../core/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { checkShape, numel, sameShape, type Shape, show } from "../../core/shape.ts";
import { constant } from "../../ops/leaf.ts";
import { reshape, slice } from "../../ops/movement.ts";
import { norms } from "../../compile/extensions/norm.ts";
import { asItIs } from "../../tensor/functions.ts";
import { Parameter } from "../../tensor/parameter.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";
import { padded } from "./padding.ts";

/** A weight or bias, running statistics: they may be left out. */
type Maybe = Tensor | null | undefined;

/** The spacing of float32 above 1 (torch.finfo). */
const EPSILON = 2 ** -23;

/** Checks that x and those of other tensors that are there are float32 tensors. */
function checkFloats(op: string, x: Tensor, others: Readonly<Record<string, Maybe>>): void {
  const there = Object.entries(others).filter((e): e is [string, Tensor] => e[1] !== undefined && e[1] !== null);
  const given = { x, ...Object.fromEntries(there) };
  checkTensors(op, given);
  for (const [name, t] of Object.entries(given))
    if (!isFloat(t.dtype)) throw new DTypeError(`${op}: ${name} has dtype ${t.dtype}, only float32 is supported`);
}

/** Checks that tensors that are there have a value for each channel. */
function checkChannels(op: string, x: Tensor, others: Readonly<Record<string, Maybe>>): void {
  const channels = x.shape[1];
  for (const [name, t] of Object.entries(others))
    if (t && !sameShape(t.shape, [channels]))
      throw new ShapeError(`${op}: ${name} ${show(t.shape)} does not fit the ${channels} channels of ${show(x.shape)}`);
}

/** x, of the shape [A, Q, G, J, S] to src/ops/norm.ts, standardised; then times weight, plus bias, for each (G, J). */
function standardized(x: Tensor, shape: Shape, weight: Maybe, bias: Maybe, eps: number, centered = true): Tensor {
  const own = [shape[2], shape[3]];
  const parameter = (t: Maybe, none: number) => (t ? reshape(t.node, own) : constant(none, own, "float32"));
  const node = reshape(x.node, shape);
  const y = norms.standardize(node, parameter(weight, 1), parameter(bias, 0), { eps, centered });
  return new Tensor(reshape(y, x.shape));
}

/** How many rows of `normalizedShape` x has. */
function rowsOf(op: string, x: Tensor, normalizedShape: Shape, others: Readonly<Record<string, Maybe>>): number {
  checkFloats(op, x, others);
  checkShape(op, normalizedShape, "normalizedShape");
  const first = x.ndim - normalizedShape.length;
  if (first < 0 || normalizedShape.length === 0 || !sameShape(x.shape.slice(first), normalizedShape))
    throw new ShapeError(`${op}: shape ${show(x.shape)} does not end in ${show(normalizedShape)}`);
  for (const [name, t] of Object.entries(others))
    if (t && !sameShape(t.shape, normalizedShape))
      throw new ShapeError(`${op}: ${name} ${show(t.shape)} does not have the shape ${show(normalizedShape)}`);
  return numel(x.shape.slice(0, first));
}

/** Standardised over the last axes, whose extents are `normalizedShape`; then times weight, plus bias, of that shape. */
export function layerNorm(x: Tensor, normalizedShape: Shape, weight?: Maybe, bias?: Maybe, eps = 1e-5): Tensor {
  const rows = rowsOf("layerNorm", x, normalizedShape, { weight, bias });
  checkNumber("layerNorm", "eps", eps);
  const width = numel(normalizedShape);
  return width === 0 ? asItIs(x) : standardized(x, [1, rows, 1, width, 1], weight, bias, eps);
}

/**
 * x / sqrt(mean of squares + eps) over the last axes, whose extents are `normalizedShape`; then times weight. Without `eps` it is
 * 2^-23, the spacing of float32 above 1. (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.)
 */
export function rmsNorm(x: Tensor, normalizedShape: Shape, weight?: Maybe, eps?: number | null): Tensor {
  const rows = rowsOf("rmsNorm", x, normalizedShape, { weight });
  const by = eps ?? EPSILON;
  checkNumber("rmsNorm", "eps", by);
  const width = numel(normalizedShape);
  return width === 0 ? asItIs(x) : standardized(x, [1, rows, 1, width, 1], weight, null, by, false);
}

/** Channels (axis 1) standardised in groups; then times weight, plus bias, per channel. */
export function groupNorm(x: Tensor, groups: number, weight?: Maybe, bias?: Maybe, eps = 1e-5): Tensor {
  checkFloats("groupNorm", x, { weight, bias });
  checkNumber("groupNorm", "eps", eps);
  const [n, channels, ...rest] = x.shape;
  if (x.ndim < 2 || !Number.isInteger(groups) || groups < 1 || channels % groups !== 0)
    throw new ShapeError(`groupNorm: the channels of shape ${show(x.shape)} do not divide into ${groups} groups`);
  checkChannels("groupNorm", x, { weight, bias });
  const own = channels / groups;
  const places = numel(rest);
  if (n * own * places === 1)
    throw new ShapeError(`groupNorm: more than one value per group is wanted, got shape ${show(x.shape)}`);
  return own * places === 0 ? asItIs(x) : standardized(x, [1, n, groups, own, places], weight, bias, eps);
}

/** Running statistics that are Parameters, moved towards the mean and variance of `count` values of each of several rows. */
function follow(x: Tensor, shape: Shape, running: readonly Maybe[], momentum: number | Tensor): void {
  if (!running.some((t) => t instanceof Parameter)) return;
  const [a, q, g, j, s] = shape;
  const count = a * j * s;
  const both = norms.moments(reshape(x.node, shape));
  running.forEach((t, i) => {
    if (!(t instanceof Parameter)) return;
    const own = new Tensor(reshape(slice(both, [i, 0, 0], [1, q, g]), q === 1 ? [g] : [q, g]));
    const each = q === 1 ? own : own.mean(0);
    const now = i === 1 ? each.mul(count / (count - 1)) : each;
    t.assign(t.add(now.sub(t).mul(momentum)));
  });
}

/** By running statistics: one multiply-add for an element, with a factor and a summand per channel. */
function byRunning(x: Tensor, mean: Tensor, variance: Tensor, weight: Maybe, bias: Maybe, eps: number): Tensor {
  const perChannel = (t: Tensor): Tensor => t.reshape([x.shape[1], ...x.shape.slice(2).map(() => 1)]);
  const root = variance.add(eps).rsqrt();
  const scale = weight ? weight.mul(root) : root;
  const shift = bias ? bias.sub(mean.mul(scale)) : mean.mul(scale).neg();
  return x.mul(perChannel(scale)).add(perChannel(shift));
}

export interface InstanceNormOptions {
  /** Whether each instance's own mean and variance count, and running ones follow them. */
  useInputStats?: boolean;
  /** How much of the instances goes into running statistics. */
  momentum?: number | Tensor;
  eps?: number;
}

const INSTANCE_NORM_NAMES: Names<InstanceNormOptions> = { useInputStats: true, momentum: true, eps: true };

/**
 * Each channel of each sample standardised by itself, or, without `useInputStats`, by running statistics; then times weight, plus
 * bias, per channel. Running statistics that are Parameters follow the mean over samples (the variance with n - 1 for n).
 */
export function instanceNorm(
  x: Tensor,
  runningMean?: Maybe,
  runningVar?: Maybe,
  weight?: Maybe,
  bias?: Maybe,
  options: InstanceNormOptions = {},
): Tensor {
  const op = "instanceNorm";
  const { useInputStats = true, momentum = 0.1, eps = 1e-5 } = checkOptions(op, options, INSTANCE_NORM_NAMES);
  const others = { runningMean, runningVar, weight, bias };
  checkFloats(op, x, others);
  checkNumber(op, "eps", eps);
  if (!(momentum instanceof Tensor)) checkNumber(op, "momentum", momentum);
  if (x.ndim < 3) throw new ShapeError(`${op}: shape ${show(x.shape)} has no axes beside sample and channel`);
  checkChannels(op, x, others);
  if (!useInputStats) {
    if (!runningMean || !runningVar)
      throw new ValueError(`${op}: runningMean and runningVar are wanted where \`useInputStats\` is false`);
    return byRunning(x, runningMean, runningVar, weight, bias, eps);
  }
  if (x.numel() === 0) return asItIs(x);
  const [n, channels, ...rest] = x.shape;
  if (numel(rest) === 1)
    throw new ShapeError(`${op}: more than one value per channel of a sample is wanted, got shape ${show(x.shape)}`);
  const shape = [1, n, channels, 1, numel(rest)];
  const y = standardized(x, shape, weight, bias, eps);
  follow(x, shape, [runningMean, runningVar], momentum);
  return y;
}

export interface BatchNormOptions {
  /** Whether the batch's own mean and variance count, and running ones follow them. */
  training?: boolean;
  /** How much of the batch goes into running statistics. */
  momentum?: number | Tensor;
  eps?: number;
}

const BATCH_NORM_NAMES: Names<BatchNormOptions> = { training: true, momentum: true, eps: true };

/**
 * Each channel (axis 1) standardised over all others, by the batch's mean and variance while training, else by running ones;
 * then times weight, plus bias. While training, running statistics that are Parameters are updated (with n - 1 for n).
 */
export function batchNorm(
  x: Tensor,
  runningMean?: Maybe,
  runningVar?: Maybe,
  weight?: Maybe,
  bias?: Maybe,
  options: BatchNormOptions = {},
): Tensor {
  const op = "batchNorm";
  const { training = false, momentum = 0.1, eps = 1e-5 } = checkOptions(op, options, BATCH_NORM_NAMES);
  const others = { runningMean, runningVar, weight, bias };
  checkFloats(op, x, others);
  checkNumber(op, "eps", eps);
  if (!(momentum instanceof Tensor)) checkNumber(op, "momentum", momentum);
  if (x.numel() === 0) return asItIs(x);
  if (x.ndim < 2) throw new ShapeError(`${op}: the input must have 2 axes or more, got shape ${show(x.shape)}`);
  checkChannels(op, x, others);
  if (!training) {
    if (!runningMean || !runningVar)
      throw new ValueError(`${op}: runningMean and runningVar are wanted where \`training\` is false`);
    return byRunning(x, runningMean, runningVar, weight, bias, eps);
  }
  const [n, channels, ...rest] = x.shape;
  if (n * numel(rest) === 1)
    throw new ShapeError(`${op}: more than one value per channel is wanted while training, got shape ${show(x.shape)}`);
  const shape = [n, 1, channels, 1, numel(rest)];
  const y = standardized(x, shape, weight, bias, eps);
  follow(x, shape, [runningMean, runningVar], momentum);
  return y;
}

/** x / (k + alpha mean of the squares of `size` neighbouring channels)^beta. */
export function localResponseNorm(x: Tensor, size: number, alpha = 1e-4, beta = 0.75, k = 1): Tensor {
  checkTensors("localResponseNorm", { x });
  if (x.ndim < 3)
    throw new ShapeError(`localResponseNorm: the input must have 3 axes or more, got shape ${show(x.shape)}`);
  if (!Number.isInteger(size) || size < 1)
    throw new ValueError(`localResponseNorm: size must be a positive integer, got ${size}`);
  for (const [name, v] of Object.entries({ alpha, beta, k })) checkNumber("localResponseNorm", name, v);
  if (x.numel() === 0) return asItIs(x);
  // Channels further away than there are any are zeros.
  const channels = x.shape[1];
  const before = Math.min(Math.floor(size / 2), channels - 1);
  const after = Math.min(Math.floor((size - 1) / 2), channels - 1);
  const squares = padded(
    x.square(),
    x.shape.map((_, i): [number, number] => (i === 1 ? [before, after] : [0, 0])),
    0,
  );
  let sum = squares.narrow(1, 0, channels);
  for (let i = 1; i <= before + after; i++) sum = sum.add(squares.narrow(1, i, channels));
  const base = sum.mul(alpha / size).add(k);
  const root = base.sqrt();
  // A root is a tenth of the time of a power, and 3/4 is what everyone takes.
  return x.div(beta === 0.75 ? root.mul(root.sqrt()) : base.pow(beta));
}
