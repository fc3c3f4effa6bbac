/** @file Layers, in order of increasing complexity. */
import { ShapeError, ValueError } from "../core/errors.ts";
import { numel, show } from "../core/shape.ts";
import { type RandomOptions, randn, uniform } from "../random.ts";
import { arange, Buffer, ones, Parameter, type Tensor, where, zeros } from "../tensor.ts";
import * as F from "./functional.ts";
import { together } from "../trace/variable.ts";
import { Module } from "./module.ts";

function checkCounts(layer: string, counts: Readonly<Record<string, number>>, least = 1): void {
  for (const [name, n] of Object.entries(counts))
    if (!Number.isInteger(n) || n < least)
      throw new ValueError(`${layer}: ${name} must be an integer >= ${least}, got ${String(n)}`);
}

/** max(x, 0). */
export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return x.relu();
  }
}

/** Hyperbolic tangent. */
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return x.tanh();
  }
}

/** 1 / (1 + e^-x). */
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.sigmoid();
  }
}

/** x Phi(x). */
export class GELU extends Module {
  forward(x: Tensor): Tensor {
    return x.gelu();
  }
}

/** Axes startDim to endDim (default: all but the first) merged into one. */
export class Flatten extends Module {
  readonly startDim: number;
  readonly endDim: number;

  constructor(startDim = 1, endDim = -1) {
    super();
    this.startDim = startDim;
    this.endDim = endDim;
  }

  forward(x: Tensor): Tensor {
    return x.flatten(this.startDim, this.endDim);
  }
}

/** Zeroes elements with probability p while training. */
export class Dropout extends Module {
  readonly p: number;

  constructor(p = 0.5) {
    super();
    if (!(p >= 0 && p <= 1)) throw new ValueError(`Dropout: p must be from 0 to 1, got ${p}`);
    this.p = p;
  }

  forward(x: Tensor): Tensor {
    return F.dropout(x, this.p, this.training);
  }
}

/**
 * x W^T + b. The weight has shape [outFeatures, inFeatures]; both start uniform in +-1/sqrt(inFeatures), PyTorch's default.
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(inFeatures: number, outFeatures: number, options: { bias?: boolean } & RandomOptions = {}) {
    super();
    checkCounts("Linear", { inFeatures, outFeatures }, 0);
    const bound = inFeatures > 0 ? 1 / Math.sqrt(inFeatures) : 0;
    this.weight = new Parameter(uniform([outFeatures, inFeatures], -bound, bound, options));
    this.bias = options.bias === false ? null : new Parameter(uniform([outFeatures], -bound, bound, options));
  }

  forward(x: Tensor): Tensor {
    return F.linear(x, this.weight, this.bias);
  }
}

// --- images and signals -----------------------------------------------------------------------------------------------

export interface ConvLayerOptions extends F.ConvOptions, RandomOptions {
  bias?: boolean;
}

/** Kernels and bias uniform in +-1/sqrt(fan in), PyTorch's default. */
abstract class Conv<Options extends { groups?: number }> extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  protected readonly options: Options;

  /** `channels` by their names, as the weight has them. */
  constructor(
    layer: string,
    channels: Readonly<Record<"inChannels" | "outChannels", number>>,
    rank: number,
    kernelSize: F.Sizes,
    options: Options & { bias?: boolean } & RandomOptions,
  ) {
    super();
    const shape = kernelShape(layer, channels, rank, kernelSize, options.groups);
    const bound = 1 / Math.sqrt(numel(shape.slice(1)));
    this.weight = new Parameter(uniform(shape, -bound, bound, options));
    this.bias = options.bias === false ? null : new Parameter(uniform([channels.outChannels], -bound, bound, options));
    this.options = options;
  }
}

