/**
 * Every public function that takes options refuses what is no object and names it does not know. Which ones there are is read
 * off the sources: a new one without a sample here, or without the check, fails.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import * as fl from "../src/index.ts";

const { functional: F, utils } = fl.nn;
const x = fl.ones([2, 3]);
const image = fl.ones([1, 1, 4, 4]);
const volume = fl.ones([1, 1, 4, 4, 4]);
const signal = fl.ones([1, 1, 8]);
const labels = fl.zeros([2], { dtype: "int32" });
const p = (): fl.Parameter[] => [new fl.Parameter(fl.ones([2]))];
const rows = new fl.TensorDataset(x);

type Call = (options: never) => unknown;

/** How to call each function with options, by its name, and that of its class for constructors. */
const CALLS: Record<string, Call> = {
  SGD: (o) => new fl.optim.SGD(p(), o),
  Adam: (o) => new fl.optim.Adam(p(), o),
  AdamW: (o) => new fl.optim.AdamW(p(), o),
  compile: (o) => fl.compile((t: fl.Tensor) => t, o),
  Conv1d: (o) => new fl.nn.Conv1d(1, 8, 3, o),
  Conv3d: (o) => new fl.nn.Conv3d(1, 8, 3, o),
  Conv2d: (o) => new fl.nn.Conv2d(1, 8, 3, o),
  ConvTranspose2d: (o) => new fl.nn.ConvTranspose2d(1, 8, 3, o),
  Linear: (o) => new fl.nn.Linear(2, 3, o),
  BatchNorm1d: (o) => new fl.nn.BatchNorm1d(2, o),
  BatchNorm2d: (o) => new fl.nn.BatchNorm2d(2, o),
  BatchNorm3d: (o) => new fl.nn.BatchNorm3d(2, o),
  InstanceNorm1d: (o) => new fl.nn.InstanceNorm1d(2, o),
  InstanceNorm2d: (o) => new fl.nn.InstanceNorm2d(2, o),
  InstanceNorm3d: (o) => new fl.nn.InstanceNorm3d(2, o),
  LayerNorm: (o) => new fl.nn.LayerNorm(2, o),
  RMSNorm: (o) => new fl.nn.RMSNorm(2, o),
  GroupNorm: (o) => new fl.nn.GroupNorm(1, 2, o),
  LocalResponseNorm: (o) => new fl.nn.LocalResponseNorm(2, o),
  MaxPool1d: (o) => new fl.nn.MaxPool1d(2, o),
  MaxPool2d: (o) => new fl.nn.MaxPool2d(2, o),
  MaxPool3d: (o) => new fl.nn.MaxPool3d(2, o),
  MaxUnpool1d: (o) => new fl.nn.MaxUnpool1d(2, o),
  MaxUnpool2d: (o) => new fl.nn.MaxUnpool2d(2, o),
  MaxUnpool3d: (o) => new fl.nn.MaxUnpool3d(2, o),
  AvgPool1d: (o) => new fl.nn.AvgPool1d(2, o),
  AvgPool2d: (o) => new fl.nn.AvgPool2d(2, o),
  AvgPool3d: (o) => new fl.nn.AvgPool3d(2, o),
  LPPool1d: (o) => new fl.nn.LPPool1d(2, 2, o),
  LPPool2d: (o) => new fl.nn.LPPool2d(2, 2, o),
  LPPool3d: (o) => new fl.nn.LPPool3d(2, 2, o),
  AdaptiveMaxPool1d: (o) => new fl.nn.AdaptiveMaxPool1d(2, o),
  AdaptiveMaxPool2d: (o) => new fl.nn.AdaptiveMaxPool2d(2, o),
  AdaptiveMaxPool3d: (o) => new fl.nn.AdaptiveMaxPool3d(2, o),
  Upsample: (o) => new fl.nn.Upsample(o),
  RNN: (o) => new fl.nn.RNN(2, 3, o),
  GRU: (o) => new fl.nn.GRU(2, 3, o),
  LSTM: (o) => new fl.nn.LSTM(2, 3, o),
  RNNCell: (o) => new fl.nn.RNNCell(2, 3, o),
  GRUCell: (o) => new fl.nn.GRUCell(2, 3, o),
  LSTMCell: (o) => new fl.nn.LSTMCell(2, 3, o),
  // Of recurrent layers.
  forward: (o) => new fl.nn.LSTM(2, 3).forward(fl.ones([4, 1, 2]), null, o),
  lstm: (o) => F.lstm(fl.ones([4, 1, 2]), null, [fl.ones([12, 2]), fl.ones([12, 3]), fl.ones([12]), fl.ones([12])], o),
  scan: (o) => fl.scan((h: fl.Tensor, t: fl.Tensor) => [h.add(t), h], fl.zeros([3]), x, o),
  Embedding: (o) => new fl.nn.Embedding(4, 2, o),
  crossEntropy: (o) => F.crossEntropy(x, labels, o),
  nllLoss: (o) => F.nllLoss(x, labels, o),
  mseLoss: (o) => F.mseLoss(x, x, o),
  l1Loss: (o) => F.l1Loss(x, x, o),
  smoothL1Loss: (o) => F.smoothL1Loss(x, x, o),
  huberLoss: (o) => F.huberLoss(x, x, o),
  binaryCrossEntropy: (o) => F.binaryCrossEntropy(x, x, o),
  binaryCrossEntropyWithLogits: (o) => F.binaryCrossEntropyWithLogits(x, x, o),
  klDiv: (o) => F.klDiv(x, x, o),
  hingeEmbeddingLoss: (o) => F.hingeEmbeddingLoss(x, x, o),
  conv1d: (o) => F.conv1d(signal, fl.ones([1, 1, 3]), null, o),
  conv3d: (o) => F.conv3d(fl.ones([1, 1, 3, 3, 3]), fl.ones([1, 1, 3, 3, 3]), null, o),
  conv2d: (o) => F.conv2d(image, fl.ones([1, 1, 3, 3]), null, o),
  convTranspose1d: (o) => F.convTranspose1d(signal, fl.ones([1, 1, 3]), null, o),
  convTranspose2d: (o) => F.convTranspose2d(image, fl.ones([1, 1, 3, 3]), null, o),
  gelu: (o) => F.gelu(x, o),
  unfold: (o) => F.unfold(image, 2, o),
  fold: (o) => F.fold(fl.ones([1, 4, 9]), 4, 2, o),
  batchNorm: (o) => F.batchNorm(x, fl.zeros([3]), fl.ones([3]), null, null, o),
  instanceNorm: (o) => F.instanceNorm(signal, null, null, null, null, o),
  maxPool1d: (o) => F.maxPool1d(signal, 2, o),
  maxPool3d: (o) => F.maxPool3d(volume, 2, o),
  maxPool1dWithIndices: (o) => F.maxPool1dWithIndices(signal, 2, o),
  maxPool3dWithIndices: (o) => F.maxPool3dWithIndices(volume, 2, o),
  maxUnpool1d: (o) => F.maxUnpool1d(signal, signal.to("int32"), 2, o),
  maxUnpool2d: (o) => F.maxUnpool2d(image, image.to("int32"), 2, o),
  maxUnpool3d: (o) => F.maxUnpool3d(volume, volume.to("int32"), 2, o),
  avgPool3d: (o) => F.avgPool3d(volume, 2, o),
  lpPool1d: (o) => F.lpPool1d(signal, 2, 2, o),
  lpPool2d: (o) => F.lpPool2d(image, 2, 2, o),
  lpPool3d: (o) => F.lpPool3d(volume, 2, 2, o),
  maxPool2d: (o) => F.maxPool2d(image, 2, o),
  maxPool2dWithIndices: (o) => F.maxPool2dWithIndices(image, 2, o),
  avgPool1d: (o) => F.avgPool1d(signal, 2, o),
  avgPool2d: (o) => F.avgPool2d(image, 2, o),
  interpolate: (o) => F.interpolate(image, o),
  scaledDotProductAttention: (o) => F.scaledDotProductAttention(x, x, x, o),
  dropout: (o) => F.dropout(x, 0.5, true, o),
  embedding: (o) => F.embedding(labels, x, o),
  clipGradNorm: (o) => utils.clipGradNorm(p(), 1, o),
  var: (o) => x.var(0, o),
  scatter: (o) => x.scatter(0, fl.zeros([1, 3], { dtype: "int32" }), 1, o),
  indexAdd: (o) => x.indexAdd(0, labels, x, o),
  tensor: (o) => fl.tensor([1, 2], [2], o),
  full: (o) => fl.full([2], 1, o),
  zeros: (o) => fl.zeros([2], o),
  ones: (o) => fl.ones([2], o),
  Parameter: (o) => new fl.Parameter(x, o),
  addmm: (o) => fl.addmm(fl.ones([2, 2]), x, x.t(), o),
  addmv: (o) => fl.addmv(fl.ones([2]), x, fl.ones([3]), o),
  std: (o) => fl.std(x, 0, o),
  loadMnist: (o) => fl.loadMnist({} as never, o),
  randomSplit: (o) => fl.randomSplit(rows, [1, 1], o),
  DataLoader: (o) => new fl.DataLoader(rows, o),
  uniform: (o) => fl.uniform([2], 0, 1, o),
  rand: (o) => fl.rand([2], o),
  randn: (o) => fl.randn([2], o),
  detectAnomaly: (o) => fl.detectAnomaly((t: fl.Tensor) => t, o),
  gradcheck: (o) => fl.gradcheck((t: fl.Tensor) => t, [x], o),
  gradgradcheck: (o) => fl.gradgradcheck((t: fl.Tensor) => t, [x], o),
  vmap: (o) => fl.vmap((t: fl.Tensor) => t, 0, 0, o),
  init: (o) => fl.init(o),
  TensorDataset: (o) => new fl.TensorDataset({ data: new Float32Array(2), ...(o as object) } as never),
  defineOp: (o) =>
    fl.defineOp({ name: "f", forward: (t: fl.Tensor) => t, backward: (g: fl.Tensor) => g, ...(o as object) }),
};

