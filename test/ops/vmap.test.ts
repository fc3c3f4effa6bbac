/** For every operation and sample: on a batch it gives what it gives for each example, whichever operands have the batch. */
import { describe, expect, test } from "vitest";
import { vmap } from "../../src/diff/vmap.ts";
import { makeNode, type Node } from "../../src/graph/node.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { random } from "../assembly/harness.ts";
import { evaluateRef } from "./reference.ts";
import { ALL, samplesOf } from "./samples.ts";

const SIZE = 3;

/** Three examples: the sample's operand, and two more with elements of it in another order. */
function examples(data: Float64Array, seed: number): Float64Array[] {
  const next = random(seed);
  const shuffled = (): Float64Array => data.map(() => data[Math.floor(next() * data.length)]);
  return [data, shuffled(), shuffled()];
}

const joined = (parts: readonly Float64Array[]): Float64Array => Float64Array.from(parts.flatMap((p) => [...p]));

/** All operations of something; draws have a rule of their own, tested in test/func. */
const BATCHED = ALL.filter(([, op]) => !op.random && samplesOf(op).some(({ node }) => node.src.length > 0));

describe.each(BATCHED)("%s", (name, op) => {
  const samples = samplesOf(op);

  test("a batch is its examples side by side", () => {
    for (const { name: what, node, values } of samples.slice(0, 12)) {
      const count = node.src.length;
      for (let mask = 1; mask < 1 << count; mask++) {
        const has = node.src.map((_, i) => (mask >> i) % 2 === 1);
        const each = node.src.map((s, i) => examples(values.get(s) as Float64Array, 31 * i + 7));
        const leaves = new Map<Node, Float64Array>(node.src.map((s, i) => [s, each[i][0]]));
        const inputs = node.src.filter((_, i) => has[i]);
        const batches = inputs.map((s) => leaf([SIZE, ...s.shape], s.dtype));
        inputs.forEach((s, k) => leaves.set(batches[k], joined(each[node.src.indexOf(s)])));
        // The sample's node, but of an operand that is older than it.
        const y = makeNode(op, node.src, node.attrs);
        const [whole] = vmap([y], inputs, batches, SIZE);
        expect(whole, what).not.toBeNull();
        expect(whole?.shape, what).toEqual([SIZE, ...node.shape]);
        const want = joined(
          Array.from({ length: SIZE }, (_, b) => {
            const one = new Map<Node, Float64Array>(node.src.map((s, i) => [s, each[i][has[i] ? b : 0]]));
            return evaluateRef([y], one)[0];
          }),
        );
        const [got] = evaluateRef([whole as Node], leaves);
        expect(got.length, what).toBe(want.length);
        got.forEach((v, i) => {
          if (!Object.is(v, want[i]) && !(Math.abs(v - want[i]) <= 1e-12 * (1 + Math.abs(want[i]))))
            throw new Error(`${name}: ${what}, mask ${mask}: element ${i} is ${v}, wanted ${want[i]}`);
        });
      }
    }
  });
});

test("no operation of the table is computed example by example", () => {
  for (const [, op] of BATCHED) {
    for (const { node } of samplesOf(op)) {
      const batches = node.src.map((s) => leaf([1000, ...s.shape], s.dtype));
      const [whole] = vmap([node], node.src, batches, 1000);
      expect(whole?.shape, op.name).toEqual([1000, ...node.shape]);
    }
  }
});
