import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

afterAll(() => fl.dispose());

const { nn, tensor } = fl;
const F = nn.functional;
const i32 = (values: fl.NestedArray): fl.Tensor => tensor(values, { dtype: "int32" });
const flat = async (x: fl.Tensor): Promise<number[]> => [...(await x.data())];
const expectClose = (got: number[], want: number[]): void => {
  expect(got.length).toBe(want.length);
  got.forEach((v, i) => expect(v).toBeCloseTo(want[i], 4));
};

describe("convolution", () => {
  test("layers have PyTorch's shapes and start within 1/sqrt(fan in)", async () => {
    const conv = new nn.Conv2d(4, 6, [3, 2], { groups: 2, stride: 2, padding: 1 });
    expect(conv.weight.shape).toEqual([6, 2, 3, 2]);
    expect(Object.keys(conv.stateDict())).toEqual(["weight", "bias"]);
    const largest = Math.max(...(await flat(conv.weight)).map(Math.abs));
    expect(largest).toBeLessThanOrEqual(1 / Math.sqrt(12));
    expect(largest).toBeGreaterThan(0.8 / Math.sqrt(12));
    expect(conv.forward(fl.ones([5, 4, 8, 8])).shape).toEqual([5, 6, 4, 5]);
    const transposed = new nn.ConvTranspose2d(4, 6, 3, { stride: 2, outputPadding: 1, bias: false });
    expect(transposed.weight.shape).toEqual([4, 6, 3, 3]);
    expect(transposed.bias).toBeNull();
    expect(transposed.forward(fl.ones([4, 5, 5])).shape).toEqual([6, 12, 12]);
    expect(new nn.Conv1d(2, 3, 3, { padding: "same" }).forward(fl.ones([1, 2, 7])).shape).toEqual([1, 3, 7]);
    expect(() => new nn.Conv2d(3, 4, 3, { groups: 2 })).toThrow("4 and 3 channels do not divide into 2 groups");
    expect(() => new nn.Conv2d(3, 4, [3])).toThrow(fl.ValueError);
    expect(() => new nn.Conv2d(0, 4, 3)).toThrow("inChannels must be an integer >= 1, got 0");
  });

  test.each([
    { stride: 1, padding: 0, dilation: 1, groups: 1, outputPadding: 0 },
    { stride: 2, padding: 1, dilation: 1, groups: 2, outputPadding: 1 },
    { stride: 3, padding: 4, dilation: 2, groups: 1, outputPadding: 2 },
  ])("transposed is the adjoint: <conv x, y> = <x, transposed y> (%o)", async (options) => {
    const { stride, padding, dilation, groups } = options;
    const conv = { stride, padding, dilation, groups };
    const w = fl.randn([4, 4 / groups, 3, 3]);
    const y = fl.randn([2, 4, 5, 5]);
    const back = F.convTranspose2d(y, w, null, options);
    const x = fl.randn(back.shape);
    const forward = F.conv2d(x, w, null, conv);
    expect(forward.shape).toEqual(y.shape);
    const [a, b] = await flat(fl.stack([forward.mul(y).sum(), x.mul(back).sum()]));
    expect(Math.abs(a - b)).toBeLessThan(1e-3);
    // And what flows back through conv2d is what convTranspose2d computes.
    const g = fl.grad((t: fl.Tensor) => F.conv2d(t, w, null, conv).mul(y).sum())(x);
    expectClose(await flat(g), await flat(back));
  });

  test("large ones agree with the sum over their taps", async () => {
    const x = fl.randn([2, 8, 20, 20]);
    const w = fl.randn([16, 8, 3, 3]);
    let want = fl.zeros([2, 16, 18, 18]);
    for (let i = 0; i < 3; i++)
      for (let j = 0; j < 3; j++) {
        const shifted = x.index(":", ":", `${i}:${i + 18}`, `${j}:${j + 18}`);
        want = want.add(fl.einsum("nchw,oc->nohw", shifted, w.index(":", ":", i, j)));
      }
    const got = await flat(F.conv2d(x, w));
    (await flat(want)).forEach((v, k) => expect(Math.abs(v - got[k])).toBeLessThan(1e-4));
  });
});

