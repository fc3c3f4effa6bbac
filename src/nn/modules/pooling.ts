/** @file Pooling. */
import { checkOptions } from "../../core/options.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as F from "../functional/index.ts";
import { AVG_POOL_NAMES, MAX_POOL_NAMES } from "../functional/pooling.ts";
import { Module } from "./module.ts";

/** The largest element of each window. */
export class MaxPool2d extends Module {
  constructor(
    readonly kernelSize: F.Sizes,
    readonly options: F.MaxPoolOptions = {},
  ) {
    super();
    checkOptions("MaxPool2d", options, MAX_POOL_NAMES);
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
    checkOptions("AvgPool2d", options, AVG_POOL_NAMES);
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
