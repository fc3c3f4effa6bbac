// Fourlane's answers to the bench's requests, the same in Node and in a page.
import { layersOf } from "../networks.js";
import { batchOf, CHECKED_STEPS, columnsOf, parametersOf, TIMED_LR } from "../workloads.js";

/** A network's function and its modules, built of the layers that `layersOf` returns. */
export function networkOf(nn, layers) {
  const modules = [];
  const has = (module) => {
    modules.push(module);
    return (x) => module.forward(x);
  };
  /** With given parameters. */
  const given = (module, layer) => {
    const { weight, bias } = parametersOf(layer);
    module.loadStateDict(bias ? { weight, bias } : { weight });
    return has(module);
  };
  const chain = (list) => {
    const parts = list.map((layer) => make[layer.op](layer));
    return (x) => parts.reduce((h, part) => part(h), x);
  };
  const make = {
    linear: (layer) => given(new nn.Linear(layer.input.at(-1), layer.outputs), layer),
    conv(layer) {
      const { outputs, kernel, stride, padding, groups, bias } = layer;
      const options = { stride, padding, groups, bias: bias !== null };
      return given(new nn.Conv2d(layer.input[0], outputs, kernel, options), layer);
    },
    lstm(layer) {
      const [, inputs] = layer.input;
      const module = new nn.LSTM(inputs, layer.outputs, { batchFirst: true });
      const { weight, bias } = parametersOf(layer);
      const [ih, hh] = columnsOf(weight, layer.weight, inputs);
      const none = new Float32Array(bias.length);
      module.loadStateDict({ weight_ih_l0: ih, weight_hh_l0: hh, bias_ih_l0: bias, bias_hh_l0: none });
      modules.push(module);
      return (x) => module.forward(x)[0].select(1, -1);
    },
    embedding: (layer) => given(new nn.Embedding(...layer.weight), layer),
    positions(layer) {
      const module = new nn.Embedding(...layer.weight);
      given(module, layer);
      return (x) => x.add(module.weight);
    },
    layerNorm: ({ channels }) => has(new nn.LayerNorm(channels)),
    gelu: () => (x) => nn.functional.gelu(x),
    attention:
      ({ heads }) =>
      (x) => {
        const [batch, places, width] = x.shape;
        const parts = x.reshape([batch, places, 3, heads, width / 3 / heads]).permute(2, 0, 3, 1, 4);
        const [q, k, v] = [0, 1, 2].map((i) => parts.select(0, i));
        const y = nn.functional.scaledDotProductAttention(q, k, v, { isCausal: true });
        return y.transpose(1, 2).reshape([batch, places, width / 3]);
      },
    batchNorm: ({ channels }) => has(new nn.BatchNorm2d(channels)),
    relu: () => (x) => x.relu(),
    relu6: () => has(new nn.ReLU6()),
    maxPool: () => has(new nn.MaxPool2d(2)),
    averagePool: () => has(new nn.AdaptiveAvgPool2d(1)),
    flatten: () => (x) => x.flatten(1),
    residual({ body, shortcut }) {
      const [main, other] = [chain(body), chain(shortcut)];
      return (x) => main(x).add(other(x));
    },
  };
  return { forward: chain(layers), modules };
}

/** The commands, for a build of the library. */
export function fourlaneCommands({ compile, crossEntropy, DataLoader, nn, optim, Subset, tensor, TensorDataset }) {
  let open;

  /** The step of a workload, as a user writes it. */
  function build(workload) {
    const { forward, modules } = networkOf(nn, layersOf(workload));
    const optimizer = new optim.Adam(modules.flatMap((module) => [...module.parameters()]));
    const { x, shape, y, rows } = batchOf(workload);
    const step = compile((x, y) => {
      optimizer.zeroGrad();
      const loss = crossEntropy(forward(x).flatten(0, -2), y.flatten());
      loss.backward();
      optimizer.step();
      return loss;
    });
    const data = new TensorDataset({ data: x, shape }, { data: y, shape: rows });
    return { step, optimizer, data, x: tensor(x, shape), y: tensor(y, rows) };
  }

  /** The program's planned memory and its ratio to the lower bound. */
  function planOf(step) {
    const plan = step.plan();
    return { ...plan, ratio: plan.lowerBound > 0 ? plan.bytes / plan.lowerBound : 1 };
  }

  return {
    async open({ workload }) {
      open = build(workload);
      const losses = [];
      const start = performance.now();
      losses.push(await open.step(open.x, open.y).item());
      const firstMs = performance.now() - start;
      while (losses.length < CHECKED_STEPS) losses.push(await open.step(open.x, open.y).item());
      open.optimizer.lr = TIMED_LR;
      return { firstMs, losses, plan: planOf(open.step) };
    },

    /** Milliseconds a step: each loss awaited before the next step; with two steps in flight; or all in one launch. */
    async run({ steps, mode }) {
      const { step, data, x, y } = open;
      const start = performance.now();
      if (mode === "resident") {
        const { length } = data;
        const indices = Int32Array.from({ length: steps * length }, (_, i) => i % length);
        await step.run(new DataLoader(new Subset(data, indices), { batchSize: length })).data();
      } else if (mode === "pipelined") {
        let before = step(x, y);
        for (let i = 1; i < steps; i++) {
          const next = step(x, y);
          await before.item();
          before = next;
        }
        await before.item();
      } else {
        for (let i = 0; i < steps; i++) await step(x, y).item();
      }
      return { ms: (performance.now() - start) / steps };
    },

    /** Where a step's time goes. */
    profile: () => open.step.profile(open.x, open.y),

    /** What a step costs that computes next to nothing. */
    async overhead({ samples }) {
      const step = compile((x) => x.add(1));
      const x = tensor(Float32Array.of(1));
      const times = [];
      for (let i = -samples; i < samples; i++) {
        const start = performance.now();
        await step(x).item();
        if (i >= 0) times.push((performance.now() - start) * 1000);
      }
      times.sort((a, b) => a - b);
      const at = (share) => times[Math.floor(share * (samples - 1))];
      return { p50: at(0.5), p95: at(0.95), min: times[0] };
    },

    async close() {
      open = undefined;
      return {};
    },
  };
}
