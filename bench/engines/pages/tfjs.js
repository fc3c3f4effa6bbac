// TensorFlow.js with its WASM backend, in a page: SIMD, and threads where the page is cross-origin isolated.
import * as tf from "@tensorflow/tfjs";
import { setThreadsCount, setWasmPaths, version_wasm } from "@tensorflow/tfjs-backend-wasm";
import { layersOf } from "../../networks.js";
import { batchOf, CHECKED_STEPS, classesOf, columnsOf, parametersOf, TIMED_LR } from "../../workloads.js";

let open;

/** Images are NHWC here, and kernels [height, width, in, out]. */
const PIXELS = [1, 2];

/** A variable of a layer's weight or bias, permuted from PyTorch's order. */
const variable = (values, shape, order = shape.map((_, i) => i)) =>
  tf.tidy(() => tf.variable(tf.transpose(tf.tensor(values, shape), order)));

/** What makes a layer: its parameters, and what it computes with them. */
const MAKE = {
  linear(layer) {
    const { weight, bias } = parametersOf(layer);
    const [w, b] = [variable(weight, layer.weight), variable(bias, layer.bias)];
    // All rows of a sequence are rows of one product.
    const forward = (h) => {
      const y = tf.add(tf.matMul(tf.reshape(h, [-1, layer.weight[1]]), w, false, true), b);
      return tf.reshape(y, [...h.shape.slice(0, -1), layer.outputs]);
    };
    return { parameters: [w, b], forward };
  },
  embedding(layer) {
    const table = variable(parametersOf(layer).weight, layer.weight);
    // A gather has no gradient in this backend.
    const forward = (h) => {
      const rows = tf.matMul(tf.oneHot(tf.reshape(h, [-1]), layer.rows).toFloat(), table);
      return tf.reshape(rows, [...h.shape, layer.outputs]);
    };
    return { parameters: [table], forward };
  },
  positions(layer) {
    const rows = variable(parametersOf(layer).weight, layer.weight);
    return { parameters: [rows], forward: (h) => tf.add(h, rows) };
  },
  layerNorm({ channels }) {
    const [scale, offset] = [tf.variable(tf.ones([channels])), tf.variable(tf.zeros([channels]))];
    const forward = (h) => {
      const { mean, variance } = tf.moments(h, -1, true);
      return tf.add(tf.mul(tf.mul(tf.sub(h, mean), tf.rsqrt(tf.add(variance, 1e-5))), scale), offset);
    };
    return { parameters: [scale, offset], forward };
  },
  gelu: () => ({
    parameters: [],
    forward: (h) => tf.mul(tf.mul(h, 0.5), tf.add(tf.erf(tf.mul(h, Math.SQRT1_2)), 1)),
  }),
  attention({ heads }) {
    const forward = (h) => {
      const [batch, places, width] = h.shape;
      const size = width / 3 / heads;
      const parts = tf.transpose(tf.reshape(h, [batch, places, 3, heads, size]), [2, 0, 3, 1, 4]);
      const [q, k, v] = tf.unstack(parts);
      const future = tf.sub(1, tf.linalg.bandPart(tf.ones([places, places]), -1, 0));
      const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(size)), tf.mul(future, -1e9));
      return tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), v), [0, 2, 1, 3]), [batch, places, width / 3]);
    };
    return { parameters: [], forward };
  },
  conv(layer) {
    const { groups, outputs, stride, padding } = layer;
    const { weight, bias } = parametersOf(layer);
    const depthwise = groups > 1;
    if (depthwise && groups !== outputs) throw new Error("TensorFlow.js has no convolutions of groups");
    const w = variable(weight, layer.weight, depthwise ? [2, 3, 0, 1] : [2, 3, 1, 0]);
    const b = bias && variable(bias, layer.bias);
    const run = depthwise ? tf.depthwiseConv2d : tf.conv2d;
    return {
      parameters: b ? [w, b] : [w],
      forward(h) {
        const y = run(h, w, stride, padding);
        return b ? tf.add(y, b) : y;
      },
    };
  },
  lstm(layer) {
    const { input, outputs, weight: shape } = layer;
    const { weight, bias } = parametersOf(layer);
    const [rows] = shape;
    const [ih, hh] = columnsOf(weight, shape, input[1]).map((w) => variable(w, [rows, w.length / rows], [1, 0]));
    const [b, biasHh] = [variable(bias, [rows]), variable(new Float32Array(rows), [rows])];
    return {
      parameters: [ih, hh, b, biasHh],
      forward(x) {
        const [batch, steps, inputs] = x.shape;
        const fromX = tf.add(tf.matMul(tf.reshape(x, [-1, inputs]), ih), tf.add(b, biasHh));
        let [h, c] = [tf.zeros([batch, outputs]), tf.zeros([batch, outputs])];
        for (const part of tf.unstack(tf.reshape(fromX, [batch, steps, rows]), 1)) {
          const [i, f, g, o] = tf.split(tf.add(part, tf.matMul(h, hh)), 4, 1);
          c = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
          h = tf.mul(tf.sigmoid(o), tf.tanh(c));
        }
        return h;
      },
    };
  },
  batchNorm({ channels }) {
    const [scale, offset] = [tf.variable(tf.ones([channels])), tf.variable(tf.zeros([channels]))];
    const forward = (h) => {
      const { mean, variance } = tf.moments(h, [0, ...PIXELS]);
      return tf.batchNorm(h, mean, variance, offset, scale, 1e-5);
    };
    return { parameters: [scale, offset], forward };
  },
  relu: () => ({ parameters: [], forward: tf.relu }),
  relu6: () => ({ parameters: [], forward: tf.relu6 }),
  maxPool: () => ({ parameters: [], forward: (h) => tf.maxPool(h, 2, 2, "valid") }),
  averagePool: () => ({ parameters: [], forward: (h) => tf.mean(h, PIXELS, true) }),
  // The order of the channels, as PyTorch has it.
  flatten: () => ({ parameters: [], forward: (h) => tf.reshape(tf.transpose(h, [0, 3, 1, 2]), [h.shape[0], -1]) }),
  residual({ body, shortcut }) {
    const [main, other] = [chain(body), chain(shortcut)];
    return {
      parameters: [...main.parameters, ...other.parameters],
      forward: (h) => tf.add(main.forward(h), other.forward(h)),
    };
  },
};

