/** @file Shapes, strides and axes: pure functions on arrays of non-negative integers. */
import { ShapeError, ValueError } from "./errors.ts";

export type Shape = readonly number[];

/** Number of elements. */
export function numel(shape: Shape): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** "[2, 3]" */
export function show(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let s = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = s;
    s *= shape[i];
  }
  return strides;
}

/** Elements of a tensor stay below this: their bytes are counted in 32 bits. */
const MOST_ELEMENTS = 2 ** 30;

/** @throws ShapeError unless the extents, but those that are 0, stay below 2^30 elements together. */
export function checkSize(op: string, shape: Shape): void {
  let n = 1;
  for (const d of shape) if (d > 1) n *= d;
  if (n >= MOST_ELEMENTS) throw new ShapeError(`${op}: shape ${show(shape)} has too many elements, 2^30 or more`);
}

/** Most pieces of a tensor that are tensors of their own. */
export const MOST_PIECES = 2 ** 16;

/** @throws ShapeError if something is to be done more often than anybody waits for, or memory holds. */
export function checkCount(op: string, what: string, n: number, most: number): void {
  if (!(n <= most)) throw new ShapeError(`${op}: ${n} ${what} are too many, at most ${most}`);
}

/** Checks a shape from outside: integers >= 0, below 2^30 elements; where an extent is 0 that holds for the others. */
export function checkShape(op: string, shape: Shape, name = "shape"): Shape {
  if (!Array.isArray(shape)) throw new ShapeError(`${op}: ${name} must be an array of integers, got ${String(shape)}`);
  for (const d of shape)
    if (!Number.isInteger(d) || d < 0) throw new ShapeError(`${op}: ${name} ${show(shape)} has a bad extent ${d}`);
  checkSize(op, shape);
  return shape;
}

/** The NumPy broadcast of two shapes. */
export function broadcast(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(`${op}: shapes ${show(a)} and ${show(b)} do not broadcast together`);
    out[i] = x === 1 ? y : x;
  }
  return out;
}

/** An axis in [-rank, rank) as one in [0, rank). A scalar is treated as rank 1, as in PyTorch. */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  const r = Math.max(rank, 1);
  if (!Number.isInteger(axis) || axis < -r || axis >= r)
    throw new ValueError(`${op}: axis ${axis} is out of range for a tensor of rank ${rank}`);
  return axis < 0 ? axis + r : axis;
}

/** Distinct axes, normalised and sorted; undefined means all. */
export function normalizeAxes(op: string, axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = typeof axes === "number" ? [axes] : axes;
  if (!Array.isArray(list))
    throw new ValueError(`${op}: axes must be an integer or a list of them, got ${String(axes)}`);
  const out = list.map((a) => normalizeAxis(op, a, rank)).filter((a) => a < rank);
  if (new Set(out).size !== out.length) throw new ValueError(`${op}: axes ${show(list)} name an axis twice`);
  return out.sort((x, y) => x - y);
}

/** The shape without (or, with keepdim, with extents 1 at) the axes. */
export function reducedShape(shape: Shape, axes: readonly number[], keepdim: boolean): number[] {
  return keepdim ? shape.map((d, i) => (axes.includes(i) ? 1 : d)) : shape.filter((_, i) => !axes.includes(i));
}

/** Resolves one -1 in a reshape. */
export function inferReshape(op: string, from: Shape, to: Shape): number[] {
  const n = numel(from);
  const holes = to.filter((d) => d === -1).length;
  if (holes > 1) throw new ShapeError(`${op}: only one extent of ${show(to)} may be -1`);
  const known = to.reduce((p, d) => (d === -1 ? p : p * d), 1);
  const out = to.map((d) => (d === -1 ? (known === 0 ? 0 : n / known) : d));
  if (out.some((d) => !Number.isInteger(d) || d < 0) || numel(out) !== n)
    throw new ShapeError(`${op}: cannot reshape ${show(from)} (${n} elements) to ${show(to)}`);
  return out;
}
