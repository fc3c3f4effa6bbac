/** @file What works along one axis and keeps it: running sums, softmax, order. */
import { ValueError } from "../core/errors.ts";
import { normalizeAxis } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import * as cumulative from "../ops/cumulative.ts";
import * as fused from "../ops/fused.ts";
import { permute, reshape } from "../ops/movement.ts";
import * as ops from "../ops/order.ts";
import { gather } from "./lookup.ts";
import { asRank1, narrow } from "./movement.ts";
import { floatNode, wide } from "./promotion.ts";

/** f, which takes tensors of rank 1 or more; scalars too. */
function ranked(x: Node, f: (x: Node) => Node): Node {
  return x.shape.length === 0 ? reshape(f(asRank1(x)), []) : f(x);
}

/** f, which works along the last axis, along axis a. */
function alongLast(x: Node, a: number, f: (x: Node) => Node): Node {
  const last = x.shape.length - 1;
  if (a === last) return f(x);
  const order = x.shape.map((_, i) => (i === a ? last : i === last ? a : i));
  return permute(f(permute(x, order)), order);
}

function alongAxis(op: string, x: Node, axis: number, f: (x: Node) => Node): Node {
  const a = normalizeAxis(op, axis, x.shape.length);
  return ranked(x, (y) => alongLast(y, a, f));
}

export function cumsum(n: Node, axis: number): Node {
  const a = normalizeAxis("cumsum", axis, n.shape.length);
  return ranked(n, (x) => cumulative.cumsum(wide(x), a));
}

export function softmax(x: Node, axis: number): Node {
  return alongAxis("softmax", floatNode("softmax", x), axis, fused.softmax);
}

export function logSoftmax(x: Node, axis: number): Node {
  return alongAxis("logSoftmax", floatNode("logSoftmax", x), axis, fused.logSoftmax);
}

export function argsort(x: Node, axis: number, descending: boolean): Node {
  return alongAxis("argsort", wide(x), axis, (n) => ops.argsort(n, descending));
}

export function sort(x: Node, axis: number, descending: boolean): [elements: Node, positions: Node] {
  const positions = argsort(x, axis, descending);
  return [gather(x, axis, positions), positions];
}

export function topk(x: Node, k: number, axis: number, largest: boolean): [elements: Node, positions: Node] {
  const a = normalizeAxis("topk", axis, x.shape.length);
  const extent = x.shape[a] ?? 1;
  if (!Number.isInteger(k) || k < 0 || k > extent)
    throw new ValueError(`topk: k must be from 0 to ${extent}, the extent of axis ${axis}, got ${k}`);
  const order = argsort(x, a, largest);
  const positions = x.shape.length === 0 ? order : narrow(order, a, 0, k);
  return [gather(x, a, positions), positions];
}
