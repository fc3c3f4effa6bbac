/** @file Normalisation: by batch, layer, group, instance, neighbouring channels. */
import { checkNumber } from "../../core/check.ts";
import { ShapeError, ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { checkShape, numel, sameShape, type Shape, show } from "../../core/shape.ts";
import { asItIs } from "../../tensor/functions.ts";
import { Parameter } from "../../tensor/parameter.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";
import { padded } from "./padding.ts";

/** (x - mean) / sqrt(variance + eps) over axes; the variance divides by the number of elements. */
function standardized(op: string, x: Tensor, axes: readonly number[], eps: number): Tensor {
  checkNumber(op, "eps", eps);
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
    "layerNorm",
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
  const y = standardized("groupNorm", x.reshape(n, groups, (channels / groups) * numel(rest)), [2], eps).reshape(
    x.shape,
  );
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

const BATCH_NORM_NAMES: Names<BatchNormOptions> = { training: true, momentum: true, eps: true };

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
  const { training = false, momentum = 0.1, eps = 1e-5 } = checkOptions("batchNorm", options, BATCH_NORM_NAMES);
  const perChannelTensors = Object.fromEntries(
    Object.entries({ runningMean, runningVar, weight, bias }).filter(([, t]) => t !== undefined && t !== null),
  ) as Record<string, Tensor>;
  checkTensors("batchNorm", { x, ...perChannelTensors });
  checkNumber("batchNorm", "eps", eps);
  if (!(momentum instanceof Tensor)) checkNumber("batchNorm", "momentum", momentum);
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
    y = standardized("batchNorm", x, axes, eps);
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

/** x / (k + alpha mean of the squares of `size` neighbouring channels)^beta. */
export function localResponseNorm(x: Tensor, size: number, alpha = 1e-4, beta = 0.75, k = 1): Tensor {
  checkTensors("localResponseNorm", { x });
  if (x.ndim < 3)
    throw new ShapeError(`localResponseNorm: the input must have 3 axes or more, got shape ${show(x.shape)}`);
  if (!Number.isInteger(size) || size < 1)
    throw new ValueError(`localResponseNorm: size must be a positive integer, got ${size}`);
  for (const [name, v] of Object.entries({ alpha, beta, k })) checkNumber("localResponseNorm", name, v);
  const sides = x.shape.map((_, i): [number, number] =>
    i === 1 ? [Math.floor(size / 2), Math.floor((size - 1) / 2)] : [0, 0],
  );
  const mean = padded(x.square(), sides, 0).unfold(1, size, 1).mean(-1);
  return x.div(mean.mul(alpha).add(k).pow(beta));
}
