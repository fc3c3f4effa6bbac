/** @file Elements under other shapes and in other orders: the arguments of users, checked, as nodes. */
import { ShapeError, ValueError } from "../core/errors.ts";
import {
  broadcast,
  checkShape,
  inferReshape,
  normalizeAxes,
  normalizeAxis,
  numel,
  sameShape,
  type Shape,
  show,
} from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import * as ops from "../ops/movement.ts";
import { windows } from "../ops/windows.ts";

/** Numbers given one by one, or as one array. */
export function listed(given: number[] | [readonly number[]]): readonly number[] {
  return (Array.isArray(given[0]) ? given[0] : given) as readonly number[];
}

export function reshape(x: Node, shape: Shape): Node {
  return ops.reshape(x, inferReshape("reshape", x.shape, shape));
}

/** A scalar as one element along an axis; anything else as it is. */
export function asRank1(x: Node): Node {
  return x.shape.length === 0 ? ops.reshape(x, [1]) : x;
}

export function flatten(x: Node, startAxis: number, endAxis: number): Node {
  const { shape } = x;
  const a = normalizeAxis("flatten", startAxis, shape.length);
  const b = normalizeAxis("flatten", endAxis, shape.length);
  if (a > b) throw new ValueError(`flatten: startAxis ${startAxis} lies behind endAxis ${endAxis}`);
  return ops.reshape(x, [...shape.slice(0, a), numel(shape.slice(a, b + 1)), ...shape.slice(b + 1)]);
}

export function permute(x: Node, axes: readonly number[]): Node {
  const { length } = x.shape;
  const order = axes.map((a) => normalizeAxis("permute", a, length));
  if (order.length !== length || new Set(order).size !== order.length)
    throw new ValueError(`permute: axes ${show(axes)} do not name each axis of shape ${show(x.shape)} once`);
  return ops.permute(x, order);
}

export function transpose(x: Node, axis0: number, axis1: number): Node {
  const order = x.shape.map((_, i) => i);
  const a = normalizeAxis("transpose", axis0, order.length);
  const b = normalizeAxis("transpose", axis1, order.length);
  if (order.length === 0) return x;
  order[a] = b;
  order[b] = a;
  return ops.permute(x, order);
}

export function t(x: Node): Node {
  if (x.shape.length > 2) throw new ShapeError(`t: the tensor has shape ${show(x.shape)}, more than 2 axes`);
  return x.shape.length < 2 ? x : transpose(x, 0, 1);
}

export function unsqueeze(x: Node, axis: number): Node {
  const a = normalizeAxis("unsqueeze", axis, x.shape.length + 1);
  return ops.reshape(x, [...x.shape.slice(0, a), 1, ...x.shape.slice(a)]);
}

export function squeeze(x: Node, axis?: number): Node {
  const a = axis === undefined ? -1 : normalizeAxis("squeeze", axis, x.shape.length);
  return ops.reshape(
    x,
    x.shape.filter((d, i) => d !== 1 || (axis !== undefined && i !== a)),
  );
}

export function expand(x: Node, shape: Shape): Node {
  const lead = shape.length - x.shape.length;
  const full = shape.map((d, i) => (d === -1 ? x.shape[i - lead] : d));
  if (!sameShape(broadcast("expand", x.shape, checkShape("expand", full)), full))
    throw new ShapeError(`expand: cannot expand ${show(x.shape)} to ${show(shape)}`);
  return ops.expand(x, full);
}

export function narrow(x: Node, axis: number, start: number, length: number): Node {
  const { shape } = x;
  const a = normalizeAxis("narrow", axis, shape.length);
  if (shape.length === 0) throw new ShapeError("narrow: a scalar has no axis to narrow");
  const from = start < 0 ? start + shape[a] : start;
  if (!Number.isInteger(start) || !Number.isInteger(length) || from < 0 || length < 0 || from + length > shape[a])
    throw new ValueError(`narrow: ${length} elements from ${start} on leave axis ${axis} of shape ${show(shape)}`);
  const begin = shape.map((_, i) => (i === a ? from : 0));
  const size = shape.map((d, i) => (i === a ? length : d));
  return ops.slice(x, begin, size);
}

export function slice(x: Node, begin: readonly number[], end?: readonly number[], step?: readonly number[]): Node {
  const { shape } = x;
  const clampTo = (v: number, d: number): number => Math.min(d, Math.max(0, v < 0 ? v + d : v));
  const from = shape.map((d, i) => clampTo(begin?.[i] ?? 0, d));
  const steps = shape.map((_, i) => step?.[i] ?? 1);
  const lists = [begin, end ?? [], step ?? []];
  if (
    lists.some((l) => !Array.isArray(l) || l.length > shape.length || l.some((v) => !Number.isInteger(v))) ||
    steps.some((s) => s < 1)
  )
    throw new ValueError(
      `slice: begin ${String(begin)}, end ${String(end)}, step ${String(step)} must be integers, at most one for each ` +
        `axis of shape ${show(shape)}, steps above 0`,
    );
  const size = shape.map((d, i) => Math.max(0, Math.ceil((clampTo(end?.[i] ?? d, d) - from[i]) / steps[i])));
  return ops.slice(x, from, size, steps);
}

export function unfold(x: Node, axis: number, size: number, step: number): Node {
  const a = normalizeAxis("unfold", axis, x.shape.length);
  const counted = windows(asRank1(x), a, { size, step, dilation: 1 });
  return x.shape.length === 0 ? reshape(counted, [size]) : counted;
}

export function flip(x: Node, axes: number | readonly number[]): Node {
  return ops.flip(x, normalizeAxes("flip", axes, x.shape.length));
}
