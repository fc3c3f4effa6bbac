/**
 * @file Functions of signals and images, [N, C, L], [N, C, H, W] or [N, C, D, H, W] (or without N): padding, windows, and what
 * is made of windows: convolution is windows and a matrix product, pooling windows and a reduction.
 */
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { isFloat } from "../core/dtype.ts";
import { numel, type Shape, show } from "../core/shape.ts";
import * as contract from "../ops/contract.ts";
import * as structure from "../ops/structure.ts";
import * as window from "../ops/windows.ts";
import { asItIs, cat, checkTensors, full, Tensor, tensor } from "../tensor.ts";

/** One number for all spatial axes, or one for each. */
export type Sizes = number | readonly number[];

/** One integer for each of `rank` axes. */
function perAxis(op: string, name: string, value: Sizes, rank: number, least: number): number[] {
  const given: readonly number[] = Array.isArray(value) ? value : [value];
  const list = given.length === 1 ? new Array<number>(rank).fill(given[0]) : [...given];
  if (list.length !== rank || list.some((v) => !Number.isInteger(v) || v < least))
    throw new ValueError(
      `${op}: ${name} must be an integer of at least ${least}, or ${rank} of them, got ${String(value)}`,
    );
  return list;
}

/** x with a sample axis if it has none, for f; without it again. Its axes: [N, C, ...] with `rank` more. */
function batched(op: string, x: Tensor, rank: number, f: (x: Tensor) => Tensor): Tensor {
  checkTensors(op, { "the input": x });
  const whole = x.ndim === rank + 2;
  if (!whole && x.ndim !== rank + 1)
    throw new ShapeError(`${op}: the input must have ${rank + 1} or ${rank + 2} axes, got shape ${show(x.shape)}`);
  return whole ? f(x) : f(x.unsqueeze(0)).squeeze(0);
}

// --- padding ------------------------------------------------------------------------------------------------------------

export type PadMode = "constant" | "reflect" | "replicate" | "circular";

/** Which element of an axis of n stands at position p, which may lie outside. */
const SOURCES: Record<Exclude<PadMode, "constant">, (p: number, n: number) => number> = {
  reflect: (p, n) => (p < 0 ? -p : p >= n ? 2 * (n - 1) - p : p),
  replicate: (p, n) => Math.min(Math.max(p, 0), n - 1),
  circular: (p, n) => ((p % n) + n) % n,
};

/** Most elements each mode can add to one side of an axis of n. */
const REACH: Record<Exclude<PadMode, "constant">, (n: number) => number> = {
  reflect: (n) => n - 1,
  replicate: (n) => (n > 0 ? Number.POSITIVE_INFINITY : 0),
  circular: (n) => n,
};

/**
 * Elements added before and after axes: [before, after] of the last axis, then of the one before it, ... Negative numbers take
 * elements away. `value` is what "constant" adds.
 */
export function pad(x: Tensor, padding: readonly number[], mode: PadMode = "constant", value = 0): Tensor {
  checkTensors("pad", { x });
  if (
    !Array.isArray(padding) ||
    padding.length % 2 !== 0 ||
    padding.length > 2 * x.ndim ||
    !padding.every(Number.isInteger)
  )
    throw new ValueError(
      `pad: padding ${String(padding)} must be pairs of integers, at most one for each of ${x.ndim} axes`,
    );
  const pairs = x.shape.map((_, i): [number, number] => {
    const k = 2 * (x.ndim - 1 - i);
    return [padding[k] ?? 0, padding[k + 1] ?? 0];
  });
  if (mode !== "constant" && !Object.hasOwn(SOURCES, mode))
    throw new ValueError(`pad: mode must be "constant", "reflect", "replicate" or "circular", got ${String(mode)}`);
  pairs.forEach(([before, after], axis) => {
    if (before === 0 && after === 0) return;
    const n = x.shape[axis];
    const reach = mode === "constant" ? Number.POSITIVE_INFINITY : REACH[mode](n);
    if (n + before + after < 0 || before > reach || after > reach)
      throw new ShapeError(
        `pad: ${before} and ${after} elements cannot be added to axis ${axis} of shape ${show(x.shape)} (${mode})`,
      );
  });
  if (mode === "constant") return padded(x, pairs, value);
  return pairs.reduce((y, [before, after], axis) => {
    if (before === 0 && after === 0) return y;
    const n = x.shape[axis];
    return y.indexSelect(
      axis,
      Array.from({ length: n + before + after }, (_, i) => SOURCES[mode](i - before, n)),
    );
  }, asItIs(x));
}

