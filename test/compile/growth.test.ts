/** Large graphs of every kind are differentiated and compiled: the stack does not grow with them. Time: bench/compile.js. */
import { expect, test } from "vitest";
import { compileGraph } from "../../src/compile/compile.ts";
import { gradients } from "../../src/diff/vjp.ts";
import type { Node } from "../../src/graph/node.ts";
import { matmul } from "../../src/ops/contract.ts";
import { add, apply, mul, scale, sub, UNARY } from "../../src/ops/elementwise.ts";
import { softmax } from "../../src/ops/fused.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { concat, expand, flip, reshape, slice, sum, transposeLast } from "../../src/ops/movement.ts";

const ROWS = 8;
const COLS = 4;

/** A value of a matrix and of how often something occurs between the two. */
type Make = (x: Node, times: number) => Node;

const many = <T>(times: number, make: (i: number) => T): T[] => Array.from({ length: times }, (_, i) => make(i));
const parts = (x: Node, times: number): Node[] => many(times, (i) => scale(x, i + 2));
const chain =
  (next: (y: Node, i: number, x: Node) => Node): Make =>
  (x, times) =>
    many(times, (i) => i).reduce((y, i) => next(y, i, x), x);

const GRAPHS: [string, Make][] = [
  ["elementwise operations", chain((y, i) => (i % 2 ? apply(UNARY.tanh, y) : scale(y, 1 + 1 / (i + 2))))],
  ["uses of one operand", chain((y, _, x) => add(y, x))],
  ["products", chain((y, _, x) => matmul(y, matmul(transposeLast(x), x)))],
  ["transposed products", chain((y, _, x) => transposeLast(matmul(transposeLast(y), matmul(x, transposeLast(x)))))],
  ["views", chain((y, i) => (i % 3 ? flip(y, [i % 2]) : reshape(transposeLast(y), [ROWS, COLS])))],
  ["row by row", chain((y) => softmax(mul(y, y)))],
  ["pieces of one tensor", chain((y, i, x) => add(y, expand(slice(x, [i % ROWS, 0], [1, COLS]), [ROWS, COLS])))],
  ["parts of one result", (x, times) => concat(parts(x, times), 0)],
];

test.each(GRAPHS)("a step with a chain of 10,000: %s", (_, make) => {
  const x = leaf([ROWS, COLS], "float32");
  const y = sum(make(x, 10_000), [0, 1]);
  const updates = gradients(y, [x]).map((g) => sub(x, scale(g, 0.1)));
  const program = compileGraph({ inputs: [], residents: [x], outputs: [y], updates });
  expect(program.labels.length).toBeGreaterThan(1);
});
