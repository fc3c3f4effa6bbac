/** @file Distances and similarities. */
import { norm } from "../../tensor/composites/reduction.ts";
import { broadcast } from "../../core/shape.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";

/** The cosine of the angle between vectors along an axis; lengths count as at least eps. */
export function cosineSimilarity(x1: Tensor, x2: Tensor, axis = 1, eps = 1e-8): Tensor {
  checkTensors("cosineSimilarity", { x1, x2 });
  const shape = broadcast("cosineSimilarity", x1.shape, x2.shape);
  const [a, b] = [x1.expand(shape), x2.expand(shape)];
  const length = (x: Tensor): Tensor => norm(x, 2, axis).maximum(eps);
  return a
    .mul(b)
    .sum(axis)
    .div(length(a).mul(length(b)));
}
