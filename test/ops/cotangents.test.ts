/** @file Sums of what flows back to slices: as graphs, before and after, and against sums of tensors of zeros. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Shape } from "../../src/core/shape.ts";
import { gradients } from "../../src/diff/vjp.ts";
import { isOp, type Node, toposort } from "../../src/graph/node.ts";
import { printGraph } from "../../src/graph/print.ts";
import { sumCotangents } from "../../src/ops/cotangents.ts";
import { add, apply, UNARY } from "../../src/ops/elementwise.ts";
import { interpret } from "../../src/ops/interpret.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { MOVEMENT, padAll, slice, sum } from "../../src/ops/movement.ts";

/** A leaf in a tensor of zeros. */
const at = (shape: Shape, begin: number[], size: number[], step = begin.map(() => 1)): Node =>
  padAll([{ x: leaf(size, "float32"), begin, step }], shape);

const after = (...terms: Node[]): string => {
  const lines = printGraph({ outputs: [sumCotangents(terms)] }).split("\n");
  return `\n${lines.filter((line) => !line.includes("leaf")).join("\n")}\n`;
};

test("halves, in any order, are one tensor", () => {
  const halves = [at([2, 6], [0, 3], [2, 3]), at([2, 6], [0, 0], [2, 3])];
  expect(`\n${printGraph({ outputs: [halves.reduce(add)] })}\n`).toBe(`
%0 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%1 float32[2, 6] = pad %0 {begin=[0,3], step=[1,1], shape=[2,6]}
%2 float32[2, 3] = leaf {shape=[2,3], dtype=float32}
%3 float32[2, 6] = pad %2 {begin=[0,0], step=[1,1], shape=[2,6]}
%4 float32[2, 6] = add %1 %3
return %4
`);
  expect(after(...halves)).toBe(`
%2 float32[2, 6] = pad %0 %1 {begin=[0,0,0,3], step=[1,1,1,1], shape=[2,6]}
return %2
`);
});

test("a grid, and what is beside it", () => {
  const cells = [0, 1, 2, 3].map((i) => at([4, 6], [2 * (i >> 1), 3 * (i & 1)], [2, 3]));
  expect(after(...cells.slice(1), leaf([4, 6], "float32"))).toBe(`
%3 float32[4, 6] = pad %0 %1 %2 {begin=[0,3,2,0,2,3], step=[1,1,1,1,1,1], shape=[4,6]}
%5 float32[4, 6] = add %3 %4
return %5
`);
});

test("every other one, from the first and from the second on", () => {
  expect(after(at([7], [0], [4], [2]), at([7], [1], [3], [2]))).toBe(`
%2 float32[7] = pad %0 %1 {begin=[0,1], step=[2,2], shape=[7]}
return %2
`);
});

test("what overlaps is added, of one place there", () => {
  expect(after(at([8], [0], [4]), at([8], [2], [4]), at([8], [4], [4]), at([8], [2], [4]))).toBe(`
%2 float32[8] = pad %0 %1 {begin=[0,4], step=[1,1], shape=[8]}
%5 float32[4] = add %3 %4
%6 float32[8] = pad %5 {begin=[2], step=[1], shape=[8]}
%7 float32[8] = add %2 %6
return %7
`);
});

test("one alone, and none of an empty slice, stay as they are", () => {
  const [one, none] = [at([4], [1], [2]), at([4], [1], [0])];
  expect(sumCotangents([one])).toBe(one);
  expect(after(one, none)).toContain("add");
});

test("pieces of any place and step: the same sum, in which none overlap", () => {
  const axis = fc.record({
    extent: fc.integer({ min: 1, max: 9 }),
    at: fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
  });
  const term = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 3 })), { minLength: 3, maxLength: 3 });
  fc.assert(
    fc.property(
      fc.array(axis, { minLength: 1, maxLength: 3 }),
      fc.array(term, { minLength: 1, maxLength: 12 }),
      (axes, list) => {
        const shape = axes.map((a) => a.extent);
        const terms = list.map((numbers) => {
          const begin = shape.map((d, i) => numbers[i][0] % d);
          const step = shape.map((_, i) => numbers[i][2]);
          const size = shape.map((d, i) => numbers[i][1] % (Math.ceil((d - begin[i]) / step[i]) + 1));
          return at(shape, begin, size, step);
        });
        const [got, want] = [sumCotangents(terms), terms.reduce(add)];
        const values = new Map(
          terms.map(({ src: [x] }, k) => [
            x,
            Float64Array.from({ length: x.shape.reduce((a, b) => a * b, 1) }, (_, i) => 2 ** k * (i + 1)),
          ]),
        );
        const all = interpret([got, want], values);
        expect(all.get(got)).toEqual(all.get(want));
        for (const n of toposort([got])) {
          if (!isOp(n, MOVEMENT.pad)) continue;
          // With ones for all sources, places that two of them have would have a two.
          const ones = padAll(
            n.src.map((x, i) => ({
              x: leaf(x.shape, "float32"),
              begin: n.attrs.begin.slice(i * shape.length, (i + 1) * shape.length),
              step: n.attrs.step.slice(i * shape.length, (i + 1) * shape.length),
            })),
            shape,
          );
          const count = interpret(
            [
              sum(
                ones,
                shape.map((_, i) => i),
              ),
            ],
            new Map(ones.src.map((x) => [x, new Float64Array(x.shape.reduce((a, b) => a * b, 1)).fill(1)])),
          );
          const placed = [...count.values()].at(-1) as Float64Array;
          expect(placed[0]).toBe(n.src.reduce((s, x) => s + x.shape.reduce((a, b) => a * b, 1), 0));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("time grows about as the number of pieces: 20,000 rows, and 20,000 windows", () => {
  const [rows, windows] = [1, 8].map((extent) => {
    const x = leaf([20_008, 2], "float32");
    const y = Array.from({ length: 20_000 }, (_, i) => sum(slice(x, [i, 0], [extent, 2]), [0, 1])).reduce(add);
    return toposort(gradients(apply(UNARY.tanh, y), [x])).filter((n) => isOp(n, MOVEMENT.pad)).length;
  });
  expect([rows, windows]).toEqual([1, 8]);
});
