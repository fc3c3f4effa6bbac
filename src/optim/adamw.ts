/** @file Adam with decoupled weight decay. */
import type { Node } from "../graph/node.ts";
import { mul, neg, scale, shift } from "../ops/elementwise.ts";
import type { Parameter } from "../tensor/parameter.ts";
import { Adam, type AdamOptions } from "./adam.ts";

/** Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101); weightDecay defaults to 0.01. */
export class AdamW extends Adam {
  constructor(parameters: Iterable<Parameter>, options: AdamOptions = {}) {
    super(parameters, options, "AdamW", 0.01);
  }

  protected override decayed(w: Node, g: Node): { w: Node; g: Node } {
    const keep = shift(neg(scale(this.rateLike(w), this.weightDecay)), 1);
    return { w: mul(w, keep), g };
  }
}
