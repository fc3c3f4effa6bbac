/** @file Values of tensors: computed, read, and put into nested arrays. */
import type { DType, TypedArray } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { bindingOf, keepValue, keptValue } from "../trace/bindings.ts";
import { evaluate } from "../trace/evaluate.ts";
import { refuseRead } from "../trace/trace.ts";
import type { NestedArray } from "./values.ts";

/** The elements of a tensor in row-major order, a copy. */
export async function read(tensor: { readonly node: Node }): Promise<TypedArray> {
  const { node } = tensor;
  const refused = refuseRead();
  if (refused) return refused;
  const binding = bindingOf(node);
  if (binding?.kind === "data") return (await binding.array).slice();
  const before = keptValue(node);
  if (before) return (await before).slice();
  // A parameter as it was when this was made of it.
  if (binding?.kind === "state") return binding.variable.read(binding.seen);
  const result = evaluate([node]).then(([array]) => array);
  // The node stays what it was: reading a tensor changes no gradient.
  keepValue(node, result);
  return (await result).slice();
}

/** Elements in row-major order as nested arrays (a number for a scalar); booleans for bool. */
export function nested(flat: TypedArray, shape: Shape, dtype: DType): NestedArray {
  let at = 0;
  const build = (axis: number): NestedArray => {
    if (axis === shape.length) {
      const v = flat[at++];
      return dtype === "bool" ? v !== 0 : v;
    }
    return Array.from({ length: shape[axis] }, () => build(axis + 1));
  };
  return build(0);
}

/** What a tensor says that is taken for a number. */
export function noNumber(text: string): TypeError {
  return new TypeError(
    `${text} is no number: x.add(y), x.gt(y) and where(...) compute with tensors, outside of a compiled function ` +
      "await x.item() reads one",
  );
}
