/** The oracle the kernels are compared with: float64, by the op table's own reference functions. */
import { interpret, type Values } from "../../src/graph/interpret.ts";
import type { Node } from "../../src/graph/node.ts";

export type { Values };

export function evaluateRef(outputs: readonly Node[], leaves: Values): Float64Array[] {
  const values = interpret(outputs, leaves);
  return outputs.map((n) => values.get(n) as Float64Array);
}

/** |error| <= 1e-5 + 1.3e-6 |reference|, torch.testing's tolerance for float32; NaN meets NaN, infinities their own. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string, loosen = 1): void {
  if (actual.length !== expected.length)
    throw new Error(`${what}: ${actual.length} elements, wanted ${expected.length}`);
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i];
    const e = expected[i];
    if (Number.isNaN(e) ? Number.isNaN(a) : a === e) continue;
    const limit = loosen * (1e-5 + 1.3e-6 * Math.abs(e));
    // What overflows float32 may be infinite.
    if (Math.abs(e) > 3.4028235677973366e38 && a === Math.sign(e) * Number.POSITIVE_INFINITY) continue;
    if (!(Math.abs(a - e) <= limit)) throw new Error(`${what}: element ${i} is ${a}, wanted ${e}`);
  }
}
