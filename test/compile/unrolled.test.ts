/** @file An unrolled LSTM: its plan holds what backward needs and little more, and grows with its length alone. */
import { expect, test } from "vitest";
import { compileGraph } from "../../src/compile/compile.ts";
import { gradients } from "../../src/diff/vjp.ts";
import type { Node } from "../../src/graph/node.ts";
import { matmul } from "../../src/ops/contract.ts";
import { add, apply, mul, scale, sub, UNARY } from "../../src/ops/elementwise.ts";
import { constant, leaf } from "../../src/ops/leaf.ts";
import { concat, expand, reshape, slice, sum } from "../../src/ops/movement.ts";
import type { Program } from "../../src/program/program.ts";

const [BATCH, INPUT, HIDDEN] = [32, 64, 128];

/** A step of gradient descent; with respect to the input too. */
function lstm(steps: number): Program {
  const x = leaf([steps, BATCH, INPUT], "float32");
  const y = leaf([steps, BATCH, HIDDEN], "float32");
  const [wx, wh, b] = [[INPUT, 4 * HIDDEN], [HIDDEN, 4 * HIDDEN], [4 * HIDDEN]].map((s) => leaf(s, "float32"));
  let h: Node = constant(0, [BATCH, HIDDEN]);
  let c = h;
  const all: Node[] = [];
  for (let t = 0; t < steps; t++) {
    const now = reshape(slice(x, [t, 0, 0], [1, BATCH, INPUT]), [BATCH, INPUT]);
    const z = add(add(matmul(now, wx), matmul(h, wh)), expand(b, [BATCH, 4 * HIDDEN]));
    const [i, f, o, u] = [0, 1, 2, 3].map((k) => slice(z, [0, k * HIDDEN], [BATCH, HIDDEN]));
    const gate = (n: Node): Node => apply(UNARY.sigmoid, n);
    c = add(mul(gate(f), c), mul(gate(i), apply(UNARY.tanh, u)));
    h = mul(gate(o), apply(UNARY.tanh, c));
    all.push(reshape(h, [1, BATCH, HIDDEN]));
  }
  const loss = sum(apply(UNARY.square, sub(concat(all, 0), y)), [0, 1, 2]);
  const parameters = [wx, wh, b, x];
  const updates = gradients(loss, parameters).map((g, k) => sub(parameters[k], scale(g, 0.01)));
  return compileGraph({ inputs: [y], residents: parameters, outputs: [loss], updates });
}

/** What backward reads of a step: four gates, the cell, its tanh, the output; and the outputs side by side. */
const kept = (steps: number): number => 8 * steps * BATCH * HIDDEN * 4;

test.each([8, 32, 64])("the arena of %d steps is what backward needs, and at most a fifth more", (steps) => {
  const { plan } = lstm(steps);
  // Beside that: the gradients of the weights, of which there is one of each, and of the input; and those of all gates, for no
  // worker waits for another on the way back, and what they come to for the weights is summed behind that.
  const sums = 4 * (INPUT + HIDDEN) * 4 * HIDDEN + 4 * steps * BATCH * INPUT + 4 * steps * BATCH * 4 * HIDDEN;
  expect(plan.bytes).toBeLessThanOrEqual(1.2 * (kept(steps) + sums));
  expect(plan.bytes).toBeLessThanOrEqual(1.05 * plan.lowerBound);
});

test("no zeros, no copies of gradients, and one product without a sum for each weight", () => {
  const texts = lstm(32).labels.map((l) => l.text);
  const count = (text: RegExp): number => texts.filter((t) => text.test(t)).length;
  expect(count(/^zeros/)).toBe(0);
  expect(count(/^copy/)).toBeLessThanOrEqual(32 + 2); // outputs, and the first ones, which are constants
  expect(count(/^matmul .. (64|128)x32x512/)).toBe(2);
  expect(count(/^addmm .. (64|128)x32x512/)).toBe(2 * 31);
});

test("instructions and memory grow as the number of steps", () => {
  const [short, long] = [lstm(32), lstm(128)];
  expect(long.labels.length).toBeLessThanOrEqual(4.1 * short.labels.length);
  expect(long.plan.bytes).toBeLessThanOrEqual(4.1 * short.plan.bytes);
});
