// jax-js with its WASM backend, in a page: loss, gradients and Adam in one jit. Arrays are owned: .ref keeps one for later.
import { blockUntilReady, defaultDevice, init, jit, lax, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
import { flat, layersOf } from "../../networks.js";
import { batchOf, CHECKED_STEPS, classesOf, columnsOf, parametersOf, TIMED_LR } from "../../workloads.js";

const [BETA1, BETA2, EPS] = [0.9, 0.999, 1e-8];
let open;

/** What each layer makes of h; `next` hands out the parameters in the order of `parametersFor`. */
const APPLY = {
  linear: (h, next) => np.matmul(h, np.transpose(next())).add(next()),
  embedding: (h, next, { rows }) => np.matmul(nn.oneHot(h, rows), next()),
  positions: (h, next) => h.add(next()),
  layerNorm: (h, next) => nn.standardize(h, -1, { epsilon: 1e-5 }).mul(next()).add(next()),
  gelu: (h) => nn.gelu(h, { approximate: false }),
  attention(h, next, { heads }) {
    const [batch, places, width] = h.shape;
    const size = width / 3 / heads;
    const parts = np.transpose(h.reshape([batch, places, 3, heads, size]), [2, 0, 3, 1, 4]);
    const [q, k, v] = [parts.ref.slice(0), parts.ref.slice(1), parts.slice(2)];
    const scores = np.matmul(q, np.transpose(k, [0, 1, 3, 2])).mul(1 / Math.sqrt(size));
    const past = np.tri(places, places, 0, { dtype: np.bool });
    const y = np.matmul(nn.softmax(np.where(past, scores, -Infinity), -1), v);
    return np.transpose(y, [0, 2, 1, 3]).reshape([batch, places, width / 3]);
  },
  conv(h, next, { stride, padding, groups, bias }) {
    const options = { featureGroupCount: groups };
    const sides = [padding, padding];
    const y = lax.convGeneralDilated(h, next(), [stride, stride], [sides, sides], options);
    return bias ? y.add(next().reshape([-1, 1, 1])) : y;
  },
  lstm(h, next, { input: [steps], outputs }) {
    const [ih, hh, bias, biasHh] = [next(), next(), next(), next()];
    const rows = h.shape[0];
    const fromX = np.matmul(h, np.transpose(ih)).add(bias).add(biasHh);
    const weight = np.transpose(hh);
    let state = np.zeros([rows, outputs]);
    let cell = np.zeros([rows, outputs]);
    for (let t = 0; t < steps; t++) {
      const gates = fromX.ref.slice([], t).add(np.matmul(state, weight.ref));
      const gate = (k, last) => (last ? gates : gates.ref).slice([], [k * outputs, (k + 1) * outputs]);
      const [i, f, g, o] = [gate(0), gate(1), gate(2), gate(3, true)];
      cell = nn
        .sigmoid(f)
        .mul(cell)
        .add(nn.sigmoid(i).mul(np.tanh(g)));
      state = nn.sigmoid(o).mul(np.tanh(cell.ref));
    }
    for (const a of [fromX, weight, cell]) a.dispose();
    return state;
  },
  batchNorm(h, next) {
    const mean = np.mean(h.ref, [0, 2, 3], { keepdims: true });
    const centred = h.sub(mean);
    const variance = np.mean(np.square(centred.ref), [0, 2, 3], { keepdims: true });
    const scale = next()
      .reshape([1, -1, 1, 1])
      .div(np.sqrt(variance.add(1e-5)));
    return centred.mul(scale).add(next().reshape([1, -1, 1, 1]));
  },
  relu: (h) => nn.relu(h),
  relu6: (h) => nn.relu6(h),
  maxPool: (h) => lax.reduceWindow(h, np.max, [2, 2], [2, 2]),
  averagePool: (h) => np.mean(h, [2, 3], { keepdims: true }),
  flatten: (h) => h.reshape([h.shape[0], -1]),
  residual: (h, next, { body, shortcut }) => {
    const main = apply(h.ref, next, body);
    return main.add(apply(h, next, shortcut));
  },
};

const apply = (h, next, layers) => layers.reduce((x, layer) => APPLY[layer.op](x, next, layer), h);

/** Initial parameters, in the order in which layers take them. */
const parametersFor = (layers) =>
  flat(layers).flatMap((layer) => {
    if (layer.channels) return [np.ones([layer.channels]), np.zeros([layer.channels])];
    if (!layer.weight) return [];
    const { weight, bias } = parametersOf(layer);
    if (layer.op === "lstm") {
      const [ih, hh] = columnsOf(weight, layer.weight, layer.input[1]);
      const [rows] = layer.weight;
      return [np.array(ih).reshape([rows, -1]), np.array(hh).reshape([rows, -1]), np.array(bias), np.zeros([rows])];
    }
    return [np.array(weight).reshape(layer.weight), ...(bias ? [np.array(bias)] : [])];
  });

function lossOf(rows, layers) {
  return (parameters, x, y) => {
    const rest = [...parameters];
    return nn
      .logSoftmax(
        apply(x, () => rest.shift(), layers),
        -1,
      )
      .mul(y)
      .sum()
      .mul(-1 / rows);
  };
}

/** New parameters and moments; `rates` holds lr / (1 - beta1^t) and 1 / sqrt(1 - beta2^t). */
function stepOf(rows, layers) {
  const gradient = valueAndGrad(lossOf(rows, layers));
  return jit((parameters, m, v, stepSize, root, x, y) => {
    const [loss, grads] = gradient(
      parameters.map((p) => p.ref),
      x,
      y,
    );
    const newM = m.map((a, i) => a.mul(BETA1).add(grads[i].ref.mul(1 - BETA1)));
    const newV = v.map((a, i) => a.mul(BETA2).add(grads[i].ref.mul(grads[i]).mul(1 - BETA2)));
    const updated = parameters.map((p, i) =>
      p.sub(newM[i].ref.mul(stepSize.ref).div(np.sqrt(newV[i].ref).mul(root.ref).add(EPS))),
    );
    stepSize.dispose();
    root.dispose();
    return [loss, updated, newM, newV];
  });
}

/** One step; resolves to its loss. */
async function step() {
  open.t++;
  const stepSize = np.array(open.lr / (1 - BETA1 ** open.t));
  const root = np.array(1 / Math.sqrt(1 - BETA2 ** open.t));
  const { parameters, m, v, x, y } = open;
  const [loss, ...state] = open.step(parameters, m, v, stepSize, root, x.ref, y.ref);
  [open.parameters, open.m, open.v] = state;
  return (await loss.data())[0];
}

globalThis.engine = {
  async hello() {
    await init("wasm");
    defaultDevice("wasm");
    return { versions: { "jax-js": JAX_VERSION } };
  },

  async open({ workload }) {
    const data = batchOf(workload);
    const layers = layersOf(workload);
    const parameters = parametersFor(layers);
    open = {
      t: 0,
      lr: 1e-3,
      step: stepOf(data.y.length, layers),
      parameters,
      m: parameters.map((p) => np.zeros(p.shape)),
      v: parameters.map((p) => np.zeros(p.shape)),
      x: np.array(data.x, { dtype: workload.kinds ? np.int32 : np.float32 }).reshape(data.shape),
      y: nn.oneHot(np.array(data.y, { dtype: np.int32 }).reshape(data.rows), classesOf(workload)),
    };
    const start = performance.now();
    const losses = [await step()];
    const firstMs = performance.now() - start;
    while (losses.length < CHECKED_STEPS) losses.push(await step());
    open.lr = TIMED_LR;
    return { firstMs, losses };
  },

  async run({ steps }) {
    const start = performance.now();
    for (let i = 0; i < steps; i++) await step();
    // A loss is there before the step's updates are.
    for (const key of ["parameters", "m", "v"]) open[key] = await blockUntilReady(open[key]);
    return { ms: (performance.now() - start) / steps };
  },

  async close() {
    for (const a of [open.x, open.y, ...open.parameters, ...open.m, ...open.v]) a.dispose();
    open = undefined;
    return {};
  },
};