/** x with elements of one value before and after each axis. */
function padded(x: Tensor, pairs: readonly (readonly [number, number])[], value: number): Tensor {
  const more = pairs.map((p) => p.map((v) => Math.max(v, 0)));
  const begin = pairs.map(([before]) => Math.max(0, -before));
  const inner = x.slice(
    begin,
    x.shape.map((d, i) => d + Math.min(0, pairs[i][1])),
  );
  if (value === 0)
    return new Tensor(
      structure.pad(
        inner.node,
        more.map(([before]) => before),
        inner.shape.map((d, i) => d + more[i][0] + more[i][1]),
      ),
    );
  return more.reduce((y, counts, axis) => {
    const [before, after] = counts.map((n) => {
      const shape = y.shape.map((d, i) => (i === axis ? n : d));
      return n === 0 ? [] : [full(shape, value, { dtype: x.dtype })];
    });
    return cat([...before, y, ...after], axis);
  }, inner);
}

// --- windows ------------------------------------------------------------------------------------------------------------

interface Windows {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /** Before and after each axis. */
  readonly padding: readonly (readonly [number, number])[];
}

/** The windows along one of their axes. */
const along = (w: Windows, i: number): window.WindowSizes => ({
  size: w.kernel[i],
  step: w.stride[i],
  dilation: w.dilation[i],
});

/** Where and how often windows fit on the last axes of a shape; with `ceil`, one that starts inside may end outside. */
function countWindows(op: string, shape: Shape, w: Windows, ceil = false): number[] {
  const lead = shape.length - w.kernel.length;
  return w.kernel.map((_, i) => {
    const n = shape[lead + i];
    const [before, after] = w.padding[i];
    const room = n + before + after - window.span(along(w, i));
    if (room < 0)
      throw new ShapeError(
        `${op}: the kernel ${show(w.kernel)} (dilation ${show(w.dilation)}) is larger than the padded input of shape ${show(shape)}`,
      );
    if (!ceil) return Math.floor(room / w.stride[i]) + 1;
    const count = Math.ceil(room / w.stride[i]) + 1;
    return (count - 1) * w.stride[i] >= n + before ? count - 1 : count;
  });
}

/** All windows on the last axes: [..., L...] to [..., count..., kernel...]. Padding is filled with `value`. */
function allWindows(x: Tensor, w: Windows, counts: readonly number[], value = 0): Tensor {
  const lead = x.ndim - counts.length;
  const pairs = x.shape.map((n, axis): [number, number] => {
    const i = axis - lead;
    if (i < 0) return [0, 0];
    const [before] = w.padding[i];
    return [before, window.span(along(w, i), counts[i]) - before - n];
  });
  let { node } = padded(x, pairs, value);
  counts.forEach((_, i) => {
    node = window.windows(node, lead + i, along(w, i));
  });
  return new Tensor(node);
}

export interface UnfoldOptions {
  stride?: Sizes;
  padding?: Sizes;
  dilation?: Sizes;
}

function windowsOf(op: string, kernelSize: Sizes, rank: number, options: UnfoldOptions): Windows {
  const kernel = perAxis(op, "kernelSize", kernelSize, rank, 1);
  return {
    kernel,
    stride: perAxis(op, "stride", options.stride ?? 1, rank, 1),
    dilation: perAxis(op, "dilation", options.dilation ?? 1, rank, 1),
    padding: perAxis(op, "padding", options.padding ?? 0, rank, 0).map((p): [number, number] => [p, p]),
  };
}

/** The windows of images as columns: [N, C, H, W] to [N, C kh kw, count] (torch.nn.functional.unfold, im2col). */
export function unfold(x: Tensor, kernelSize: Sizes, options: UnfoldOptions = {}): Tensor {
  const w = windowsOf("unfold", kernelSize, 2, options);
  return batched("unfold", x, 2, (y) => {
    const counts = countWindows("unfold", y.shape, w);
    const [n, c] = y.shape;
    const columns = allWindows(y, w, counts).permute(0, 1, 4, 5, 2, 3);
    return columns.reshape(n, c * numel(w.kernel), numel(counts));
  });
}

