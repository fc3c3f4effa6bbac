/** Loops in programs: as long for many steps as for few, in memory where results go, without barriers where rows are cut alike. */
import { afterAll, describe, expect, test } from "vitest";
import * as isa from "../../assembly/isa.ts";
import * as fl from "../../src/index.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import { record } from "../../src/trace/record.ts";
import type { Program } from "../../src/program/program.ts";

afterAll(() => fl.dispose());

type T = fl.Tensor;

const insideOf = ({ labels }: Program): string[][] =>
  labels.flatMap(({ inside = 0 }, k) => (inside > 0 ? [labels.slice(k + 1, k + 1 + inside).map((l) => l.text)] : []));

/** A training step of an LSTM over `steps`, and a linear layer on what it holds after the last. */
function lstm(steps: number, batch = 32): Program {
  const layer = new fl.nn.LSTM(64, 128);
  const head = new fl.nn.Linear(128, 10);
  const optimizer = new fl.optim.Adam([...layer.parameters(), ...head.parameters()]);
  const step = (x: T, y: T): T => {
    optimizer.zeroGrad();
    const loss = fl.crossEntropy(head.forward(layer.forward(x)[0].select(0, -1)), y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  const args: [T, T] = [fl.zeros([steps, batch, 64]), fl.zeros([batch], { dtype: "int32" })];
  return compileGraph(record(step, args, "test").graph);
}

test("a program is as long for 512 steps as for 8, in the same phases", () => {
  const [few, many] = [8, 512].map((steps) => lstm(steps, 4));
  expect(many.code.length).toBe(few.code.length);
  const texts = ({ labels }: Program): string[] => labels.map((l) => l.text.replace(/\d+/g, "n")).sort();
  expect(texts(many)).toEqual(texts(few));
  expect(many.phases).toBe(few.phases);
});

describe("an LSTM of 32 steps", () => {
  const program = lstm(32);
  const labels = program.labels;
  /** Of each loop, what is in it. */
  const loops = insideOf(program);

  test("plans 8 MB at most", () => {
    expect(program.plan.bytes).toBeLessThanOrEqual(8 * 2 ** 20);
    expect(program.plan.bytes / program.plan.lowerBound).toBeLessThanOrEqual(1.05);
  });

  test("is two loops without a barrier: a product and what gates do, there and back", () => {
    expect(loops).toHaveLength(2);
    expect(loops.flat()).not.toContain("barrier");
    expect(loops.map((texts) => texts.filter((t) => t.startsWith("matmul")))).toEqual([
      ["matmul NN 32x128x512"],
      ["matmul NT 32x512x128"],
    ]);
  });

  test("has one product over all steps with the input, and one for each gradient of a weight", () => {
    const outside = labels.filter((_, k) => !labels.some((o, j) => j < k && k <= j + (o.inside ?? 0)));
    expect(outside.map((l) => l.text).filter((t) => /1024/.test(t) && t.startsWith("matmul"))).toEqual([
      "matmul NT 1024x64x512",
      "matmul TN 512x1024x64",
      "matmul TN 512x1024x128",
    ]);
  });

  test("reads as what it is", () => {
    expect(program.print()).toMatch(
      /= loop .* loop of 32 steps -> float32\[32, 32, 128\].*\n {6}matmul NN 32x128x512 -> float32\[32, 512\]\n/,
    );
  });
});

/** What is in a program's loops, the outermost, instruction by instruction. */
const inLoops = (f: (...args: T[]) => T | T[], args: T[]): string[][] =>
  insideOf(compileGraph(record(f, args, "test").graph));

describe("a body", () => {
  test("of rows needs no barrier; one that mixes them has one for each phase and one behind", () => {
    const args = [fl.zeros([256, 128]), fl.zeros([3, 256, 128])];
    const rows = inLoops((h, xs) => fl.scan((c: T, x: T) => [c.add(x).tanh(), c.mul(2)], h, xs), args);
    expect(rows).toEqual([["add tanh", "mul"]]);
    const [mixed] = inLoops((h, xs) => fl.scan((c: T, x: T) => [c.sub(c.mean(0, true)).add(x), c], h, xs), args);
    expect(mixed.filter((t) => t === "barrier").length).toBeGreaterThan(1);
    expect(mixed.at(-1)).toBe("barrier");
  });

  test("computes what is asked for: not a carry that nothing needs, nor twice what is the same", () => {
    const f = (xs: T) =>
      fl.scan(
        ([p, q]: [T, T], x: T) => [[p.add(x.sin()), q.mul(x.exp())] as [T, T], x.sin().mul(3)],
        [fl.zeros([]), fl.zeros([])] as [T, T],
        xs,
      )[0][0];
    expect(inLoops(f, [fl.zeros([9])])).toEqual([["sin add"]]);
  });

  test("is compiled by all passes: borders are read in place there too", async () => {
    const weight = fl.tensor(
      Float32Array.from({ length: 9 }, (_, i) => i / 10),
      [1, 1, 3, 3],
    );
    const image = fl.tensor(
      Float32Array.from({ length: 64 }, (_, i) => Math.sin(i)),
      [1, 1, 8, 8],
    );
    const conv = (x: T): T => fl.nn.functional.conv2d(x, weight, null, { padding: 1, paddingMode: "reflect" });
    const [looped] = fl.scan((c: T) => [conv(c).tanh(), null], image, null, { length: 3 });
    const want = await conv(conv(conv(image).tanh()).tanh())
      .tanh()
      .data();
    (await looped.data()).forEach((v, i) => expect(v).toBeCloseTo(want[i], 5));
  });

  test("writes its results where they go: no buffer of all steps beside them", () => {
    const f = (xs: T) => fl.scan((c: T, x: T) => [c.add(x).tanh(), c.mul(x)], fl.zeros([64, 64]), xs)[1];
    const xs = fl.zeros([100, 64, 64]);
    const { plan } = compileGraph(record(f, [xs], "test").graph);
    expect(plan.bytes).toBeLessThan(6 * 64 * 64 * 4);
  });
});

test("opcodes below 0 are the worker's own", () => {
  expect(isa.Opcode.Loop).toBeLessThan(0);
});
