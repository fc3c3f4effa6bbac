/** @file Adaptive pooling: as many windows as wanted share the elements of an axis, and overlap where their number does not divide. */
import { checkCount, numel } from "../../core/shape.ts";
import { pooling } from "../../compile/extensions/pooling.ts";
import { asItIs } from "../../tensor/functions.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { checkPooled, largest, type Windows } from "./pooling.ts";
import { dividedBy, perAxis } from "./sizes.ts";

/** Extents of the result: one for all spatial axes, or one for each; null keeps an extent. */
export type OutputSize = number | readonly (number | null)[];

/** Elements of each of m windows on n. */
const lengths = (n: number, m: number): Float32Array =>
  Float32Array.from({ length: m }, (_, k) => Math.ceil(((k + 1) * n) / m) - Math.floor((k * n) / m));

/** As many windows along each of the last axes as `size` says, and how long they are along each. */
function sharing(image: readonly number[], size: readonly number[]): { windows: Windows; elements: Float32Array[] } {
  const elements = image.map((n, i) => lengths(n, size[i]));
  const kernel = elements.map((e) => e.reduce((a, b) => Math.max(a, b)));
  const even = image.every((n, i) => n % size[i] === 0);
  const ones = image.map(() => 1);
  const padding = image.map(() => 0);
  const windows = { kernel, stride: even ? kernel : ones, dilation: ones, padding, adaptive: !even, counts: size };
  return { windows, elements };
}

/** The extents wanted of a result. */
function sizeOf(op: string, x: Tensor, rank: number, outputSize: OutputSize): number[] {
  checkPooled(op, x, rank);
  const image = x.shape.slice(-rank);
  const wanted = Array.isArray(outputSize) ? outputSize.map((d, i) => d ?? image[i]) : (outputSize as number);
  const size = perAxis(op, "outputSize", wanted, rank, 1);
  for (const d of size) checkCount(op, "places along an axis", d, 2 ** 24);
  return size;
}

/** Means of windows on the last axes, `size` of them along each. */
export function averages(x: Tensor, size: readonly number[]): Tensor {
  const image = x.shape.slice(-size.length);
  if (image.every((n, i) => n === size[i])) return asItIs(x);
  if (numel(size) === 1)
    return x.mean(
      size.map((_, i) => i - size.length),
      true,
    );
  const { windows, elements } = sharing(image, size);
  return dividedBy(new Tensor(pooling.sumWindows(x.node, windows, size)), elements);
}

const adaptiveAvgPool = (rank: number, x: Tensor, outputSize: OutputSize): Tensor =>
  averages(x, sizeOf(`adaptiveAvgPool${rank}d`, x, rank, outputSize));

/** Means of parts of [N, C, L], as many as `outputSize` says. */
export function adaptiveAvgPool1d(x: Tensor, outputSize: OutputSize): Tensor {
  return adaptiveAvgPool(1, x, outputSize);
}

/** Means of parts of [N, C, H, W], as many along each axis as `outputSize` says; null keeps an extent. */
export function adaptiveAvgPool2d(x: Tensor, outputSize: OutputSize): Tensor {
  return adaptiveAvgPool(2, x, outputSize);
}

/** Means of parts of [N, C, D, H, W], as many along each axis as `outputSize` says; null keeps an extent. */
export function adaptiveAvgPool3d(x: Tensor, outputSize: OutputSize): Tensor {
  return adaptiveAvgPool(3, x, outputSize);
}

const adaptiveMaxPool = (op: string, rank: number, x: Tensor, outputSize: OutputSize) => {
  const size = sizeOf(op, x, rank, outputSize);
  return largest(x, sharing(x.shape.slice(-rank), size).windows);
};

/** Largest elements of parts of [N, C, L], as many as `outputSize` says. */
export function adaptiveMaxPool1d(x: Tensor, outputSize: OutputSize): Tensor {
  return adaptiveMaxPool("adaptiveMaxPool1d", 1, x, outputSize).values();
}

/** Largest elements of parts of [N, C, H, W], as many along each axis as `outputSize` says; null keeps an extent. */
export function adaptiveMaxPool2d(x: Tensor, outputSize: OutputSize): Tensor {
  return adaptiveMaxPool("adaptiveMaxPool2d", 2, x, outputSize).values();
}

/** Largest elements of parts of [N, C, D, H, W], as many along each axis as `outputSize` says; null keeps an extent. */
export function adaptiveMaxPool3d(x: Tensor, outputSize: OutputSize): Tensor {
  return adaptiveMaxPool("adaptiveMaxPool3d", 3, x, outputSize).values();
}

/** [adaptiveMaxPool1d, int32 positions of the elements in the signal] */
export function adaptiveMaxPool1dWithIndices(x: Tensor, outputSize: OutputSize): [Tensor, Tensor] {
  return adaptiveMaxPool("adaptiveMaxPool1dWithIndices", 1, x, outputSize).both();
}

/** [adaptiveMaxPool2d, int32 positions of the elements in the flattened image] */
export function adaptiveMaxPool2dWithIndices(x: Tensor, outputSize: OutputSize): [Tensor, Tensor] {
  return adaptiveMaxPool("adaptiveMaxPool2dWithIndices", 2, x, outputSize).both();
}

/** [adaptiveMaxPool3d, int32 positions of the elements in the flattened volume] */
export function adaptiveMaxPool3dWithIndices(x: Tensor, outputSize: OutputSize): [Tensor, Tensor] {
  return adaptiveMaxPool("adaptiveMaxPool3dWithIndices", 3, x, outputSize).both();
}