/** Columns added up where their windows lie: the adjoint of unfold, [N, C kh kw, count] to [N, C, H, W] (col2im). */
export function fold(x: Tensor, outputSize: Sizes, kernelSize: Sizes, options: UnfoldOptions = {}): Tensor {
  const w = windowsOf("fold", kernelSize, 2, options);
  const size = perAxis("fold", "outputSize", outputSize, 2, 1);
  const counts = countWindows("fold", size, w);
  return batched("fold", x, 1, (y) => {
    const [n, rows, count] = y.shape;
    if (rows % numel(w.kernel) !== 0 || count !== numel(counts))
      throw new ShapeError(
        `fold: shape ${show(x.shape)} is not [N, C ${show(w.kernel)}, ${numel(counts)}], the columns of ${show(size)}`,
      );
    const taps = y.reshape([n, rows / numel(w.kernel), ...w.kernel, ...counts]).permute(0, 1, 4, 5, 2, 3);
    return addedUp(taps, w, size);
  });
}

/** The adjoint of allWindows: [..., count..., kernel...] to [..., size...], padding taken away. */
function addedUp(taps: Tensor, w: Windows, size: readonly number[]): Tensor {
  const rank = size.length;
  const lead = taps.ndim - 2 * rank;
  let { node } = taps;
  for (let i = rank - 1; i >= 0; i--) {
    const sizes = along(w, i);
    const extent = Math.max(window.span(sizes, taps.shape[lead + i]), w.padding[i][0] + size[i]);
    node = window.fold(node, lead + i, sizes, extent);
  }
  return size.reduce((y, d, i) => y.narrow(lead + i, w.padding[i][0], d), new Tensor(node));
}

// --- convolution ----------------------------------------------------------------------------------------------------------

export interface ConvOptions {
  stride?: Sizes;
  /** Zeros on both sides; "same" as many as keep the extents (stride 1), "valid" none. */
  padding?: Sizes | "same" | "valid";
  dilation?: Sizes;
  /** Channels are cut into so many groups that do not see each other. */
  groups?: number;
}

function checkWeights(op: string, x: Tensor, weight: Tensor, bias: Tensor | null | undefined, rank: number): void {
  checkTensors(op, { "the input": x, "the weight": weight });
  if (weight.ndim !== rank + 2)
    throw new ShapeError(`${op}: the weight must have ${rank + 2} axes, got shape ${show(weight.shape)}`);
  if (![x, weight].every((t) => isFloat(t.dtype)))
    throw new DTypeError(`${op}: dtypes ${x.dtype} and ${weight.dtype} are not supported, only float32`);
  if (bias && bias.ndim !== 1) throw new ShapeError(`${op}: the bias must have 1 axis, got shape ${show(bias.shape)}`);
}

/** `channels` of the input and `out` (those of the weight's first axis) divide into groups. */
function checkGroups(op: string, groups: number, x: Tensor, weight: Tensor, channels: number, out: number): void {
  if (!Number.isInteger(groups) || groups < 1)
    throw new ValueError(`${op}: groups must be a positive integer, got ${groups}`);
  if (x.shape[1] !== channels || out % groups !== 0)
    throw new ShapeError(
      `${op}: input ${show(x.shape)} and weight ${show(weight.shape)} do not fit with ${groups} group${groups > 1 ? "s" : ""}`,
    );
}

function withBias(op: string, y: Tensor, bias: Tensor | null | undefined, rank: number): Tensor {
  if (!bias) return y;
  if (bias.shape[0] !== y.shape[1])
    throw new ShapeError(`${op}: the bias ${show(bias.shape)} does not fit ${y.shape[1]} channels`);
  return y.add(bias.reshape([-1, ...new Array<number>(rank).fill(1)]));
}

function conv(rank: number, input: Tensor, weight: Tensor, bias?: Tensor | null, options: ConvOptions = {}): Tensor {
  const op = `conv${rank}d`;
  checkWeights(op, input, weight, bias, rank);
  const { padding = 0, groups = 1 } = options;
  const kernel = weight.shape.slice(2);
  const w = windowsOf(op, kernel, rank, { ...options, padding: typeof padding === "string" ? 0 : padding });
  let pairs = w.padding;
  if (padding === "same") {
    if (w.stride.some((s) => s !== 1)) throw new ValueError(`${op}: padding "same" needs a stride of 1`);
    pairs = kernel.map((k, i): [number, number] => {
      const total = w.dilation[i] * (k - 1);
      return [Math.floor(total / 2), Math.ceil(total / 2)];
    });
  } else if (typeof padding === "string" && padding !== "valid")
    throw new ValueError(`${op}: padding must be numbers, "same" or "valid", got "${String(padding)}"`);
  const [out, perGroup] = weight.shape;
  return batched(op, input, rank, (x) => {
    checkGroups(op, groups, x, weight, perGroup * groups, out);
    return withBias(op, convolved(op, x, weight, { ...w, padding: pairs }, groups), bias, rank);
  });
}

