// Networks as data: a list of layers that every engine builds its own way, and what follows from their shapes alone.
// A layer is {op, ...}; `layersOf` adds what an engine needs to build it: shapes of its input, output and parameters.

const product = (list) => list.reduce((a, b) => a * b, 1);

export const linear = (outputs) => ({ op: "linear", outputs });
export const conv = (
  outputs,
  { kernel = 3, stride = 1, padding = (kernel - 1) / 2, groups = 1, bias = true } = {},
) => ({
  op: "conv",
  outputs,
  kernel,
  stride,
  padding,
  groups,
  bias,
});
/** Long short-term memory over the steps of a sequence [steps, inputs]: what it holds after the last. */
export const lstm = (outputs) => ({ op: "lstm", outputs });
/** Rows of a table by index, for [places] of them. */
export const embedding = (rows, outputs) => ({ op: "embedding", rows, outputs });
/** A row added to each place, the same for all examples. */
export const positions = { op: "positions" };
/** Norm over the last axis. */
export const layerNorm = { op: "layerNorm" };
export const gelu = { op: "gelu" };
/** Causal attention of [places, 3 width]: queries, keys and values side by side, cut into heads. */
export const attention = (heads) => ({ op: "attention", heads });
export const batchNorm = { op: "batchNorm" };
export const relu = { op: "relu" };
export const relu6 = { op: "relu6" };
/** Maxima of windows of 2 x 2. */
export const maxPool = { op: "maxPool" };
/** The mean over all pixels of a channel. */
export const averagePool = { op: "averagePool" };
export const flatten = { op: "flatten" };
/** body(x) + shortcut(x); a shortcut without layers is x itself. */
export const residual = (body, shortcut = []) => ({ op: "residual", body, shortcut });

/** A layer of a transformer, norms first (Xiong et al. 2020, arXiv 2002.04745), with GELU between layers of 4 times the width. */
export const block = (width, heads) => [
  residual([layerNorm, linear(3 * width), attention(heads), linear(width)]),
  residual([layerNorm, linear(4 * width), gelu, linear(width)]),
];

/** Linear layers with ReLU between. */
export const mlp = (sizes) =>
  sizes.slice(1).flatMap((outputs, i) => (i === 0 ? [linear(outputs)] : [relu, linear(outputs)]));

/** The shape of what a layer makes of one example, and of its parameters. */
const SHAPES = {
  linear({ outputs }, input) {
    const inputs = input.at(-1);
    return { output: [...input.slice(0, -1), outputs], weight: [outputs, inputs], bias: [outputs] };
  },
  embedding: ({ rows, outputs }, [places]) => ({ output: [places, outputs], weight: [rows, outputs], bias: null }),
  positions: (_, input) => ({ output: input, weight: input, bias: null }),
  layerNorm: (_, input) => ({ output: input, channels: input.at(-1) }),
  gelu: (_, input) => ({ output: input }),
  attention: (_, [places, width]) => ({ output: [places, width / 3] }),
  conv({ outputs, kernel, stride, padding, groups, bias }, [channels, ...pixels]) {
    const output = [outputs, ...pixels.map((n) => Math.floor((n + 2 * padding - kernel) / stride) + 1)];
    return { output, weight: [outputs, channels / groups, kernel, kernel], bias: bias ? [outputs] : null };
  },
  // Both weights side by side, that of the input first; what is added for the state begins at 0.
  lstm: ({ outputs }, [steps, inputs]) => ({
    output: [outputs],
    steps,
    weight: [4 * outputs, inputs + outputs],
    bias: [4 * outputs],
  }),
  batchNorm: (_, input) => ({ output: input, channels: input[0] }),
  relu: (_, input) => ({ output: input }),
  relu6: (_, input) => ({ output: input }),
  maxPool: (_, [channels, ...pixels]) => ({ output: [channels, ...pixels.map((n) => Math.floor(n / 2))] }),
  averagePool: (_, [channels]) => ({ output: [channels, 1, 1] }),
  flatten: (_, input) => ({ output: [product(input)] }),
};

/**
 * The layers of {input, layers} with the shapes of `input` and `output` (without the batch), and of `weight` and `bias`
 * where a layer is linear or a convolution. These have a number (`index`, of their initial values), and `first` if what
 * they see is the data, so that no gradient of it is needed.
 */
export function layersOf({ input, layers }) {
  let index = 0;
  const walk = (list, from, first) => {
    let shape = from;
    let data = first;
    const resolved = list.map((layer) => {
      const before = shape;
      if (layer.op === "residual") {
        const body = walk(layer.body, before, data);
        const shortcut = walk(layer.shortcut, before, data);
        shape = body.shape;
        if (String(shape) !== String(shortcut.shape))
          throw new Error(`residual: ${shape} and ${shortcut.shape} differ`);
        data &&= body.data && shortcut.data;
        return { ...layer, input: before, output: shape, body: body.layers, shortcut: shortcut.layers };
      }
      const { output, ...parameters } = SHAPES[layer.op](layer, before);
      const own = parameters.weight ? { index: index++, first: data } : {};
      if (parameters.weight || parameters.channels) data = false;
      shape = output;
      return { ...layer, input: before, output, ...parameters, ...own };
    });
    return { layers: resolved, shape, data };
  };
  return walk(layers, input, true).layers;
}

/** The layers with those inside of others, in the order of `index`. */
export const flat = (layers) =>
  layers.flatMap((layer) => (layer.op === "residual" ? [...flat(layer.body), ...flat(layer.shortcut)] : [layer]));

/**
 * Floating-point operations of a layer's product with a batch, a multiplication and an addition each; the two of its
 * backward have as many. A convolution counts as if summed tap by tap, padding included, whatever an engine does.
 */
export function productFlop({ op, output, steps, weight }, batch) {
  // Each place with all up to itself, for scores and for means.
  if (op === "attention") return 2 * batch * (output[0] + 1) * product(output);
  if (!weight || op === "embedding" || op === "positions") return 0;
  const [, ...row] = weight;
  return 2 * batch * (op === "lstm" ? steps * product(weight) : product(output) * product(row));
}

/** How many times that a step takes: a gradient of the data is not needed, but one of the state always is. */
function timesOf({ op, first, input, weight }) {
  if (!first) return 3;
  return op === "lstm" ? 3 - input[1] / weight[1] : 2;
}

/**
 * Floating-point operations of one step's products: forward, to the weights, and to the input unless that is the data.
 * Everything else a step does (norms, activations, pooling, Adam) counts as nothing.
 */
export function flopOf(workload) {
  const layers = flat(layersOf(workload));
  return layers.reduce((sum, layer) => sum + productFlop(layer, workload.batch) * timesOf(layer), 0);
}
