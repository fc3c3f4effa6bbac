/** @file Linear maps and their shapes. */
import { type RandomOptions, uniform } from "../../random.ts";
import { Parameter, type Tensor } from "../../tensor.ts";
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
    const bound = inFeatures > 0 ? 1 / Math.sqrt(inFeatures) : 0;
    this.weight = new Parameter(uniform([outFeatures, inFeatures], -bound, bound, options));
    this.bias = options.bias === false ? null : new Parameter(uniform([outFeatures], -bound, bound, options));
  }

  forward(x: Tensor): Tensor {
    return F.linear(x, this.weight, this.bias);
  }
}
