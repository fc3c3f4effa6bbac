/** @file Pooling. */
import { checkOptions, type Names } from "../../core/options.ts";
import { Tensor } from "../../tensor/tensor.ts";
import type { OutputSize } from "../functional/adaptive.ts";
import * as F from "../functional/index.ts";
import { AVG_POOL_NAMES, LP_POOL_NAMES, MAX_POOL_NAMES, MAX_UNPOOL_NAMES } from "../functional/pooling.ts";
import { Module } from "./module.ts";

/** What a layer gives that may return positions too. */
type Pooled<Indices extends boolean> = Indices extends true ? [Tensor, Tensor] : Tensor;

/** Whether the positions of the elements, int32 in the flattened image, are returned beside them: [values, positions]. */
export interface ReturnIndices<Indices extends boolean> {
  returnIndices?: Indices;
}

export type MaxPoolLayerOptions<Indices extends boolean = false> = F.MaxPoolOptions & ReturnIndices<Indices>;

const MAX: Names<MaxPoolLayerOptions<boolean>> = { ...MAX_POOL_NAMES, returnIndices: true };

type Pool<Options> = (x: Tensor, kernelSize: F.Sizes, options?: Options) => Tensor;

/** Layers of maxima: what they return depends on an option. */
abstract class MaxPool<Indices extends boolean> extends Module<Pooled<Indices>> {
  private readonly returnIndices: boolean;
  private readonly options: F.MaxPoolOptions;

  constructor(
    layer: string,
    readonly kernelSize: F.Sizes,
    options: MaxPoolLayerOptions<Indices>,
    private readonly values: Pool<F.MaxPoolOptions>,
    private readonly both: (x: Tensor, kernelSize: F.Sizes, options: F.MaxPoolOptions) => [Tensor, Tensor],
  ) {
    super();
    const { returnIndices = false, ...rest } = checkOptions(layer, options, MAX);
    this.returnIndices = returnIndices;
    this.options = rest;
  }

  forward(x: Tensor): Pooled<Indices> {
    const pool = this.returnIndices ? this.both : this.values;
    return pool(x, this.kernelSize, this.options) as Pooled<Indices>;
  }
}

/** The largest element of each window of [N, C, L]; with `returnIndices` [values, positions]. */
export class MaxPool1d<Indices extends boolean = false> extends MaxPool<Indices> {
  constructor(kernelSize: F.Sizes, options: MaxPoolLayerOptions<Indices> = {}) {
    super("MaxPool1d", kernelSize, options, F.maxPool1d, F.maxPool1dWithIndices);
  }
}

/** The largest element of each window of [N, C, H, W]; with `returnIndices` [values, positions]. */
export class MaxPool2d<Indices extends boolean = false> extends MaxPool<Indices> {
  constructor(kernelSize: F.Sizes, options: MaxPoolLayerOptions<Indices> = {}) {
    super("MaxPool2d", kernelSize, options, F.maxPool2d, F.maxPool2dWithIndices);
  }
}

/** The largest element of each window of [N, C, D, H, W]; with `returnIndices` [values, positions]. */
export class MaxPool3d<Indices extends boolean = false> extends MaxPool<Indices> {
  constructor(kernelSize: F.Sizes, options: MaxPoolLayerOptions<Indices> = {}) {
    super("MaxPool3d", kernelSize, options, F.maxPool3d, F.maxPool3dWithIndices);
  }
}

/** Those of a layer; the size of the result is an argument of forward. */
export type MaxUnpoolLayerOptions = Omit<F.MaxUnpoolOptions, "outputSize">;

const { outputSize: _, ...UNPOOL } = MAX_UNPOOL_NAMES;

abstract class MaxUnpool extends Module {
  constructor(
    layer: string,
    readonly kernelSize: F.Sizes,
    private readonly options: MaxUnpoolLayerOptions,
    private readonly unpool: typeof F.maxUnpool2d,
  ) {
    super();
    checkOptions(layer, options, UNPOOL);
  }

