/** @file Linear maps. */
import { ShapeError } from "../../core/errors.ts";
import { show } from "../../core/shape.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";

/** x W^T + b, for a weight of shape [out, in] and a bias of shape [out]. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  checkTensors("linear", { input: x, weight });
  if (x.ndim === 0 || weight.ndim !== 2 || x.shape[x.ndim - 1] !== weight.shape[1])
    throw new ShapeError(`linear: input ${show(x.shape)} does not fit weight ${show(weight.shape)} ([out, in])`);
  const y = x.matmul(weight.t());
  return bias ? y.add(bias) : y;
}
