/**
 * @file Windows over the last axes, one to three of them, that are not laid out. Max pooling takes from each window the element at the
 * tap where it is largest (maxTaps, takeTaps); what flows back is put there (putTaps). Sums of windows (sumWindows) and of the
 * windows that an element is in (spreadWindows) are average pooling, there and back. Axes in front are examples, side by side.
 */
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import type { DType } from "../core/dtype.ts";
import { numel, type Shape, show } from "../core/shape.ts";
import { type Along, makeNode, type Node, type OpDef } from "../graph/node.ts";
import { linear } from "./linear.ts";

/** Windows by spatial axis: tap t of window k is element k stride - padding + t dilation, if there is one. */
export type PoolSizes = {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /** Before the first element; behind the last there is as much as needed. */
  readonly padding: readonly number[];
  /** Instead, m windows share n elements: window k has all from floor(k n / m) to below ceil((k + 1) n / m), at most `kernel`. */
  readonly adaptive: boolean;
};

/** `size`: the spatial extents of the result. */
export type PoolAttrs = PoolSizes & { readonly size: readonly number[] };

/** `outside`: the value of taps that are no element. */
export type TakeAttrs = PoolSizes & { readonly outside: number };

/** Numbers of taps, counted through the axes of the kernel, in row-major order. */
const tapType = ({ kernel }: PoolSizes): DType => (numel(kernel) <= 256 ? "uint8" : "int32");

const sizes = ({ kernel, stride, dilation, padding, adaptive }: PoolSizes): PoolSizes => ({
  kernel,
  stride,
  dilation,
  padding,
  adaptive,
});

/** Axes in front of the spatial ones. */
const lead = (n: Node, { kernel }: PoolSizes): Shape => n.shape.slice(0, n.shape.length - kernel.length);
const spatial = (n: Node, { kernel }: PoolSizes): Shape => n.shape.slice(n.shape.length - kernel.length);

/** Whether two operations have the same windows. */
export function sameWindows(a: PoolSizes, b: PoolSizes): boolean {
  const [one, other] = [a, b].map((s) => JSON.stringify(sizes(s)));
  return one === other;
}

function checkWindows(name: string, x: Node, of: PoolSizes, image: Shape, count: Shape): void {
  if (x.dtype !== "float32") throw new DTypeError(`${name}: dtype ${x.dtype} is not supported, only float32`);
  const rank = of.kernel.length;
  if (rank < 1 || rank > 3 || x.shape.length < rank)
    throw new ShapeError(`${name}: shape ${show(x.shape)} has no ${rank} spatial axes of at most 3`);
  for (const list of [of.kernel, of.stride, of.dilation, image, count])
    if (list.length !== rank || list.some((v) => !Number.isInteger(v) || v < 1))
      throw new ValueError(`${name}: ${show(list)} must be ${rank} positive integers`);
  if (of.padding.length !== rank || of.padding.some((p) => !Number.isInteger(p) || p < 0))
    throw new ValueError(`${name}: padding ${show(of.padding)} must be ${rank} integers of at least 0`);
  const far = of.kernel.some((k, i) => {
    // Kernels look at four windows at once.
    const windows = count[i] === 1 ? 1 : Math.max(4, count[i]);
    const reach = of.adaptive ? 0 : (windows - 1) * of.stride[i] + (k - 1) * of.dilation[i];
    return reach + of.padding[i] + image[i] >= 2 ** 31;
  });
  if (far) throw new ShapeError(`${name}: windows of ${show(image)} reach beyond 2^31 elements`);
}

function checkTaps(name: string, taps: Node, shape: Shape, of: PoolSizes): void {
  if (taps.dtype !== tapType(of) || show(taps.shape) !== show(shape))
    throw new ShapeError(`${name}: taps ${taps.dtype} ${show(taps.shape)} do not fit ${tapType(of)} ${show(shape)}`);
}

/** Examples stay apart; places within one are mixed. */
const acrossWindows = (n: Node<PoolSizes>): Along[] =>
  n.shape.map((_, a) => (a < n.shape.length - n.attrs.kernel.length ? a : "mixed"));

/** x [..., image...] to the tap of each window that has its largest element: the first of equal ones, but the last NaN. */
const MAX_TAPS: OpDef<PoolAttrs> = {
  name: "maxTaps",
  kind: "other",
  pattern: "stops",
  infer: ([x], attrs) => {
    checkWindows("maxTaps", x, attrs, spatial(x, attrs), attrs.size);
    return { shape: [...lead(x, attrs), ...attrs.size], dtype: tapType(attrs) };
  },
  vjp: () => [null],
  jvp: () => null,
};

