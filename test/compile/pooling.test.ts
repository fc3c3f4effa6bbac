/** Max pooling in programs: one pass for values and taps, and no barrier around it where samples are cut alike. */
import { afterAll, describe, expect, test } from "vitest";
import "../../src/index.ts"; // and with it what extensions teach the compiler
import { compileGraph } from "../../src/compile/compile.ts";
import { vjp } from "../../src/diff/vjp.ts";
import type { Node } from "../../src/graph/node.ts";
import { add, apply, mul, UNARY } from "../../src/ops/elementwise.ts";
import { convolution } from "../../src/ops/convolution.ts";
import { interpret } from "../../src/ops/interpret.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { expand, reshape } from "../../src/ops/movement.ts";
import { maxTaps, type PoolSizes, sumWindows, takeTaps } from "../../src/ops/pooling.ts";
import { Session } from "../../src/run/session.ts";
import { random } from "../assembly/harness.ts";
import { expectClose } from "../ops/reference.ts";

const session = new Session({ workers: 2 });
afterAll(() => session.dispose());

const ones = [1, 1];
const quarters: PoolSizes = { kernel: [2, 2], stride: [2, 2], dilation: ones, padding: [0, 0], adaptive: false };
const others: PoolSizes = { ...quarters, padding: [1, 1] };

const compiled = (inputs: Node[], outputs: Node[]) => compileGraph({ inputs, residents: [], outputs, updates: [] });

describe("one pass", () => {
  const x = leaf([2, 3, 6, 6], "float32");
  const y = leaf([2, 3, 6, 6], "float32");
  const taps = maxTaps(x, quarters, [3, 3]);
  const values = takeTaps(x, taps, quarters, Number.NEGATIVE_INFINITY);
  const data = new Map([x, y].map((n, i) => [n, Float64Array.from({ length: 216 }, random(i + 5)).map(Math.fround)]));

  test.each<[string, string[], Node[]]>([
    ["values", ["maxPool"], [values]],
    ["values and taps", ["maxPool"], [values, taps]],
    ["taps", ["maxPool"], [taps]],
    ["values and those of another", ["maxPool", "takeTaps"], [values, takeTaps(y, taps, quarters, 0)]],
    ["values twice, once with another filling", ["maxPool", "takeTaps"], [values, takeTaps(x, taps, quarters, 0)]],
    ["taps of other windows", ["maxPool", "takeTaps"], [takeTaps(x, maxTaps(x, others, [3, 3]), quarters, 0)]],
  ])("%s: %j", async (_, texts, outputs) => {
    const program = compiled([x, y], outputs);
    expect(program.labels.map((l) => l.text).filter((t) => t !== "copy")).toEqual(texts);
    const inputs = [x, y].map((n) => Float32Array.from(data.get(n) as Float64Array));
    const got = await session.launch(program, { inputs, residents: [], updates: [] });
    const want = interpret(outputs, data);
    outputs.forEach((n, i) => expectClose(got[i], want.get(n) as Float64Array, `result ${i}`));
  });
});

/** Convolution, bias, relu and pooling, twice, and what flows back to the input. */
test.each([
  ["max", (x: Node, count: number[]) => takeTaps(x, maxTaps(x, quarters, count), quarters, Number.NEGATIVE_INFINITY)],
  ["sums", (x: Node, count: number[]) => sumWindows(x, quarters, count)],
])("%s: samples stay with their worker, there and back", (_, pool) => {
  const of = { stride: ones, dilation: ones, padding: ones, groups: 1 };
  const layer = (x: Node, w: Node, b: Node, n: number): Node => {
    const y = convolution(x, w, of, [n, n]);
    const bias = expand(reshape(b, [1, b.shape[0], 1, 1]), y.shape);
    return pool(apply(UNARY.relu, add(y, bias)), [n / 2, n / 2]);
  };
  const leaves = [[32, 3, 16, 16], [8, 3, 3, 3], [8], [16, 8, 3, 3], [16]].map((shape) => leaf(shape, "float32"));
  const [x, w1, b1, w2, b2] = leaves;
  const y = layer(layer(x, w1, b1, 16), w2, b2, 8);
  // Before that, the kernels of the second layer at the points of minimal filtering.
  expect(compiled(leaves, [y]).phases).toBe(2);
  const [g] = vjp([mul(y, y)], [mul(y, y)], [x]);
  expect(compiled(leaves, [y, g as Node]).phases).toBe(2);
});
