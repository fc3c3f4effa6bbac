/**
 * @file Convolution: the sum of x[n, c, q stride + t dilation - padding] w[o, c, t] y[n, o, q] over everything is linear in each
 * of the three. The derivative to y is the convolution of x and w, that to x its adjoint (transposed convolution), that to w
 * its adjoint to the kernels: three operations, and the derivatives of each are the other two.
 */
import { DTypeError, ShapeError } from "../core/errors.ts";
import { show, type Shape } from "../core/shape.ts";
import { type Along, makeNode, type Node, type OpDef } from "../graph/node.ts";
import { add } from "./elementwise.ts";
import { expand, permute, reshape } from "./movement.ts";

/** By spatial axis; there may be one to three. */
export type ConvSizes = {
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /** Zeros before the first element; behind the last there are as many as needed. May be negative. */
  readonly padding: readonly number[];
  readonly groups: number;
};

/** `size`: the spatial extents of the result. */
export type ConvAttrs = ConvSizes & { readonly size: readonly number[] };

function checked(name: string, a: Node, b: Node, fits: boolean): void {
  if (a.dtype !== "float32" || b.dtype !== "float32")
    throw new DTypeError(`${name}: dtypes ${a.dtype} and ${b.dtype} are not supported, only float32`);
  const rank = a.shape.length;
  if (!fits || rank !== b.shape.length || rank < 3 || rank > 5)
    throw new ShapeError(`${name}: shapes ${show(a.shape)} and ${show(b.shape)} do not fit`);
}

const spatial = (n: Node): Shape => n.shape.slice(2);

/** Of each axis of the result: samples run along those of the first source; channels and places mix what is summed over. */
const acts = (n: Node<ConvAttrs>, i: number, channel: Along): Along[] => {
  const { groups } = n.attrs;
  const mixed = groups === 1 ? "free" : "mixed";
  if (i === 0) return n.shape.map((_, a) => (a === 0 ? 0 : a === 1 ? mixed : "mixed"));
  return n.shape.map((_, a) => (a === 1 ? (groups === 1 || channel === 0 ? channel : "mixed") : "free"));
};

/** Bilinear: a tangent of each source goes through the operation with the other one. */
const tangent: OpDef<ConvAttrs>["jvp"] = (n, [ta, tb]) => {
  const left = ta ? makeNode(n.op, [ta, n.src[1]], n.attrs) : null;
  const right = tb ? makeNode(n.op, [n.src[0], tb], n.attrs) : null;
  return left && right ? add(left, right) : (left ?? right);
};

/** [count, N, C, ...] as [N, count C, ...]; a source without the batch once for each of it. */
function asChannels(x: Node, count: number, batched: boolean): Node {
  const [n, c, ...rest] = x.shape.slice(batched ? 1 : 0);
  const all = batched ? x : expand(reshape(x, [1, ...x.shape]), [count, ...x.shape]);
  const order = all.shape.map((_, i) => i);
  return reshape(permute(all, [1, 0, ...order.slice(2)]), [n, count * c, ...rest]);
}

/** [count, O, C, ...] as [count O, C, ...]. */
function asGroups(w: Node, count: number, batched: boolean): Node {
  const shape = w.shape.slice(batched ? 1 : 0);
  const all = batched ? w : expand(reshape(w, [1, ...shape]), [count, ...shape]);
  return reshape(all, [count * shape[0], ...shape.slice(1)]);
}

/** Of a batch each example is a group; but where the kernels are the same for all, samples are just more. */
const batchOfSamples: OpDef<ConvAttrs>["batch"] = (n, [a, b], [left, right]) => {
  const count = (left ? a : b).shape[0];
  const { attrs } = n;
  if (!right)
    return reshape(makeNode(n.op, [reshape(a, [count * a.shape[1], ...a.shape.slice(2)]), b], attrs), [
      count,
      ...n.shape,
    ]);
  const sources = [asChannels(a, count, left), asGroups(b, count, right)];
  const y = makeNode(n.op, sources, { ...attrs, groups: attrs.groups * count });
  const [samples, channels, ...rest] = n.shape;
  const order = rest.map((_, i) => i + 3);
  return permute(reshape(y, [samples, count, channels, ...rest]), [1, 0, 2, ...order]);
};

