/** @file What the compiler computes with constants is what the kernels compute with the same numbers, to the bit. */
import { afterAll, expect, test } from "vitest";
import { compileGraph } from "../../src/compile/compile.ts";
import { simplify } from "../../src/compile/simplify.ts";
import { allocate, type DType, DTYPES } from "../../src/core/dtype.ts";
import { DTypeError } from "../../src/core/errors.ts";
import { makeNode, type Node } from "../../src/graph/node.ts";
import { BINARY, cast, COMPARE, LOGICAL, UNARY } from "../../src/ops/elementwise.ts";
import { constant, constantValue, leaf } from "../../src/ops/leaf.ts";
import { Session } from "../../src/run/session.ts";

const session = new Session({ workers: 2 });
afterAll(() => session.dispose());

const FLOATS = [
  0,
  -0,
  1,
  -1,
  1e-45,
  3e38,
  0.1,
  0.7,
  0.4,
  -0.6,
  1.5,
  -2.5,
  255.9,
  256,
  3e9,
  -3e9,
  1e20,
  -1e20,
  Number.NaN,
  Infinity,
  -Infinity,
];
const VALUES: Record<DType, readonly number[]> = {
  float32: FLOATS,
  int32: [0, 1, -1, 2, -3, 7, 40, 255, 65537, 123456789, -987654321, 2147483647, -2147483648],
  uint8: [0, 1, 2, 3, 7, 40, 127, 128, 200, 254, 255],
  bool: [0, 1],
};

/** Compares f of each pair of numbers, as constants and as the elements of two tensors. */
async function sameOfConstants(name: string, dtype: DType, f: (a: Node, b: Node) => Node): Promise<void> {
  const pairs = VALUES[dtype].flatMap((a) => VALUES[dtype].map((b): [number, number] => [a, b]));
  const inputs = [0, 1].map(() => leaf([pairs.length], dtype));
  const output = f(inputs[0], inputs[1]);
  const program = compileGraph({ inputs, residents: [], outputs: [output], updates: [] });
  const arrays = [0, 1].map((k) => {
    const array = allocate(dtype, pairs.length);
    array.set(pairs.map((p) => p[k]));
    return array;
  });
  const [got] = await session.launch(program, { inputs: arrays, residents: [], updates: [] });
  const folded = simplify({
    inputs: [],
    residents: [],
    outputs: pairs.map(([a, b]) => f(constant(a, [1], dtype), constant(b, [1], dtype))),
    updates: [],
  }).outputs.map((n) => constantValue(n) as number);
  const want = allocate(output.dtype, pairs.length);
  want.set(folded);
  const different = pairs.flatMap(([a, b], i) =>
    Object.is(got[i], want[i]) ? [] : [`${name}(${a}, ${b}) is ${want[i]}, of tensors ${got[i]}`],
  );
  expect(different).toEqual([]);
}

/** Functions of one float that have one right result; kernels may round others twice. */
const { neg, abs, sqrt, reciprocal, square, sign, floor, ceil, round, trunc, frac, relu } = UNARY;
const EXACT = { neg, abs, sqrt, reciprocal, square, sign, floor, ceil, round, trunc, frac, relu };

test.each(DTYPES)("operations on %s", async (dtype) => {
  let count = 0;
  for (const table of [dtype === "float32" ? EXACT : UNARY, BINARY, COMPARE, LOGICAL])
    for (const op of Object.values(table)) {
      const arity = op.name in UNARY || op === LOGICAL.not ? 1 : 2;
      const f = (...xs: Node[]): Node => makeNode(op, xs.slice(0, arity));
      try {
        f(leaf([1], dtype), leaf([1], dtype));
      } catch (error) {
        expect(error).toBeInstanceOf(DTypeError);
        continue;
      }
      await sameOfConstants(op.name, dtype, f);
      count++;
    }
  expect(count).toBeGreaterThanOrEqual(dtype === "bool" ? 10 : 15);
});

test.each(DTYPES)("conversions of %s", async (dtype) => {
  for (const to of DTYPES) if (to !== dtype) await sameOfConstants(`${to} of ${dtype}`, dtype, (a) => cast(a, to));
});
