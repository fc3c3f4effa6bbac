/** Evaluates graphs in float64 by the op table's own reference functions: the oracle the kernels are compared with. */
import { numel } from "../../src/core/shape.ts";
import { type Node, type RefArray, toposort } from "../../src/graph/node.ts";

export type Values = Map<Node, Float64Array>;

/** Values of all nodes the outputs need. */
export function evaluateAll(outputs: readonly Node[], leaves: Values): Values {
  const values: Values = new Map(leaves);
  for (const n of toposort(outputs)) {
    if (values.has(n)) continue;
    if (!n.op.ref) throw new Error(`${n.op.name} has no reference`);
    const src: RefArray[] = n.src.map((s) => ({ shape: s.shape, data: values.get(s) as Float64Array }));
    const data = n.op.ref(src, n);
    if (data.length !== numel(n.shape)) throw new Error(`${n.op.name}: reference has ${data.length} elements`);
    values.set(n, data);
  }
  return values;
}

export function evaluateRef(outputs: readonly Node[], leaves: Values): Float64Array[] {
  const values = evaluateAll(outputs, leaves);
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
