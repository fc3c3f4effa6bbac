// TensorFlow.js with its WASM backend, in a page: SIMD, and threads where the page is cross-origin isolated.
import * as tf from "@tensorflow/tfjs";
import { setThreadsCount, setWasmPaths, version_wasm } from "@tensorflow/tfjs-backend-wasm";
import { batchOf, CHECKED_STEPS, parametersOf, TIMED_LR } from "../../workloads.js";

let open;

/** One step; resolves to its loss. */
async function step() {
  const { parameters, optimizer, x, y } = open;
  const cost = optimizer.minimize(
    () => {
      let h = x;
      parameters.forEach(([weight, bias], i) => {
        h = tf.add(tf.matMul(i === 0 ? h : tf.relu(h), weight, false, true), bias);
      });
      return tf.losses.softmaxCrossEntropy(y, h);
    },
    true,
    parameters.flat(),
  );
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
    const { sizes, batch } = workload;
    const data = batchOf(workload);
    open = {
      x: tf.tensor2d(data.x, [batch, sizes[0]]),
      y: tf.tidy(() => tf.oneHot(tf.tensor1d(data.y, "int32"), sizes.at(-1)).toFloat()),
      parameters: parametersOf(workload).map(({ weight, bias }, i) => [
        tf.variable(tf.tensor2d(weight, [sizes[i + 1], sizes[i]])),
        tf.variable(tf.tensor1d(bias)),
      ]),
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
    tf.dispose([open.x, open.y, open.parameters]);
    open.optimizer.dispose();
    open = undefined;
    return {};
  },
};
