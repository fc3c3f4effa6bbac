/** @file What looks like Adam's update, and is, has one instruction; what only looks like it has its own value all the same. */
import { afterAll, expect, test } from "vitest";
import { compileGraph } from "../../src/compile/compile.ts";
import type { Node } from "../../src/graph/node.ts";
import { add, apply, BINARY, mul, scale, shift, sub, UNARY } from "../../src/ops/elementwise.ts";
import { interpret, type Values } from "../../src/ops/interpret.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { expand } from "../../src/ops/movement.ts";
import { Session } from "../../src/run/session.ts";
import { expectClose } from "../ops/reference.ts";

const session = new Session({ workers: 2 });
afterAll(() => session.dispose());

const SHAPE = [3, 5];
const one = leaf([1], "float32");
const [w, m, v, g] = Array.from({ length: 4 }, () => leaf(SHAPE, "float32"));
const INPUTS = [w, m, v, g, one];

const moment = (old: Node, from: Node): Node => add(scale(old, 0.9), scale(from, 0.1));
const newM = moment(m, g);
const newV = moment(v, mul(g, g));
const quotient = (a: Node, b: Node): Node =>
  apply(BINARY.div, mul(expand(one, SHAPE), a), shift(mul(apply(UNARY.sqrt, b), expand(one, SHAPE)), 1e-8));
const [mOfV, vOfM] = [moment(newV, g), moment(newM, mul(g, g))];

test.each<[string, number, Node[]]>([
  ["Adam", 1, [sub(w, quotient(newM, newV)), newM, newV]],
  ["a parameter that is the new mean", 0, [sub(newM, quotient(newM, newV)), newM, newV]],
  ["a parameter that is its own step", 0, [sub(quotient(newM, newV), quotient(newM, newV))]],
  ["a mean of the new mean square", 0, [sub(w, quotient(mOfV, newV)), mOfV, newV]],
  ["a mean square of the new mean", 0, [sub(w, quotient(newM, vOfM)), newM, vOfM]],
])("%s: %d instruction of its own", async (_, count, outputs) => {
  const values: Values = new Map(
    INPUTS.map((n, i) => [
      n,
      Float64Array.from({ length: i < 4 ? 15 : 1 }, (_x, k) => Math.fround(0.2 + ((7 * k + i) % 11))),
    ]),
  );
  const program = compileGraph({ inputs: INPUTS, residents: [], outputs, updates: [] });
  expect(program.labels.filter((l) => l.text === "adam").length).toBe(count);
  const inputs = INPUTS.map((n) => Float32Array.from(values.get(n) as Float64Array));
  const got = await session.launch(program, { inputs, residents: [], updates: [] });
  const want = interpret(outputs, values);
  outputs.forEach((n, i) => expectClose(got[i], want.get(n) as Float64Array, `result ${i}`));
});