/** All windows times all kernels [O, C / groups, k...], one matrix product for each group. */
function convolved(op: string, x: Tensor, weight: Tensor, w: Windows, groups: number): Tensor {
  const counts = countWindows(op, x.shape, w);
  const rank = counts.length;
  const [out, perGroup] = weight.shape;
  const depth = perGroup * numel(w.kernel);
  // [N, C, count..., kernel...] as columns: [G, C / groups kernel, N count].
  const space = counts.map((_, i) => i);
  const taps = allWindows(x, w, counts).permute([1, ...space.map((i) => 2 + rank + i), 0, ...space.map((i) => 2 + i)]);
  const columns = taps.reshape(groups, depth, x.shape[0] * numel(counts));
  const kernels = weight.reshape(groups, out / groups, depth);
  const y = new Tensor(contract.matmul(kernels.node, columns.node, true));
  return y.reshape([out, x.shape[0], ...counts]).transpose(0, 1);
}

/** The cross-correlation of [N, C, L] with kernels [O, C / groups, k], plus a bias [O]. */
export function conv1d(input: Tensor, weight: Tensor, bias?: Tensor | null, options: ConvOptions = {}): Tensor {
  return conv(1, input, weight, bias, options);
}

/** The cross-correlation of images [N, C, H, W] with kernels [O, C / groups, kh, kw], plus a bias [O]. */
export function conv2d(input: Tensor, weight: Tensor, bias?: Tensor | null, options: ConvOptions = {}): Tensor {
  return conv(2, input, weight, bias, options);
}

export interface ConvTransposeOptions {
  stride?: Sizes;
  padding?: Sizes;
  /** Added to one side of the result, where a stride leaves its extent open. */
  outputPadding?: Sizes;
  dilation?: Sizes;
  groups?: number;
}

function convTranspose(
  rank: number,
  input: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options: ConvTransposeOptions = {},
): Tensor {
  const op = `convTranspose${rank}d`;
  checkWeights(op, input, weight, bias, rank);
  const { groups = 1 } = options;
  const kernel = weight.shape.slice(2);
  const w = windowsOf(op, kernel, rank, options);
  const more = perAxis(op, "outputPadding", options.outputPadding ?? 0, rank, 0);
  if (more.some((p, i) => p >= Math.max(w.stride[i], w.dilation[i])))
    throw new ValueError(`${op}: outputPadding ${show(more)} must be smaller than stride or dilation`);
  const [channels, perGroup] = weight.shape;
  return batched(op, input, rank, (x) => {
    checkGroups(op, groups, x, weight, channels, channels);
    const n = x.shape.slice(2);
    // Each element touches a window of the result: so each element of the result sees a window of the elements, `stride` apart
    // with zeros between them, through the kernel turned around.
    const spread = n.map((d, i) => (d === 0 ? 0 : (d - 1) * w.stride[i] + 1));
    const apart = structure.spread(x.node, [1, 1, ...w.stride], [...x.shape.slice(0, 2), ...spread]);
    const padding = more.map((p, i): [number, number] => {
      const margin = w.dilation[i] * (kernel[i] - 1) - w.padding[i][0];
      return [margin, margin + p];
    });
    const turned = weight
      .reshape([groups, channels / groups, perGroup, ...kernel])
      .transpose(1, 2)
      .flip(kernel.map((_, i) => 3 + i))
      .reshape([groups * perGroup, channels / groups, ...kernel]);
    const one = { kernel, dilation: w.dilation, stride: n.map(() => 1), padding };
    return withBias(op, convolved(op, new Tensor(apart), turned, one, groups), bias, rank);
  });
}

