// jax-js with its WASM backend, in a page: loss, gradients and Adam in one jit. Arrays are owned: .ref keeps one for later.
import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
import { batchOf, CHECKED_STEPS, parametersOf, TIMED_LR } from "../../workloads.js";

const [BETA1, BETA2, EPS] = [0.9, 0.999, 1e-8];
let open;

function lossOf(batch) {
  return (parameters, x, y) => {
    let h = x;
    for (let i = 0; i < parameters.length; i += 2) {
      if (i > 0) h = nn.relu(h);
      h = np.matmul(h, np.transpose(parameters[i])).add(parameters[i + 1]);
    }
    return nn
      .logSoftmax(h, -1)
      .mul(y)
      .sum()
      .mul(-1 / batch);
  };
}

/** New parameters and moments; `rates` holds lr / (1 - beta1^t) and 1 / sqrt(1 - beta2^t). */
function stepOf(batch) {
  const gradient = valueAndGrad(lossOf(batch));
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
    const { sizes, batch } = workload;
    const data = batchOf(workload);
    const parameters = parametersOf(workload).flatMap(({ weight, bias }, i) => [
      np.array(weight).reshape([sizes[i + 1], sizes[i]]),
      np.array(bias),
    ]);
    open = {
      t: 0,
      lr: 1e-3,
      step: stepOf(batch),
      parameters,
      m: parameters.map((p) => np.zeros(p.shape)),
      v: parameters.map((p) => np.zeros(p.shape)),
      x: np.array(data.x).reshape([batch, sizes[0]]),
      y: nn.oneHot(np.array(data.y, { dtype: np.int32 }), sizes.at(-1)),
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
