/** @file Pooling over one to three spatial axes: the largest element of each window, its mean or its norm; and back. */
import { isFloat } from "../../core/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../../core/errors.ts";
import { checkNumber } from "../../core/check.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { numel, show } from "../../core/shape.ts";
import { pooling } from "../../compile/extensions/pooling.ts";
import type { PoolSizes } from "../../ops/pooling.ts";
import { tensor, zeros } from "../../tensor/creation.ts";
import { where } from "../../tensor/functions.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";
import { alongSpatial, dividedBy, perAxis, type Sizes } from "./sizes.ts";
import { countWindows, windowsOf } from "./windows.ts";

export interface PoolOptions {
  /** Default: the size of the kernel. */
  stride?: Sizes | null;
  padding?: Sizes;
  /** Whether a window may end outside. */
  ceilMode?: boolean;
}

/** Those of max pooling. */
export interface MaxPoolOptions extends PoolOptions {
  dilation?: Sizes;
}

export const MAX_POOL_NAMES: Names<MaxPoolOptions> = { stride: true, padding: true, ceilMode: true, dilation: true };

/** Windows of an input, and how many there are along each axis. */
export interface Windows extends PoolSizes {
  readonly counts: readonly number[];
}

/** @throws ShapeError, DTypeError unless x is float32 and [N, C, ...] or [C, ...] with `rank` axes more. */
export function checkPooled(op: string, x: Tensor, rank: number): void {
  checkTensors(op, { "the input": x });
  if (!isFloat(x.dtype)) throw new DTypeError(`${op}: dtype ${x.dtype} is not supported, only float32`);
  if (x.ndim !== rank + 1 && x.ndim !== rank + 2)
    throw new ShapeError(`${op}: the input must have ${rank + 1} or ${rank + 2} axes, got shape ${show(x.shape)}`);
  if (x.shape.slice(-rank).includes(0))
    throw new ShapeError(`${op}: the images of shape ${show(x.shape)} have no elements`);
}

/** The stride, which is by default the size of the kernel. */
function strideOf(kernelSize: Sizes, stride: Sizes | null | undefined): Sizes {
  return stride === undefined || stride === null || (typeof stride !== "number" && stride.length === 0)
    ? kernelSize
    : stride;
}

function windowsFor(op: string, x: Tensor, rank: number, kernelSize: Sizes, options: MaxPoolOptions): Windows {
  checkPooled(op, x, rank);
  const w = windowsOf(op, kernelSize, rank, { ...options, stride: strideOf(kernelSize, options.stride) });
  if (w.padding.some(([p], i) => p > w.kernel[i] / 2))
    throw new ValueError(
      `${op}: padding may be at most half the kernel ${show(w.kernel)}, got ${String(options.padding)}`,
    );
  const counts = countWindows(op, x.shape, w, options.ceilMode);
  return { ...w, padding: w.padding.map(([p]) => p), adaptive: false, counts };
}

/** The sum over axes of `place`, for each of so many places of all of them. */
function placeSums(sizes: readonly number[], place: (axis: number, k: number) => number): Tensor {
  return sizes
    .map((n, axis) =>
      alongSpatial(
        Int32Array.from({ length: n }, (_, k) => place(axis, k)),
        axis,
        sizes.length,
      ),
    )
    .reduce((a, b) => a.add(b));
}

/** Where the elements at taps are in their flattened images, int32; -1 for a window without elements. */
function positionsOf(taps: Tensor, image: readonly number[], w: Windows): Tensor {
  const step = image.map((_, axis) => numel(image.slice(axis + 1)));
  const start = (i: number, k: number): number =>
    w.adaptive ? Math.floor((k * image[i]) / w.counts[i]) : k * w.stride[i] - w.padding[i];
  const ofTap = placeSums(w.kernel, (i, t) => t * w.dilation[i] * step[i]).flatten();
  const ofWindow = placeSums(w.counts, (i, k) => start(i, k) * step[i]);
  const positions = ofTap.indexSelect(0, taps.to("int32").flatten()).reshape(taps.shape).add(ofWindow);
  // Taps farther apart than the image is wide may all lie outside.
  const isOutside = (i: number, k: number): boolean => {
    const first = start(i, k) < 0 ? Math.ceil(-start(i, k) / w.dilation[i]) : 0;
    return first >= w.kernel[i] || start(i, k) + first * w.dilation[i] >= image[i];
  };
  const mayBe = w.counts.map((_, i) => w.dilation[i] > 1 && w.padding[i] > 0);
  if (!mayBe.includes(true)) return positions;
  return where(
    placeSums(w.counts, (i, k) => Number(mayBe[i] && isOutside(i, k))).gt(0),
    tensor(-1, [], { dtype: "int32" }),
    positions,
  );
}

/** The largest elements of windows, and where they are. */
export function largest(x: Tensor, w: Windows): { values: () => Tensor; both: () => [Tensor, Tensor] } {
  const taps = pooling.maxTaps(x.node, w, w.counts);
  const values = (): Tensor => new Tensor(pooling.takeTaps(x.node, taps, w, Number.NEGATIVE_INFINITY));
  return {
    values,
    both: () => [values(), positionsOf(new Tensor(taps), x.shape.slice(-w.counts.length), w)],
  };
}

