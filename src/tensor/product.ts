/** @file The product of matrices, and of what counts as such. */
import { DTypeError, ShapeError } from "../core/errors.ts";
import { broadcast, numel, show } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import * as contract from "../ops/contract.ts";
import { cast } from "../ops/elementwise.ts";
import { expand, reshape } from "../ops/movement.ts";
import { wide } from "./promotion.ts";

export function matmul(a: Node, b: Node): Node {
  if (a.shape.length === 0 || b.shape.length === 0)
    throw new ShapeError(
      `matmul: shapes ${show(a.shape)} and ${show(b.shape)}: scalars cannot be multiplied as matrices`,
    );
  if (a.dtype !== b.dtype || a.dtype === "bool")
    throw new DTypeError(`matmul: dtypes ${a.dtype} and ${b.dtype}: both must be float32, int32 or uint8`);
  const x = wide(a.shape.length === 1 ? reshape(a, [1, a.shape[0]]) : a);
  const y = wide(b.shape.length === 1 ? reshape(b, [b.shape[0], 1]) : b);
  const [m, k] = x.shape.slice(-2);
  const [k2, n] = y.shape.slice(-2);
  if (k !== k2) throw new ShapeError(`matmul: shapes ${show(a.shape)} and ${show(b.shape)} cannot be multiplied`);
  let z: Node;
  let lead: readonly number[];
  if (y.shape.length === 2) {
    // One matrix on the right: all rows of the left are rows of one product.
    lead = x.shape.slice(0, -2);
    z = contract.matmul(reshape(x, [numel(lead) * m, k]), y);
  } else {
    lead = broadcast("matmul", x.shape.slice(0, -2), y.shape.slice(0, -2));
    z = contract.matmul(expand(x, [...lead, m, k]), expand(y, [...lead, k, n]));
  }
  const shape = [...lead, ...(a.shape.length === 1 ? [] : [m]), ...(b.shape.length === 1 ? [] : [n])];
  return cast(reshape(z, shape), a.dtype);
}
