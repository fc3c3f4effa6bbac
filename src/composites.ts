/** @file Functions made of other operations: no kernel and no derivative of their own. */
import { DTypeError, ShapeError, ValueError } from "./core/errors.ts";
import { checkOptions } from "./core/options.ts";
import {
  broadcast,
  checkCount,
  checkShape,
  MOST_PIECES,
  normalizeAxes,
  normalizeAxis,
  numel,
  type Shape,
  show,
} from "./core/shape.ts";
import {
  arange,
  asItIs,
  cat,
  checkTensors,
  full,
  operand,
  stack,
  Tensor,
  type TensorLike,
  truePlaces,
  where,
  zeros,
} from "./tensor.ts";
import { dataOf } from "./trace/bindings.ts";

function checkRank(op: string, x: Tensor, rank: number, name: string): void {
  checkTensors(op, { [name]: x });
  if (x.ndim !== rank) throw new ShapeError(`${op}: ${name} must have ${rank} axes, got shape ${show(x.shape)}`);
}

/** The inner product of two vectors of one length. */
export function dot(a: Tensor, b: Tensor): Tensor {
  checkRank("dot", a, 1, "the first vector");
  checkRank("dot", b, 1, "the second vector");
  return a.matmul(b);
}

/** The product of two matrices. */
export function mm(a: Tensor, b: Tensor): Tensor {
  checkRank("mm", a, 2, "the first matrix");
  checkRank("mm", b, 2, "the second matrix");
  return a.matmul(b);
}

/** The products of two batches of matrices, [B, M, K] and [B, K, N]. */
export function bmm(a: Tensor, b: Tensor): Tensor {
  checkRank("bmm", a, 3, "the first batch");
  checkRank("bmm", b, 3, "the second batch");
  if (a.shape[0] !== b.shape[0])
    throw new ShapeError(`bmm: shapes ${show(a.shape)} and ${show(b.shape)} differ in batch`);
  return a.matmul(b);
}

/** The product of a matrix and a vector. */
export function mv(a: Tensor, v: Tensor): Tensor {
  checkRank("mv", a, 2, "the matrix");
  checkRank("mv", v, 1, "the vector");
  return a.matmul(v);
}

/** All products of an element of a and one of b, [N] and [M] to [N, M]. */
export function outer(a: Tensor, b: Tensor): Tensor {
  checkRank("outer", a, 1, "the first vector");
  checkRank("outer", b, 1, "the second vector");
  return a.unsqueeze(1).mul(b.unsqueeze(0));
}

/** beta x + alpha (a b), for matrices a and b. */
export function addmm(x: Tensor, a: Tensor, b: Tensor, options: { alpha?: number; beta?: number } = {}): Tensor {
  return scaledSum("addmm", x, mm(a, b), options);
}

/** beta x + alpha (a v), for a matrix a and a vector v. */
export function addmv(x: Tensor, a: Tensor, v: Tensor, options: { alpha?: number; beta?: number } = {}): Tensor {
  return scaledSum("addmv", x, mv(a, v), options);
}

function scaledSum(op: string, x: Tensor, product: Tensor, options: { alpha?: number; beta?: number }): Tensor {
  const { alpha = 1, beta = 1 } = checkOptions(op, options, { alpha: true, beta: true });
  const scaled = product.mul(alpha);
  // With beta 0 what x holds does not matter, NaN neither.
  return beta === 0 ? scaled : x.mul(beta).add(scaled).expand(product.shape);
}

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

/** log(sum(e^x)) over axes, stable for any finite x. */
export function logsumexp(x: Tensor, axis: number | readonly number[], keepdim = false): Tensor {
  checkTensors("logsumexp", { x });
  if (x.dtype !== "float32") return logsumexp(x.float(), axis, keepdim);
  const axes = normalizeAxes("logsumexp", axis, x.ndim);
  if (x.ndim === 0) return asItIs(x);
  if (axes.some((a) => x.shape[a] === 0)) return x.exp().sum(axes, keepdim).log();
  const top = x.max(axes, true).detach();
  // An infinite maximum would be subtracted from itself.
  const shift = where(top.abs().eq(Number.POSITIVE_INFINITY), 0, top);
  const total = x.sub(shift).exp().sum(axes, true).log().add(shift);
  return keepdim ? total : total.reshape(x.shape.filter((_, i) => !axes.includes(i)));
}

/** log(e^a + e^b), elementwise with broadcasting, for any a and b without overflow; smooth where they meet. */
export function logaddexp(a: Tensor, b: Tensor): Tensor {
  checkTensors("logaddexp", { a, b });
  const difference = a.sub(b);
  // Infinity is as large as itself, but minus itself it is NaN.
  const apart = where(a.eq(b), where(a.abs().eq(Number.POSITIVE_INFINITY), 0, difference), difference);
  const aIsLarger = apart.ge(0);
  return where(aIsLarger, a, b).add(where(aIsLarger, apart.neg(), apart).softplus());
}