/** The adjoint of conv1d as a function: [N, C, L] with kernels [C, O / groups, k] gives [N, O, ...]. */
export function convTranspose1d(
  input: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options: ConvTransposeOptions = {},
): Tensor {
  return convTranspose(1, input, weight, bias, options);
}

/** The adjoint of conv2d as a function: images [N, C, H, W] with kernels [C, O / groups, kh, kw] give [N, O, ...]. */
export function convTranspose2d(
  input: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options: ConvTransposeOptions = {},
): Tensor {
  return convTranspose(2, input, weight, bias, options);
}

// --- pooling --------------------------------------------------------------------------------------------------------------

export interface PoolOptions {
  /** Default: the size of the kernel. */
  stride?: Sizes | null;
  padding?: Sizes;
  /** Whether a window may end outside. */
  ceilMode?: boolean;
}

function poolWindows(
  op: string,
  x: Tensor,
  rank: number,
  kernelSize: Sizes,
  options: PoolOptions & { dilation?: Sizes },
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
  rank: number,
  x: Tensor,
  kernelSize: Sizes,
  options: PoolOptions & { dilation?: Sizes } = {},
): [Tensor, Tensor] {
  const w = poolWindows(`maxPool${rank}d`, x, rank, kernelSize, options);
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
export function maxPool1d(x: Tensor, kernelSize: Sizes, options: PoolOptions & { dilation?: Sizes } = {}): Tensor {
  return maxPool(1, x, kernelSize, options)[0];
}

/** The largest element of each window of [N, C, H, W]; backward routes the gradient to the first of them. */
export function maxPool2d(x: Tensor, kernelSize: Sizes, options: PoolOptions & { dilation?: Sizes } = {}): Tensor {
  return maxPool(2, x, kernelSize, options)[0];
}

/** [maxPool2d, int32 positions of the elements in the flattened image]. */
export function maxPool2dWithIndices(
  x: Tensor,
  kernelSize: Sizes,
  options: PoolOptions & { dilation?: Sizes } = {},
): [Tensor, Tensor] {
  return maxPool(2, x, kernelSize, options);
}

export interface AvgPoolOptions extends PoolOptions {
  /** Whether zeros of the padding count; default true. */
  countIncludePad?: boolean;
  /** What sums are divided by, instead of the number of elements. */
  divisorOverride?: number | null;
}

function avgPool(rank: number, x: Tensor, kernelSize: Sizes, options: AvgPoolOptions = {}): Tensor {
  const op = `avgPool${rank}d`;
  const w = poolWindows(op, x, rank, kernelSize, options);
  const { countIncludePad = true, divisorOverride } = options;
  const taps = allWindows(x, w, w.counts);
  const sums = taps.sum(w.kernel.map((_, i) => taps.ndim - rank + i));
  if (divisorOverride === 0) throw new ValueError(`${op}: divisorOverride must not be 0`);
  if (divisorOverride !== undefined && divisorOverride !== null) return sums.div(divisorOverride);
  // Elements of each window along each axis, without what lies outside of the padding, or of the image.
  const elements = w.counts.map((count, i) => {
    const n = x.shape[x.ndim - rank + i];
    const edge = countIncludePad ? w.padding[i][0] : 0;
    return Array.from({ length: count }, (_, k) => {
      const start = k * w.stride[i] - w.padding[i][0];
      return Math.min(start + w.kernel[i], n + edge) - Math.max(start, -edge);
    });
  });
  const sizes = elements.reduce((all, list) => all.flatMap((s) => list.map((v) => s * v)), [1]);
  return sums.div(tensor(Float32Array.from(sizes), w.counts));
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
function averages(x: Tensor, axis: number, size: number): Tensor {
  const n = x.shape[axis];
  if (size === n) return asItIs(x);
  if (n % size === 0)
    return x.reshape([...x.shape.slice(0, axis), size, n / size, ...x.shape.slice(axis + 1)]).mean(axis + 1);
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

/** x / (k + alpha mean of the squares of `size` neighbouring channels)^beta. */
export function localResponseNorm(x: Tensor, size: number, alpha = 1e-4, beta = 0.75, k = 1): Tensor {
  checkTensors("localResponseNorm", { x });
  if (x.ndim < 3)
    throw new ShapeError(`localResponseNorm: the input must have 3 axes or more, got shape ${show(x.shape)}`);
  if (!Number.isInteger(size) || size < 1)
    throw new ValueError(`localResponseNorm: size must be a positive integer, got ${size}`);
  const sides = x.shape.map((_, i): [number, number] =>
    i === 1 ? [Math.floor(size / 2), Math.floor((size - 1) / 2)] : [0, 0],
  );
  const mean = padded(x.square(), sides, 0).unfold(1, size, 1).mean(-1);
  return x.div(mean.mul(alpha).add(k).pow(beta));
}

// --- resizing -------------------------------------------------------------------------------------------------------------

export interface InterpolateOptions {
  /** Extents of the result. */
  size?: Sizes | null;
  /** Or what extents are multiplied with, rounded down. */
  scaleFactor?: Sizes | null;
  /** "linear", "bilinear" and "trilinear" for 1, 2 and 3 spatial axes. */
  mode?: "nearest" | "nearest-exact" | "linear" | "bilinear" | "trilinear" | "area";
  /** Linear modes: whether the middles of the corner pixels fall together, instead of their outer edges. */
  alignCorners?: boolean | null;
  /** Whether pixels are spaced by the extents (rounded) instead of by scaleFactor. */
  recomputeScaleFactor?: boolean | null;
}

const LINEAR = { linear: 1, bilinear: 2, trilinear: 3 } as const;

/** [N, C, ...] resized along the spatial axes. */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  checkTensors("interpolate", { x });
  const { size, scaleFactor, mode = "nearest", alignCorners = false, recomputeScaleFactor = false } = options ?? {};
  const rank = x.ndim - 2;
  if (rank < 1 || rank > 3)
    throw new ShapeError(`interpolate: the input must have 3 to 5 axes, got shape ${show(x.shape)}`);
  const linear = Object.hasOwn(LINEAR, mode);
  if (!linear && !["nearest", "nearest-exact", "area"].includes(mode))
    throw new ValueError(`interpolate: there is no mode ${String(mode)}`);
  if (linear && LINEAR[mode as keyof typeof LINEAR] !== rank)
    throw new ShapeError(`interpolate: mode ${mode} does not fit shape ${show(x.shape)}`);
  const given = (v: Sizes | null | undefined): v is Sizes => v !== undefined && v !== null;
  if (given(size) === given(scaleFactor)) throw new ValueError("interpolate: give either size or scaleFactor");
  const factors = given(scaleFactor)
    ? typeof scaleFactor === "number"
      ? new Array<number>(rank).fill(scaleFactor)
      : [...scaleFactor]
    : undefined;
  if (factors && (factors.length !== rank || factors.some((f) => !(f > 0 && Number.isFinite(f)))))
    throw new ValueError(
      `interpolate: scaleFactor must be positive, one number or ${rank}, got ${String(scaleFactor)}`,
    );
  const image = x.shape.slice(2);
  const to = perAxis(
    "interpolate",
    "size",
    factors ? image.map((d, i) => Math.floor(d * factors[i])) : (size as Sizes),
    rank,
    1,
  );
  if (mode === "area") return to.reduce((y, d, i) => averages(y, 2 + i, d), x);
  return to.reduce((y, d, i) => {
    const n = image[i];
    const step = factors && !recomputeScaleFactor ? 1 / factors[i] : n / d;
    const places = Array.from({ length: d }, (_, k) => {
      if (mode === "nearest") return Math.floor(Math.fround(k * Math.fround(step)));
      if (mode === "nearest-exact") return Math.floor(Math.fround((k + 0.5) * Math.fround(step)));
      if (alignCorners) return d > 1 ? (k * (n - 1)) / (d - 1) : 0;
      return Math.max(0, (k + 0.5) * step - 0.5);
    });
    return sampled(y, 2 + i, places);
  }, x);
}

/** x at places along an axis, between two elements by their distance. */
function sampled(x: Tensor, axis: number, places: readonly number[]): Tensor {
  const last = x.shape[axis] - 1;
  const low = places.map((p) => Math.min(Math.floor(p), last));
  const here = x.indexSelect(axis, low);
  if (places.every(Number.isInteger)) return here;
  const next = x.indexSelect(
    axis,
    low.map((p) => Math.min(p + 1, last)),
  );
  const distances = Float32Array.from(places, (p, k) => p - low[k]);
  const weights = tensor(distances, [places.length, ...x.shape.slice(axis + 1).map(() => 1)]);
  return here.mul(weights.neg().add(1)).add(next.mul(weights));
}