function chain(layers) {
  const parts = layers.map((layer) => MAKE[layer.op](layer));
  return {
    parameters: parts.flatMap(({ parameters }) => parameters),
    forward: (x) => parts.reduce((h, part) => part.forward(h), x),
  };
}

/** One step; resolves to its loss. */
async function step() {
  const { network, optimizer, x, y } = open;
  const lossOf = () => tf.losses.softmaxCrossEntropy(y, tf.reshape(network.forward(x), y.shape));
  const cost = optimizer.minimize(lossOf, true, network.parameters);
  const [loss] = await cost.data();
  cost.dispose();
  return loss;
}

globalThis.engine = {
  async hello({ threads }) {
    setWasmPaths("/wasm/");
    setThreadsCount(threads);
    await tf.setBackend("wasm");
    await tf.ready();
    return { versions: { tfjs: version_wasm } };
  },

  async open({ workload }) {
    const { x, shape, y } = batchOf(workload);
    open = {
      x: tf.tidy(() =>
        shape.length === 4
          ? tf.transpose(tf.tensor(x, shape), [0, 2, 3, 1])
          : tf.tensor(x, shape, workload.kinds ? "int32" : "float32"),
      ),
      y: tf.tidy(() => tf.oneHot(tf.tensor1d(y, "int32"), classesOf(workload)).toFloat()),
      network: chain(layersOf(workload)),
      optimizer: tf.train.adam(1e-3, 0.9, 0.999, 1e-8),
    };
    const start = performance.now();
    const losses = [await step()];
    const firstMs = performance.now() - start;
    while (losses.length < CHECKED_STEPS) losses.push(await step());
    open.optimizer.learningRate = TIMED_LR;
    return { firstMs, losses };
  },

  async run({ steps }) {
    const start = performance.now();
    for (let i = 0; i < steps; i++) await step();
    return { ms: (performance.now() - start) / steps };
  },

  async close() {
    tf.dispose([open.x, open.y, open.network.parameters]);
    open.optimizer.dispose();
    open = undefined;
    return {};
  },
};
