import { afterAll, beforeEach, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

const { compile, crossEntropy, nn, optim, Parameter, tensor } = fl;

afterAll(() => fl.dispose());

/** PyTorch's update rules in float64, for one tensor. */
const REFERENCE = {
  sgd(w: number[], grads: number[][], o: fl.optim.SGDOptions): number[] {
    const { lr = 1e-3, momentum = 0, dampening = 0, weightDecay = 0, nesterov = false } = o;
    const v: number[] = [];
    grads.forEach((gs, t) => {
      gs.forEach((raw, i) => {
        let g = raw + weightDecay * w[i];
        if (momentum) {
          v[i] = t === 0 ? g : momentum * v[i] + (1 - dampening) * g;
          g = nesterov ? g + momentum * v[i] : v[i];
        }
        w[i] -= lr * g;
      });
    });
    return w;
  },
  adam(w: number[], grads: number[][], o: fl.optim.AdamOptions, decoupled = false): number[] {
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = decoupled ? 0.01 : 0 } = o;
    const m = w.map(() => 0);
    const v = w.map(() => 0);
    grads.forEach((gs, t) => {
      gs.forEach((raw, i) => {
        if (decoupled) w[i] *= 1 - lr * weightDecay;
        const g = decoupled ? raw : raw + weightDecay * w[i];
        m[i] = betas[0] * m[i] + (1 - betas[0]) * g;
        v[i] = betas[1] * v[i] + (1 - betas[1]) * g * g;
        const c1 = 1 - betas[0] ** (t + 1);
        const c2 = 1 - betas[1] ** (t + 1);
        w[i] -= (lr / c1) * (m[i] / (Math.sqrt(v[i]) / Math.sqrt(c2) + eps));
      });
    });
    return w;
  },
};

describe("optimisers follow PyTorch's rules", () => {
  const start = [0.5, -1.5, 2, 0];
  const grads = Array.from({ length: 12 }, (_, t) =>
    start.map((_v, i) => Math.fround(Math.sin(t * 1.7 + i) * 2 ** (i - 2))),
  );
  type Make = (p: fl.Parameter) => fl.optim.Optimizer;
  const cases: [string, Make, () => number[]][] = [
    ["SGD", (p) => new optim.SGD([p], { lr: 0.1 }), () => REFERENCE.sgd([...start], grads, { lr: 0.1 })],
    ...[{ momentum: 0.9 }, { momentum: 0.9, nesterov: true, weightDecay: 0.1 }, { momentum: 0.8, dampening: 0.3 }].map(
      (o): [string, Make, () => number[]] => [
        `SGD ${JSON.stringify(o)}`,
        (p) => new optim.SGD([p], { lr: 0.05, ...o }),
        () => REFERENCE.sgd([...start], grads, { lr: 0.05, ...o }),
      ],
    ),
    ["Adam", (p) => new optim.Adam([p]), () => REFERENCE.adam([...start], grads, {})],
    [
      "Adam with everything",
      (p) => new optim.Adam([p], { lr: 0.02, betas: [0.8, 0.99], eps: 1e-4, weightDecay: 0.2 }),
      () => REFERENCE.adam([...start], grads, { lr: 0.02, betas: [0.8, 0.99], eps: 1e-4, weightDecay: 0.2 }),
    ],
    ["AdamW", (p) => new optim.AdamW([p], { lr: 0.1 }), () => REFERENCE.adam([...start], grads, { lr: 0.1 }, true)],
  ];

  test.each(cases)("%s, compiled and not", async (_, make, reference) => {
    const want = reference();
    const lazy = new Parameter(tensor(start));
    const lazyOptimizer = make(lazy);
    const compiled = new Parameter(tensor(start));
    const compiledOptimizer = make(compiled);
    const step = compile((g: fl.Tensor) => {
      compiledOptimizer.zeroGrad();
      compiled.mul(g).sum().backward();
      compiledOptimizer.step();
    });
    for (const g of grads) {
      lazyOptimizer.zeroGrad();
      lazy.mul(tensor(g)).sum().backward();
      lazyOptimizer.step();
      await lazy.data();
      step(tensor(g));
    }
    const a = await lazy.data();
    const b = await compiled.data();
    want.forEach((v, i) => expect(Math.abs(a[i] - v), `element ${i}`).toBeLessThanOrEqual(2e-6 * (1 + Math.abs(v))));
    expect([...b]).toEqual([...a]);
  });

  test("bad options are typed errors that name them", () => {
    const p = new Parameter(tensor([1]));
    for (const lr of [Number.NaN, Number.POSITIVE_INFINITY, -1])
      expect(() => new optim.Adam([p], { lr })).toThrow(
        `Adam: lr must be finite in float32 and in [0, Infinity), got ${lr}`,
      );
    expect(() => new optim.SGD([p], { nesterov: true })).toThrow(fl.ValueError);
    expect(() => new optim.Adam([p], { betas: [1, 0.9] })).toThrow("betas[0]");
    expect(() => new optim.SGD([])).toThrow("no parameters");
    const adam = new optim.Adam([p]);
    expect(() => {
      adam.lr = Number.NaN;
    }).toThrow(fl.ValueError);
    expect(adam.lr).toBe(1e-3);
  });
});

