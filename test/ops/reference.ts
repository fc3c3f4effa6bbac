/** The oracle the kernels are compared with: float64, by the op table's own reference functions. */
import { interpret, type Values } from "../../src/ops/interpret.ts";
import type { Node } from "../../src/graph/node.ts";

export type { Values };

export function evaluateRef(outputs: readonly Node[], leaves: Values): Float64Array[] {
  const values = interpret(outputs, leaves);
  return outputs.map((n) => values.get(n) as Float64Array);
}

/** |error| <= 1e-5 + 1.3e-6 |reference|, torch.testing's tolerance for float32; NaN meets NaN, infinities their own. */
export function isClose(actual: number, expected: number, loosen = 1): boolean {
  if (Number.isNaN(expected) ? Number.isNaN(actual) : actual === expected) return true;
  // What overflows float32 may be infinite.
  const overflows = Math.abs(expected) > 3.4028235677973366e38;
  if (overflows && actual === Math.sign(expected) * Number.POSITIVE_INFINITY) return true;
  return Math.abs(actual - expected) <= loosen * (1e-5 + 1.3e-6 * Math.abs(expected));
}

/** Throws if an element is not close. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string, loosen = 1): void {
  if (actual.length !== expected.length)
    throw new Error(`${what}: ${actual.length} elements, wanted ${expected.length}`);
  for (let i = 0; i < expected.length; i++)
    if (!isClose(actual[i], expected[i], loosen))
      throw new Error(`${what}: element ${i} is ${actual[i]}, wanted ${expected[i]}`);
}
