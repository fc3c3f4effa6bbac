/** @file Tensors cut into pieces, repeated, rolled, or halved along the diagonal. */
import { ShapeError, ValueError } from "../../core/errors.ts";
import { checkCount, checkShape, MOST_PIECES, normalizeAxis, type Shape, show } from "../../core/shape.ts";
import { arange } from "../creation.ts";
import { asItIs, cat, where } from "../functions.ts";
import { checkTensors, type Tensor } from "../tensor.ts";

/** Pieces of `size` along an axis, the last one smaller; or pieces of the given sizes. */
export function split(x: Tensor, size: number | readonly number[], axis = 0): Tensor[] {
  checkTensors("split", { x });
  const a = normalizeAxis("split", axis, x.ndim);
  if (x.ndim === 0) throw new ShapeError("split: a scalar has no axis to split");
  const total = x.shape[a];
  if (typeof size === "number" && (!Number.isInteger(size) || size < 1))
    throw new ValueError(`split: the size must be a positive integer, got ${size}`);
  if (typeof size === "number") checkCount("split", "pieces", Math.ceil(total / size), MOST_PIECES);
  const sizes =
    typeof size === "number"
      ? Array.from({ length: Math.max(1, Math.ceil(total / size)) }, (_, i) => Math.min(size, total - i * size))
      : checkShape("split", size, "size");
  if (sizes.reduce((s, n) => s + n, 0) !== total)
    throw new ValueError(`split: sizes ${show(sizes)} do not add up to extent ${total} of axis ${axis}`);
  let at = 0;
  return sizes.map((n) => {
    const piece = x.narrow(a, at, n);
    at += n;
    return piece;
  });
}

/** At most `chunks` pieces of equal size along an axis, the last one smaller. */
export function chunk(x: Tensor, chunks: number, axis = 0): Tensor[] {
  checkTensors("chunk", { x });
  if (!Number.isInteger(chunks) || chunks < 1)
    throw new ValueError(`chunk: chunks must be a positive integer, got ${chunks}`);
  const total = x.shape[normalizeAxis("chunk", axis, x.ndim)];
  return split(x, Math.max(1, Math.ceil(total / chunks)), axis);
}

/** The tensor repeated along each axis; new axes come first. `counts` names at least every axis. */
export function repeat(x: Tensor, counts: Shape): Tensor {
  checkTensors("repeat", { x });
  if (checkShape("repeat", counts, "counts").length < x.ndim)
    throw new ValueError(`repeat: counts ${show(counts)} do not fit shape ${show(x.shape)}`);
  const shape = [...new Array<number>(counts.length - x.ndim).fill(1), ...x.shape];
  // [d] -> [1, d] -> [count, d] -> [count * d], for all axes at once.
  const apart = shape.flatMap((d) => [1, d]);
  const copied = shape.flatMap((d, i) => [counts[i], d]);
  return x
    .reshape(apart)
    .expand(copied)
    .reshape(shape.map((d, i) => d * counts[i]));
}

/** As repeat; counts that are missing in front are 1. */
export function tile(x: Tensor, counts: Shape): Tensor {
  checkTensors("tile", { x });
  checkShape("tile", counts, "counts");
  return repeat(x, [...new Array<number>(Math.max(0, x.ndim - counts.length)).fill(1), ...counts]);
}

/** Elements moved along axes by shifts, what leaves at the end entering at the front; without axes, flattened. */
export function roll(x: Tensor, shifts: number | readonly number[], axes?: number | readonly number[]): Tensor {
  checkTensors("roll", { x });
  const by = typeof shifts === "number" ? [shifts] : shifts;
  if (axes === undefined) {
    if (by?.length !== 1) throw new ValueError(`roll: without axes, give one shift, got ${String(shifts)}`);
    return roll(x.flatten(), by[0], 0).reshape(x.shape);
  }
  const along = typeof axes === "number" ? [axes] : axes;
  if (![by, along].every(Array.isArray) || by.length !== along.length || by.some((s) => !Number.isInteger(s)))
    throw new ValueError(`roll: shifts ${String(shifts)} and axes ${String(axes)} do not fit`);
  let y = asItIs(x);
  along.forEach((axis, i) => {
    const a = normalizeAxis("roll", axis, x.ndim);
    const n = x.shape[a];
    const s = n === 0 ? 0 : ((by[i] % n) + n) % n;
    if (s !== 0) y = cat([y.narrow(a, n - s, s), y.narrow(a, 0, n - s)], a);
  });
  return y;
}

/** Where the column minus the row of the last two axes satisfies a comparison with `diagonal`. */
function triangle(op: "tril" | "triu", x: Tensor, diagonal: number): Tensor {
  checkTensors(op, { x });
  if (x.ndim < 2) throw new ShapeError(`${op}: the tensor must have 2 axes or more, got shape ${show(x.shape)}`);
  const [rows, cols] = x.shape.slice(-2);
  const offset = arange(cols).sub(arange(rows).unsqueeze(1));
  return where(op === "tril" ? offset.le(diagonal) : offset.ge(diagonal), x, 0).to(x.dtype);
}

/** The lower triangle of matrices, up to a diagonal; zeros above. */
export function tril(x: Tensor, diagonal = 0): Tensor {
  return triangle("tril", x, diagonal);
}

/** The upper triangle of matrices, from a diagonal on; zeros below. */
export function triu(x: Tensor, diagonal = 0): Tensor {
  return triangle("triu", x, diagonal);
}