/** Names of exported functions, methods and constructors in the sources with a parameter called options. */
function takingOptions(): Set<string> {
  const root = fileURLToPath(new URL("../src", import.meta.url));
  const names = new Set<string>();
  for (const file of readdirSync(root, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts") || /^(compile|diff|graph|core|ops|run\/(?!active))/.test(file)) continue;
    const text = readFileSync(`${root}/${file}`, "utf8");
    const params =
      /(?:^export (?:async )?function (\w+)[^(]*|^ {2}(?:async )?(\w+))\(([^;{}]*?(?:\{[^{}]*\}[^;{}]*?)*?\boptions\??:[^;]*?)\)(?:: [^{;]*)? \{$/gms;
    for (const m of text.matchAll(params)) {
      let name = m[1] ?? m[2];
      if (name === "constructor") {
        const before = text.slice(0, m.index);
        const declared = [...before.matchAll(/^(export )?(abstract )?class (\w+)/gm)].at(-1);
        if (!declared?.[1] || declared[2]) continue;
        name = declared[3];
      }
      if (!/^(constructor|static)$/.test(name)) names.add(name);
    }
  }
  return names;
}

test("every public function with options has a sample here", () => {
  // windowsOf is handed what others have checked.
  const found = takingOptions();
  expect(found.size).toBeGreaterThan(45);
  expect([...found].filter((name) => !Object.hasOwn(CALLS, name) && name !== "windowsOf")).toEqual([]);
});

describe.each(Object.entries(CALLS))("%s", (name, call) => {
  const fails = async (options: unknown): Promise<Error> => {
    try {
      await call(options as never);
    } catch (error) {
      return error as Error;
    }
    throw new Error(`${name} took ${JSON.stringify(options)}`);
  };
  test("refuses an option it does not know, and says which there are", async () => {
    const error = await fails({ nonsense: 1 });
    expect(error).toBeInstanceOf(fl.ValueError);
    expect(error.message).toMatch(/there is no option nonsense.*\(options are \w+/);
    expect(error.message).toContain(name);
  });
  test("refuses what is no object", async () => {
    // What these two take is more than options.
    const description: Record<string, Call> = {
      TensorDataset: (o) => new fl.TensorDataset(o),
      defineOp: (o) => fl.defineOp(o),
    };
    for (const wrong of [0.1, "0.1", true, null, [0.1]]) {
      if (Object.hasOwn(description, name)) {
        if (!Array.isArray(wrong))
          expect(() => description[name](wrong as never), String(wrong)).toThrow(fl.FourlaneError);
        continue;
      }
      const error = await fails(wrong);
      expect(error, String(wrong)).toBeInstanceOf(fl.ValueError);
      expect(error.message).toMatch(/options must be an object of \w+.*, got/);
    }
  });
});

describe("what was probably meant", () => {
  const cases: [string, () => unknown, string][] = [
    ["learningRate", () => new fl.optim.Adam(p(), { learningRate: 0.1 } as never), "lr"],
    ["learning_rate", () => new fl.optim.Adam(p(), { learning_rate: 0.1 } as never), "lr"],
    ["weight_decay", () => new fl.optim.Adam(p(), { weight_decay: 0.1 } as never), "weightDecay"],
    ["beta1", () => new fl.optim.Adam(p(), { beta1: 0.1 } as never), "betas"],
    ["bais", () => new fl.nn.Linear(2, 3, { bais: false } as never), "bias"],
    ["useBias", () => new fl.nn.Linear(2, 3, { useBias: false } as never), "bias"],
    ["strides", () => new fl.nn.Conv2d(1, 8, 3, { strides: 2 } as never), "stride"],
    ["count_include_pad", () => new fl.nn.AvgPool2d(2, { count_include_pad: false } as never), "countIncludePad"],
    ["batch_size", () => new fl.DataLoader(rows, { batch_size: 4 } as never), "batchSize"],
    ["shufle", () => new fl.DataLoader(rows, { shufle: true } as never), "shuffle"],
    ["keepDims", () => x.var(0, { keepDims: true } as never), "keepdim"],
    ["ignore_index", () => F.crossEntropy(x, labels, { ignore_index: 1 } as never), "ignoreIndex"],
    ["requires_grad", () => fl.tensor([1], { requires_grad: true } as never), "requiresGrad"],
    ["epsilon", () => new fl.nn.BatchNorm1d(2, { epsilon: 1 } as never), "eps"],
  ];
  test.each(cases)("%s", (given, f, meant) => {
    expect(f).toThrow(`there is no option ${given}; did you mean ${meant}?`);
  });
  test("nothing, where nothing is near", () => {
    expect(() => new fl.nn.Linear(2, 3, { kernelInitializer: 1 } as never)).toThrow(/kernelInitializer \(options are/);
  });
});

test("nested arrays are columns of a dataset", async () => {
  const data = new fl.TensorDataset(
    [
      [1, 2],
      [3, 4],
      [5, 6],
    ],
    [0, 1, 0],
  );
  const [a, b] = await data.batch([2, 0]);
  expect(await a.array()).toEqual([
    [5, 6],
    [1, 2],
  ]);
  expect(await b.array()).toEqual([0, 0]);
  expect(() => new fl.TensorDataset([[1, 2], [3]])).toThrow(fl.ShapeError);
});