describe("pooling and resizing", () => {
  const x = fl.arange(16).float().reshape(1, 4, 4);

  test("layers are the functions", async () => {
    expect(await flat(new nn.MaxPool2d(2).forward(x))).toEqual([5, 7, 13, 15]);
    expect(await flat(new nn.AvgPool2d(2, { stride: 1 }).forward(x))).toEqual([
      2.5, 3.5, 4.5, 6.5, 7.5, 8.5, 10.5, 11.5, 12.5,
    ]);
    expect(await flat(new nn.AdaptiveAvgPool2d([1, null]).forward(x))).toEqual([6, 7, 8, 9]);
    expect(new nn.Upsample({ scaleFactor: 2 }).forward(x.unsqueeze(0)).shape).toEqual([1, 1, 8, 8]);
    expect(await flat(F.interpolate(tensor([[[1, 3]]]), { size: 4, mode: "linear" }))).toEqual([1, 1.5, 2.5, 3]);
    expect(await flat(F.interpolate(tensor([[[1, 3, 5]]]), { size: 2, mode: "area" }))).toEqual([2, 4]);
  });

  test.each(["reflect", "replicate", "circular"] as const)(
    "paddingMode %s is pad before the convolution",
    async (mode) => {
      const x = fl.randn([2, 3, 7, 9]);
      const conv = new nn.Conv2d(3, 4, 3, { padding: [2, 1], stride: 2, paddingMode: mode });
      const want = F.conv2d(F.pad(x, [1, 1, 2, 2], mode), conv.weight, conv.bias, { stride: 2 });
      expectClose(await flat(conv.forward(x)), await flat(want));
      const zeros = new nn.Conv2d(3, 4, 3, { padding: 1, paddingMode: "zeros" });
      expectClose(await flat(zeros.forward(x)), await flat(F.conv2d(F.pad(x, [1, 1, 1, 1]), zeros.weight, zeros.bias)));
      const row = fl.tensor([1, 2, 3, 4], [1, 1, 4]);
      const even = F.conv1d(row, fl.ones([1, 1, 4]), null, { padding: "same", paddingMode: mode });
      expect(await flat(even)).toEqual(await flat(F.conv1d(F.pad(row, [1, 2], mode), fl.ones([1, 1, 4]))));
      const volume = new nn.Conv3d(2, 3, [1, 2, 3], { padding: [0, 1, 1], paddingMode: mode });
      const v = fl.randn([2, 2, 3, 4, 5]);
      const padded = F.pad(v, [1, 1, 1, 1], mode);
      expectClose(await flat(volume.forward(v)), await flat(F.conv3d(padded, volume.weight, volume.bias)));
    },
  );

  test("a paddingMode that is none, or reaches too far, is told", () => {
    const mode = "mirror" as "reflect";
    expect(() => new nn.Conv2d(3, 4, 3, { paddingMode: mode })).toThrow(
      'Conv2d: paddingMode must be "zeros", "reflect", "replicate" or "circular", got "mirror"',
    );
    expect(() => F.conv1d(fl.ones([1, 1, 4]), fl.ones([1, 1, 3]), null, { paddingMode: mode })).toThrow(fl.ValueError);
    expect(() =>
      F.conv1d(fl.ones([1, 1, 4]), fl.ones([1, 1, 3]), null, { padding: 4, paddingMode: "reflect" }),
    ).toThrow(fl.ShapeError);
  });

  test("padding in all modes", async () => {
    const row = tensor([[1, 2, 3]]);
    expect(await flat(F.pad(row, [2, 1], "circular"))).toEqual([2, 3, 1, 2, 3, 1]);
    expect(await flat(F.pad(row, [2, 1], "reflect"))).toEqual([3, 2, 1, 2, 3, 2]);
    expect(await flat(F.pad(row, [2, -1], "replicate"))).toEqual([1, 1, 1, 2]);
    expect(await flat(F.pad(row, [1, 0, 0, 1], "constant", 9))).toEqual([9, 1, 2, 3, 9, 9, 9, 9]);
    expect(await flat(F.pad(i32([1]), [1, 1], "constant", -4))).toEqual([-4, 1, -4]);
  });

  test("fold is the adjoint of unfold", async () => {
    const options = { stride: 2, padding: 1, dilation: 1 };
    const image = fl.randn([2, 3, 7, 6]);
    const columns = F.unfold(image, [3, 2], options);
    const other = fl.randn(columns.shape);
    const g = fl.grad((t: fl.Tensor) => F.unfold(t, [3, 2], options).mul(other).sum())(image);
    expectClose(await flat(F.fold(other, [7, 6], [3, 2], options)), await flat(g));
  });
});

