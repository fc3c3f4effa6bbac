/** @file Linear maps and their shapes. */
import { checkOptions } from "../../core/options.ts";
import { type RandomOptions, uniform } from "../../tensor/random.ts";
import { Parameter } from "../../tensor/parameter.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as F from "../functional/index.ts";
import { checkCounts } from "./counts.ts";
import { Module } from "./module.ts";

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

/**
 * x W^T + b. The weight has shape [outFeatures, inFeatures]; both start uniform in +-1/sqrt(inFeatures), PyTorch's default.
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(inFeatures: number, outFeatures: number, options: { bias?: boolean } & RandomOptions = {}) {
    super();
    checkCounts("Linear", { inFeatures, outFeatures }, 0);
    const { bias = true, generator } = checkOptions("Linear", options, { bias: true, generator: true });
    const bound = inFeatures > 0 ? 1 / Math.sqrt(inFeatures) : 0;
    this.weight = new Parameter(uniform([outFeatures, inFeatures], -bound, bound, { generator }));
    this.bias = bias ? new Parameter(uniform([outFeatures], -bound, bound, { generator })) : null;
  }

  forward(x: Tensor): Tensor {
    return F.linear(x, this.weight, this.bias);
  }
}
