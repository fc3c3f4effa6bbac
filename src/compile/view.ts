/** @file Strided views: how the movement operations disappear into addresses. */
import { numel, type Shape, stridesOf } from "../core/shape.ts";
import { isOp, type Node } from "../graph/node.ts";
import { MOVEMENT } from "../ops/movement.ts";
import { WINDOW, windowStrides } from "../ops/windows.ts";

/** Elements of `base` (dense): element at multi-index i is offset + sum(i * strides). */
export interface Strided {
  readonly base: Node;
  readonly offset: number;
  readonly shape: Shape;
  readonly strides: readonly number[];
}

export function dense(base: Node): Strided {
  return { base, offset: 0, shape: base.shape, strides: stridesOf(base.shape) };
}

/** Whether the view's elements lie in memory in row-major order without gaps (from its offset on). */
export function isDense(v: Strided): boolean {
  let want = 1;
  for (let i = v.shape.length - 1; i >= 0; i--) {
    if (v.shape[i] !== 1 && v.strides[i] !== want) return false;
    want *= v.shape[i];
  }
  return true;
}

/** The same elements under another shape, if strides can say it; else undefined. */
function reshaped(v: Strided, shape: Shape): Strided | undefined {
  if (numel(v.shape) === 0) return { ...v, shape, strides: stridesOf(shape) };
  // Walk both shapes from the right in blocks of equal size; each block of the source must be one run.
  const from = v.shape.map((d, i) => [d, v.strides[i]]).filter(([d]) => d !== 1);
  const strides = new Array<number>(shape.length).fill(0);
  let k = from.length - 1;
  let i = shape.length - 1;
  while (i >= 0) {
    if (shape[i] === 1) {
      i--;
      continue;
    }
    if (k < 0) return undefined;
    let have = from[k][0];
    let step = from[k][1];
    let need = 1;
    const base = step;
    while (i >= 0 && need < have) {
      if (shape[i] !== 1) {
        strides[i] = base * need;
        need *= shape[i];
      }
      i--;
      while (need > have) {
        const run = step * from[k][0];
        k--;
        if (k < 0 || from[k][1] !== run) return undefined;
        step = from[k][1];
        have *= from[k][0];
      }
    }
    if (need !== have) return undefined;
    k--;
  }
  return { ...v, shape, strides };
}

/** The view a movement node makes of its source's view; undefined if the source must be copied first. */
export function viewThrough(n: Node, v: Strided): Strided | undefined {
  const { shape } = n;
  if (isOp(n, MOVEMENT.reshape)) return reshaped(v, shape);
  if (isOp(n, MOVEMENT.expand))
    return { ...v, shape, strides: v.strides.map((s, i) => (v.shape[i] === shape[i] ? s : 0)) };
  if (isOp(n, MOVEMENT.permute)) return { ...v, shape, strides: n.attrs.axes.map((a) => v.strides[a]) };
  if (isOp(n, MOVEMENT.flip)) {
    const { axes } = n.attrs;
    const offset = axes.reduce((o, a) => o + Math.max(0, v.shape[a] - 1) * v.strides[a], v.offset);
    return { ...v, offset, strides: v.strides.map((s, i) => (axes.includes(i) ? -s : s)) };
  }
  if (isOp(n, MOVEMENT.slice)) {
    const { begin, step } = n.attrs;
    const offset = begin.reduce((o, b, i) => o + b * v.strides[i], v.offset);
    return { ...v, offset, shape, strides: v.strides.map((s, i) => s * step[i]) };
  }
  if (isOp(n, WINDOW.windows)) return { ...v, shape, strides: windowStrides(v.strides, n.attrs) };
  return undefined;
}

/** Where the source of a movement node lies, given where the node does; undefined if no view says so, or not all of it is there. */
export function viewBack(n: Node, v: Strided): Strided | undefined {
  const { shape } = n.src[0];
  if (isOp(n, MOVEMENT.reshape)) return reshaped(v, shape);
  if (isOp(n, MOVEMENT.permute)) {
    const { axes } = n.attrs;
    return { ...v, shape, strides: shape.map((_, i) => v.strides[axes.indexOf(i)]) };
  }
  // Its own inverse.
  return isOp(n, MOVEMENT.flip) ? viewThrough(n, v) : undefined;
}

/** Merges neighbouring dimensions that one stride can walk, drops extents of 1. */
export function collapse(shape: Shape, strides: readonly number[]): { dims: number[]; strides: number[] } {
  const dims: number[] = [];
  const out: number[] = [];
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 1) continue;
    const last = dims.length - 1;
    if (last >= 0 && out[last] === strides[i] * shape[i]) {
      dims[last] *= shape[i];
      out[last] = strides[i];
    } else {
      dims.push(shape[i]);
      out.push(strides[i]);
    }
  }
  return { dims, strides: out };
}