describe("compile", () => {
  let traces = 0;
  const make = (): {
    model: fl.nn.Sequential;
    step: fl.Compiled<[fl.Tensor, fl.Tensor], fl.Tensor>;
    optimizer: fl.optim.Adam;
  } => {
    fl.manualSeed(7);
    const model = new nn.Sequential(new nn.Linear(4, 16), new nn.ReLU(), new nn.Dropout(0.25), new nn.Linear(16, 3));
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
    const step = compile((x: fl.Tensor, y: fl.Tensor) => {
      traces++;
      optimizer.zeroGrad();
      const loss = crossEntropy(model.forward(x), y);
      loss.backward();
      optimizer.step();
      return loss;
    });
    return { model, step, optimizer };
  };
  const rows = 24;
  const x = tensor(
    Float32Array.from({ length: rows * 4 }, (_, i) => Math.sin(i * 1.3) + (i % 4 === i % 3 ? 1 : 0)),
    [rows, 4],
  );
  const y = tensor(Int32Array.from({ length: rows }, (_, i) => i % 3));

  beforeEach(() => {
    traces = 0;
  });

  test("traces once per signature, and again when train turns to eval", async () => {
    const { model, step } = make();
    await step(x, y).item();
    await step(x, y).item();
    expect(traces).toBe(1);
    await step(x.slice([0], [12]), y.slice([0], [12])).item();
    expect(traces).toBe(2);
    model.eval();
    await step(x, y).item();
    expect(traces).toBe(3);
    model.train();
    await step(x, y).item();
    expect(traces).toBe(3);
  });

  test("equals the same steps without compile, bit for bit, and learns", async () => {
    const { model, step } = make();
    const losses: number[] = [];
    for (let i = 0; i < 60; i++) losses.push(await step(x, y).item());
    expect(losses[59]).toBeLessThan(0.7 * losses[0]);

    fl.manualSeed(7);
    const twin = new nn.Sequential(new nn.Linear(4, 16), new nn.ReLU(), new nn.Dropout(0.25), new nn.Linear(16, 3));
    const optimizer = new optim.Adam(twin.parameters(), { lr: 0.01 });
    for (let i = 0; i < 60; i++) {
      optimizer.zeroGrad();
      const loss = crossEntropy(twin.forward(x), y);
      loss.backward();
      optimizer.step();
      expect(await loss.item()).toBe(losses[i]);
    }
    for (const [name, p] of model.namedParameters())
      expect(await twin.stateDict()[name].array()).toEqual(await p.array());
  });

  test("a learning rate changes without a new trace, in order with the steps", async () => {
    const { model, step, optimizer } = make();
    await step(x, y).item();
    const before = await model[0].parameters()[0].data();
    optimizer.lr = 0;
    await step(x, y).item();
    expect([...(await model[0].parameters()[0].data())]).toEqual([...before]);
    expect(traces).toBe(1);
  });

  test("dropout draws anew in each step, and is the identity in evaluation", async () => {
    const drop = new nn.Dropout(0.5);
    const f = compile((t: fl.Tensor) => drop.forward(t));
    const t = fl.ones([1000]);
    const a = await f(t).data();
    const b = await f(t).data();
    expect([...a]).not.toEqual([...b]);
    const kept = [...a].filter((v) => v === 2).length;
    expect(kept).toBeGreaterThan(430);
    expect(kept).toBeLessThan(570);
    drop.eval();
    expect([...(await f(t).data())]).toEqual([...(await t.data())]);
  });

  test("nested results, tensors from outside, numbers as constants", async () => {
    const outside = tensor([1, 2, 3]);
    const f = compile((o: { a: fl.Tensor }, s: number) => ({ sum: o.a.add(outside).mul(s), list: [o.a.neg()] }));
    const r = f({ a: tensor([1, 1, 1]) }, 2);
    expect(await r.sum.array()).toEqual([4, 6, 8]);
    expect(await r.list[0].array()).toEqual([-1, -1, -1]);
    expect(await f({ a: tensor([0, 0, 0]) }, 3).sum.array()).toEqual([3, 6, 9]);
  });

  test("a returned parameter has its new value; arguments may come back, twice too", async () => {
    const p = new Parameter(tensor([1, 2]));
    const optimizer = new optim.SGD([p], { lr: 1 });
    const f = compile((x: fl.Tensor) => {
      optimizer.zeroGrad();
      p.mul(x).sum().backward();
      optimizer.step();
      return [p, x, x];
    });
    const [after, x1, x2] = f(tensor([1, 1]));
    expect(await after.array()).toEqual([0, 1]);
    expect(await x1.array()).toEqual([1, 1]);
    expect(await x2.array()).toEqual([1, 1]);
    expect(await p.array()).toEqual([0, 1]);
  });

  test("whether an argument requires a gradient is part of the signature", async () => {
    const f = compile((x: fl.Tensor) => {
      x.grad = null;
      x.square().sum().backward();
      return x.grad as unknown as fl.Tensor;
    });
    expect(await f(tensor([3], { requiresGrad: true })).item()).toBe(6);
    expect(() => f(tensor([3]))).toThrow("does not depend on any tensor that requires a gradient");
  });

  test("tensors from outside keep the value they had", async () => {
    const p = new Parameter(tensor([1, 2]));
    const old = p.mul(1);
    const computed = tensor([1, 2]).mul(2);
    await computed.array();
    const drawn = fl.randn([2]);
    const f = compile((x: fl.Tensor) => [x.add(old), x.add(computed), x.add(drawn)]);
    const zero = tensor([0, 0]);
    expect(await f(zero)[0].array()).toEqual([1, 2]);
    p.assign([9, 9]);
    const [a, b, c] = f(zero);
    expect(await a.array()).toEqual([1, 2]);
    expect(await b.array()).toEqual([2, 4]);
    expect(await c.array()).toEqual(await f(zero)[2].array());
  });

  test("a parameter that is frozen later is not trained", async () => {
    const p = new Parameter(tensor([1]));
    const q = new Parameter(tensor([1]));
    const optimizer = new optim.SGD([p, q], { lr: 0.5 });
    const f = compile(() => {
      optimizer.zeroGrad();
      p.mul(q).sum().backward();
      optimizer.step();
    });
    f();
    p.requiresGrad = false;
    f();
    expect(await p.item()).toBe(0.5);
    expect(await q.item()).toBe(0.25);
  });

  test("a tensor of another trace is refused, and has no value", async () => {
    let leaked: fl.Tensor | undefined;
    compile((x: fl.Tensor) => {
      leaked = x.mul(2);
      return x;
    })(tensor([1]));
    expect(() => compile((x: fl.Tensor) => x.add(leaked as fl.Tensor))(tensor([1]))).toThrow(
      "of another compiled function",
    );
    await expect(leaked?.data()).rejects.toThrow(fl.FourlaneError);
    expect(() => compile((x: fl.Tensor) => new nn.Linear(1, 1).forward(x))(tensor([[1]]))).toThrow("made inside");
    const both = compile((x: fl.Tensor, a: string, b?: string) => x.add(b === undefined ? a.length : 0));
    expect(await both(tensor([0]), "a", "b").item()).toBe(0);
    expect(await both(tensor([0]), 'a,"b"').item()).toBe(5);
  });

  test("what cannot be compiled says why", async () => {
    const p = new Parameter(tensor([1, 2]));
    expect(() => compile(() => p.sum().backward())()).toThrow("call zeroGrad() inside the compiled function");
    expect(p.grad).toBeNull();
    const reads = compile((t: fl.Tensor) => {
      void t.mul(2).data();
      return t;
    });
    expect(() => reads(tensor([1]))).toThrow("cannot be read inside a compiled function");
    expect(() => compile(async (t: fl.Tensor) => t)(tensor([1]))).toThrow("is async");
  });

  test("explain prints phases and the plan; graph prints nodes", async () => {
    const { step } = make();
    expect(() => step.explain()).toThrow("call the compiled function first");
    await step(x, y).item();
    const text = step.explain();
    expect(text).toContain("phase 0");
    expect(text).toContain("matmul NT 24x4x16");
    expect(text).toMatch(/arena .* lower bound .*ratio 1\.0/);
    expect(step.graph()).toContain("crossEntropyRows");
    const { bytes, lowerBound, unshared } = step.plan();
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThanOrEqual(1.1 * lowerBound);
    expect(unshared).toBeGreaterThan(bytes);
  });
});

