/** @file Functions of several tensors. */
import { promote } from "../core/dtype.ts";
import { ShapeError, ValueError } from "../core/errors.ts";
import { normalizeAxis, sameShape, show } from "../core/shape.ts";
import { cast } from "../ops/elementwise.ts";
import { concat } from "../ops/movement.ts";
import { where as select } from "./elementwise.ts";
import { checkTensors, nodeOf, operand, Tensor, type TensorLike } from "./tensor.ts";

/**
 * a where the condition holds, else b; with broadcasting. The gradient of the branch not taken is 0, whatever its slope, through
 * the elementwise operations that made it too: where(x.gt(0), x.log(), 0) has a gradient at 0, unlike PyTorch's (NaN).
 */
export function where(condition: Tensor, a: TensorLike, b: TensorLike): Tensor {
  const c = nodeOf("where", "the condition", condition);
  return new Tensor(select(c, operand("where", a), operand("where", b)));
}

function checkList(op: string, tensors: readonly Tensor[]): void {
  if (!Array.isArray(tensors)) throw new ValueError(`${op}: an array of tensors is wanted, got ${String(tensors)}`);
  if (tensors.length === 0) throw new ValueError(`${op}: give at least one tensor`);
  tensors.forEach((t, i) => checkTensors(op, { [`tensor ${i}`]: t }));
}

/** Tensors side by side along an axis. */
export function cat(tensors: readonly Tensor[], axis = 0): Tensor {
  checkList("cat", tensors);
  if (tensors.some((t) => t.ndim === 0)) throw new ShapeError("cat: scalars cannot be put side by side; use stack");
  const a = normalizeAxis("cat", axis, tensors[0].ndim);
  const dtype = tensors.map((t) => t.dtype).reduce(promote);
  return new Tensor(
    concat(
      tensors.map((t) => cast(t.node, dtype)),
      a,
    ),
  );
}

/** Tensors of one shape along a new axis. */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  checkList("stack", tensors);
  for (const t of tensors)
    if (!sameShape(t.shape, tensors[0].shape))
      throw new ShapeError(`stack: shapes ${show(tensors[0].shape)} and ${show(t.shape)} differ`);
  return cat(
    tensors.map((t) => t.unsqueeze(axis)),
    normalizeAxis("stack", axis, tensors[0].ndim + 1),
  );
}

/** The product of matrices; see Tensor.matmul. */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkTensors("matmul", { a });
  return a.matmul(b);
}

/**
 * @internal The result of an operation that leaves a tensor as it is. Not the tensor itself: a parameter would follow its
 * later changes.
 */
export function asItIs(x: Tensor): Tensor {
  return new Tensor(x.node);
}
