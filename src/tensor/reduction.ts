/** @file What sums up axes: the arguments of users, checked, as nodes. */
import { checkOptions } from "../core/options.ts";
import { normalizeAxes, normalizeAxis, numel } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { apply, BINARY, cast, sub, UNARY } from "../ops/elementwise.ts";
import { constantLike } from "../ops/leaf.ts";
import { expandBack, reshape, sum as sumOver } from "../ops/movement.ts";
import * as ops from "../ops/reduction.ts";
import { floatNode, wide } from "./promotion.ts";

/** One axis, several, or undefined for all. */
export type Axes = number | readonly number[] | undefined;

function reduce(
  op: string,
  x: Node,
  axis: Axes,
  keepdim: boolean,
  f: (x: Node, axes: readonly number[], keepdim?: boolean) => Node,
): Node {
  return f(x, normalizeAxes(op, axis, x.shape.length), keepdim);
}

export function sum(x: Node, axis: Axes, keepdim: boolean): Node {
  return reduce("sum", wide(x), axis, keepdim, sumOver);
}

export function prod(x: Node, axis: Axes, keepdim: boolean): Node {
  return reduce("prod", wide(x), axis, keepdim, ops.prod);
}

export function mean(x: Node, axis: Axes, keepdim: boolean): Node {
  return reduce("mean", floatNode("mean", x), axis, keepdim, ops.mean);
}

export function max(x: Node, axis: Axes, keepdim: boolean): Node {
  return cast(reduce("max", wide(x), axis, keepdim, ops.max), x.dtype);
}

export function min(x: Node, axis: Axes, keepdim: boolean): Node {
  return cast(reduce("min", wide(x), axis, keepdim, ops.min), x.dtype);
}

function argReduce(
  op: string,
  x: Node,
  axis: number | undefined,
  keepdim: boolean,
  f: (x: Node, axis: number, keepdim?: boolean) => Node,
): Node {
  const n = wide(x);
  const a = axis === undefined ? 0 : normalizeAxis(op, axis, n.shape.length);
  const flat = axis === undefined || n.shape.length === 0 ? reshape(n, [numel(n.shape)]) : n;
  return n.shape.length === 0 ? f(flat, 0) : f(flat, a, axis !== undefined && keepdim);
}

export function argmax(x: Node, axis: number | undefined, keepdim: boolean): Node {
  return argReduce("argmax", x, axis, keepdim, ops.argmax);
}

export function argmin(x: Node, axis: number | undefined, keepdim: boolean): Node {
  return argReduce("argmin", x, axis, keepdim, ops.argmin);
}

/** Variance: `options` are those of the user. */
export function variance(n: Node, axis: Axes, options: { correction?: number; keepdim?: boolean }): Node {
  const { correction = 1, keepdim = false } = checkOptions("var", options, { correction: true, keepdim: true });
  const x = floatNode("var", n);
  const axes = normalizeAxes("var", axis, x.shape.length);
  const centered = sub(x, expandBack(ops.mean(x, axes), x.shape, axes));
  const total = sumOver(apply(UNARY.square, centered), axes, keepdim);
  const count = numel(axes.map((a) => x.shape[a]));
  return apply(BINARY.div, total, constantLike(total, Math.max(0, count - correction)));
}