/** The shape of a weight: [first, second / groups, kernel...], for channels by their names in this order. */
function kernelShape(
  layer: string,
  channels: Readonly<Record<string, number>>,
  rank: number,
  size: F.Sizes,
  groups = 1,
): number[] {
  checkCounts(layer, { ...channels, groups });
  const kernel: readonly number[] = Array.isArray(size) ? size : new Array<number>(rank).fill(size as number);
  for (const kernelSize of kernel) checkCounts(layer, { kernelSize });
  if (kernel.length !== rank) throw new ValueError(`${layer}: kernelSize ${show(kernel)} must have ${rank} extents`);
  const [first, second] = Object.values(channels);
  if (first % groups !== 0 || second % groups !== 0)
    throw new ValueError(`${layer}: ${first} and ${second} channels do not divide into ${groups} groups`);
  return [first, second / groups, ...kernel];
}

/** The cross-correlation of [N, C, L] with learned kernels [outChannels, inChannels / groups, k]. */
export class Conv1d extends Conv<F.ConvOptions> {
  constructor(inChannels: number, outChannels: number, kernelSize: F.Sizes, options: ConvLayerOptions = {}) {
    super("Conv1d", { outChannels, inChannels }, 1, kernelSize, options);
  }

  forward(x: Tensor): Tensor {
    return F.conv1d(x, this.weight, this.bias, this.options);
  }
}

/** The cross-correlation of images [N, C, H, W] with learned kernels [outChannels, inChannels / groups, kh, kw]. */
export class Conv2d extends Conv<F.ConvOptions> {
  constructor(inChannels: number, outChannels: number, kernelSize: F.Sizes, options: ConvLayerOptions = {}) {
    super("Conv2d", { outChannels, inChannels }, 2, kernelSize, options);
  }

  forward(x: Tensor): Tensor {
    return F.conv2d(x, this.weight, this.bias, this.options);
  }
}

/** The adjoint of Conv2d as a layer: learned kernels [inChannels, outChannels / groups, kh, kw]. */
export class ConvTranspose2d extends Conv<F.ConvTransposeOptions> {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: F.Sizes,
    options: F.ConvTransposeOptions & { bias?: boolean } & RandomOptions = {},
  ) {
    super("ConvTranspose2d", { inChannels, outChannels }, 2, kernelSize, options);
  }

  forward(x: Tensor): Tensor {
    return F.convTranspose2d(x, this.weight, this.bias, this.options);
  }
}

/** The largest element of each window. */
export class MaxPool2d extends Module {
  constructor(
    readonly kernelSize: F.Sizes,
    readonly options: F.PoolOptions & { dilation?: F.Sizes } = {},
  ) {
    super();
  }

  forward(x: Tensor): Tensor {
    return F.maxPool2d(x, this.kernelSize, this.options);
  }
}

/** The mean of each window. */
export class AvgPool2d extends Module {
  constructor(
    readonly kernelSize: F.Sizes,
    readonly options: F.AvgPoolOptions = {},
  ) {
    super();
  }

  forward(x: Tensor): Tensor {
    return F.avgPool2d(x, this.kernelSize, this.options);
  }
}

/** Means of as many parts of an image as `outputSize` says; null keeps an extent. */
export class AdaptiveAvgPool2d extends Module {
  constructor(readonly outputSize: number | readonly (number | null)[]) {
    super();
  }

  forward(x: Tensor): Tensor {
    return F.adaptiveAvgPool2d(x, this.outputSize);
  }
}

/** Resizes along the spatial axes. */
export class Upsample extends Module {
  constructor(readonly options: F.InterpolateOptions) {
    super();
  }

  forward(x: Tensor): Tensor {
    return F.interpolate(x, this.options);
  }
}

// --- normalisation ----------------------------------------------------------------------------------------------------

export interface BatchNormLayerOptions {
  eps?: number;
  /** How much of a batch goes into the running statistics; null: all batches count alike. */
  momentum?: number | null;
  /** Whether weight and bias are learned. */
  affine?: boolean;
  trackRunningStats?: boolean;
}

