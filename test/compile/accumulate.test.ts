import { expect, test } from "vitest";
import { accumulate } from "../../src/compile/accumulate.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import type { Computation, Node } from "../../src/graph/node.ts";
import { printGraph } from "../../src/graph/print.ts";
import { matmul } from "../../src/ops/contract.ts";
import { add, apply, UNARY } from "../../src/ops/elementwise.ts";
import { leaf } from "../../src/ops/leaf.ts";

const x = leaf([64, 3], "float32");
const y = leaf([64, 3], "float32");
const w = leaf([3, 40], "float32");

const graphOf = (...outputs: Node[]): Computation => ({ inputs: [x, y, w], residents: [], outputs, updates: [] });
const after = (...outputs: Node[]): string => `\n${printGraph(accumulate(graphOf(...outputs)))}\n`;

test("a sum of products is products that add, in the order of the sum", () => {
  const outputs = [add(matmul(apply(UNARY.tanh, x), w), add(matmul(x, w), matmul(y, w)))];
  expect(`\n${printGraph(graphOf(...outputs))}\n`).toBe(`
%0 float32[64, 3] = leaf {shape=[64,3], dtype=float32}
%1 float32[64, 3] = leaf {shape=[64,3], dtype=float32}
%2 float32[3, 40] = leaf {shape=[3,40], dtype=float32}
%3 float32[64, 3] = tanh %0
%4 float32[64, 40] = matmul %3 %2
%5 float32[64, 40] = matmul %0 %2
%6 float32[64, 40] = matmul %1 %2
%7 float32[64, 40] = add %5 %6
%8 float32[64, 40] = add %4 %7
return %8
`);
  expect(after(...outputs)).toBe(`
%0 float32[64, 3] = leaf {shape=[64,3], dtype=float32}
%1 float32[64, 3] = leaf {shape=[64,3], dtype=float32}
%2 float32[3, 40] = leaf {shape=[3,40], dtype=float32}
%3 float32[64, 40] = matmul %0 %2
%4 float32[64, 40] = addmm %3 %1 %2
%5 float32[64, 3] = tanh %0
%6 float32[64, 40] = addmm %4 %5 %2
return %6
`);
});

test("it has one buffer, and no instruction that adds", () => {
  const terms = Array.from({ length: 32 }, () => matmul(leaf([64, 3], "float32"), w));
  const sum = terms.reduce(add);
  const graph = { ...graphOf(apply(UNARY.exp, sum)), inputs: [w, ...terms.map((t) => t.src[0])] };
  const program = compileGraph(graph);
  expect(program.labels.map((l) => l.text)).toEqual([
    "matmul NN 64x3x40",
    ...new Array<string>(31).fill("addmm NN 64x3x40"),
    "exp",
  ]);
  expect(program.plan.unshared).toBe(64 * 40 * 4);
});

test.each<[string, Node[]]>([
  [
    "products that something else uses",
    [add(matmul(x, w), matmul(y, w)), matmul(x, w)].map((n, i, all) => (i ? all[0].src[0] : n)),
  ],
  ["a product that is a result", ((p: Node) => [add(p, matmul(y, w)), p])(matmul(x, w))],
  ["twice the same", ((p: Node) => [add(p, p)])(matmul(x, w))],
  ["what is no product", [add(matmul(x, w), apply(UNARY.exp, leaf([64, 40], "float32")))]],
  ["products that are to be precise", [add(matmul(x, w, true), matmul(y, w, true))]],
  [
    "products of whole numbers",
    [add(matmul(leaf([4, 3], "int32"), leaf([3, 4], "int32")), matmul(leaf([4, 3], "int32"), leaf([3, 4], "int32")))],
  ],
])("sums stay: %s", (_, outputs) => {
  const graph = graphOf(...outputs);
  expect(printGraph(accumulate(graph))).toBe(printGraph(graph));
});
