import { expect, test } from "vitest";
import { accumulate } from "../../src/compile/accumulate.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import type { Computation, Node } from "../../src/graph/node.ts";
import { printGraph } from "../../src/graph/print.ts";
import { matmul } from "../../src/ops/contract.ts";
import { add, apply, UNARY } from "../../src/ops/elementwise.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { alongAxis, gather, scatterAdd } from "../../src/ops/lookup.ts";
import { reshape } from "../../src/ops/movement.ts";

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

/** A sum of what comes back from looking up rows of a table `times` times, and what was looked up. */
function lookups(times: number): { graph: Computation; gradient: Node } {
  const table = leaf([50, 8], "float32");
  const indices = Array.from({ length: times }, () => leaf([6], "int32"));
  const rows = indices.map((i) => gather(table, alongAxis(i, [50, 8], 0), 0));
  const gradient = rows.map((r) => scatterAdd(apply(UNARY.tanh, r), r.src[1], 0, 50)).reduce(add);
  return { graph: { inputs: indices, residents: [table], outputs: [gradient], updates: [] }, gradient };
}

test("what comes back from several looks into a table is added in one go, in the order of the sum", () => {
  const { graph } = lookups(2);
  expect(`\n${printGraph(accumulate(graph))}\n`).toBe(`
%0 int32[6] = leaf {shape=[6], dtype=int32}
%1 int32[6] = leaf {shape=[6], dtype=int32}
%2 float32[50, 8] = leaf {shape=[50,8], dtype=float32}
%3 int32[6, 1] = reshape %0 {shape=[6,1]}
%4 int32[6, 8] = expand %3 {shape=[6,8]}
%5 float32[6, 8] = gather %2 %4 {axis=0}
%6 float32[6, 8] = tanh %5
%7 int32[6, 1] = reshape %1 {shape=[6,1]}
%8 int32[6, 8] = expand %7 {shape=[6,8]}
%9 float32[6, 8] = gather %2 %8 {axis=0}
%10 float32[6, 8] = tanh %9
%11 float32[12, 8] = concat %6 %10 {axis=0}
%12 int32[12, 1] = concat %3 %7 {axis=0}
%13 int32[12, 8] = expand %12 {shape=[12,8]}
%14 float32[50, 8] = scatterAdd %11 %13 {axis=0, extent=50}
return %14
`);
  const { labels, plan } = compileGraph(lookups(9).graph);
  expect(labels.filter(({ text }) => text === "scatterAdd").length).toBe(1);
  expect(labels.filter(({ text }) => text === "add").length).toBe(0);
  // The rows, the index, the gradient; no table for each use.
  expect(plan.bytes).toBeLessThan(4 * (50 * 8 + 9 * 6 * 8 * 2 + 9 * 6 * 2) + 64 * 30);
});

test("rows by an index that nothing looks up stay apart: a place out of range is told as it was given", () => {
  const [a, b] = [leaf([6, 8], "float32"), leaf([6, 8], "float32")];
  const parts = [a, b].map((v) => scatterAdd(v, alongAxis(reshape(leaf([6, 1], "int32"), [6]), [50, 8], 0), 0, 50));
  const graph = { ...graphOf(parts.reduce(add)), inputs: [a, b] };
  expect(accumulate(graph).outputs[0].op).toBe(graph.outputs[0].op);
});
