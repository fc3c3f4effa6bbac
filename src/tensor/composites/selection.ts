/** @file Elements chosen by masks and classes. */
import { DTypeError, ValueError } from "../../core/errors.ts";
import { broadcast, numel, show } from "../../core/shape.ts";
import { cast } from "../../ops/elementwise.ts";
import { dataOf } from "../../trace/bindings.ts";
import { full, zeros } from "../creation.ts";
import { where } from "../elementwise.ts";
import { stack } from "../functions.ts";
import { checkTensors, operand, Tensor, type TensorLike } from "../tensor.ts";
import { truePlaces } from "../values.ts";

/** x, but `value` where the mask holds, in the dtype of x. */
export function maskedFill(x: Tensor, mask: Tensor, value: TensorLike): Tensor {
  checkTensors("maskedFill", { x, mask });
  return new Tensor(cast(where(mask.node, operand("maskedFill", value), x.node), x.dtype));
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
  return stack(
    truePlaces(await x.data(), x.shape).map((n) => new Tensor(n)),
    1,
  );
}

/** The elements where the mask is true, as a vector. Reads the mask; gradients flow to x. */
export async function maskedSelect(x: Tensor, mask: Tensor): Promise<Tensor> {
  checkTensors("maskedSelect", { x, mask });
  if (mask.dtype !== "bool") throw new DTypeError(`maskedSelect: the mask must be bool, got ${mask.dtype}`);
  const shape = broadcast("maskedSelect", x.shape, mask.shape);
  const [places] = truePlaces(await mask.expand(shape).flatten().data(), [numel(shape)]);
  return x.expand(shape).flatten().indexSelect(0, new Tensor(places));
}