describe("optimisers as programs", () => {
  test("Adam, with or without decay, is one pass over a parameter and its moments", async () => {
    for (const make of [
      (p: fl.Parameter[]) => new optim.Adam(p),
      (p: fl.Parameter[]) => new optim.Adam(p, { weightDecay: 0.1 }),
      (p: fl.Parameter[]) => new optim.AdamW(p),
    ]) {
      const p = new Parameter(fl.ones([40, 30]));
      const optimizer = make([p]);
      const step = compile((x: fl.Tensor) => {
        optimizer.zeroGrad();
        p.mul(x).sum().backward();
        optimizer.step();
      });
      step(fl.ones([40, 30]));
      expect(step.explain().match(/= adam /g)?.length).toBe(1);
      const w = await p.data();
      expect(w[0]).toBeLessThan(1);
    }
  });
});

describe("modules", () => {
  test("parameters by path, once each; Linear's layout and initial range are PyTorch's", async () => {
    const model = new nn.Sequential(new nn.Linear(9, 5), new nn.ReLU(), new nn.Linear(5, 2, { bias: false }));
    expect(Object.keys(model.stateDict())).toEqual(["0.weight", "0.bias", "2.weight"]);
    expect(model.stateDict()["0.weight"].shape).toEqual([5, 9]);
    const w = await model.stateDict()["0.weight"].data();
    expect(Math.max(...w.map(Math.abs))).toBeLessThanOrEqual(1 / 3);
    expect(new Set(w).size).toBeGreaterThan(40);
    class Tied extends nn.Module {
      readonly a = new nn.Linear(2, 2);
      readonly b = this.a;
      readonly list = [new nn.Linear(1, 1)];
      forward(t: fl.Tensor): fl.Tensor {
        return this.b.forward(this.a.forward(t));
      }
    }
    expect([...new Tied().namedParameters()].map(([n]) => n)).toEqual([
      "a.weight",
      "a.bias",
      "list.0.weight",
      "list.0.bias",
    ]);
  });

  test("the same seed gives the same parameters, seed 0 too", async () => {
    const make = async (seed: number): Promise<number[]> => {
      fl.manualSeed(seed);
      return [...(await new nn.Linear(8, 8).weight.data())];
    };
    expect(await make(0)).toEqual(await make(0));
    expect(await make(0)).not.toEqual(await make(1));
    expect(() => fl.manualSeed(-1)).toThrow(fl.ValueError);
  });

  test("a random tensor is what was drawn, however late it is read", async () => {
    const drawn = async (between: () => unknown): Promise<number[]> => {
      fl.manualSeed(3);
      const late = fl.rand([5]);
      await between();
      return [...(await late.data())];
    };
    const want = await drawn(() => {});
    const noisy = fl.compile((x: fl.Tensor) => nn.functional.dropout(x, 0.5));
    const others: (() => unknown)[] = [
      async () => {
        for (let i = 0; i < 3; i++) await fl.randn([2]).data();
      },
      () => {
        for (let i = 0; i < 3; i++) void fl.randn([2]).data();
      },
      () => fl.manualSeed(4),
      () => fl.defaultGenerator().setState(Int32Array.of(1, 2, 3)),
      async () => {
        for (let i = 0; i < 3; i++) await noisy(fl.ones([4])).data();
      },
    ];
    for (const between of others) expect(await drawn(between)).toEqual(want);
  });

  test("loadStateDict sets everything or nothing", async () => {
    const a = new nn.Linear(3, 2);
    const b = new nn.Linear(3, 2);
    b.loadStateDict(a.stateDict());
    expect(await b.weight.array()).toEqual(await a.weight.array());
    b.loadStateDict({ weight: Float32Array.of(1, 2, 3, 4, 5, 6), bias: tensor([7, 8]) });
    expect(await b.forward(fl.ones([1, 3])).array()).toEqual([[13, 23]]);
    expect(() => b.loadStateDict({ weight: tensor([1]) })).toThrow("missing bias");
    expect(() => b.loadStateDict({ weight: tensor([1]), bias: tensor([1, 2]) })).toThrow(
      "weight has shape [2, 3], got [1]",
    );
    expect(await b.bias?.array()).toEqual([7, 8]);
  });
});

describe("order", () => {
  test("a parameter that waits for its initialiser can be an argument in disguise", async () => {
    const p = new Parameter(fl.rand([3]));
    const f = compile((x: fl.Tensor) => x.mul(2));
    const doubled = await f(p.reshape(3)).data();
    const values = await p.data();
    expect([...doubled]).toEqual([...values].map((v) => v * 2));
  });
});
