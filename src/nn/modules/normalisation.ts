/** @file Normalisation. Keys of the state are PyTorch's. */
import { checkNumber } from "../../core/check.ts";
import { ShapeError, ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { checkShape, numel, type Shape, show } from "../../core/shape.ts";
import { ones, zeros } from "../../tensor/creation.ts";
import { Buffer, Parameter } from "../../tensor/parameter.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { together } from "../../trace/variable.ts";
import * as F from "../functional/index.ts";
import { checkCounts } from "./counts.ts";
import { Module } from "./module.ts";

/** A layer's shape, of which there must be some elements; a number is that of one axis. */
function shapeOf(layer: string, normalizedShape: number | Shape): Shape {
  const shape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
  checkShape(layer, shape, "normalizedShape");
  if (shape.length === 0 || numel(shape) === 0)
    throw new ValueError(`${layer}: normalizedShape ${show(shape)} has no axis or no elements`);
  return shape;
}

export interface BatchNormLayerOptions {
  eps?: number;
  /** How much of a batch goes into the running statistics; null: all batches count alike. */
  momentum?: number | null;
  /** Whether weight and bias are learned. */
  affine?: boolean;
  trackRunningStats?: boolean;
}

const NAMES: Names<BatchNormLayerOptions> = { eps: true, momentum: true, affine: true, trackRunningStats: true };

/** What norms by batch and by instance have in common: weight and bias per channel, running statistics. */
abstract class ChannelNorm extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly running_mean: Buffer | null;
  readonly running_var: Buffer | null;
  readonly num_batches_tracked: Buffer | null;
  readonly eps: number;
  readonly momentum: number | null;

  constructor(
    protected readonly layer: string,
    /** How many axes the input may have. */
    private readonly ranks: readonly number[],
    numFeatures: number,
    options: BatchNormLayerOptions,
    defaults: { readonly affine: boolean; readonly trackRunningStats: boolean },
  ) {
    super();
    checkCounts(layer, { numFeatures });
    const {
      eps = 1e-5,
      momentum = 0.1,
      affine = defaults.affine,
      trackRunningStats: tracks = defaults.trackRunningStats,
    } = checkOptions(layer, options, NAMES);
    checkNumber(layer, "eps", eps);
    if (momentum !== null) checkNumber(layer, "momentum", momentum);
    this.eps = eps;
    this.momentum = momentum;
    this.weight = affine ? new Parameter(ones([numFeatures])) : null;
    this.bias = affine ? new Parameter(zeros([numFeatures])) : null;
    this.running_mean = tracks ? new Buffer(zeros([numFeatures])) : null;
    this.running_var = tracks ? new Buffer(ones([numFeatures])) : null;
    this.num_batches_tracked = tracks ? new Buffer(zeros([], { dtype: "int32" })) : null;
  }

  protected checkRank(x: Tensor): void {
    if (!this.ranks.includes(x.ndim))
      throw new ShapeError(`${this.layer}: the input must have ${this.ranks.join(" or ")} axes, got ${show(x.shape)}`);
  }
}

/** Channels (axis 1) standardised: by the batch while training, by running statistics else. */
abstract class BatchNorm extends ChannelNorm {
  constructor(layer: string, ranks: readonly number[], numFeatures: number, options: BatchNormLayerOptions) {
    super(layer, ranks, numFeatures, options, { affine: true, trackRunningStats: true });
  }

  forward(x: Tensor): Tensor {
    this.checkRank(x);
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

/** Batch normalisation of [N, C, D, H, W]. */
export class BatchNorm3d extends BatchNorm {
  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super("BatchNorm3d", [5], numFeatures, options);
  }
}

/** As for batch norms; without a momentum the running statistics stay what they are. */
export type InstanceNormLayerOptions = BatchNormLayerOptions;

/**
 * Each channel of each sample standardised by itself; if it tracks running statistics, by these in evaluation. Without a batch
 * the input is one sample.
 */
abstract class InstanceNorm extends ChannelNorm {
  constructor(
    layer: string,
    private readonly rank: number,
    private readonly numFeatures: number,
    options: InstanceNormLayerOptions,
  ) {
    super(layer, [rank + 1, rank + 2], numFeatures, options, { affine: false, trackRunningStats: false });
  }

  forward(x: Tensor): Tensor {
    this.checkRank(x);
    const alone = x.ndim === this.rank + 1;
    if (x.shape[alone ? 0 : 1] !== this.numFeatures)
      throw new ShapeError(`${this.layer}: ${show(x.shape)} does not have ${this.numFeatures} channels`);
    const y = together(() =>
      F.instanceNorm(alone ? x.unsqueeze(0) : x, this.running_mean, this.running_var, this.weight, this.bias, {
        useInputStats: this.training || !this.running_mean,
        momentum: this.momentum ?? 0,
        eps: this.eps,
      }),
    );
    return alone ? y.squeeze(0) : y;
  }
}

/** Instance normalisation of [N, C, L] or [C, L]. */
export class InstanceNorm1d extends InstanceNorm {
  constructor(numFeatures: number, options: InstanceNormLayerOptions = {}) {
    super("InstanceNorm1d", 1, numFeatures, options);
  }
}

/** Instance normalisation of [N, C, H, W] or [C, H, W]. */
export class InstanceNorm2d extends InstanceNorm {
  constructor(numFeatures: number, options: InstanceNormLayerOptions = {}) {
    super("InstanceNorm2d", 2, numFeatures, options);
  }
}

/** Instance normalisation of [N, C, D, H, W] or [C, D, H, W]. */
export class InstanceNorm3d extends InstanceNorm {
  constructor(numFeatures: number, options: InstanceNormLayerOptions = {}) {
    super("InstanceNorm3d", 3, numFeatures, options);
  }
}

export interface LayerNormOptions {
  eps?: number;
  /** Whether weight and bias, of the normalised shape, are learned. */
  elementwiseAffine?: boolean;
  /** Whether the bias is, if the weight is. */
  bias?: boolean;
}

const LAYER_NORM_NAMES: Names<LayerNormOptions> = { eps: true, elementwiseAffine: true, bias: true };

/** The last axes, whose extents are `normalizedShape`, standardised; a number is the extent of the last one. */
export class LayerNorm extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly normalizedShape: Shape;
  readonly eps: number;