  /** `outputSize`: the spatial extents of the result, or its shape, or a tensor of that shape: what was pooled. */
  forward(x: Tensor, indices: Tensor, outputSize?: readonly number[] | Tensor): Tensor {
    const size = outputSize instanceof Tensor ? outputSize.shape : outputSize;
    return this.unpool(x, indices, this.kernelSize, { ...this.options, outputSize: size });
  }
}

/** Elements of [N, C, L] put back where MaxPool1d found them, zeros elsewhere. */
export class MaxUnpool1d extends MaxUnpool {
  constructor(kernelSize: F.Sizes, options: MaxUnpoolLayerOptions = {}) {
    super("MaxUnpool1d", kernelSize, options, F.maxUnpool1d);
  }
}

/** Elements of [N, C, H, W] put back where MaxPool2d found them, zeros elsewhere. */
export class MaxUnpool2d extends MaxUnpool {
  constructor(kernelSize: F.Sizes, options: MaxUnpoolLayerOptions = {}) {
    super("MaxUnpool2d", kernelSize, options, F.maxUnpool2d);
  }
}

/** Elements of [N, C, D, H, W] put back where MaxPool3d found them, zeros elsewhere. */
export class MaxUnpool3d extends MaxUnpool {
  constructor(kernelSize: F.Sizes, options: MaxUnpoolLayerOptions = {}) {
    super("MaxUnpool3d", kernelSize, options, F.maxUnpool3d);
  }
}

abstract class AvgPool<Options extends object> extends Module {
  constructor(
    layer: string,
    names: Names<Options>,
    readonly kernelSize: F.Sizes,
    readonly options: Options,
    private readonly pool: Pool<Options>,
  ) {
    super();
    checkOptions(layer, options, names);
  }

  forward(x: Tensor): Tensor {
    return this.pool(x, this.kernelSize, this.options);
  }
}

/** Those of a mean along one axis. */
export type AvgPool1dOptions = Omit<F.AvgPoolOptions, "divisorOverride">;

const { divisorOverride: __, ...AVG_POOL_1D } = AVG_POOL_NAMES;

/** The mean of each window of [N, C, L]. */
export class AvgPool1d extends AvgPool<AvgPool1dOptions> {
  constructor(kernelSize: F.Sizes, options: AvgPool1dOptions = {}) {
    super("AvgPool1d", AVG_POOL_1D, kernelSize, options, F.avgPool1d);
  }
}

/** The mean of each window of [N, C, H, W]. */
export class AvgPool2d extends AvgPool<F.AvgPoolOptions> {
  constructor(kernelSize: F.Sizes, options: F.AvgPoolOptions = {}) {
    super("AvgPool2d", AVG_POOL_NAMES, kernelSize, options, F.avgPool2d);
  }
}

/** The mean of each window of [N, C, D, H, W]. */
export class AvgPool3d extends AvgPool<F.AvgPoolOptions> {
  constructor(kernelSize: F.Sizes, options: F.AvgPoolOptions = {}) {
    super("AvgPool3d", AVG_POOL_NAMES, kernelSize, options, F.avgPool3d);
  }
}

abstract class LPPool extends Module {
  constructor(
    layer: string,
    readonly normType: number,
    readonly kernelSize: F.Sizes,
    readonly options: F.LPPoolOptions,
    private readonly pool: typeof F.lpPool2d,
  ) {
    super();
    checkOptions(layer, options, LP_POOL_NAMES);
  }

  forward(x: Tensor): Tensor {
    return this.pool(x, this.normType, this.kernelSize, this.options);
  }
}

/** The norm of each window of [N, C, L], for `normType` 2 the Euclidean one. */
export class LPPool1d extends LPPool {
  constructor(normType: number, kernelSize: F.Sizes, options: F.LPPoolOptions = {}) {
    super("LPPool1d", normType, kernelSize, options, F.lpPool1d);
  }
}

