/** Clipping: against PyTorch's definition, eager and compiled. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { close } from "../func/support.ts";

const { nn, tensor } = fl;

/** Two parameters with gradients [3, 0] and [-4], norm 5. */
function withGradients(): fl.Parameter[] {
  const a = new fl.Parameter(tensor([1, 1]));
  const b = new fl.Parameter(tensor([1]));
  a.select(0, 0).mul(3).sub(b.mul(4).sum()).backward();
  return [a, b];
}

describe("clipGradNorm", () => {
  test.each([
    [1, 2, 5, [3 / 5, 0], [-4 / 5]],
    [10, 2, 5, [3, 0], [-4]],
    [1, 1, 7, [3 / 7, 0], [-4 / 7]],
    [2, Number.POSITIVE_INFINITY, 4, [1.5, 0], [-2]],
    [0, 2, 5, [0, 0], [0]],
  ])("to %d in the %d-norm", async (maxNorm, normType, total, wantA, wantB) => {
    const [a, b] = withGradients();
    await close(nn.utils.clipGradNorm([a, b, new fl.Parameter(tensor([7]))], maxNorm, { normType }), [total], []);
    await close(a.grad as fl.Tensor, wantA);
    await close(b.grad as fl.Tensor, wantB);
  });

  test("works inside compiled steps: no step is longer than lr times the norm", async () => {
    fl.manualSeed(1);
    const model = new nn.Linear(4, 3);
    const optimizer = new fl.optim.SGD(model.parameters(), { lr: 1 });
    const step = fl.compile((x: fl.Tensor) => {
      optimizer.zeroGrad();
      model.forward(x).square().sum().mul(1e4).backward();
      const before = nn.utils.clipGradNorm(model.parameters(), 0.5);
      optimizer.step();
      return before;
    });
    const flat = async (): Promise<number[]> =>
      (await Promise.all(model.parameters().map(async (p) => [...(await p.data())]))).flat();
    const from = await flat();
    expect(await step(fl.randn([8, 4])).item()).toBeGreaterThan(1000);
    const to = await flat();
    expect(Math.hypot(...to.map((v, i) => v - from[i]))).toBeCloseTo(0.5, 5);
  });

  test("takes one tensor, says what does not fit", async () => {
    const [a] = withGradients();
    await close(nn.utils.clipGradNorm(a, 1), [3]);
    await close(nn.utils.clipGradNorm([], 1), [0]);
    expect(() => nn.utils.clipGradNorm([a], -1)).toThrow(
      /clipGradNorm: maxNorm must be a number of at least 0, got -1/,
    );
    expect(() => nn.utils.clipGradNorm([a], 1, { normType: 0 })).toThrow(fl.ValueError);
    expect(() => nn.utils.clipGradNorm(3 as never, 1)).toThrow(/parameters must be a tensor or a list/);
    expect(() => nn.utils.clipGradNorm([3 as never], 1)).toThrow(/parameters\[0\] is no tensor: 3/);
  });
});

test("clipGradValue limits each element", async () => {
  const [a, b] = withGradients();
  nn.utils.clipGradValue([a, b], 1.5);
  await close(a.grad as fl.Tensor, [1.5, 0]);
  await close(b.grad as fl.Tensor, [-1.5]);
  expect(() => nn.utils.clipGradValue([a], Number.NaN)).toThrow(fl.ValueError);
});
