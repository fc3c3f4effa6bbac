// What every engine trains: softmax cross-entropy, Adam with its defaults, on random data.
import {
  averagePool,
  batchNorm,
  block,
  conv,
  embedding,
  flat,
  flatten,
  layerNorm,
  layersOf,
  linear,
  lstm,
  maxPool,
  mlp,
  positions,
  relu,
  relu6,
  residual,
} from "./networks.js";

const fullyConnected = (name, sizes, batch) => ({
  name,
  title: sizes.join("-"),
  input: [sizes[0]],
  layers: mlp(sizes),
  batch,
});

/** Convolutions of 3 x 3, each with ReLU and pooling, and ten classes. */
const convNet = (channels) => [...channels.flatMap((outputs) => [conv(outputs), relu, maxPool]), flatten, linear(10)];

const normed = (activation, ...convolution) => [conv(...convolution), batchNorm, activation].filter(Boolean);

/**
 * The 20 layers of He et al. 2015 (arXiv 1512.03385, section 4.2) for images of 32 x 32: widths of 16, 32 and 64, three
 * blocks each. Where a block changes the shape, its shortcut is a 1x1 convolution (option B).
 */
function resNet20() {
  const plain = { bias: false };
  const blocks = [16, 32, 64].flatMap((outputs, stage) =>
    [0, 1, 2].flatMap((block) => {
      const halved = { ...plain, stride: stage > 0 && block === 0 ? 2 : 1 };
      const body = [...normed(relu, outputs, halved), ...normed(null, outputs, plain)];
      return [residual(body, halved.stride === 1 ? [] : normed(null, outputs, { ...halved, kernel: 1 })), relu];
    }),
  );
  return [...normed(relu, 16, plain), ...blocks, averagePool, flatten, linear(10)];
}

/** A convolution, then the blocks of Howard et al. 2017 (arXiv 1704.04861): 3x3 channel by channel, then 1x1. */
function mobileNet() {
  const widths = [
    [32, 32, 1],
    [32, 64, 2],
    [64, 64, 1],
    [64, 128, 2],
    [128, 128, 1],
  ];
  const blocks = widths.flatMap(([inputs, outputs, stride]) => [
    ...normed(relu6, inputs, { stride, groups: inputs, bias: false }),
    ...normed(relu6, outputs, { kernel: 1, bias: false }),
  ]);
  return [...normed(relu6, 32, { bias: false }), ...blocks, averagePool, flatten, linear(10)];
}

/** A language model of two layers, for a context of so many characters of 96 kinds. */
export const languageModel = (context, batch) => ({
  title: `transformer of 2 layers, width 64, 4 heads, context ${context}`,
  input: [context],
  kinds: 96,
  layers: [embedding(96, 64), positions, ...block(64, 4), ...block(64, 4), layerNorm, linear(96)],
  batch,
});

export const WORKLOADS = [
  fullyConnected("tiny", [2, 16, 16, 2], 32),
  fullyConnected("mlp", [784, 128, 10], 64),
  fullyConnected("deep", [784, 512, 512, 10], 128),
  fullyConnected("wide", [1024, 1024, 1024, 10], 256),
  { name: "cnn", title: "conv 1-16-32, 28x28", input: [1, 28, 28], layers: convNet([16, 32]), batch: 32 },
  { name: "cifar", title: "conv 3-32-64-64, 32x32", input: [3, 32, 32], layers: convNet([32, 64, 64]), batch: 32 },
  // Norms of 21 layers enlarge what rounding makes of the first one: `tolerance` of the losses.
  {
    name: "resnet",
    title: "ResNet-20, 32x32",
    input: [3, 32, 32],
    layers: resNet20(),
    batch: 32,
    tolerance: 2e-3,
  },
  { name: "mobile", title: "5 depthwise-separable blocks, 32x32", input: [3, 32, 32], layers: mobileNet(), batch: 32 },
  {
    name: "lstm",
    title: "LSTM 64-128, 32 steps, linear 10",
    input: [32, 64],
    layers: [lstm(128), linear(10)],
    batch: 32,
  },
  { name: "gpt", ...languageModel(64, 16) },
];

/** Steps each engine takes at Adam's own learning rate before it is timed; their losses must agree between engines. */
export const CHECKED_STEPS = 4;

/**
 * Then so little that nothing is ever learnt: a network that knows its batch by heart has gradients that underflow, and
 * what a processor does with subnormal numbers is not what is to be measured.
 */
export const TIMED_LR = 1e-7;

/** Seeds of the data; layer i has 10 + 2i (weight) and 11 + 2i (bias). torch_engine.py has the same. */
const SEED_X = 1;
const SEED_Y = 2;
const SEED_LAYERS = 10;

/** n numbers in [0, 1), the same in every engine: the finaliser of MurmurHash3 over a counter. */
export function uniform(n, seed) {
  const values = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let h = i + Math.imul(seed, 0x9e3779b1);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    values[i] = ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
  }
  return values;
}

const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);

export const classesOf = (workload) => layersOf(workload).at(-1).output.at(-1);

/** Images (or indices of one of so many `kinds`) and labels of one batch, and their shapes: a label for each row of what comes out. */
export function batchOf(workload) {
  const { input, kinds, batch } = workload;
  const classes = classesOf(workload);
  const whole = (n, seed, count) => Int32Array.from(uniform(n, seed), (u) => Math.floor(u * count));
  const shape = [batch, ...input];
  const rows = [batch, ...layersOf(workload).at(-1).output.slice(0, -1)];
  return {
    x: kinds ? whole(sizeOf(shape), SEED_X, kinds) : Float32Array.from(uniform(sizeOf(shape), SEED_X)),
    shape,
    y: whole(sizeOf(rows), SEED_Y, classes),
    rows,
  };
}

/** Initial weight and bias (null without one) of a layer of `layersOf`, spread as PyTorch spreads them. */
export function parametersOf({ index, weight, bias }) {
  const bound = 1 / Math.sqrt(sizeOf(weight.slice(1)));
  const spread = (shape, seed) => Float32Array.from(uniform(sizeOf(shape), seed), (u) => (2 * u - 1) * bound);
  return {
    weight: spread(weight, SEED_LAYERS + 2 * index),
    bias: bias && spread(bias, SEED_LAYERS + 1 + 2 * index),
  };
}

/** A matrix [rows, columns] as two: its first columns, and the others. */
export function columnsOf(matrix, [rows, columns], first) {
  const part = (from, to) => {
    const width = to - from;
    return Float32Array.from(
      { length: rows * width },
      (_, i) => matrix[Math.floor(i / width) * columns + from + (i % width)],
    );
  };
  return [part(0, first), part(first, columns)];
}

/** How many parameters a workload has. */
export const parameterCount = (workload) =>
  flat(layersOf(workload)).reduce(
    (n, { op, weight = [0], bias, channels = 0 }) =>
      n + sizeOf(weight) + (bias ? sizeOf(bias) * (op === "lstm" ? 2 : 1) : 0) + 2 * channels,
    0,
  );
