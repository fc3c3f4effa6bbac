/** @file checkpoint(f): memory for time. */
import { checkFunction, checkNotAsync } from "../core/check.ts";
import { inRegion } from "../graph/node.ts";
import { fence } from "../ops/identity.ts";
import { Tensor } from "../tensor/tensor.ts";
import { mapTree } from "../trace/tree.ts";

/**
 * The same function, but what it computes on the way is not kept for its gradient: backward computes it again from the
 * arguments, when it gets there. Values and gradients have the same bits (but the gradient of an argument that is used outside
 * of f too is added up in another order); a deep network in checkpointed pieces needs less memory, and one forward pass more.
 * `step.plan(...)` says how much. A checkpointed call inside of another is part of it.
 * @example const block = checkpoint((x) => layer2.forward(layer1.forward(x).relu()).relu());
 */
export function checkpoint<Args extends unknown[], Result>(f: (...args: Args) => Result): (...args: Args) => Result {
  checkFunction("checkpoint", f);
  return (...args) => {
    const inputs = mapTree(args, (t) => new Tensor(fence(t.node, t.node))) as Args;
    const result = inRegion({}, () => f(...inputs));
    checkNotAsync("checkpoint", result);
    return result;
  };
}
