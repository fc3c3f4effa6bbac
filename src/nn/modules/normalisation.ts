/** @file Normalisation. */
import { checkNumber } from "../../core/check.ts";
import { ShapeError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { show } from "../../core/shape.ts";
import { ones, zeros } from "../../tensor/creation.ts";
import { Buffer, Parameter } from "../../tensor/parameter.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { together } from "../../trace/variable.ts";
import * as F from "../functional/index.ts";
import { checkCounts } from "./counts.ts";
import { Module } from "./module.ts";

export interface BatchNormLayerOptions {
  eps?: number;
  /** How much of a batch goes into the running statistics; null: all batches count alike. */
  momentum?: number | null;
  /** Whether weight and bias are learned. */
  affine?: boolean;
  trackRunningStats?: boolean;
}

const NAMES: Names<BatchNormLayerOptions> = { eps: true, momentum: true, affine: true, trackRunningStats: true };

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
    const {
      eps = 1e-5,
      momentum = 0.1,
      affine = true,
      trackRunningStats: tracks = true,
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