const maxPool = (op: string, rank: number, x: Tensor, kernelSize: Sizes, options: MaxPoolOptions | undefined) =>
  largest(x, windowsFor(op, x, rank, kernelSize, checkOptions(op, options, MAX_POOL_NAMES)));

/** The largest element of each window of [N, C, L]; backward routes the gradient to the first of them. */
export function maxPool1d(x: Tensor, kernelSize: Sizes, options?: MaxPoolOptions): Tensor {
  return maxPool("maxPool1d", 1, x, kernelSize, options).values();
}

/** The largest element of each window of [N, C, H, W]; backward routes the gradient to the first of them. */
export function maxPool2d(x: Tensor, kernelSize: Sizes, options?: MaxPoolOptions): Tensor {
  return maxPool("maxPool2d", 2, x, kernelSize, options).values();
}

/** The largest element of each window of [N, C, D, H, W]; backward routes the gradient to the first of them. */
export function maxPool3d(x: Tensor, kernelSize: Sizes, options?: MaxPoolOptions): Tensor {
  return maxPool("maxPool3d", 3, x, kernelSize, options).values();
}

/** [maxPool1d, int32 positions of the elements in the signal]; -1 for a window that lies wholly outside. */
export function maxPool1dWithIndices(x: Tensor, kernelSize: Sizes, options?: MaxPoolOptions): [Tensor, Tensor] {
  return maxPool("maxPool1dWithIndices", 1, x, kernelSize, options).both();
}

/** [maxPool2d, int32 positions of the elements in the flattened image]; -1 for a window that lies wholly outside. */
export function maxPool2dWithIndices(x: Tensor, kernelSize: Sizes, options?: MaxPoolOptions): [Tensor, Tensor] {
  return maxPool("maxPool2dWithIndices", 2, x, kernelSize, options).both();
}

/** [maxPool3d, int32 positions of the elements in the flattened volume]; -1 for a window that lies wholly outside. */
export function maxPool3dWithIndices(x: Tensor, kernelSize: Sizes, options?: MaxPoolOptions): [Tensor, Tensor] {
  return maxPool("maxPool3dWithIndices", 3, x, kernelSize, options).both();
}

export interface MaxUnpoolOptions {
  /** Default: the size of the kernel. */
  stride?: Sizes | null;
  padding?: Sizes;
  /** The spatial extents of the result, or its whole shape: to tell apart the inputs of max pooling that give the same extents. */
  outputSize?: readonly number[] | null;
}

export const MAX_UNPOOL_NAMES: Names<MaxUnpoolOptions> = { stride: true, padding: true, outputSize: true };

function maxUnpool(
  rank: number,
  x: Tensor,
  indices: Tensor,
  kernelSize: Sizes,
  options: MaxUnpoolOptions | undefined,
): Tensor {
  const op = `maxUnpool${rank}d`;
  const { stride, padding = 0, outputSize } = checkOptions(op, options, MAX_UNPOOL_NAMES);
  checkPooled(op, x, rank);
  checkTensors(op, { indices });
  if (indices.dtype !== "int32") throw new DTypeError(`${op}: indices must be int32, got ${indices.dtype}`);
  if (show(indices.shape) !== show(x.shape))
    throw new ShapeError(`${op}: indices ${show(indices.shape)} must have the shape ${show(x.shape)} of the input`);
  const kernel = perAxis(op, "kernelSize", kernelSize, rank, 1);
  const steps = perAxis(op, "stride", strideOf(kernelSize, stride), rank, 1);
  const pads = perAxis(op, "padding", padding, rank, 0);
  const whole = kernel.map((k, i) => (x.shape[x.ndim - rank + i] - 1) * steps[i] - 2 * pads[i] + k);
  const size = outputSize ? [...outputSize].slice(-rank) : whole;
  const fits = !outputSize || outputSize.length === rank || outputSize.length === x.ndim;
  if (!fits || size.some((n, i) => !Number.isInteger(n) || n < 1 || Math.abs(n - whole[i]) >= steps[i] + 1))
    throw new ValueError(
      `${op}: outputSize must be within the stride ${show(steps)} of ${show(whole)}, got ${String(outputSize ?? whole)}`,
    );
  const lead = x.shape.slice(0, -rank);
  const images = zeros([...lead, numel(size)]);
  return images.scatter(-1, indices.flatten(-rank), x.flatten(-rank)).reshape([...lead, ...size]);
}

/**
 * Elements of [N, C, L] put where `indices` (of maxPool1dWithIndices) says, zeros elsewhere; of several with one place the last,
 * which alone gets the gradient. An index outside fails the step.
 */
export function maxUnpool1d(x: Tensor, indices: Tensor, kernelSize: Sizes, options?: MaxUnpoolOptions): Tensor {
  return maxUnpool(1, x, indices, kernelSize, options);
}

