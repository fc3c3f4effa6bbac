/** @file Matrix products: bilinear, so each operand's gradient is another matrix product. */
import { DTypeError, ShapeError } from "../core/errors.ts";
import { sameShape, show } from "../core/shape.ts";
import { makeNode, type NoAttrs, type Node, type OpDef } from "../graph/node.ts";
import { add } from "./elementwise.ts";
import { reshape, transposeLast } from "./movement.ts";

export type MatmulAttrs = { readonly precise?: boolean };

/** [..., M, K] times [..., K, N] with equal leading extents, float32 or int32. Where `precise`, small products are summed in float64. */
const MATMUL: OpDef<MatmulAttrs> = {
  name: "matmul",
  kind: "other",
  // Each column of the result is a sum over the left one's columns; each row, one over the right one's rows.
  along: (n, i) => n.shape.map((_, a) => (a === n.shape.length - 1 - i ? "free" : a)),
  pattern: "switches",
  infer: ([a, b]) => {
    const r = a.shape.length;
    const fits =
      r >= 2 &&
      b.shape.length === r &&
      a.shape[r - 1] === b.shape[r - 2] &&
      sameShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
    if (!fits) throw new ShapeError(`matmul: shapes ${show(a.shape)} and ${show(b.shape)} cannot be multiplied`);
    if (a.dtype !== b.dtype || (a.dtype !== "float32" && a.dtype !== "int32"))
      throw new DTypeError(`matmul: dtypes ${a.dtype} and ${b.dtype} are not supported`);
    return { shape: [...a.shape.slice(0, -1), b.shape[r - 1]], dtype: a.dtype };
  },
  vjp: (n, g) => {
    const precise = n.attrs.precise === true;
    return [matmul(g, transposeLast(n.src[1]), precise), matmul(transposeLast(n.src[0]), g, precise)];
  },
  jvp: (n, [ta, tb]) => {
    const precise = n.attrs.precise === true;
    const left = ta ? matmul(ta, n.src[1], precise) : null;
    const right = tb ? matmul(n.src[0], tb, precise) : null;
    return left && right ? add(left, right) : (left ?? right);
  },
  // A batch of rows times one matrix is one product of more rows; one matrix times a batch of columns is its transpose.
  batch: (n, [a, b], [left, right]) => {
    if (n.shape.length > 2 || (left && right)) return;
    const precise = n.attrs.precise === true;
    const [m, k] = n.src[0].shape;
    const count = (left ? a : b).shape[0];
    if (left) return reshape(matmul(reshape(a, [count * m, k]), b, precise), [count, ...n.shape]);
    if (n.shape[1] === 1) return reshape(matmul(reshape(b, [count, k]), transposeLast(a), precise), [count, m, 1]);
  },
};

/** The matrix product over the last two axes; leading extents must be equal. */
export function matmul(a: Node, b: Node, precise = false): Node {
  return makeNode(MATMUL, [a, b], precise ? { precise } : {});
}

/** c plus a product of c's shape, float32: one instruction, which adds to c where it lies. The compiler makes it of sums. */
const ADDMM: OpDef<NoAttrs> = {
  name: "addmm",
  kind: "other",
  pattern: "switches",
  infer: ([c, a, b]) => {
    const of = MATMUL.infer([a, b], {});
    if (!sameShape(c.shape, of.shape))
      throw new ShapeError(`addmm: shape ${show(c.shape)} differs from ${show(of.shape)} of the product`);
    if (c.dtype !== "float32" || of.dtype !== "float32")
      throw new DTypeError(`addmm: dtypes ${c.dtype} and ${of.dtype} are not supported`);
    return of;
  },
  decompose: ({ src: [c, a, b] }) => add(c, matmul(a, b)),
};

/** c + a b. */
export function addmm(c: Node, a: Node, b: Node): Node {
  return makeNode(ADDMM, [c, a, b]);
}

export const CONTRACT = { matmul: MATMUL, addmm: ADDMM };
