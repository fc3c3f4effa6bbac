/** Norms: what PyTorch's samples do not show. */
import { afterAll, describe, expect, test } from "vitest";
import { compileGraph } from "../../src/compile/compile.ts";
import * as fl from "../../src/index.ts";
import { vjp } from "../../src/diff/vjp.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { Session } from "../../src/run/session.ts";
import { random } from "../assembly/harness.ts";
import { expectClose } from "../ops/reference.ts";

const { nn, tensor } = fl;
const F = nn.functional;

afterAll(() => fl.dispose());

const close = (got: ArrayLike<number>, want: ArrayLike<number>, what = "values", loosen = 1): void =>
  expectClose(got, want, what, loosen);

const numbers = (n: number, seed: number, mean = 0): Float32Array => {
  const next = random(seed);
  // Uniform, of variance 1.
  return Float32Array.from({ length: n }, () => mean + Math.sqrt(12) * (next() - 0.5));
};

/** Rows of x less their mean, divided by their standard deviation, in float64. */
function standardized(x: Float32Array, width: number, eps: number): number[] {
  return Array.from({ length: x.length / width }, (_, r) => {
    const row = [...x.subarray(r * width, (r + 1) * width)];
    const mean = row.reduce((s, v) => s + v, 0) / width;
    const variance = row.reduce((s, v) => s + (v - mean) ** 2, 0) / width;
    return row.map((v) => (v - mean) / Math.sqrt(variance + eps));
  }).flat();
}

describe("elements of mean 1e6 and variance 1", () => {
  const x = numbers(2 * 16 * 100, 3, 1e6);
  const want = standardized(x, 1600, 1e-5);

  test("are standardised to what float64 makes of them, by every norm", async () => {
    close(await F.layerNorm(tensor(x, [2, 1600]), [1600]).data(), want);
    close(await F.groupNorm(tensor(x, [2, 16, 100]), 1).data(), want);
    close(await F.instanceNorm(tensor(x, [1, 2, 1600])).data(), want);
    const channels = tensor(x, [2, 16, 100]).permute(1, 0, 2);
    const y = F.batchNorm(channels, null, null, null, null, { training: true });
    close(await y.permute(1, 0, 2).data(), want);
    // One element of each channel in a sample.
    const columns = F.batchNorm(tensor(x, [2, 1600]).t(), null, null, null, null, { training: true });
    close(await columns.t().data(), want);
  });

  test("leave running statistics that are right", async () => {
    for (const shape of [
      [32, 2, 50],
      [1600, 2],
    ]) {
      const bn = new nn.BatchNorm1d(2, { momentum: 1 });
      const at = shape.length === 3 ? tensor(x, [2, 32, 50]).permute(1, 0, 2) : tensor(x, [2, 1600]).t();
      await bn.forward(at).data();
      const rows = [x.subarray(0, 1600), x.subarray(1600)].map((row) => {
        const mean = row.reduce((s, v) => s + v, 0) / 1600;
        return [mean, [...row].reduce((s, v) => s + (v - mean) ** 2, 0) / 1599];
      });
      expect([...((await bn.running_mean?.data()) ?? [])]).toEqual(rows.map(([m]) => Math.fround(m)));
      close(
        (await bn.running_var?.data()) as Float32Array,
        rows.map(([, v]) => v),
      );
    }
  });

  test("send back what they must", async () => {
    const g = numbers(x.length, 5);
    const [dx] = [F.layerNorm].map((f) =>
      fl.grad((t: fl.Tensor) =>
        f(t, [1600])
          .mul(tensor(g, [2, 1600]))
          .sum(),
      )(tensor(x, [2, 1600])),
    );
    const expected = [0, 1].flatMap((r) => {
      const [xhat, back] = [want, [...g]].map((a) => a.slice(r * 1600, (r + 1) * 1600));
      const row = [...x.subarray(r * 1600, (r + 1) * 1600)];
      const mean = row.reduce((s, v) => s + v, 0) / 1600;
      const root = 1 / Math.sqrt(row.reduce((s, v) => s + (v - mean) ** 2, 0) / 1600 + 1e-5);
      const total = back.reduce((s, v) => s + v, 0) / 1600;
      const along = back.reduce((s, v, i) => s + v * xhat[i], 0) / 1600;
      return back.map((v, i) => root * (v - total - xhat[i] * along));
    });
    close(await dx.data(), expected);
  });
});