/**
 * Elements of [N, C, H, W] put where `indices` (of maxPool2dWithIndices) says, zeros elsewhere; of several with one place the
 * last, which alone gets the gradient. An index outside fails the step.
 */
export function maxUnpool2d(x: Tensor, indices: Tensor, kernelSize: Sizes, options?: MaxUnpoolOptions): Tensor {
  return maxUnpool(2, x, indices, kernelSize, options);
}

/**
 * Elements of [N, C, D, H, W] put where `indices` (of maxPool3dWithIndices) says, zeros elsewhere; of several with one place the
 * last, which alone gets the gradient. An index outside fails the step.
 */
export function maxUnpool3d(x: Tensor, indices: Tensor, kernelSize: Sizes, options?: MaxUnpoolOptions): Tensor {
  return maxUnpool(3, x, indices, kernelSize, options);
}

export interface AvgPoolOptions extends PoolOptions {
  /** Whether zeros of the padding count; default true. */
  countIncludePad?: boolean;
  /** What sums are divided by, instead of the number of elements. */
  divisorOverride?: number | null;
}

export const AVG_POOL_NAMES: Names<AvgPoolOptions> = {
  stride: true,
  padding: true,
  ceilMode: true,
  countIncludePad: true,
  divisorOverride: true,
};

function avgPool(rank: number, x: Tensor, kernelSize: Sizes, options: AvgPoolOptions | undefined): Tensor {
  const op = `avgPool${rank}d`;
  const checked = checkOptions(op, options, AVG_POOL_NAMES);
  const { countIncludePad = true, divisorOverride, ...rest } = checked;
  if (divisorOverride === 0) throw new ValueError(`${op}: divisorOverride must not be 0`);
  if (divisorOverride !== undefined && divisorOverride !== null) checkNumber(op, "divisorOverride", divisorOverride);
  const w = windowsFor(op, x, rank, kernelSize, rest);
  const sums = new Tensor(pooling.sumWindows(x.node, w, w.counts));
  if (divisorOverride !== undefined && divisorOverride !== null) return sums.div(divisorOverride);
  // Elements of each window along each axis, without what lies outside of the padding, or of the image.
  const elements = w.counts.map((count, i) => {
    const n = x.shape[x.ndim - rank + i];
    const edge = countIncludePad ? w.padding[i] : 0;
    const sizes = new Float32Array(count);
    for (let k = 0; k < count; k++) {
      const start = k * w.stride[i] - w.padding[i];
      sizes[k] = Math.min(start + w.kernel[i], n + edge) - Math.max(start, -edge);
    }
    return sizes;
  });
  return dividedBy(sums, elements);
}

/** The mean of each window of [N, C, L]. */
export function avgPool1d(x: Tensor, kernelSize: Sizes, options?: Omit<AvgPoolOptions, "divisorOverride">): Tensor {
  return avgPool(1, x, kernelSize, options);
}

/** The mean of each window of [N, C, H, W]. */
export function avgPool2d(x: Tensor, kernelSize: Sizes, options?: AvgPoolOptions): Tensor {
  return avgPool(2, x, kernelSize, options);
}

/** The mean of each window of [N, C, D, H, W]. */
export function avgPool3d(x: Tensor, kernelSize: Sizes, options?: AvgPoolOptions): Tensor {
  return avgPool(3, x, kernelSize, options);
}

/** Those of pooling by norms. */
export type LPPoolOptions = Omit<PoolOptions, "padding">;

export const LP_POOL_NAMES: Names<LPPoolOptions> = { stride: true, ceilMode: true };

function lpPool(
  rank: number,
  x: Tensor,
  normType: number,
  kernelSize: Sizes,
  options: LPPoolOptions | undefined,
): Tensor {
  const op = `lpPool${rank}d`;
  const checked = checkOptions(op, options, LP_POOL_NAMES);
  checkNumber(op, "normType", normType);
  if (normType === 0) throw new ValueError(`${op}: normType must not be 0`);
  checkPooled(op, x, rank);
  // As in PyTorch: a window that ends outside counts as if its mean were that of all places.
  const means = avgPool(rank, x.pow(normType), kernelSize, checked);
  const sums = means
    .sign()
    .mul(means.abs().relu())
    .mul(numel(perAxis(op, "kernelSize", kernelSize, rank, 1)));
  return sums.pow(1 / normType);
}

/** The sum of x^normType over each window of [N, C, L], to the power of 1 / normType. */
export function lpPool1d(x: Tensor, normType: number, kernelSize: Sizes, options?: LPPoolOptions): Tensor {
  return lpPool(1, x, normType, kernelSize, options);
}

/** The sum of x^normType over each window of [N, C, H, W], to the power of 1 / normType. */
export function lpPool2d(x: Tensor, normType: number, kernelSize: Sizes, options?: LPPoolOptions): Tensor {
  return lpPool(2, x, normType, kernelSize, options);
}

/** The sum of x^normType over each window of [N, C, D, H, W], to the power of 1 / normType. */
export function lpPool3d(x: Tensor, normType: number, kernelSize: Sizes, options?: LPPoolOptions): Tensor {
  return lpPool(3, x, normType, kernelSize, options);
}