/** A root that is 0 at 0, and flat there: it has no finite slope, so a harmless 1 is rooted and nothing flows back. */
function root(x: Tensor, of: (x: Tensor) => Tensor): Tensor {
  const zero = x.eq(0);
  return where(zero, 0, of(where(zero, 1, x)));
}

/** Largest element over the axes (default all), as Tensor.max: its gradient is shared among ties. */
export function amax(x: Tensor, axis?: number | readonly number[], keepdim = false): Tensor {
  checkTensors("amax", { x });
  return x.max(normalizeAxes("amax", axis, x.ndim), keepdim);
}

/** Smallest element over the axes (default all), as Tensor.min: its gradient is shared among ties. */
export function amin(x: Tensor, axis?: number | readonly number[], keepdim = false): Tensor {
  checkTensors("amin", { x });
  return x.min(normalizeAxes("amin", axis, x.ndim), keepdim);
}

/** Standard deviation over axes, the root of var(); its gradient where it is 0 is 0. */
export function std(
  x: Tensor,
  axis?: number | readonly number[],
  options: { correction?: number; keepdim?: boolean } = {},
): Tensor {
  checkTensors("std", { x });
  checkOptions("std", options, { correction: true, keepdim: true });
  return root(x.var(normalizeAxes("std", axis, x.ndim), options), (v) => v.sqrt());
}

/**
 * (sum |x|^p)^(1/p) over axes (default all); p may be infinite, and 0 counts the elements that are not 0. The gradient of the
 * 2-norm at 0 is 0.
 */
export function norm(x: Tensor, p = 2, axis?: number | readonly number[], keepdim = false): Tensor {
  checkTensors("norm", { x });
  if (Number.isNaN(p) || typeof p !== "number") throw new ValueError(`norm: p must be a number, got ${String(p)}`);
  if (x.dtype !== "float32") throw new DTypeError(`norm: x must be float32, got ${x.dtype}`);
  if (p === 0) return x.ne(0).float().sum(axis, keepdim);
  if (p === Number.POSITIVE_INFINITY) return x.abs().max(axis, keepdim);
  if (p === Number.NEGATIVE_INFINITY) return x.abs().min(axis, keepdim);
  if (p === 1) return x.abs().sum(axis, keepdim);
  const total = (p === 2 ? x.square() : x.abs().pow(p)).sum(axis, keepdim);
  if (p < 0) return total.pow(1 / p);
  return root(total, (v) => (p === 2 ? v.sqrt() : v.pow(1 / p)));
}

/** x, but `value` where the mask holds, in the dtype of x. */
export function maskedFill(x: Tensor, mask: Tensor, value: TensorLike): Tensor {
  checkTensors("maskedFill", { x, mask });
  return where(mask, operand("maskedFill", value), x).to(x.dtype);
}

/**
 * int32 rows of zeros with a 1 at the class: integers [...] to [..., numClasses]. Without numClasses (or with -1) the largest
 * class counts, if the values are known.
 * @throws IndexError, when the value is read, if a class is outside [0, numClasses).
 */
export function oneHot(x: Tensor, numClasses = -1): Tensor {
  checkTensors("oneHot", { x });
  if (x.dtype === "float32" || x.dtype === "bool")
    throw new DTypeError(`oneHot: classes must be integers, got ${x.dtype}`);
  let count = numClasses;
  if (count === -1) {
    const values = dataOf(x.node);
    if (!values || values.length === 0)
      throw new ValueError(
        `oneHot: numClasses must be given: the values of the tensor of shape ${show(x.shape)} are not known yet`,
      );
    count = 0;
    for (const v of values) count = Math.max(count, v + 1);
  }
  if (!Number.isInteger(count) || count < 1)
    throw new ValueError(`oneHot: numClasses must be a positive integer, got ${numClasses}`);
  const places = x.unsqueeze(-1);
  const ones = full(places.shape, 1, { dtype: "int32" });
  return zeros([...x.shape, count], { dtype: "int32" }).scatterAdd(-1, places, ones);
}

/** Where elements are not 0 (or true): int32 [count, axes]. Computes and reads the tensor, as its answer decides the shape. */
export async function nonzero(x: Tensor): Promise<Tensor> {
  checkTensors("nonzero", { x });
  if (x.ndim === 0) return (await nonzero(x.reshape([1]))).narrow(1, 0, 0);
  return stack(truePlaces(await x.data(), x.shape), 1);
}

/** The elements where the mask is true, as a vector. Reads the mask; gradients flow to x. */
export async function maskedSelect(x: Tensor, mask: Tensor): Promise<Tensor> {
  checkTensors("maskedSelect", { x, mask });
  if (mask.dtype !== "bool") throw new DTypeError(`maskedSelect: the mask must be bool, got ${mask.dtype}`);
  const shape = broadcast("maskedSelect", x.shape, mask.shape);
  const [places] = truePlaces(await mask.expand(shape).flatten().data(), [numel(shape)]);
  return x.expand(shape).flatten().indexSelect(0, places);
}
