/** @file Which dtype and shape operands get: PyTorch's promotion, NumPy's broadcasting. */
import { type DType, isFloat, resultType } from "../core/dtype.ts";
import { DTypeError } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { cast } from "../ops/elementwise.ts";
import { constant, constantValue } from "../ops/leaf.ts";
import { expand } from "../ops/movement.ts";

/** A tensor's node, or a number, which has no dtype of its own. */
export type Operand = Node | number;

/** What an operand counts for in the dtype of the result. An integer a tensor's dtype cannot hold counts as float32. */
export function standing(x: Operand): Parameters<typeof resultType>[0][number] {
  if (typeof x !== "number") return { dtype: x.dtype, standing: x.shape.length > 0 ? "tensor" : "scalar" };
  return { dtype: Number.isInteger(x) && Math.abs(x) < 2 ** 31 ? "int32" : "float32", standing: "number" };
}

/** Operands with one dtype and shape. */
export function alike(xs: readonly Operand[], shape: Shape, dtype: DType): Node[] {
  return xs.map((x) => {
    if (typeof x === "number")
      return constant(dtype === "uint8" ? x & 255 : dtype === "bool" ? Number(x !== 0) : x, shape, dtype);
    const value = x.shape.length === 0 ? constantValue(x) : undefined;
    return value === undefined || x.dtype !== dtype ? expand(cast(x, dtype), shape) : constant(value, shape, dtype);
  });
}

/** bool and uint8 as int32, where a kernel takes elements of 4 bytes. */
export function wide(n: Node): Node {
  return isFloat(n.dtype) ? n : cast(n, "int32");
}

/** @throws DTypeError unless it is float32. */
export function floatNode(op: string, n: Node): Node {
  if (!isFloat(n.dtype)) throw new DTypeError(`${op}: dtype ${n.dtype} is not supported, only float32`);
  return n;
}