/** x [N, G C, ...] and kernels [G O, C, ...] to [N, G O, size...]. */
const CONVOLUTION: OpDef<ConvAttrs> = {
  name: "convolution",
  kind: "other",
  pattern: "switches",
  infer: ([x, w], { size, groups }) => {
    checked("convolution", x, w, x.shape[1] === w.shape[1] * groups && w.shape[0] % groups === 0);
    return { shape: [x.shape[0], w.shape[0], ...size], dtype: x.dtype };
  },
  along: (n, i) => acts(n, i, 0),
  vjp: (n, g) => {
    const [x, w] = n.src;
    return [convolutionInput(g, w, n.attrs, spatial(x)), convolutionKernel(x, g, n.attrs, spatial(w))];
  },
  jvp: tangent,
  batch: batchOfSamples,
};

/** y [N, G O, ...] and kernels [G O, C, ...] to [N, G C, size...]: the adjoint of the convolution to its input. */
const CONVOLUTION_INPUT: OpDef<ConvAttrs> = {
  name: "convolutionInput",
  kind: "other",
  pattern: "switches",
  infer: ([y, w], { size, groups }) => {
    checked("convolutionInput", y, w, y.shape[1] === w.shape[0] && w.shape[0] % groups === 0);
    return { shape: [y.shape[0], w.shape[1] * groups, ...size], dtype: y.dtype };
  },
  along: (n, i) => acts(n, i, 1),
  vjp: (n, g) => {
    const [y, w] = n.src;
    return [convolution(g, w, n.attrs, spatial(y)), convolutionKernel(g, y, n.attrs, spatial(w))];
  },
  jvp: tangent,
  batch: batchOfSamples,
};

/** x [N, G C, ...] and y [N, G O, ...] to kernels [G O, C, size...]: the adjoint of the convolution to its kernels. */
const CONVOLUTION_KERNEL: OpDef<ConvAttrs> = {
  name: "convolutionKernel",
  kind: "other",
  pattern: "switches",
  infer: ([x, y], { size, groups }) => {
    checked(
      "convolutionKernel",
      x,
      y,
      x.shape[0] === y.shape[0] && x.shape[1] % groups === 0 && y.shape[1] % groups === 0,
    );
    return { shape: [y.shape[1], x.shape[1] / groups, ...size], dtype: x.dtype };
  },
  along: (n, i) => {
    const mixed = n.attrs.groups === 1 ? "free" : "mixed";
    if (i === 0) return n.shape.map((_, a) => (a === 0 ? mixed : a === 1 && n.attrs.groups === 1 ? 1 : "mixed"));
    return n.shape.map((_, a) => (a === 0 ? 1 : "free"));
  },
  vjp: (n, g) => {
    const [x, y] = n.src;
    return [convolutionInput(y, g, n.attrs, spatial(x)), convolution(x, g, n.attrs, spatial(y))];
  },
  jvp: tangent,
  batch: (n, [a, b], [left, right]) => {
    const count = (left ? a : b).shape[0];
    const { attrs } = n;
    const sources = [asChannels(a, count, left), asChannels(b, count, right)];
    const w = makeNode(n.op, sources, { ...attrs, groups: attrs.groups * count });
    return reshape(w, [count, ...n.shape]);
  },
};

const sizes = ({ stride, dilation, padding, groups }: ConvSizes, size: readonly number[]): ConvAttrs => ({
  stride,
  dilation,
  padding,
  groups,
  size,
});

/** The convolution (cross-correlation) of x and kernels w, places of the result beyond x counting as zeros around it. */
export function convolution(x: Node, w: Node, of: ConvSizes, size: readonly number[]): Node {
  return makeNode(CONVOLUTION, [x, w], sizes(of, size));
}

/** What the convolution with kernels w sends back to its input of spatial extents `size`. */
export function convolutionInput(y: Node, w: Node, of: ConvSizes, size: readonly number[]): Node {
  return makeNode(CONVOLUTION_INPUT, [y, w], sizes(of, size));
}

/** What the convolution of x sends back to its kernels of spatial extents `size`. */
export function convolutionKernel(x: Node, y: Node, of: ConvSizes, size: readonly number[]): Node {
  return makeNode(CONVOLUTION_KERNEL, [x, y], sizes(of, size));
}

export const CONVOLUTIONS = {
  convolution: CONVOLUTION,
  convolutionInput: CONVOLUTION_INPUT,
  convolutionKernel: CONVOLUTION_KERNEL,
};