describe("derivatives", () => {
  const maps: [string, (x: fl.Tensor, w: fl.Tensor) => fl.Tensor][] = [
    ["batchNorm", (x, w) => F.batchNorm(x, null, null, w, w.mul(2), { training: true })],
    ["batchNorm of columns", (x, w) => F.batchNorm(x.sum(2), null, null, w, w.mul(2), { training: true })],
    ["layerNorm", (x, w) => F.layerNorm(x, [4, 3], w.unsqueeze(1).expand(4, 3), w.unsqueeze(1).expand(4, 3).exp())],
    ["rmsNorm", (x, w) => F.rmsNorm(x.permute(0, 2, 1), [4], w)],
    ["groupNorm", (x, w) => F.groupNorm(x, 2, w, w.sin())],
    ["instanceNorm", (x, w) => F.instanceNorm(x, null, null, w, w.sin())],
    ["localResponseNorm", (x, w) => F.localResponseNorm(x.mul(w.unsqueeze(1)), 3, 0.5, 0.75, 1)],
    ["localResponseNorm to another power", (x, w) => F.localResponseNorm(x.mul(w.unsqueeze(1)), 20, 0.5, 0.6, 1)],
  ];

  test.each(maps)("of %s are right to second order, in both modes, for one example and for many", async (_, f) => {
    const [x, w] = [
      tensor(numbers(24, 1), [2, 4, 3]),
      tensor(
        numbers(4, 2).map((v) => v + 2),
        [4],
      ),
    ];
    const scalar = (a: fl.Tensor, b: fl.Tensor): fl.Tensor => f(a, b).mul(f(a, b).sin()).sum();
    await fl.gradcheck(f, [x, w]);
    await fl.gradgradcheck(f, [x, w]);
    const [forward, reverse] = [fl.jacfwd(fl.grad(scalar)), fl.jacrev(fl.grad(scalar))].map((h) => h(x, w));
    close(await forward.data(), await reverse.data(), "hessian", 4);
    const many = tensor(numbers(72, 7), [3, 2, 4, 3]);
    const whole = await fl
      .vmap((a: fl.Tensor) => f(a, w))(many)
      .data();
    const each = await Promise.all([0, 1, 2].map((i) => f(many.select(0, i), w).data()));
    close(
      whole,
      each.flatMap((a) => [...a]),
    );
    // Weights of their own for each.
    const weights = tensor(numbers(12, 9), [3, 4]);
    const own = await fl
      .vmap((a: fl.Tensor, b: fl.Tensor) => f(a, b))(many, weights)
      .data();
    const apart = await Promise.all([0, 1, 2].map((i) => f(many.select(0, i), weights.select(0, i)).data()));
    close(
      own,
      apart.flatMap((a) => [...a]),
    );
  });
});

describe("the program of a norm", () => {
  /** What a step of forward and backward runs, in order, for an input of a shape. */
  function program(shape: number[], channels: number, f: (x: fl.Tensor, w: fl.Tensor, b: fl.Tensor) => fl.Tensor) {
    const [x, w, b] = [leaf(shape, "float32"), leaf([channels], "float32"), leaf([channels], "float32")];
    const y = f(new fl.Tensor(x), new fl.Tensor(w), new fl.Tensor(b)).node;
    const g = leaf(y.shape, "float32");
    const outputs = [y, ...vjp([y], [g], [x, w, b]).filter((n) => n !== null)];
    return compileGraph({ inputs: [x, w, b, g], residents: [], outputs, updates: [] });
  }
  const train = { training: true };

  test("passes over the elements twice forward and twice backward, rows without a barrier between", () => {
    const names = (p: ReturnType<typeof program>): string[] => p.labels.map((l) => l.text).filter((t) => t !== "copy");
    const batch = program([32, 8, 16, 16], 8, (x, w, b) => F.batchNorm(x, null, null, w, b, train));
    expect(names(batch)).toEqual([
      "standardize (measure)",
      "barrier",
      "standardize (merge)",
      "standardize (apply)",
      "barrier",
      "standardizeInput (measure)",
      "barrier",
      "standardizeParameters [1, 8, 16]",
      "standardizeInput (apply)",
    ]);
    // Of more blocks and channels than each worker would merge for itself, one does it for all.
    const many = program([32, 2048, 8, 8], 2048, (x, w, b) => F.batchNorm(x, null, null, w, b, train));
    const order = names(many);
    expect(order.slice(order.indexOf("standardize (merge)"), order.indexOf("standardize (apply)"))).toContain(
      "barrier",
    );
    const layer = program([1024, 64], 64, (x, w, b) => F.layerNorm(x, [64], w, b));
    expect(names(layer).slice(0, 2)).toEqual(["standardize", "standardizeInput"]);
    const group = program([32, 8, 16, 16], 8, (x, w, b) => F.groupNorm(x, 2, w, b));
    expect(names(group)).toEqual(["standardize", "standardizeInput", "barrier", "standardizeParameters [1, 32, 16]"]);
  });

  test("gives the same bits on 1, 2, 3 and 4 workers, a batch of one included", async () => {
    const sessions = [1, 2, 3, 4].map((workers) => new Session({ workers }));
    const cases: [number[], number, Parameters<typeof program>[2]][] = [
      ...[1, 5, 32, 37].map((n): (typeof cases)[0] => [
        [n, 6, 9, 8],
        6,
        (x, w, b) => F.batchNorm(x, null, null, w, b, train),
      ]),
      [[300, 70], 70, (x, w, b) => F.batchNorm(x, null, null, w, b, train)],
      [[300, 70], 70, (x, w, b) => F.layerNorm(x, [70], w, b)],
      [[1, 70], 70, (x, w) => F.rmsNorm(x, [70], w)],
      [[1, 6, 40, 40], 6, (x, w, b) => F.groupNorm(x, 3, w, b)],
      [[9, 6, 11], 6, (x, w, b) => F.instanceNorm(x, null, null, w, b)],
      [[3, 6, 11], 6, (x, w) => F.localResponseNorm(x.mul(w.unsqueeze(1)), 4)],
    ];
    for (const [k, [shape, channels, f]] of cases.entries()) {
      const p = program(shape, channels, f);
      const n = shape.reduce((a, d) => a * d, 1);
      const inputs = [numbers(n, k + 1, 3), numbers(channels, k + 2), numbers(channels, k + 3), numbers(n, k + 4)];
      const runs = await Promise.all(sessions.map((s) => s.launch(p, { inputs, residents: [], updates: [] })));
      for (const run of runs)
        run.forEach((a, i) => expect(Buffer.from(a.buffer).equals(Buffer.from(runs[0][i].buffer))).toBe(true));
    }
    await Promise.all(sessions.map((s) => s.dispose()));
  });
});

