/** @file checkpoint(f): less memory, more time. */
import { checkFunction, checkNotAsync } from "../core/check.ts";
import { inRegion } from "../graph/node.ts";
import { fence } from "../ops/identity.ts";
import { Tensor } from "../tensor/tensor.ts";
import { mapTree } from "../trace/tree.ts";

/**
 * The same function, but its intermediate values are not stored for the gradient: backward recomputes them from the arguments
 * when it gets there. Values and gradients are bit-identical (but the gradient of an argument that is also used outside f is
 * accumulated in another order); a deep network in checkpointed blocks needs less memory, and one more forward pass.
 * `step.plan(...)` says how much. A checkpointed call inside another is part of it.
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