/** Channels (axis 1) standardised: by the batch while training, by running statistics else. Keys of the state as in PyTorch. */
abstract class BatchNorm extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly running_mean: Buffer | null;
  readonly running_var: Buffer | null;
  readonly num_batches_tracked: Buffer | null;
  readonly eps: number;
  readonly momentum: number | null;

  constructor(
    private readonly layer: string,
    /** How many axes the input may have. */
    private readonly ranks: readonly number[],
    numFeatures: number,
    options: BatchNormLayerOptions,
  ) {
    super();
    checkCounts(layer, { numFeatures });
    const { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats: tracks = true } = options;
    this.eps = eps;
    this.momentum = momentum;
    this.weight = affine ? new Parameter(ones([numFeatures])) : null;
    this.bias = affine ? new Parameter(zeros([numFeatures])) : null;
    this.running_mean = tracks ? new Buffer(zeros([numFeatures])) : null;
    this.running_var = tracks ? new Buffer(ones([numFeatures])) : null;
    this.num_batches_tracked = tracks ? new Buffer(zeros([], { dtype: "int32" })) : null;
  }

  forward(x: Tensor): Tensor {
    if (!this.ranks.includes(x.ndim))
      throw new ShapeError(`${this.layer}: the input must have ${this.ranks.join(" or ")} axes, got ${show(x.shape)}`);
    const { training } = this;
    const count = this.num_batches_tracked;
    const counted = training ? count?.add(1) : count;
    const momentum = this.momentum ?? counted?.float().reciprocal();
    return together(() => {
      const y = F.batchNorm(x, this.running_mean, this.running_var, this.weight, this.bias, {
        training: training || !this.running_mean,
        momentum,
        eps: this.eps,
      });
      if (training && counted) count?.assign(counted);
      return y;
    });
  }
}

/** Batch normalisation of [N, C] or [N, C, L]. */
export class BatchNorm1d extends BatchNorm {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super("BatchNorm1d", [2, 3], numFeatures, options);
  }
}

/** Batch normalisation of [N, C, H, W]. */
export class BatchNorm2d extends BatchNorm {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super("BatchNorm2d", [4], numFeatures, options);
  }
}

// --- tables -----------------------------------------------------------------------------------------------------------

/** Learned rows [numEmbeddings, embeddingDim] by integers; normal at the start, the padding row zero. */
export class Embedding extends Module {
  readonly weight: Parameter;
  private readonly options: F.EmbeddingOptions;

  constructor(numEmbeddings: number, embeddingDim: number, options: F.EmbeddingOptions & RandomOptions = {}) {
    super();
    checkCounts("Embedding", { numEmbeddings, embeddingDim });
    const { paddingIdx } = options;
    const rows = randn([numEmbeddings, embeddingDim], options);
    const padding = typeof paddingIdx === "number" && paddingIdx < 0 ? paddingIdx + numEmbeddings : paddingIdx;
    const start = typeof padding === "number" ? where(arange(numEmbeddings).unsqueeze(1).eq(padding), 0, rows) : rows;
    this.weight = new Parameter(start);
    this.options = options;
  }

  forward(x: Tensor): Tensor {
    return F.embedding(x, this.weight, this.options);
  }
}

// --- containers -------------------------------------------------------------------------------------------------------

/** Modules one after the other; parameters are named "0.weight", "0.bias", "2.weight", ... */
export class Sequential extends Module {
  [index: number]: Module;
  readonly length: number;

  constructor(...layers: Module[]) {
    super();
    layers.forEach((layer, i) => {
      if (!(layer instanceof Module)) throw new ValueError(`Sequential: layer ${i} is no Module: ${String(layer)}`);
      this[i] = layer;
    });
    this.length = layers.length;
  }

  forward(x: Tensor): Tensor {
    let y = x;
    for (let i = 0; i < this.length; i++) y = this[i].forward(y);
    return y;
  }
}
