/**
 * @file Attention: softmax(scale q k^T + mask) v over the last two axes, and what it sends back to q, k and v, each an operation.
 * Their kernels go over keys in tiles ("FlashAttention", Dao, Fu, Ermon, Rudra and Ré 2022), so that no scores are ever in memory.
 *
 * Where a mask leaves a query nothing to attend to, the result is 0, and so is what comes back.
 */
import { isFloat } from "../core/dtype.ts";
import { DTypeError, ShapeError } from "../core/errors.ts";
import { sameShape, type Shape, show } from "../core/shape.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";
import { matmul } from "./contract.ts";
import { add, apply, COMPARE, div, mul, scale, sub, UNARY, where } from "./elementwise.ts";
import { softmax } from "./fused.ts";
import { detach } from "./identity.ts";
import { constantLike, iota } from "./leaf.ts";
import { expand, expandBack, reshape, sum, transposeLast } from "./movement.ts";
import { max } from "./reduction.ts";

export type AttentionAttrs = {
  /** What products of q and k are multiplied by. */
  readonly scale: number;
  /** Whether query i attends to keys up to i only. */
  readonly causal: boolean;
};

/** The extents of the scores: [..., L, S]. */
const scoreShape = (q: Node, k: Node): Shape => [...q.shape.slice(0, -1), k.shape[k.shape.length - 2]];

function checked(name: string, [q, k, v]: readonly Node[], mask?: Node, g?: Node): Shape {
  for (const n of g ? [q, k, v, g] : [q, k, v])
    if (!isFloat(n.dtype)) throw new DTypeError(`${name}: dtype ${n.dtype} is not supported, only float32`);
  const lead = q.shape.slice(0, -2);
  const [e, ev] = [q, v].map((n) => n.shape[n.shape.length - 1]);
  const s = k.shape[k.shape.length - 2];
  const fits = q.shape.length >= 2 && sameShape(k.shape, [...lead, s, e]) && sameShape(v.shape, [...lead, s, ev]);
  if (!fits)
    throw new ShapeError(
      `${name}: query ${show(q.shape)}, key ${show(k.shape)} and value ${show(v.shape)} are not [..., L, E], [..., S, E], [..., S, Ev]`,
    );
  if (mask) {
    if (mask.dtype !== "bool" && !isFloat(mask.dtype))
      throw new DTypeError(`${name}: a mask is bool or float32, not ${mask.dtype}`);
    if (!sameShape(mask.shape, scoreShape(q, k)))
      throw new ShapeError(
        `${name}: mask ${show(mask.shape)} does not have the shape ${show(scoreShape(q, k))} of scores`,
      );
  }
  const shape = [...q.shape.slice(0, -1), ev];
  if (g && !sameShape(g.shape, shape)) throw new ShapeError(`${name}: ${show(g.shape)} is not ${show(shape)}`);
  return shape;
}

/** Along the last axis, kept. */
const rowSum = (x: Node): Node => expandBack(sum(x, [x.shape.length - 1]), x.shape, [x.shape.length - 1]);

/** What each query makes of each key: the softmax of scores, all zeros where none is above -Infinity. */
export function attentionWeights(q: Node, k: Node, mask: Node | undefined, attrs: AttentionAttrs): Node {
  let x = scale(matmul(q, transposeLast(k)), attrs.scale);
  if (!mask && !attrs.causal) return softmax(x);
  const none = constantLike(x, Number.NEGATIVE_INFINITY);
  if (mask) x = isFloat(mask.dtype) ? add(x, mask) : where(mask, x, none);
  if (attrs.causal) {
    const [l, s] = x.shape.slice(-2);
    const queries = expand(reshape(iota([l]), [l, 1]), x.shape);
    x = where(apply(COMPARE.le, expand(iota([s]), x.shape), queries), x, none);
  }
  if (x.shape[x.shape.length - 1] === 0) return x;
  // By the largest score nothing is differentiated: weights do not depend on it.
  const most = expand(max(detach(x), [x.shape.length - 1], true), x.shape);
  const e = apply(UNARY.exp, sub(x, where(apply(COMPARE.eq, most, none), constantLike(x, 0), most)));
  const all = rowSum(e);
  return div(e, where(apply(COMPARE.eq, all, constantLike(all, 0)), constantLike(all, 1), all));
}

/** What goes back to scores, given what comes back to weights p. */
function toScores(p: Node, v: Node, g: Node): Node {
  const back = matmul(g, transposeLast(v));
  return mul(p, sub(back, rowSum(mul(p, back))));
}

/** q [..., L, E], k [..., S, E], v [..., S, Ev], and a mask [..., L, S] if there is one: of float32 it is added, of bool it includes. */
const ATTENTION: OpDef<AttentionAttrs> = {
  name: "attention",
  kind: "other",
  pattern: "mixes",
  infer: ([q, k, v, mask]) => ({ shape: checked("attention", [q, k, v], mask), dtype: q.dtype }),
  vjp: (n, g) => {
    const [q, k, v, mask] = n.src;
    const back = (op: OpDef<AttentionAttrs>): Node => makeNode(op, [q, k, v, g, ...(mask ? [mask] : [])], n.attrs);
    const own = [ATTENTION_QUERY, ATTENTION_KEY, ATTENTION_VALUE].map(back);
    if (!mask) return own;
    return [...own, isFloat(mask.dtype) ? toScores(attentionWeights(q, k, mask, n.attrs), v, g) : null];
  },
  decompose: (n) => {
    const [q, k, v, mask] = n.src;
    return matmul(attentionWeights(q, k, mask, n.attrs), v);
  },
};

/** What attention sends back to one of its operands, given q, k, v, what comes back to the result, and the mask if there is one. */
const gradient = (
  name: string,
  operand: number,
  decompose: (p: Node, src: readonly Node[], by: number) => Node,
): OpDef<AttentionAttrs> => ({
  name,
  kind: "other",
  pattern: "mixes",
  infer: ([q, k, v, g, mask]) => {
    checked(name, [q, k, v], mask, g);
    const { shape, dtype } = [q, k, v][operand];
    return { shape, dtype };
  },
  decompose: (n) => decompose(attentionWeights(n.src[0], n.src[1], n.src[4], n.attrs), n.src, n.attrs.scale),
});

const ATTENTION_QUERY = gradient("attentionQuery", 0, (p, [, k, v, g], by) => matmul(scale(toScores(p, v, g), by), k));
const ATTENTION_KEY = gradient("attentionKey", 1, (p, [q, , v, g], by) =>
  matmul(transposeLast(scale(toScores(p, v, g), by)), q),
);
const ATTENTION_VALUE = gradient("attentionValue", 2, (p, [, , , g]) => matmul(transposeLast(p), g));

/** softmax(scale q k^T + mask) v. */
export function attention(q: Node, k: Node, v: Node, mask: Node | undefined, attrs: AttentionAttrs): Node {
  return makeNode(ATTENTION, mask ? [q, k, v, mask] : [q, k, v], attrs);
}

export const ATTENTIONS = {
  attention: ATTENTION,
  attentionQuery: ATTENTION_QUERY,
  attentionKey: ATTENTION_KEY,
  attentionValue: ATTENTION_VALUE,
};