  constructor(normalizedShape: number | Shape, options: LayerNormOptions = {}) {
    super();
    const { eps = 1e-5, elementwiseAffine = true, bias = true } = checkOptions("LayerNorm", options, LAYER_NORM_NAMES);
    checkNumber("LayerNorm", "eps", eps);
    this.normalizedShape = shapeOf("LayerNorm", normalizedShape);
    this.eps = eps;
    this.weight = elementwiseAffine ? new Parameter(ones(this.normalizedShape)) : null;
    this.bias = elementwiseAffine && bias ? new Parameter(zeros(this.normalizedShape)) : null;
  }

  forward(x: Tensor): Tensor {
    return F.layerNorm(x, this.normalizedShape, this.weight, this.bias, this.eps);
  }
}

export interface RMSNormOptions {
  /** null: 2^-23, the spacing of float32 above 1. */
  eps?: number | null;
  /** Whether a weight of the normalised shape is learned. */
  elementwiseAffine?: boolean;
}

const RMS_NORM_NAMES: Names<RMSNormOptions> = { eps: true, elementwiseAffine: true };

/** The last axes, whose extents are `normalizedShape`, divided by the root of the mean of their squares. */
export class RMSNorm extends Module {
  readonly weight: Parameter | null;
  readonly normalizedShape: Shape;
  readonly eps: number | null;

  constructor(normalizedShape: number | Shape, options: RMSNormOptions = {}) {
    super();
    const { eps = null, elementwiseAffine = true } = checkOptions("RMSNorm", options, RMS_NORM_NAMES);
    if (eps !== null) checkNumber("RMSNorm", "eps", eps);
    this.normalizedShape = shapeOf("RMSNorm", normalizedShape);
    this.eps = eps;
    this.weight = elementwiseAffine ? new Parameter(ones(this.normalizedShape)) : null;
  }

  forward(x: Tensor): Tensor {
    return F.rmsNorm(x, this.normalizedShape, this.weight, this.eps);
  }
}

export interface GroupNormOptions {
  eps?: number;
  /** Whether weight and bias per channel are learned. */
  affine?: boolean;
}

const GROUP_NORM_NAMES: Names<GroupNormOptions> = { eps: true, affine: true };

/** Channels (axis 1) standardised in groups of each sample. */
export class GroupNorm extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly eps: number;

  constructor(
    readonly numGroups: number,
    readonly numChannels: number,
    options: GroupNormOptions = {},
  ) {
    super();
    checkCounts("GroupNorm", { numGroups, numChannels });
    const { eps = 1e-5, affine = true } = checkOptions("GroupNorm", options, GROUP_NORM_NAMES);
    checkNumber("GroupNorm", "eps", eps);
    if (numChannels % numGroups !== 0)
      throw new ValueError(`GroupNorm: ${numChannels} channels do not divide into ${numGroups} groups`);
    this.eps = eps;
    this.weight = affine ? new Parameter(ones([numChannels])) : null;
    this.bias = affine ? new Parameter(zeros([numChannels])) : null;
  }

  forward(x: Tensor): Tensor {
    return F.groupNorm(x, this.numGroups, this.weight, this.bias, this.eps);
  }
}

export interface LocalResponseNormOptions {
  alpha?: number;
  beta?: number;
  k?: number;
}

const LOCAL_RESPONSE_NAMES: Names<LocalResponseNormOptions> = { alpha: true, beta: true, k: true };

/** Each element divided by a power of what the squares of `size` neighbouring channels come to. */
export class LocalResponseNorm extends Module {
  readonly alpha: number;
  readonly beta: number;
  readonly k: number;

  constructor(
    readonly size: number,
    options: LocalResponseNormOptions = {},
  ) {
    super();
    checkCounts("LocalResponseNorm", { size });
    const { alpha = 1e-4, beta = 0.75, k = 1 } = checkOptions("LocalResponseNorm", options, LOCAL_RESPONSE_NAMES);
    for (const [name, v] of Object.entries({ alpha, beta, k })) checkNumber("LocalResponseNorm", name, v);
    this.alpha = alpha;
    this.beta = beta;
    this.k = k;
  }

  forward(x: Tensor): Tensor {
    return F.localResponseNorm(x, this.size, this.alpha, this.beta, this.k);
  }
}
