/** @file Convolutions. */
import { ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { numel, show } from "../../core/shape.ts";
import { type RandomOptions, uniform } from "../../tensor/random.ts";
import { Parameter } from "../../tensor/parameter.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { CONV_NAMES, CONV_TRANSPOSE_NAMES } from "../functional/convolution.ts";
import * as F from "../functional/index.ts";
import { checkPaddingMode } from "../functional/padding.ts";
import { checkCounts } from "./counts.ts";
import { Module } from "./module.ts";

export interface ConvLayerOptions extends F.ConvOptions, RandomOptions {
  bias?: boolean;
}

const LAYER = { bias: true, generator: true } as const;
const CONV: Names<ConvLayerOptions> = { ...CONV_NAMES, ...LAYER };
const CONV_TRANSPOSE: Names<F.ConvTransposeOptions & { bias?: boolean } & RandomOptions> = {
  ...CONV_TRANSPOSE_NAMES,
  ...LAYER,
};

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
    const { bias = true, generator, ...others } = options;
    if ("paddingMode" in others) checkPaddingMode(layer, others.paddingMode);
    const shape = kernelShape(layer, channels, rank, kernelSize, options.groups);
    const bound = 1 / Math.sqrt(numel(shape.slice(1)));
    this.weight = new Parameter(uniform(shape, -bound, bound, { generator }));
    this.bias = bias ? new Parameter(uniform([channels.outChannels], -bound, bound, { generator })) : null;
    this.options = others as unknown as Options;
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
    super("Conv1d", { outChannels, inChannels }, 1, kernelSize, checkOptions("Conv1d", options, CONV));
  }

  forward(x: Tensor): Tensor {
    return F.conv1d(x, this.weight, this.bias, this.options);
  }
}

/** The cross-correlation of images [N, C, H, W] with learned kernels [outChannels, inChannels / groups, kh, kw]. */
export class Conv2d extends Conv<F.ConvOptions> {
  constructor(inChannels: number, outChannels: number, kernelSize: F.Sizes, options: ConvLayerOptions = {}) {
    super("Conv2d", { outChannels, inChannels }, 2, kernelSize, checkOptions("Conv2d", options, CONV));
  }

  forward(x: Tensor): Tensor {
    return F.conv2d(x, this.weight, this.bias, this.options);
  }
}

/** The cross-correlation of [N, C, D, H, W] with learned kernels [outChannels, inChannels / groups, kd, kh, kw]. */
export class Conv3d extends Conv<F.ConvOptions> {
  constructor(inChannels: number, outChannels: number, kernelSize: F.Sizes, options: ConvLayerOptions = {}) {
    super("Conv3d", { outChannels, inChannels }, 3, kernelSize, checkOptions("Conv3d", options, CONV));
  }

  forward(x: Tensor): Tensor {
    return F.conv3d(x, this.weight, this.bias, this.options);
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
    super(
      "ConvTranspose2d",
      { inChannels, outChannels },
      2,
      kernelSize,
      checkOptions("ConvTranspose2d", options, CONV_TRANSPOSE),
    );
  }

  forward(x: Tensor): Tensor {
    return F.convTranspose2d(x, this.weight, this.bias, this.options);
  }
}
