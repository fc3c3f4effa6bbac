/** @file Products of vectors and matrices, by the names they have in PyTorch. */
import { ShapeError } from "../../core/errors.ts";
import { checkOptions } from "../../core/options.ts";
import { show } from "../../core/shape.ts";
import { checkTensors, type Tensor } from "../tensor.ts";

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
