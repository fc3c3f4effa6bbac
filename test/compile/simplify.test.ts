import { describe, expect, test } from "vitest";
import "../../src/index.ts"; // and with it what extensions teach the compiler
import { simplify } from "../../src/compile/simplify.ts";
import { type Attrs, type Computation, makeNode, type Node } from "../../src/graph/node.ts";
import { printGraph } from "../../src/graph/print.ts";
import { matmul } from "../../src/ops/contract.ts";
import { add, apply, mul, neg, scale, SELECT, UNARY } from "../../src/ops/elementwise.ts";
import { constant, leaf } from "../../src/ops/leaf.ts";
import { alias, detach } from "../../src/ops/identity.ts";
import { expand, permute, reshape, transposeLast } from "../../src/ops/movement.ts";
import { maxTaps, putTaps, takeTaps } from "../../src/ops/pooling.ts";

const x = leaf([2, 3], "float32");
const y = leaf([2, 3], "float32");

function graphOf(...outputs: Node[]): Computation {
  return { inputs: [x, y], residents: [], outputs, updates: [] };
}

const after = (...outputs: Node[]): string => `\n${printGraph(simplify(graphOf(...outputs)))}\n`;

describe("simplify", () => {
  test("equal subexpressions become one node", () => {
    const outputs = [add(mul(x, y), mul(x, y)), mul(x, y)];
    expect(`\n${printGraph(graphOf(...outputs))}\n`).toBe(`
%0 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%1 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%2 float32[2, 3] = mul %0 %1
%3 float32[2, 3] = mul %0 %1
%4 float32[2, 3] = add %2 %3
%5 float32[2, 3] = mul %0 %1
return %4, %5
`);
    expect(after(...outputs)).toBe(`
%0 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%1 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%2 float32[2, 3] = mul %0 %1
%3 float32[2, 3] = add %2 %2
return %3, %2
`);
  });

  test("what flows back through max pooling of a relu is masked in its windows, if they are of that relu", () => {
    const of = { kernel: [2], stride: [2], dilation: [1], padding: [0], adaptive: false };
    const image = leaf([2, 6], "float32");
    const relu = apply(UNARY.relu, image);
    const taps = maxTaps(relu, of, [3]);
    const values = takeTaps(relu, taps, of, Number.NEGATIVE_INFINITY);
    const back = (mask: Node): Node => apply(SELECT.reluMask, putTaps(x, taps, of, [6]), mask);
    const shown = (...outputs: Node[]): string =>
      `\n${printGraph(simplify({ inputs: [x, image], residents: [], outputs, updates: [] }))}\n`;
    expect(shown(values, back(relu))).toBe(`
%0 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%1 float32[2, 6] = leaf {shape=[2,6], dtype=float32}
%2 float32[2, 6] = relu %1
%3 uint8[2, 3] = maxTaps %2 {kernel=[2], stride=[2], dilation=[1], padding=[0], adaptive=false, size=[3]}
%4 float32[2, 3] = takeTaps %2 %3 {kernel=[2], stride=[2], dilation=[1], padding=[0], adaptive=false, outside=-Infinity}
%5 float32[2, 3] = reluMask %0 %4
%6 float32[2, 6] = putTaps %5 %3 {kernel=[2], stride=[2], dilation=[1], padding=[0], adaptive=false, size=[6]}
return %4, %6
`);
    expect(shown(back(image))).toMatch(/reluMask %\d+ %1\n/);
  });

  test("operations with different attributes stay apart, whichever of them comes first and has more", () => {
    const z = transposeLast(y);
    const [plain, precise] = [matmul(x, z), matmul(x, z, true)];
    for (const outputs of [
      [plain, precise],
      [precise, plain],
    ])
      expect(simplify(graphOf(...outputs)).outputs.map((n) => n.attrs.precise)).toEqual(
        outputs.map((n) => n.attrs.precise),
      );
  });

  test("an attribute that is undefined is none", () => {
    const [x1, x2] = [{}, { precise: undefined }].map((attrs) => makeNode<Attrs>(UNARY.exp, [x], attrs));
    for (const outputs of [
      [x1, x2],
      [x2, x1],
    ])
      expect(new Set(simplify(graphOf(...outputs)).outputs).size).toBe(1);
  });

  test("different leaves stay apart, as do operations on them", () => {
    expect(after(neg(x), neg(y)).match(/neg/g)?.length).toBe(2);
  });

  test("aliases, detached values, products with one and double negations disappear", () => {
    expect(after(neg(neg(detach(alias(scale(x, 1))))))).toContain("return %0\n");
  });

  test("x + 0 stays: it changes -0", () => {
    expect(after(add(x, constant(0, [2, 3])))).toContain("add");
  });

  test("views of views merge", () => {
    const moved = reshape(reshape(permute(permute(x, [1, 0]), [1, 0]), [6]), [3, 2]);
    expect(after(moved)).toBe(`
%0 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%1 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%2 float32[3, 2] = reshape %0 {shape=[3,2]}
return %2
`);
  });

  test("constants fold, and -0 is not 0", () => {
    expect(after(add(expand(constant(2), [2, 3]), apply(UNARY.square, constant(3, [2, 3]))))).toContain("value=11");
    expect(after(mul(x, constant(0, [2, 3])), mul(x, constant(-0, [2, 3]))).match(/mul/g)?.length).toBe(2);
  });

  test("the transpose of a product nobody else uses is the product of the transposes", () => {
    const product = matmul(x, transposeLast(y));
    expect(after(transposeLast(product))).toBe(`
%0 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%1 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%2 float32[3, 2] = permute %0 {axes=[1,0]}
%3 float32[2, 2] = matmul %1 %2
return %3
`);
    expect(after(transposeLast(product), product)).toContain("permute %3 {axes=[1,0]}");
  });

  test("rewritten products of different operands do not become one node", () => {
    const a = transposeLast(matmul(transposeLast(x), x));
    const b = transposeLast(matmul(transposeLast(y), y));
    expect(after(a, b).match(/matmul/g)?.length).toBe(2);
  });
});