/** The norm of each window of [N, C, H, W], for `normType` 2 the Euclidean one. */
export class LPPool2d extends LPPool {
  constructor(normType: number, kernelSize: F.Sizes, options: F.LPPoolOptions = {}) {
    super("LPPool2d", normType, kernelSize, options, F.lpPool2d);
  }
}

/** The norm of each window of [N, C, D, H, W], for `normType` 2 the Euclidean one. */
export class LPPool3d extends LPPool {
  constructor(normType: number, kernelSize: F.Sizes, options: F.LPPoolOptions = {}) {
    super("LPPool3d", normType, kernelSize, options, F.lpPool3d);
  }
}

abstract class AdaptiveAvgPool extends Module {
  constructor(
    readonly outputSize: OutputSize,
    private readonly pool: typeof F.adaptiveAvgPool2d,
  ) {
    super();
  }

  forward(x: Tensor): Tensor {
    return this.pool(x, this.outputSize);
  }
}

/** Means of as many parts of a signal as `outputSize` says. */
export class AdaptiveAvgPool1d extends AdaptiveAvgPool {
  constructor(outputSize: OutputSize) {
    super(outputSize, F.adaptiveAvgPool1d);
  }
}

/** Means of as many parts of an image as `outputSize` says; null keeps an extent. */
export class AdaptiveAvgPool2d extends AdaptiveAvgPool {
  constructor(outputSize: OutputSize) {
    super(outputSize, F.adaptiveAvgPool2d);
  }
}

/** Means of as many parts of a volume as `outputSize` says; null keeps an extent. */
export class AdaptiveAvgPool3d extends AdaptiveAvgPool {
  constructor(outputSize: OutputSize) {
    super(outputSize, F.adaptiveAvgPool3d);
  }
}

const INDICES: Names<ReturnIndices<boolean>> = { returnIndices: true };

abstract class AdaptiveMaxPool<Indices extends boolean> extends Module<Pooled<Indices>> {
  private readonly returnIndices: boolean;

  constructor(
    layer: string,
    readonly outputSize: OutputSize,
    options: ReturnIndices<Indices>,
    private readonly values: (x: Tensor, outputSize: OutputSize) => Tensor,
    private readonly both: (x: Tensor, outputSize: OutputSize) => [Tensor, Tensor],
  ) {
    super();
    this.returnIndices = checkOptions(layer, options, INDICES).returnIndices ?? false;
  }

  forward(x: Tensor): Pooled<Indices> {
    return (this.returnIndices ? this.both : this.values)(x, this.outputSize) as Pooled<Indices>;
  }
}

/** Largest elements of as many parts of a signal as `outputSize` says; with `returnIndices` [values, positions]. */
export class AdaptiveMaxPool1d<Indices extends boolean = false> extends AdaptiveMaxPool<Indices> {
  constructor(outputSize: OutputSize, options: ReturnIndices<Indices> = {}) {
    super("AdaptiveMaxPool1d", outputSize, options, F.adaptiveMaxPool1d, F.adaptiveMaxPool1dWithIndices);
  }
}

/** Largest elements of as many parts of an image as `outputSize` says; with `returnIndices` [values, positions]. */
export class AdaptiveMaxPool2d<Indices extends boolean = false> extends AdaptiveMaxPool<Indices> {
  constructor(outputSize: OutputSize, options: ReturnIndices<Indices> = {}) {
    super("AdaptiveMaxPool2d", outputSize, options, F.adaptiveMaxPool2d, F.adaptiveMaxPool2dWithIndices);
  }
}

/** Largest elements of as many parts of a volume as `outputSize` says; with `returnIndices` [values, positions]. */
export class AdaptiveMaxPool3d<Indices extends boolean = false> extends AdaptiveMaxPool<Indices> {
  constructor(outputSize: OutputSize, options: ReturnIndices<Indices> = {}) {
    super("AdaptiveMaxPool3d", outputSize, options, F.adaptiveMaxPool3d, F.adaptiveMaxPool3dWithIndices);
  }
}