describe("batch normalisation", () => {
  const batches = [
    [
      [1, 2],
      [3, 6],
    ],
    [
      [0, 1],
      [4, 5],
      [8, 9],
    ],
  ];

  test("follows the batches, in a state with PyTorch's names", async () => {
    for (const [momentum, mean, variance, value] of [
      [0.1, [0.58, 0.86], [2.59, 3.13], [0.261, 0.6444]],
      [null, [3, 4.5], [9, 12], [-0.6667, -0.7217]],
    ] as const) {
      const bn = new nn.BatchNorm1d(2, { momentum });
      let y = tensor([]);
      for (const batch of batches) y = bn.forward(tensor(batch));
      expectClose(await flat(y), [-1.22474, -1.22474, 0, 0, 1.22474, 1.22474]);
      const state = bn.stateDict();
      expect(Object.keys(state)).toEqual(["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]);
      expect(bn.parameters().length).toBe(2);
      expect([...bn.namedBuffers()].map(([name]) => name).length).toBe(3);
      expectClose(await flat(state.running_mean), [...mean]);
      expectClose(await flat(state.running_var), [...variance]);
      expect(await state.num_batches_tracked.item()).toBe(2);
      bn.eval();
      expectClose(await flat(bn.forward(tensor([[1, 2]]))), [...value]);
      expect(await state.num_batches_tracked.item()).toBe(2);
      const twin = new nn.BatchNorm1d(2);
      twin.loadStateDict(state);
      expect(await flat(twin.stateDict().running_var)).toEqual(await flat(state.running_var));
    }
  });

  test("a compiled step updates it as an eager one does, and knows training from evaluation", async () => {
    const [eager, compiled] = [new nn.BatchNorm1d(2), new nn.BatchNorm1d(2)];
    const f = fl.compile((x: fl.Tensor) => compiled.forward(x));
    for (let i = 0; i < 3; i++) {
      const x = tensor(batches[1]).mul(i + 1);
      expect(await flat(f(x))).toEqual(await flat(eager.forward(x)));
    }
    for (const [name, t] of Object.entries(eager.stateDict()))
      expect(await flat(compiled.stateDict()[name]), name).toEqual(await flat(t));
    compiled.eval();
    eager.eval();
    const x = tensor(batches[0]);
    expect(await flat(f(x))).toEqual(await flat(eager.forward(x)));
    expect(await compiled.num_batches_tracked?.item()).toBe(3);
  });

  test("takes what has its channels, more than one value of each", () => {
    expect(() => new nn.BatchNorm1d(0)).toThrow("BatchNorm1d: numFeatures must be an integer >= 1, got 0");
    expect(() => new nn.BatchNorm2d(2).forward(fl.ones([2, 2]))).toThrow("BatchNorm2d: the input must have 4 axes");
    expect(() => new nn.BatchNorm1d(2).forward(fl.ones([1, 2]))).toThrow("more than one value per channel");
    expect(() => new nn.BatchNorm1d(3).forward(fl.ones([4, 2]))).toThrow("does not fit the 2 channels");
    const plain = new nn.BatchNorm1d(2, { affine: false, trackRunningStats: false });
    expect(Object.keys(plain.stateDict())).toEqual([]);
    expect(plain.eval().forward(fl.ones([4, 2])).shape).toEqual([4, 2]);
  });
});

describe("embedding", () => {
  test("the padding row starts at zero and gets no gradient", async () => {
    const table = new nn.Embedding(5, 3, { paddingIdx: -1 });
    const rows = await flat(table.weight);
    expect(rows.slice(12)).toEqual([0, 0, 0]);
    expect(rows.slice(0, 12).every((v) => v !== 0)).toBe(true);
    const y = table.forward(
      i32([
        [1, 4],
        [1, 0],
      ]),
    );
    expect(y.shape).toEqual([2, 2, 3]);
    y.sum().backward();
    expect(await table.weight.grad?.sum(1).array()).toEqual([3, 6, 0, 0, 0]);
  });

  test("maxNorm shortens the rows that are used, in the table too", async () => {
    const weight = new fl.Parameter(
      tensor([
        [3, 4],
        [0.3, 0.4],
        [6, 8],
      ]),
    );
    const y = F.embedding(i32([0, 1]), weight, { maxNorm: 1 });
    expectClose(await flat(y), [0.6, 0.8, 0.3, 0.4]);
    expectClose(await flat(weight), [0.6, 0.8, 0.3, 0.4, 6, 8]);
  });

  test("frequent rows can be made to learn no faster", async () => {
    const w = tensor([[1], [2]]);
    const g = fl.grad((t: fl.Tensor) => F.embedding(i32([0, 0, 1]), t, { scaleGradByFreq: true }).sum())(w);
    expect(await flat(g)).toEqual([1, 1]);
  });
});

test("a convolutional network learns", async () => {
  fl.manualSeed(1);
  const model = new nn.Sequential(
    new nn.Conv2d(1, 4, 3, { padding: 1 }),
    new nn.BatchNorm2d(4),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(64, 2),
  );
  // Bars that stand, bars that lie.
  const images = fl.stack(
    Array.from({ length: 16 }, (_, i) => {
      const bar = F.oneHot(fl.full([8], (i >> 1) % 8, { dtype: "int32" }), 8).float();
      return (i % 2 === 0 ? bar : bar.t()).unsqueeze(0);
    }),
  );
  const labels = i32(Array.from({ length: 16 }, (_, i) => i % 2));
  const optimizer = new fl.optim.Adam(model.parameters(), { lr: 0.02 });
  const step = fl.compile((x: fl.Tensor, y: fl.Tensor) => {
    optimizer.zeroGrad();
    const loss = fl.crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  });
  let loss = Number.NaN;
  for (let i = 0; i < 40; i++) loss = await step(images, labels).item();
  expect(loss).toBeLessThan(0.05);
  model.eval();
  const right = model.forward(images).argmax(1).eq(labels).sum();
  expect(await right.item()).toBe(16);
});
