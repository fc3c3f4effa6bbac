/** @file Convolution and transposed convolution. */
import { convolutions } from "../../compile/extensions/convolution.ts";
import { isFloat } from "../../core/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { show } from "../../core/shape.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";
import { checkPaddingMode, pad, type PaddingMode } from "./padding.ts";
import { batched, perAxis, type Sizes } from "./sizes.ts";
import { countWindows, windowsOf } from "./windows.ts";

export interface ConvOptions {
  stride?: Sizes;
  /** Zeros on both sides; "same" as many as keep the extents (stride 1), "valid" none. */
  padding?: Sizes | "same" | "valid";
  dilation?: Sizes;
  /** What padding is made of: "zeros", or elements of the input as in `pad`. */
  paddingMode?: PaddingMode;
  /** Channels are cut into so many groups that do not see each other. */
  groups?: number;
}

export const CONV_NAMES: Names<ConvOptions> = {
  stride: true,
  padding: true,
  paddingMode: true,
  dilation: true,
  groups: true,
};

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
  const { padding = 0, paddingMode = "zeros", groups = 1 } = checkOptions(op, options, CONV_NAMES);
  checkPaddingMode(op, paddingMode);
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
  return batched(op, input, rank, (given) => {
    let x = given;
    if (paddingMode !== "zeros") {
      x = pad(given, [...pairs].reverse().flat(), paddingMode);
      pairs = pairs.map(() => [0, 0]);
    }
    checkGroups(op, groups, x, weight, perGroup * groups, out);
    const size = countWindows(op, x.shape, { ...w, padding: pairs });
    const y = convolutions.convolution(
      x.node,
      weight.node,
      { ...w, padding: pairs.map(([before]) => before), groups },
      size,
    );
    return withBias(op, new Tensor(y), bias, rank);
  });
}

/** The cross-correlation of [N, C, L] with kernels [O, C / groups, k], plus a bias [O]. */
export function conv1d(input: Tensor, weight: Tensor, bias?: Tensor | null, options: ConvOptions = {}): Tensor {
  return conv(1, input, weight, bias, options);
}

/** The cross-correlation of images [N, C, H, W] with kernels [O, C / groups, kh, kw], plus a bias [O]. */
export function conv2d(input: Tensor, weight: Tensor, bias?: Tensor | null, options: ConvOptions = {}): Tensor {
  return conv(2, input, weight, bias, options);
}

/** The cross-correlation of volumes [N, C, D, H, W] with kernels [O, C / groups, kd, kh, kw], plus a bias [O]. */
export function conv3d(input: Tensor, weight: Tensor, bias?: Tensor | null, options: ConvOptions = {}): Tensor {
  return conv(3, input, weight, bias, options);
}

export interface ConvTransposeOptions {
  stride?: Sizes;
  padding?: Sizes;
  /** Added to one side of the result, where a stride leaves its extent open. */
  outputPadding?: Sizes;
  dilation?: Sizes;
  groups?: number;
}

export const CONV_TRANSPOSE_NAMES: Names<ConvTransposeOptions> = {
  stride: true,
  padding: true,
  outputPadding: true,
  dilation: true,
  groups: true,
};

function convTranspose(
  rank: number,
  input: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options: ConvTransposeOptions = {},
): Tensor {
  const op = `convTranspose${rank}d`;
  checkWeights(op, input, weight, bias, rank);
  const { groups = 1 } = checkOptions(op, options, CONV_TRANSPOSE_NAMES);
  const kernel = weight.shape.slice(2);
  const w = windowsOf(op, kernel, rank, options);
  const more = perAxis(op, "outputPadding", options.outputPadding ?? 0, rank, 0);
  if (more.some((p, i) => p >= Math.max(w.stride[i], w.dilation[i])))
    throw new ValueError(`${op}: outputPadding ${show(more)} must be smaller than stride or dilation`);
  const [channels] = weight.shape;
  return batched(op, input, rank, (x) => {
    checkGroups(op, groups, x, weight, channels, channels);
    const padding = w.padding.map(([before]) => before);
    const size = x.shape
      .slice(2)
      .map((d, i) => (d - 1) * w.stride[i] + w.dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i] + more[i]);
    if (size.some((d) => d < 0))
      throw new ShapeError(`${op}: padding ${show(padding)} leaves nothing of input ${show(x.shape)}`);
    const y = convolutions.convolutionInput(x.node, weight.node, { ...w, padding, groups }, size);
    return withBias(op, new Tensor(y), bias, rank);
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