describe("rmsNorm", () => {
  test("divides by the root of the mean square, with float32's epsilon", async () => {
    const values = [3, 4, 0, 0, 1e-4, -1e-4, 1e-4, 1e-4];
    const w = [1, 2, 3, 4];
    const want = (eps: number): number[] =>
      values.map((v, i) => {
        const row = values.slice(i - (i % 4), i - (i % 4) + 4);
        return (v / Math.sqrt(row.reduce((s, u) => s + u * u, 0) / 4 + eps)) * w[i % 4];
      });
    const x = tensor(values, [2, 4]);
    close(await F.rmsNorm(x, [4], tensor(w)).data(), want(2 ** -23));
    close(await F.rmsNorm(x, [4], tensor(w), 0.5).data(), want(0.5));
    const layer = new nn.RMSNorm(4);
    expect(Object.keys(layer.stateDict())).toEqual(["weight"]);
    layer.loadStateDict({ weight: tensor(w) });
    close(await layer.forward(x).data(), want(2 ** -23));
    expect(new nn.RMSNorm([2, 4], { elementwiseAffine: false }).parameters()).toEqual([]);
    close(await new nn.RMSNorm([2, 4], { elementwiseAffine: false, eps: 0 }).forward(x).square().mean().data(), [1]);
  });
});

describe("instanceNorm", () => {
  test("follows instances if it tracks them, and then counts in evaluation", async () => {
    const values = numbers(2 * 3 * 5, 8);
    const x = tensor(values, [2, 3, 5]);
    const layer = new nn.InstanceNorm1d(3, { trackRunningStats: true, affine: true, momentum: 0.5 });
    const state = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
    expect(Object.keys(layer.stateDict())).toEqual(state);
    close(await layer.forward(x).data(), standardized(values, 5, 1e-5));
    const rows = Array.from({ length: 6 }, (_, r) => [...values.subarray(r * 5, r * 5 + 5)]);
    const means = rows.map((row) => row.reduce((s, v) => s + v, 0) / 5);
    const variances = rows.map((row, r) => row.reduce((s, v) => s + (v - means[r]) ** 2, 0) / 4);
    const running = [0, 1, 2].map((c) => [(means[c] + means[c + 3]) / 4, 0.5 + (variances[c] + variances[c + 3]) / 4]);
    close(
      (await layer.running_mean?.data()) as Float32Array,
      running.map(([m]) => m),
    );
    close(
      (await layer.running_var?.data()) as Float32Array,
      running.map(([, v]) => v),
    );
    layer.eval();
    const want = [...values].map((v, i) => {
      const [m, s] = running[Math.floor(i / 5) % 3];
      return (v - m) / Math.sqrt(s + 1e-5);
    });
    close(await layer.forward(x).data(), want);
    // Without a batch it is one sample.
    close(await layer.forward(x.select(0, 1)).data(), want.slice(15));
  });
});

