/**
 * @file Row operations with kernels of their own. Each says what it is in terms of simpler operations where that is how
 * it is differentiated a second time.
 */
import { DTypeError, ShapeError } from "../core/errors.ts";
import { isFloat } from "../core/dtype.ts";
import { type Shape, show } from "../core/shape.ts";
import { makeNode, type NoAttrs, type Node, type OpDef } from "../graph/node.ts";
import { apply, cast, COMPARE, mul, sub, UNARY, where } from "./elementwise.ts";
import { constantLike, iota } from "./leaf.ts";
import { expand, expandBack, forEveryExample, reshape, sum } from "./movement.ts";

const lastAxis = (x: { shape: Shape }): number => x.shape.length - 1;

function checkRows(op: string, x: Node): void {
  if (!isFloat(x.dtype)) throw new DTypeError(`${op}: dtype ${x.dtype} is not supported, only float32`);
  if (x.shape.length < 1) throw new ShapeError(`${op}: shape ${show(x.shape)} has no axis to work along`);
}

const rowMap = (name: string, vjp: NonNullable<OpDef<NoAttrs>["vjp"]>): OpDef<NoAttrs> => ({
  name,
  kind: "other",
  pattern: "mixes",
  infer: ([x]) => {
    checkRows(name, x);
    return { shape: x.shape, dtype: x.dtype };
  },
  vjp,
  // The Jacobian of softmax is symmetric; that of log-softmax is applied directly.
  jvp: (n, [t]) => {
    if (!t) return null;
    if (name === "softmax") return makeNode(SOFTMAX_GRAD, [n, t]);
    const axes = [lastAxis(n)];
    return sub(t, expandBack(sum(mul(apply(UNARY.exp, n), t), axes), n.shape, axes));
  },
});

const SOFTMAX = rowMap("softmax", (n, g) => [makeNode(SOFTMAX_GRAD, [n, g])]);
const LOG_SOFTMAX = rowMap("logSoftmax", (n, g) => [makeNode(LOG_SOFTMAX_GRAD, [n, g])]);

const rowGrad = (name: string, decompose: (y: Node, g: Node) => Node): OpDef<NoAttrs> => ({
  name,
  kind: "other",
  pattern: "mixes",
  infer: ([y, g]) => {
    checkRows(name, y);
    if (show(y.shape) !== show(g.shape))
      throw new ShapeError(`${name}: shapes ${show(y.shape)}, ${show(g.shape)} differ`);
    return { shape: y.shape, dtype: y.dtype };
  },
  decompose: (n) => decompose(n.src[0], n.src[1]),
});

const SOFTMAX_GRAD: OpDef<NoAttrs> = rowGrad("softmaxGrad", (y, g) => {
  const axes = [lastAxis(y)];
  return mul(y, sub(g, expandBack(sum(mul(g, y), axes), y.shape, axes)));
});
const LOG_SOFTMAX_GRAD: OpDef<NoAttrs> = rowGrad("logSoftmaxGrad", (y, g) => {
  const axes = [lastAxis(y)];
  return sub(g, mul(apply(UNARY.exp, y), expandBack(sum(g, axes), y.shape, axes)));
});

// --- cross-entropy of rows against class indices ----------------------------------------------------------------------------

function checkLabels(op: string, x: Node, labels: Node): void {
  checkRows(op, x);
  if (labels.dtype !== "int32") throw new DTypeError(`${op}: labels must be int32 class indices, got ${labels.dtype}`);
  if (x.shape.length !== 2 || labels.shape.length !== 1 || labels.shape[0] !== x.shape[0])
    throw new ShapeError(`${op}: logits ${show(x.shape)} and labels ${show(labels.shape)} do not fit: [N, C] and [N]`);
}

/** The one-hot rows of labels, zero where ignored, as float32 like x. */
function oneHotLike(x: Node, labels: Node): Node {
  const classes = expand(iota([x.shape[1]]), x.shape);
  return cast(apply(COMPARE.eq, classes, expand(reshape(labels, [x.shape[0], 1]), x.shape)), "float32");
}

/** Rows of all examples are rows of one operation. */
const manyRows: OpDef<CrossEntropyAttrs>["batch"] = (n, src, has) => {
  const size = src[has.indexOf(true)].shape[0];
  const all = forEveryExample(src, has, size).map((s) => reshape(s, [size * s.shape[1], ...s.shape.slice(2)]));
  return reshape(makeNode(n.op, all, n.attrs), [size, ...n.shape]);
};

/** Rows with this label have no loss. */
export type CrossEntropyAttrs = { readonly ignore: number };

const LABELS = { name: "crossEntropy", index: "label", of: "classes" };

const CROSS_ENTROPY: OpDef<CrossEntropyAttrs> = {
  name: "crossEntropyRows",
  called: LABELS,
  kind: "other",
  pattern: "compares",
  infer: ([x, labels]) => {
    checkLabels("crossEntropy", x, labels);
    return { shape: labels.shape, dtype: "float32" };
  },
  vjp: (n, g) => [makeNode(CROSS_ENTROPY_GRAD, [n.src[0], n.src[1], g], n.attrs), null],
  jvp: (n, [t]) => {
    if (!t) return null;
    const one = constantLike(n, 1);
    return sum(mul(makeNode(CROSS_ENTROPY_GRAD, [n.src[0], n.src[1], one], n.attrs), t), [1]);
  },
  batch: manyRows,
};

const CROSS_ENTROPY_GRAD: OpDef<CrossEntropyAttrs> = {
  name: "crossEntropyGradRows",
  called: LABELS,
  kind: "other",
  pattern: "mixes",
  infer: ([x, labels]) => {
    checkLabels("crossEntropyGrad", x, labels);
    return { shape: x.shape, dtype: x.dtype };
  },
  decompose: (n) => {
    const [x, labels, g] = n.src;
    const kept = apply(COMPARE.ne, labels, constantLike(labels, n.attrs.ignore));
    const weight = where(kept, g, constantLike(g, 0));
    const p = makeNode(SOFTMAX, [x]);
    return mul(sub(p, oneHotLike(x, labels)), expand(reshape(weight, [x.shape[0], 1]), x.shape));
  },
  batch: manyRows,
};

/** Softmax along the last axis. */
export function softmax(x: Node): Node {
  return makeNode(SOFTMAX, [x]);
}

/** Logarithm of softmax along the last axis, stable. */
export function logSoftmax(x: Node): Node {
  return makeNode(LOG_SOFTMAX, [x]);
}

/** -log softmax(x)[r, labels[r]] per row r; 0 where the label is `ignore`. A label outside the classes fails the step. */
export function crossEntropyRows(x: Node, labels: Node, ignore: number): Node {
  return makeNode(CROSS_ENTROPY, [x, labels], { ignore });
}

export const FUSED = {
  softmax: SOFTMAX,
  softmaxGrad: SOFTMAX_GRAD,
  logSoftmax: LOG_SOFTMAX,
  logSoftmaxGrad: LOG_SOFTMAX_GRAD,
  crossEntropyRows: CROSS_ENTROPY,
  crossEntropyGradRows: CROSS_ENTROPY_GRAD,
};
