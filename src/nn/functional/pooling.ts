/** @file Pooling: windows and a reduction. */
import { isFloat } from "../../core/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { checkCount, MOST_PIECES, numel, show } from "../../core/shape.ts";
import { tensor } from "../../tensor/creation.ts";
import { asItIs, cat } from "../../tensor/functions.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";
import { batched, perAxis, type Sizes } from "./sizes.ts";
import { allWindows, countWindows, type Windows, windowsOf } from "./windows.ts";

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

function poolWindows(
  op: string,
  x: Tensor,
  rank: number,
  kernelSize: Sizes,
  options: MaxPoolOptions,
): Windows & { counts: number[] } {
  checkTensors(op, { "the input": x });
  if (!isFloat(x.dtype)) throw new DTypeError(`${op}: dtype ${x.dtype} is not supported, only float32`);
  if (x.ndim !== rank + 1 && x.ndim !== rank + 2)
    throw new ShapeError(`${op}: the input must have ${rank + 1} or ${rank + 2} axes, got shape ${show(x.shape)}`);
  const { stride } = options;
  const own = stride === undefined || stride === null || (typeof stride !== "number" && stride.length === 0);
  const w = windowsOf(op, kernelSize, rank, { ...options, stride: own ? kernelSize : stride });
  if (w.padding.some(([p], i) => p > w.kernel[i] / 2))
    throw new ValueError(
      `${op}: padding may be at most half the kernel ${show(w.kernel)}, got ${String(options.padding)}`,
    );
  return { ...w, counts: countWindows(op, x.shape, w, options.ceilMode) };
}

/** [largest elements of windows, where they are in the image of their channel]. */
function maxPool(
  op: string,
  rank: number,
  x: Tensor,
  kernelSize: Sizes,
  options: MaxPoolOptions = {},
): [Tensor, Tensor] {
  const w = poolWindows(op, x, rank, kernelSize, checkOptions(op, options, MAX_POOL_NAMES));
  const { counts } = w;
  const taps = allWindows(x, w, counts, Number.NEGATIVE_INFINITY).flatten(-rank);
  const best = taps.argmax(-1, true);
  // Where tap t of window o lies: a part that depends on t, plus one that depends on o.
  const offset = (sizes: readonly number[], place: (i: number, k: number) => number): Tensor => {
    const image = x.shape.slice(-rank);
    const values = image.map((_, axis) =>
      Array.from({ length: sizes[axis] }, (_v, k) => place(axis, k) * numel(image.slice(axis + 1))),
    );
    const sums = values.reduce((all, list) => all.flatMap((s) => list.map((v) => s + v)), [0]);
    return tensor(Int32Array.from(sums), [...sizes]);
  };
  const ofTap = offset(w.kernel, (i, k) => k * w.dilation[i]).flatten();
  const ofWindow = offset(counts, (i, k) => k * w.stride[i] - w.padding[i][0]);
  const positions = ofTap.indexSelect(0, best.flatten()).reshape(best.shape).squeeze(-1).add(ofWindow);
  return [taps.gather(-1, best).squeeze(-1), positions];
}

/** The largest element of each window of [N, C, L]; backward routes the gradient to the first of them. */
export function maxPool1d(x: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): Tensor {
  return maxPool("maxPool1d", 1, x, kernelSize, options)[0];
}

/** The largest element of each window of [N, C, H, W]; backward routes the gradient to the first of them. */
export function maxPool2d(x: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): Tensor {
  return maxPool("maxPool2d", 2, x, kernelSize, options)[0];
}

/** [maxPool2d, int32 positions of the elements in the flattened image]. */
export function maxPool2dWithIndices(x: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): [Tensor, Tensor] {
  return maxPool("maxPool2dWithIndices", 2, x, kernelSize, options);
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

function avgPool(rank: number, x: Tensor, kernelSize: Sizes, options: AvgPoolOptions = {}): Tensor {
  const op = `avgPool${rank}d`;
  const { countIncludePad = true, divisorOverride } = checkOptions(op, options, AVG_POOL_NAMES);
  const w = poolWindows(op, x, rank, kernelSize, options);
  const taps = allWindows(x, w, w.counts);
  const sums = taps.sum(w.kernel.map((_, i) => taps.ndim - rank + i));
  if (divisorOverride === 0) throw new ValueError(`${op}: divisorOverride must not be 0`);
  if (divisorOverride !== undefined && divisorOverride !== null) return sums.div(divisorOverride);
  // Elements of each window along each axis, without what lies outside of the padding, or of the image.
  const elements = w.counts.map((count, i) => {
    const n = x.shape[x.ndim - rank + i];
    const edge = countIncludePad ? w.padding[i][0] : 0;
    const sizes = new Float32Array(count);
    for (let k = 0; k < count; k++) {
      const start = k * w.stride[i] - w.padding[i][0];
      sizes[k] = Math.min(start + w.kernel[i], n + edge) - Math.max(start, -edge);
    }
    return tensor(sizes, [count, ...w.counts.slice(i + 1).map(() => 1)]);
  });
  // Axes that are as large everywhere cost one number; the product of others is one of few integers, exact.
  return sums.div(elements.reduce((s, t) => s.mul(t)));
}

/** The mean of each window of [N, C, L]. */
export function avgPool1d(x: Tensor, kernelSize: Sizes, options: Omit<AvgPoolOptions, "divisorOverride"> = {}): Tensor {
  return avgPool(1, x, kernelSize, options);
}

/** The mean of each window of [N, C, H, W]. */
export function avgPool2d(x: Tensor, kernelSize: Sizes, options: AvgPoolOptions = {}): Tensor {
  return avgPool(2, x, kernelSize, options);
}

/** Means of `size` parts of an axis, as equal as can be; parts overlap where the extent does not divide. */
export function averages(x: Tensor, axis: number, size: number): Tensor {
  const n = x.shape[axis];
  if (size === n) return asItIs(x);
  if (n % size === 0)
    return x.reshape([...x.shape.slice(0, axis), size, n / size, ...x.shape.slice(axis + 1)]).mean(axis + 1);
  checkCount("adaptiveAvgPool", "parts of an axis", size, MOST_PIECES);
  const parts = Array.from({ length: size }, (_, i) => {
    const start = Math.floor((i * n) / size);
    return x.narrow(axis, start, Math.ceil(((i + 1) * n) / size) - start).mean(axis, true);
  });
  return cat(parts, axis);
}

function adaptiveAvgPool(rank: number, x: Tensor, outputSize: number | readonly (number | null)[]): Tensor {
  const op = `adaptiveAvgPool${rank}d`;
  checkTensors(op, { x });
  const image = x.shape.slice(-rank);
  const wanted = Array.isArray(outputSize) ? outputSize.map((d, i) => d ?? image[i]) : (outputSize as number);
  const size = perAxis(op, "outputSize", wanted, rank, 1);
  return batched(op, x, rank, (y) => size.reduce((z, d, i) => averages(z, 2 + i, d), y));
}

/** Means of parts of [N, C, L], as many as `outputSize` says. */
export function adaptiveAvgPool1d(x: Tensor, outputSize: number | readonly (number | null)[]): Tensor {
  return adaptiveAvgPool(1, x, outputSize);
}

/** Means of parts of [N, C, H, W], as many along each axis as `outputSize` says; null keeps an extent. */
export function adaptiveAvgPool2d(x: Tensor, outputSize: number | readonly (number | null)[]): Tensor {
  return adaptiveAvgPool(2, x, outputSize);
}
