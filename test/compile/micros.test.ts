/** @file Whatever an elementwise operation takes, there is a micro-operation for. */
import { expect, test } from "vitest";
import { microsOf } from "../../src/compile/lower/micros.ts";
import { type DType, DTYPES } from "../../src/core/dtype.ts";
import { DTypeError } from "../../src/core/errors.ts";
import { makeNode, type Node, type OpDef } from "../../src/graph/node.ts";
import { BINARY, cast, COMPARE, LOGICAL, SELECT, UNARY } from "../../src/ops/elementwise.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { OPS } from "../../src/ops/table.ts";

/** The operation on operands of these dtypes; undefined if it takes none such. */
function on(op: OpDef, dtypes: readonly DType[]): Node | undefined {
  try {
    const operands = dtypes.map((dtype) => leaf([2], dtype));
    return makeNode(op, operands);
  } catch (error) {
    if (error instanceof DTypeError) return undefined;
    throw error;
  }
}

/** All lists of so many dtypes. */
const tuples = (count: number): DType[][] =>
  count === 0 ? [[]] : tuples(count - 1).flatMap((t) => DTYPES.map((d) => [...t, d]));

const ARITIES: [Record<string, OpDef>, (name: string) => number][] = [
  [UNARY, () => 1],
  [BINARY, () => 2],
  [COMPARE, () => 2],
  [LOGICAL, (name) => (name === "not" ? 1 : 2)],
  [{ where: SELECT.where }, () => 3],
  [{ geluSlope: SELECT.geluSlope }, () => 1],
  [{ reluMask: SELECT.reluMask, relu6Mask: SELECT.relu6Mask }, () => 2],
];
const ELEMENTWISE = ARITIES.flatMap(([ops, arity]) =>
  Object.entries(ops).map(([name, op]): [string, OpDef, number] => [name, op, arity(name)]),
);

test.each(ELEMENTWISE)("%s", (_, op, arity) => {
  const nodes = tuples(arity).flatMap((dtypes) => on(op, dtypes) ?? []);
  expect(nodes.length).toBeGreaterThan(0);
  for (const n of nodes) expect(microsOf(n).length, n.src.map((s) => s.dtype).join()).toBeGreaterThan(0);
});

test("conversions between any two dtypes", () => {
  for (const from of DTYPES)
    for (const to of DTYPES) {
      const n = cast(leaf([2], from), to);
      if (from !== to) expect(microsOf(n).length, `${from} to ${to}`).toBeGreaterThan(0);
    }
});

test("are all elementwise operations of the table", () => {
  const elementwise = Object.keys(OPS).filter((name) => OPS[name].kind === "elementwise");
  expect([...ELEMENTWISE.map(([name]) => name), "cast"].sort()).toEqual(elementwise.sort());
});