describe("evaluation by running statistics", () => {
  test("is one multiply-add for each element", async () => {
    const bn = new nn.BatchNorm2d(3);
    bn.eval();
    const step = fl.compile((x: fl.Tensor) => bn.forward(x).relu());
    await step(fl.ones([2, 3, 4, 4])).data();
    const { instructions } = await step.profile(fl.ones([2, 3, 4, 4]));
    const names = instructions.map((i) => i.name).filter((n) => n !== "barrier");
    expect(names[names.length - 1]).toBe("mul add relu");
    expect(names.length).toBeLessThan(6);
  });
});

describe("what norms do not take", () => {
  const x = fl.ones([2, 4, 3]);
  test.each<[string, () => unknown, string | RegExp]>([
    ["layerNorm", () => F.layerNorm(x, [4]), "layerNorm: shape [2, 4, 3] does not end in [4]"],
    ["its weight", () => F.layerNorm(x, [3], fl.ones([4])), "layerNorm: weight [4] does not have the shape [3]"],
    [
      "integers",
      () => F.layerNorm(fl.ones([2, 3], { dtype: "int32" }), [3]),
      "layerNorm: x has dtype int32, only float32 is supported",
    ],
    ["rmsNorm", () => F.rmsNorm(x, [3], fl.ones([3, 1])), "rmsNorm: weight [3, 1] does not have the shape [3]"],
    ["groupNorm", () => F.groupNorm(x, 3), "groupNorm: the channels of shape [2, 4, 3] do not divide into 3 groups"],
    ["its bias", () => F.groupNorm(x, 2, null, fl.ones([3])), "groupNorm: bias [3] does not fit the 4 channels"],
    ["one value", () => F.groupNorm(fl.ones([1, 4]), 4), "groupNorm: more than one value per group is wanted"],
    [
      "one place",
      () => F.instanceNorm(fl.ones([2, 4, 1])),
      "instanceNorm: more than one value per channel of a sample",
    ],
    ["no places", () => F.instanceNorm(fl.ones([2, 4])), "instanceNorm: shape [2, 4] has no axes beside"],
    [
      "no running statistics",
      () => F.instanceNorm(x, null, null, null, null, { useInputStats: false }),
      "instanceNorm: runningMean and runningVar are wanted where `useInputStats` is false",
    ],
    ["channels", () => new nn.InstanceNorm1d(3).forward(x), "InstanceNorm1d: [2, 4, 3] does not have 3 channels"],
    [
      "axes",
      () => new nn.InstanceNorm2d(3).forward(fl.ones([2, 3])),
      "InstanceNorm2d: the input must have 3 or 4 axes",
    ],
    [
      "axes of volumes",
      () => new nn.BatchNorm3d(3).forward(x),
      "BatchNorm3d: the input must have 5 axes, got [2, 4, 3]",
    ],
    ["groups", () => new nn.GroupNorm(3, 4), "GroupNorm: 4 channels do not divide into 3 groups"],
    ["no groups", () => new nn.GroupNorm(0, 4), "GroupNorm: numGroups must be an integer >= 1, got 0"],
    ["no shape", () => new nn.LayerNorm([]), "LayerNorm: normalizedShape [] has no axis or no elements"],
    ["an empty shape", () => new nn.RMSNorm([3, 0]), "RMSNorm: normalizedShape [3, 0] has no axis or no elements"],
    ["half a channel", () => new nn.RMSNorm(1.5), "RMSNorm"],
    ["a size", () => new nn.LocalResponseNorm(0), "LocalResponseNorm: size must be an integer >= 1, got 0"],
  ])("%s", (_, f, message) => {
    expect(f).toThrow(message);
    expect(f).toThrow(fl.FourlaneError);
  });

  test("nothing comes back as nothing", async () => {
    expect((await F.layerNorm(fl.ones([0, 3]), [3]).data()).length).toBe(0);
    expect((await F.groupNorm(fl.ones([0, 4, 3]), 2).data()).length).toBe(0);
    expect((await F.instanceNorm(fl.ones([0, 4, 3])).data()).length).toBe(0);
    expect((await F.localResponseNorm(fl.ones([2, 0, 3]), 2).data()).length).toBe(0);
    const w = new fl.Parameter(fl.ones([3]));
    F.layerNorm(fl.ones([0, 3]), [3], w, w)
      .sum()
      .backward();
    expect(await w.grad?.array()).toEqual([0, 0, 0]);
  });
});
