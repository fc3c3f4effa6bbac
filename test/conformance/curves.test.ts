/**
 * Training as PyTorch trains: the losses of 50 steps from the same parameters on the same batches, which PyTorch took in
 * float64, and the parameters and running statistics after the last step.
 */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { DTYPES, load } from "./samples.ts";

afterAll(() => fl.dispose());

const { nn, optim } = fl;

interface Case {
  readonly model: string;
  readonly optimizer: string;
  readonly options: Record<string, number>;
  readonly clip?: number | null;
  readonly batches: number;
  readonly steps: number;
}

class LastTime extends nn.Module {
  readonly lstm = new nn.LSTM(5, 12, { batchFirst: true });
  readonly head = new nn.Linear(12, 3);

  forward(x: fl.Tensor): fl.Tensor {
    const [output] = this.lstm.forward(x);
    return this.head.forward(output.select(1, -1));
  }
}

const WIDTH = 16;
const HEADS = 2;

/** As torch.nn.MultiheadAttention, of x alone and causal. */
class SelfAttention extends nn.Module {
  in_proj_weight = new nn.Parameter(fl.zeros([3 * WIDTH, WIDTH]));
  in_proj_bias = new nn.Parameter(fl.zeros([3 * WIDTH]));
  out_proj = new nn.Linear(WIDTH, WIDTH);

  forward(x: fl.Tensor): fl.Tensor {
    const [batch, length] = x.shape;
    const heads = nn.functional
      .linear(x, this.in_proj_weight, this.in_proj_bias)
      .reshape([batch, length, 3, HEADS, WIDTH / HEADS])
      .permute(2, 0, 3, 1, 4);
    const [q, k, v] = [0, 1, 2].map((i) => heads.select(0, i));
    const y = nn.functional.scaledDotProductAttention(q, k, v, { isCausal: true });
    return this.out_proj.forward(y.transpose(1, 2).reshape([batch, length, WIDTH]));
  }
}

class Layer extends nn.Module {
  norm1 = new nn.LayerNorm(WIDTH);
  self_attn = new SelfAttention();
  norm2 = new nn.LayerNorm(WIDTH);
  linear1 = new nn.Linear(WIDTH, 32);
  linear2 = new nn.Linear(32, WIDTH);

  forward(x: fl.Tensor): fl.Tensor {
    const y = x.add(this.self_attn.forward(this.norm1.forward(x)));
    return y.add(this.linear2.forward(nn.functional.gelu(this.linear1.forward(this.norm2.forward(y)))));
  }
}

class Transformer extends nn.Module {
  embed = new nn.Embedding(17, WIDTH);
  pos = new nn.Embedding(8, WIDTH);
  layers = [new Layer(), new Layer()];
  head = new nn.Linear(WIDTH, 17);

  forward(x: fl.Tensor): fl.Tensor {
    const start = this.embed.forward(x).add(this.pos.weight);
    return this.head.forward(this.layers.reduce((h, layer) => layer.forward(h), start)).flatten(0, 1);
  }
}

/** What each file's `model` says. */
const MODELS: Record<string, () => fl.nn.Module> = {
  "lstm LSTM(5,12,batch_first); head Linear(12,3) of the last time; gradients clipped to norm 0.15": () =>
    new LastTime(),
  "embed Embedding(17,16) + pos Embedding(8,16).weight; layers: 2 TransformerEncoderLayer(16,2,32,dropout=0,norm_first,batch_first,gelu) with a causal mask; head Linear(16,17); rows flattened":
    () => new Transformer(),
  "Linear(20,32) ReLU Linear(32,16) ReLU Linear(16,5)": () =>
    new nn.Sequential(new nn.Linear(20, 32), new nn.ReLU(), new nn.Linear(32, 16), new nn.ReLU(), new nn.Linear(16, 5)),
  "Conv2d(1,6,3,padding=1) BatchNorm2d(6) ReLU MaxPool2d(2) Conv2d(6,8,3) BatchNorm2d(8) ReLU MaxPool2d(2) Flatten Linear(32,4)":
    () =>
      new nn.Sequential(
        new nn.Conv2d(1, 6, 3, { padding: 1 }),
        new nn.BatchNorm2d(6),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Conv2d(6, 8, 3),
        new nn.BatchNorm2d(8),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Flatten(),
        new nn.Linear(32, 4),
      ),
};

