/** @file Dropout. */
import { ValueError } from "../../core/errors.ts";
import { checkOptions } from "../../core/options.ts";
import { type RandomOptions, uniform } from "../../tensor/random.ts";
import { asItIs, where } from "../../tensor/functions.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";

/** Zeroes elements with probability p and scales the others by 1 / (1 - p); the identity unless `training`. */
export function dropout(x: Tensor, p = 0.5, training = true, options: RandomOptions = {}): Tensor {
  checkTensors("dropout", { x });
  checkOptions("dropout", options, { generator: true });
  if (typeof p !== "number" || !(p >= 0 && p <= 1)) throw new ValueError(`dropout: p must be from 0 to 1, got ${p}`);
  if (!training || p === 0) return asItIs(x);
  if (p === 1) return x.mul(0);
  const keep = uniform(x.shape, 0, 1, options).ge(p);
  return where(keep, x.mul(1 / (1 - p)), 0);
}
