/** @file Elements by index tensors, one axis at a time: the arguments of users, checked, as nodes. */
import { isFloat } from "../core/dtype.ts";
import { DTypeError, IndexError, ShapeError, ValueError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { normalizeAxis, sameShape, type Shape, show } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { BINARY, cast, COMPARE } from "../ops/elementwise.ts";
import { iota } from "../ops/leaf.ts";
import * as ops from "../ops/lookup.ts";
import { pad, reshape, slice } from "../ops/movement.ts";
import { dataOf } from "../trace/bindings.ts";
import { binary, where } from "./elementwise.ts";
import { asRank1, narrow, squeeze, unsqueeze } from "./movement.ts";
import { wide } from "./promotion.ts";
import { prod } from "./reduction.ts";
import { full, type NestedArray, valuesLeaf } from "./values.ts";

/** An array of places as an index: int32, or bool for a mask. */
export function indexLeaf(op: string, index: unknown): Node {
  if (!Array.isArray(index))
    throw new DTypeError(`${op}: an index must be a tensor or an array of integers, got ${String(index)}`);
  const n = valuesLeaf(index as NestedArray);
  return n.dtype === "float32" && dataOf(n)?.every(Number.isInteger)
    ? valuesLeaf(index as NestedArray, undefined, "int32")
    : n;
}

/** An index as int32 (or bool); of rank 1 if that is wanted, where a scalar counts as one element. */
export function checkedIndex(op: string, index: Node, rank?: number): Node {
  if (isFloat(index.dtype) || (index.dtype === "bool" && rank !== undefined))
    throw new DTypeError(`${op}: an index holds integers (dtype int32), got ${index.dtype}`);
  const at = rank === 1 ? asRank1(index) : index;
  if (rank !== undefined && at.shape.length !== rank)
    throw new ShapeError(`${op}: the index must have rank ${rank}, got shape ${show(index.shape)}`);
  return index.dtype === "uint8" ? cast(at, "int32") : at;
}

export function select(x: Node, axis: number, at: number): Node {
  const a = normalizeAxis("select", axis, x.shape.length);
  const extent = x.shape[a];
  if (extent === undefined) throw new ShapeError("select: a scalar has no axis to select from");
  if (!Number.isInteger(at) || at < -extent || at >= extent)
    throw new IndexError(`select: ${at} is out of range for axis ${axis} of shape ${show(x.shape)}`, at, extent, 0);
  return squeeze(narrow(x, a, at, 1), a);
}

export function indexSelect(n: Node, axis: number, index: Node): Node {
  const a = normalizeAxis("indexSelect", axis, n.shape.length);
  const at = checkedIndex("indexSelect", index, 1);
  const x = asRank1(n);
  const result = cast(ops.gather(wide(x), ops.alongAxis(at, x.shape, a), a), n.dtype);
  return n.shape.length === 0 && at.shape[0] === 1 ? reshape(result, []) : result;
}

/** The operands of gather and scatter with scalars as rank 1, checked. */
function lookedUp(op: string, n: Node, axis: number, index: Node): { a: number; x: Node; at: Node } {
  const a = normalizeAxis(op, axis, n.shape.length);
  const t = checkedIndex(op, index);
  if (t.dtype === "bool") throw new DTypeError(`${op}: an index holds integers (dtype int32), got bool`);
  const [x, at] = [n, t].map(asRank1);
  if (x.shape.length !== at.shape.length || at.shape.some((d, i) => i !== a && d > x.shape[i]))
    throw new ShapeError(
      `${op}: the index ${show(index.shape)} does not fit ${show(n.shape)}: as many axes, none larger but axis ${axis}`,
    );
  return { a, x, at };
}

/** The first elements of source along each axis, as many as the index has. */
function scattered(op: string, x: Node, index: Node, source: Node): Node {
  const from = asRank1(source);
  if (source.dtype !== x.dtype)
    throw new DTypeError(`${op}: the source has dtype ${source.dtype}, the tensor ${x.dtype}`);
  if (from.shape.length !== index.shape.length || index.shape.some((d, i) => d > from.shape[i]))
    throw new ShapeError(`${op}: the index ${show(index.shape)} leaves the source ${show(source.shape)}`);
  return corner(from, index.shape);
}

/** The first elements along each axis but one, as many as in `shape`. */
function corner(x: Node, shape: Shape, except = -1): Node {
  const size = shape.map((d, i) => (i === except ? x.shape[i] : d));
  return slice(
    x,
    size.map(() => 0),
    size,
  );
}

/** With zeros behind along each axis, up to a shape. */
function padTo(n: Node, shape: Shape): Node {
  return pad(
    n,
    shape.map(() => 0),
    shape,
  );
}

export function gather(n: Node, axis: number, index: Node): Node {
  const { a, x, at } = lookedUp("gather", n, axis, index);
  const source = corner(x, at.shape, a);
  return reshape(cast(ops.gather(wide(source), at, a), n.dtype), index.shape);
}

export function scatterAdd(n: Node, axis: number, index: Node, source: Node): Node {
  const { a, x, at } = lookedUp("scatterAdd", n, axis, index);
  const values = scattered("scatterAdd", x, at, source);
  if (at.shape.includes(0)) return n;
  const sums = ops.scatterAdd(wide(values), at, a, x.shape[a]);
  return reshape(binary(BINARY.add, x, cast(padTo(sums, x.shape), n.dtype)), n.shape);
}

export function scatter(
  n: Node,
  axis: number,
  index: Node,
  source: Node | number,
  options: { reduce?: "add" | "multiply" },
): Node {
  const { a, x, at } = lookedUp("scatter", n, axis, index);
  const given = typeof source === "number" ? full(at.shape, source, n.dtype) : source;
  const { reduce: how } = checkOptions("scatter", options, { reduce: true });
  if (how === "add") return scatterAdd(n, axis, index, given);
  if (how !== undefined && how !== "multiply")
    throw new ValueError(`scatter: reduce must be "add" or "multiply", got ${String(how)}`);
  const values = scattered("scatter", x, at, given);
  if (at.shape.includes(0)) return n;
  const last = ops.scatterLast(at, a, x.shape[a]);
  const touched = binary(COMPARE.ge, last, 0);
  let written: Node;
  if (how === undefined) written = gather(values, a, where(touched, last, 0));
  else {
    // All factors of each place, side by side: [..., place, factor, ...].
    const place = reshape(
      iota([x.shape[a]]),
      x.shape.flatMap((_, i) => (i === a ? [x.shape[a], 1] : [1])),
    );
    const factors = prod(where(binary(COMPARE.eq, unsqueeze(at, a), place), unsqueeze(values, a), 1), a + 1, false);
    written = binary(BINARY.mul, corner(x, touched.shape, a), factors);
  }
  return reshape(where(padTo(touched, x.shape), padTo(cast(written, n.dtype), x.shape), x), n.shape);
}

export function indexAdd(n: Node, axis: number, index: Node, source: Node, options: { alpha?: number }): Node {
  const a = normalizeAxis("indexAdd", axis, n.shape.length);
  const at = checkedIndex("indexAdd", index, 1);
  const x = asRank1(n);
  const from = asRank1(source);
  const wanted = x.shape.map((d, i) => (i === a ? at.shape[0] : d));
  if (!sameShape(from.shape, wanted))
    throw new ShapeError(`indexAdd: the source has shape ${show(source.shape)}, ${show(wanted)} is wanted`);
  const { alpha = 1 } = checkOptions("indexAdd", options, { alpha: true });
  return reshape(scatterAdd(x, a, ops.alongAxis(at, wanted, a), binary(BINARY.mul, from, alpha)), n.shape);
}
