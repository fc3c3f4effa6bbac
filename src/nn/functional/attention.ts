/** @file Attention. */
import { attentions } from "../../compile/extensions/attention.ts";
import { checkNumber } from "../../core/check.ts";
import { isFloat } from "../../core/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { broadcast, sameShape, show } from "../../core/shape.ts";
import type { Node } from "../../graph/node.ts";
import { matmul } from "../../ops/contract.ts";
import { expand, reshape } from "../../ops/movement.ts";
import type { RandomOptions } from "../../tensor/random.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";
import { dropout } from "./dropout.ts";

export interface AttentionOptions extends RandomOptions {
  /** Which keys a query attends to, broadcast to the scores [..., L, S]: bool, true where it does, or float32, added to scores. */
  attnMask?: Tensor | null;
  /** The probability with which a weight is zeroed, the others scaled by 1 / (1 - dropoutP): at any time, so give 0 in evaluation. */
  dropoutP?: number;
  /** Whether query i attends to keys 0 to i only, from the top left also where L is not S. */
  isCausal?: boolean;
  /** What products of queries and keys are multiplied by; default 1 / sqrt(E). */
  scale?: number | null;
  /** Whether the heads (third axis from the end) of keys and values may be fewer, each for as many heads of queries side by side. */
  enableGqa?: boolean;
}

const NAMES: Names<AttentionOptions> = {
  attnMask: true,
  dropoutP: true,
  isCausal: true,
  scale: true,
  enableGqa: true,
  generator: true,
};

const OP = "scaledDotProductAttention";

/** Heads of queries in groups, one for each head of keys: [..., heads of keys, of queries for each, L, E], and [..., heads, 1, S, E]. */
function grouped(q: Node, k: Node, v: Node): { q: Node; k: Node; v: Node; groups: number } {
  const heads = [q, k, v].map(({ shape }) => shape[shape.length - 3]);
  const [own, groups] = heads;
  if (groups === undefined || groups === 0 || own % groups !== 0 || heads[2] !== groups)
    throw new ShapeError(
      `${OP}: enableGqa: the heads of query ${show(q.shape)} are no multiple of those of key ${show(k.shape)} and value ${show(v.shape)}`,
    );
  const split = (n: Node, count: number, each: number): Node =>
    reshape(n, [...n.shape.slice(0, -3), count, each, ...n.shape.slice(-2)]);
  return { q: split(q, groups, own / groups), k: split(k, groups, 1), v: split(v, groups, 1), groups };
}

/**
 * softmax(scale query key^T + mask) value, for query [..., L, E], key [..., S, E] and value [..., S, Ev]: [..., L, Ev], the axes in
 * front broadcast. Computed in tiles over the keys ("FlashAttention", Dao, Fu, Ermon, Rudra and Ré 2022): memory grows with L + S, not
 * with L S, but for dropout, for the gradient of a float mask, and for derivatives in forward mode and of second order. A query with
 * nothing to attend to gives 0, and no gradient, as in PyTorch since 2.5 (before, it gave NaN).
 * @throws ShapeError, DTypeError for operands that do not fit; ValueError for isCausal together with attnMask.
 */
export function scaledDotProductAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionOptions = {},
): Tensor {
  const {
    attnMask,
    dropoutP = 0,
    isCausal = false,
    scale,
    enableGqa = false,
    generator,
  } = checkOptions(OP, options, NAMES);
  checkTensors(OP, { query, key, value, ...(attnMask && { attnMask }) });
  for (const [name, t] of Object.entries({ query, key, value })) {
    if (!isFloat(t.dtype)) throw new DTypeError(`${OP}: ${name} has dtype ${t.dtype}, only float32 is supported`);
    if (t.ndim < 2) throw new ShapeError(`${OP}: ${name} ${show(t.shape)} is not [..., length, width]`);
  }
  if (attnMask && attnMask.dtype !== "bool" && !isFloat(attnMask.dtype))
    throw new DTypeError(`${OP}: attnMask has dtype ${attnMask.dtype}, only bool and float32 are supported`);
  if (typeof dropoutP !== "number" || !(dropoutP >= 0 && dropoutP <= 1))
    throw new ValueError(`${OP}: dropoutP must be from 0 to 1, got ${dropoutP}`);
  for (const [name, flag] of Object.entries({ isCausal, enableGqa }))
    if (typeof flag !== "boolean") throw new ValueError(`${OP}: ${name} must be true or false, got ${String(flag)}`);
  if (attnMask && isCausal) throw new ValueError(`${OP}: attnMask and isCausal exclude each other`);
  const [l, e] = query.shape.slice(-2);
  const [s, ev] = value.shape.slice(-2);
  if (!sameShape(key.shape.slice(-2), [s, e]))
    throw new ShapeError(
      `${OP}: query ${show(query.shape)}, key ${show(key.shape)} and value ${show(value.shape)} are not [..., L, E], [..., S, E], [..., S, Ev]`,
    );
  const factor = scale ?? 1 / Math.sqrt(e);
  if (typeof scale === "number") checkNumber(OP, "scale", scale);
  const operands = { q: query.node, k: key.node, v: value.node };
  const { q, k, v } = enableGqa ? grouped(operands.q, operands.k, operands.v) : operands;
  const front = (n: Node): readonly number[] => n.shape.slice(0, -2);
  const lead = broadcast(OP, broadcast(OP, front(q), front(k)), front(v));
  // Heads of queries side by side again.
  const merged = enableGqa ? [...lead.slice(0, -2), query.shape[query.ndim - 3]] : lead;
  let mask: Node | undefined;
  if (attnMask) {
    const wanted = [...merged, l, s];
    const after = wanted.slice(-attnMask.ndim);
    if (attnMask.ndim > wanted.length || attnMask.shape.some((d, i) => d !== 1 && d !== after[i]))
      throw new ShapeError(`${OP}: attnMask ${show(attnMask.shape)} does not broadcast to the scores ${show(wanted)}`);
    mask = reshape(expand(attnMask.node, wanted), [...lead, l, s]);
  }
  const full = [expand(q, [...lead, l, e]), expand(k, [...lead, s, e]), expand(v, [...lead, s, ev])] as const;
  const attrs = { scale: factor, causal: isCausal };
  const result = (): Node => {
    if (dropoutP === 0) return attentions.attention(...full, mask, attrs);
    const weights = new Tensor(attentions.attentionWeights(full[0], full[1], mask, attrs));
    return matmul(dropout(weights, dropoutP, true, { generator }).node, full[2]);
  };
  return new Tensor(reshape(result(), [...merged, l, ev]));
}
