/** @file What is put side by side is written where it goes: programs as text, without and with something in the way. */
import { expect, test } from "vitest";
import { compileGraph } from "../../src/compile/compile.ts";
import { LEAF, leaf } from "../../src/ops/leaf.ts";
import { type Node, toposort } from "../../src/graph/node.ts";
import { addmm, matmul } from "../../src/ops/contract.ts";
import { apply, mul, UNARY } from "../../src/ops/elementwise.ts";
import { softmax } from "../../src/ops/fused.ts";
import { concat, flip, pad, padAll, reshape, sum, transposeLast } from "../../src/ops/movement.ts";

const x = leaf([8, 6], "float32");
const y = leaf([8, 6], "float32");
const w = leaf([6, 6], "float32");
const tanh = apply(UNARY.tanh, x);
const exp = apply(UNARY.exp, y);

/** The instructions that compute outputs: what they write and read, and what they do. */
function instructions(...outputs: Node[]): string[] {
  const inputs = toposort(outputs).filter((n) => n.op === LEAF);
  const { print } = compileGraph({ inputs, residents: [], outputs, updates: [] });
  return print()
    .split("\n")
    .filter((line) => line.startsWith("  "))
    .map((line) =>
      line
        .replace(/ ->.*/, "")
        .replace(/in\d+/g, "in")
        .replace(/\bt\d+/g, "t")
        .replace(/  +/g, " ")
        .trim(),
    );
}

const both = ["out0 = map in tanh", "out0 = map in exp"];

test.each<[string, Node, string[]]>([
  ["rows", concat([tanh, exp], 0), both],
  ["columns", concat([tanh, exp], 1), both],
  ["stacked", concat([reshape(tanh, [8, 1, 6]), reshape(exp, [8, 1, 6])], 1), both],
  [
    "of a transposed one",
    transposeLast(concat([transposeLast(tanh), transposeLast(exp)], 0)),
    ["t = map in tanh", "t = map in exp", "out0 = transpose t permute"],
  ],
  ["turned", concat([transposeLast(tanh), flip(transposeLast(exp), [0])], 0), both],
  ["beside zeros", pad(tanh, [1, 0], [10, 6]), ["out0 = map zeros", "out0 = map in tanh"]],
  [
    "beside zeros, every other one",
    padAll([{ x: tanh, begin: [0, 1], step: [1, 2] }], [8, 12]),
    ["out0 = map zeros", "out0 = map in tanh"],
  ],
  [
    "with no gaps, every other one",
    padAll(
      [
        { x: tanh, begin: [0, 1], step: [1, 2] },
        { x: exp, begin: [0, 0], step: [1, 2] },
      ],
      [8, 12],
    ),
    both,
  ],
  [
    "by other kernels",
    concat([softmax(x), matmul(y, w)], 0),
    ["out0 = softmax in softmax", "out0 = gemm in in matmul NN 8x6x6"],
  ],
  [
    "sums of products",
    concat([addmm(matmul(x, w), y, w), exp], 0),
    ["out0 = gemm in in matmul NN 8x6x6", "out0 = map in exp", "out0 = gemm in in out0 addmm NN 8x6x6"],
  ],
  [
    "parts of parts",
    concat([concat([tanh, exp], 1), reshape(concat([softmax(x), mul(x, y)], 0), [8, 12])], 0),
    [...both, "out0 = softmax in softmax", "out0 = map in in mul"],
  ],
  [
    "several of one instruction",
    concat([mul(tanh, y), tanh], 0),
    ["t out0 = map in in tanh mul (2 results)", "out0 = map t copy"],
  ],
])("in place: %s", (_, n, want) => {
  expect(instructions(n).sort()).toEqual(want.sort());
});

test.each<[string, Node[], string[]]>([
  [
    "what others read",
    [concat([tanh, exp], 0), sum(tanh, [0])],
    ["t = map in tanh", "out0 = map t copy", "out0 = map in exp", "out1 = reduce t sum [1, 8, 6]"],
  ],
  ["results", [concat([tanh, exp], 0), tanh], ["out1 = map in tanh", "out0 = map out1 copy", "out0 = map in exp"]],
  ["twice the same", [concat([tanh, tanh], 0)], ["t = map in tanh", "out0 = map t copy", "out0 = map t copy"]],
  ["what lies there already", [concat([x, y], 1)], ["out0 = map in copy", "out0 = map in copy"]],
  [
    "kernels that write no columns",
    [concat([softmax(x), exp], 1)],
    ["t = softmax in softmax", "out0 = map t copy", "out0 = map in exp"],
  ],
  [
    "a part with gaps",
    [concat([pad(tanh, [0, 0], [8, 7]), exp], 1)],
    ["t = map zeros", "t = map in tanh", "out0 = map t copy", "out0 = map in exp"],
  ],
])("copied: %s", (_, outputs, want) => {
  expect(instructions(...outputs).sort()).toEqual(want.sort());
});