const OPTIMIZERS: Record<
  string,
  (parameters: fl.nn.Parameter[], options: Record<string, number>) => fl.optim.Optimizer
> = {
  SGD: (parameters, options) => new optim.SGD(parameters, options as { lr: number }),
  Adam: (parameters, options) => new optim.Adam(parameters, options),
  AdamW: (parameters, { lr, weight_decay }) => new optim.AdamW(parameters, { lr, weightDecay: weight_decay }),
};

/**
 * The norm takes away what the bias of the convolution before it adds. So the gradient of that bias is what rounding leaves
 * of zero, of which Adam makes steps of full length; and the norm's running mean follows. Likewise softmax takes away what the bias of
 * keys adds: the second third of what makes queries, keys and values.
 */
const UNDETERMINED: Record<string, readonly string[]> = {
  "transformer.00": ["layers.0.self_attn.in_proj_bias keys", "layers.1.self_attn.in_proj_bias keys"],
  "convnet.00": ["0.bias", "1.running_mean", "4.bias", "5.running_mean"],
};

describe("a training curve follows PyTorch's", () => {
  test.each(["mlp.00", "convnet.00", "transformer.00", "lstm.00"])("%s", async (name) => {
    const { arrays, case: sample } = load<Case>(new URL(`./curves/${name}.safetensors`, import.meta.url));
    const get = (key: string): fl.Tensor => {
      const { shape, data, dtype } = arrays.get(key) as { shape: number[]; data: Float64Array; dtype: string };
      return fl.tensor([...data], shape, { dtype: DTYPES[dtype] });
    };
    const named = (prefix: string): string[] => [...arrays.keys()].filter((key) => key.startsWith(prefix));
    const model = MODELS[sample.model]();
    model.loadStateDict(Object.fromEntries(named("state.").map((key) => [key.slice("state.".length), get(key)])));
    const optimizer = OPTIMIZERS[sample.optimizer](model.parameters(), sample.options);
    const step = fl.compile((x: fl.Tensor, y: fl.Tensor) => {
      optimizer.zeroGrad();
      const loss = fl.crossEntropy(model.forward(x), y);
      loss.backward();
      if (sample.clip) nn.utils.clipGradNorm(model.parameters(), sample.clip);
      optimizer.step();
      return loss;
    });

    const wanted = arrays.get("loss")?.data as Float64Array;
    expect(wanted).toHaveLength(sample.steps);
    for (let s = 0; s < sample.steps; s++) {
      const batch = s % sample.batches;
      const loss = await step(get(`x.${batch}`), get(`y.${batch}`)).item();
      expect(Math.abs(loss - wanted[s]), `loss ${loss} of step ${s}, wanted ${wanted[s]}`).toBeLessThanOrEqual(
        1e-3 * wanted[s],
      );
    }
    const state = model.stateDict();
    expect(named("final.").map((key) => key.slice("final.".length))).toEqual(
      expect.arrayContaining(Object.keys(state)),
    );
    for (const [key, value] of Object.entries(state)) {
      if (UNDETERMINED[name]?.includes(key)) continue;
      const want = arrays.get(`final.${key}`)?.data as Float64Array;
      const ofKeys = (i: number): boolean => i >= want.length / 3 && i < (2 * want.length) / 3;
      (await value.data()).forEach((v, i) => {
        if (UNDETERMINED[name]?.includes(`${key} keys`) && ofKeys(i)) return;
        expect(Math.abs(v - want[i]), `${key}[${i}]: ${v}, wanted ${want[i]}`).toBeLessThanOrEqual(
          1e-3 + 1e-3 * Math.abs(want[i]),
        );
      });
    }
  });
});