/** x [..., image...] and taps [..., count...] to the elements there. */
const TAKE_TAPS: OpDef<TakeAttrs> = {
  name: "takeTaps",
  kind: "other",
  pattern: "routes",
  infer: ([x, taps], attrs) => {
    const count = spatial(taps, attrs);
    checkWindows("takeTaps", x, attrs, spatial(x, attrs), count);
    checkTaps("takeTaps", taps, [...lead(x, attrs), ...count], attrs);
    return { shape: taps.shape, dtype: x.dtype };
  },
  along: acrossWindows,
  vjp: (n, g) => [putTaps(g, n.src[1], n.attrs, spatial(n.src[0], n.attrs)), null],
  jvp: (n, [t]) => (t ? takeTaps(t, n.src[1], n.attrs, 0) : null),
};

/** y [..., count...] and taps of that shape to [..., image...]: zeros, and each element added where its tap is. */
const PUT_TAPS: OpDef<PoolAttrs> = {
  name: "putTaps",
  kind: "other",
  pattern: "gathers",
  infer: ([y, taps], attrs) => {
    checkWindows("putTaps", y, attrs, attrs.size, spatial(y, attrs));
    checkTaps("putTaps", taps, y.shape, attrs);
    return { shape: [...lead(y, attrs), ...attrs.size], dtype: y.dtype };
  },
  along: acrossWindows,
  vjp: (n, g) => [takeTaps(g, n.src[1], n.attrs, 0), null],
  jvp: (n, [t]) => (t ? putTaps(t, n.src[1], n.attrs, n.attrs.size) : null),
};

function checkSums(name: string, of: PoolSizes): void {
  if (of.dilation.some((d) => d !== 1)) throw new ValueError(`${name}: dilation ${show(of.dilation)} must be 1`);
}

/** x [..., image...] to the sum of each window [..., count...]. */
const SUM_WINDOWS: OpDef<PoolAttrs> = linear<PoolAttrs>(
  "sumWindows",
  "linear",
  "spreads",
  ([x], attrs) => {
    checkWindows("sumWindows", x, attrs, spatial(x, attrs), attrs.size);
    checkSums("sumWindows", attrs);
    return { shape: [...lead(x, attrs), ...attrs.size], dtype: x.dtype };
  },
  (n, g) => spreadWindows(g, n.attrs, spatial(n.src[0], n.attrs)),
  acrossWindows,
);

/** y [..., count...] to [..., image...]: for each element the sum of the windows it is in. */
const SPREAD_WINDOWS: OpDef<PoolAttrs> = linear<PoolAttrs>(
  "spreadWindows",
  "linear",
  "sums",
  ([y], attrs) => {
    checkWindows("spreadWindows", y, attrs, attrs.size, spatial(y, attrs));
    checkSums("spreadWindows", attrs);
    return { shape: [...lead(y, attrs), ...attrs.size], dtype: y.dtype };
  },
  (n, g) => sumWindows(g, n.attrs, spatial(n.src[0], n.attrs)),
  acrossWindows,
);

/** Which tap of each of `count` windows of x has the largest element; a window without elements has tap 0. */
export function maxTaps(x: Node, of: PoolSizes, count: readonly number[]): Node {
  return makeNode(MAX_TAPS, [x], { ...sizes(of), size: count });
}

/** The elements of x at taps of windows; `outside` where a tap is none. */
export function takeTaps(x: Node, taps: Node, of: PoolSizes, outside: number): Node {
  return makeNode(TAKE_TAPS, [x, taps], { ...sizes(of), outside });
}

/** Elements of windows put where their taps are in an image of extents `size`, and added up there. */
export function putTaps(y: Node, taps: Node, of: PoolSizes, size: readonly number[]): Node {
  return makeNode(PUT_TAPS, [y, taps], { ...sizes(of), size });
}

/** The sum of each of `count` windows of x. */
export function sumWindows(x: Node, of: PoolSizes, count: readonly number[]): Node {
  return makeNode(SUM_WINDOWS, [x], { ...sizes(of), size: count });
}

/** For each element of an image of extents `size` the sum of the windows it is in. */
export function spreadWindows(y: Node, of: PoolSizes, size: readonly number[]): Node {
  return makeNode(SPREAD_WINDOWS, [y], { ...sizes(of), size });
}

export const POOLING = {
  maxTaps: MAX_TAPS,
  takeTaps: TAKE_TAPS,
  putTaps: PUT_TAPS,
  sumWindows: SUM_WINDOWS,
  spreadWindows: SPREAD_WINDOWS,
};
