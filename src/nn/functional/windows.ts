/** @file Windows of spatial axes, laid out and added up again. */
import { ShapeError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { numel, type Shape, show } from "../../core/shape.ts";
import * as window from "../../ops/windows.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { padded } from "./padding.ts";
import { batched, perAxis, type Sizes } from "./sizes.ts";

export interface Windows {
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
export function countWindows(op: string, shape: Shape, w: Windows, ceil = false): number[] {
  const lead = shape.length - w.kernel.length;
  return w.kernel.map((_, i) => {
    const n = shape[lead + i];
    const [before, after] = w.padding[i];
    const room = n + before + after - window.span(along(w, i));
    const count = ceil ? Math.ceil(room / w.stride[i]) + 1 : room < 0 ? 0 : Math.floor(room / w.stride[i]) + 1;
    if (count < 1)
      throw new ShapeError(
        `${op}: the kernel ${show(w.kernel)} (dilation ${show(w.dilation)}) is larger than the padded input of shape ${show(shape)}`,
      );
    return ceil && (count - 1) * w.stride[i] >= n + before ? count - 1 : count;
  });
}

/** All windows on the last axes: [..., L...] to [..., count..., kernel...]. Padding is filled with `value`. */
export function allWindows(x: Tensor, w: Windows, counts: readonly number[], value = 0): Tensor {
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

const NAMES: Names<UnfoldOptions> = { stride: true, padding: true, dilation: true };

export function windowsOf(op: string, kernelSize: Sizes, rank: number, options: UnfoldOptions): Windows {
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
  const w = windowsOf("unfold", kernelSize, 2, checkOptions("unfold", options, NAMES));
  return batched("unfold", x, 2, (y) => {
    const counts = countWindows("unfold", y.shape, w);
    const [n, c] = y.shape;
    const columns = allWindows(y, w, counts).permute(0, 1, 4, 5, 2, 3);
    return columns.reshape(n, c * numel(w.kernel), numel(counts));
  });
}

/** Columns added up where their windows lie: the adjoint of unfold, [N, C kh kw, count] to [N, C, H, W] (col2im). */
export function fold(x: Tensor, outputSize: Sizes, kernelSize: Sizes, options: UnfoldOptions = {}): Tensor {
  const w = windowsOf("fold", kernelSize, 2, checkOptions("fold", options, NAMES));
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
