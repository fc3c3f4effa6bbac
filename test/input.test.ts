/** What comes from outside and cannot be: exact numbers, sizes, shapes, cycles, functions. Each is named, at once. */
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import * as fl from "../src/index.ts";

describe("a state dict", () => {
  class Counts extends fl.nn.Module {
    weight = new fl.Parameter(fl.zeros([5]));
    bias = new fl.Parameter(fl.zeros([1]));
    count = new fl.nn.Buffer(fl.zeros([3], { dtype: "int32" }));
    bytes = new fl.nn.Buffer(fl.zeros([2], { dtype: "uint8" }));
    mask = new fl.nn.Buffer(fl.zeros([2], { dtype: "bool" }));
    forward(x: fl.Tensor): fl.Tensor {
      return x;
    }
  }
  const dict = (change: object = {}): Record<string, fl.Tensor | Float32Array> =>
    ({
      weight: Float32Array.of(1, 2, 3, 4, 5),
      bias: Float32Array.of(6),
      count: Int32Array.of(16777217, 2147483647, -2147483648),
      bytes: Uint8Array.of(0, 255),
      mask: Uint8Array.of(1, 0),
      ...change,
    }) as never;
  const read = async (m: Counts): Promise<unknown> =>
    Object.fromEntries(await Promise.all(Object.entries(m.stateDict()).map(async ([k, t]) => [k, await t.array()])));

  test("loads arrays of its own types exactly", async () => {
    const m = new Counts();
    m.loadStateDict(dict());
    const want = {
      weight: [1, 2, 3, 4, 5],
      bias: [6],
      count: [16777217, 2147483647, -2147483648],
      bytes: [0, 255],
      mask: [true, false],
    };
    expect(await read(m)).toEqual(want);
    m.loadStateDict(
      dict({
        weight: Float64Array.of(1, 2, 3, 4, 0.1),
        count: BigInt64Array.of(7n, -8n, 2147483647n),
        bytes: [3, 4],
        mask: [true, false],
        bias: Int32Array.of(9),
      }),
    );
    expect(await read(m)).toMatchObject({ count: [7, -8, 2147483647], bytes: [3, 4], mask: [true, false], bias: [9] });
    expect(await m.weight.data()).toEqual(Float32Array.of(1, 2, 3, 4, 0.1));
  });

  const wrong: [string, object, RegExp, typeof fl.ValueError][] = [
    [
      "a fraction for an integer",
      { count: [1.5, 0, 0] },
      /loadStateDict: count: element 0 is 1\.5.*int32/,
      fl.ValueError,
    ],
    ["2^31", { count: Float64Array.of(0, 2 ** 31, 0) }, /count: element 1 is 2147483648/, fl.ValueError],
    [
      "a big integer",
      { count: BigInt64Array.of(0n, 0n, 2n ** 40n) },
      /count: element 2 is 1099511627776/,
      fl.ValueError,
    ],
    ["300 for a byte", { bytes: Int32Array.of(1, 300) }, /bytes: element 1 is 300.*uint8/, fl.ValueError],
    ["2 for a boolean", { mask: Int32Array.of(1, 2) }, /mask: element 1 is 2.*bool/, fl.ValueError],
    ["NaN for an integer", { count: Float32Array.of(1, Number.NaN, 0) }, /count: element 1 is NaN/, fl.ValueError],
    ["what float32 cannot hold", { bias: Float64Array.of(1e39) }, /bias: element 0 is 1e\+39.*float32/, fl.ValueError],
    ["text", { bias: ["1"] }, /bias: element 0 is no number: 1/, fl.DTypeError],
    [
      "a DataView",
      { bias: new DataView(new ArrayBuffer(4)) },
      /loadStateDict: bias must be a tensor or an array/,
      fl.DTypeError,
    ],
    ["a number", { bias: 3 }, /loadStateDict: bias must be a tensor or an array of numbers, got 3/, fl.DTypeError],
    ["too many values", { bias: [1, 2] }, /bias has shape \[1\], got 2 values/, fl.ShapeError],
    ["another dtype", { bias: fl.zeros([1], { dtype: "int32" }) }, /bias has dtype float32, got int32/, fl.ValueError],
  ];
  test.each(wrong)("with %s changes nothing", async (_, change, message, type) => {
    const m = new Counts();
    m.loadStateDict(dict());
    const before = await read(m);
    const load = (): void => m.loadStateDict(dict({ weight: Float32Array.of(9, 9, 9, 9, 9), ...change }));
    expect(load).toThrow(message);
    expect(load).toThrow(type);
    expect(await read(m)).toEqual(before);
  });

  test("with a tensor that has no value here changes nothing", async () => {
    const m = new Counts();
    m.loadStateDict(dict());
    const before = await read(m);
    const gone = fl.zeros([1]);
    gone.dispose();
    let leaked = gone;
    await fl
      .compile((x: fl.Tensor) => {
        leaked = x;
        return x.add(1);
      })(fl.ones([1]))
      .data();
    for (const [bias, error] of [
      [gone, fl.DisposedError],
      [leaked, /loadStateDict: bias: the value is a tensor of a compiled function/],
    ] as const) {
      expect(() => m.loadStateDict(dict({ weight: fl.full([5], 9), bias }))).toThrow(error);
      expect(await read(m)).toEqual(before);
    }
  });

  test("of the module's own parameters gives each the value the other had", async () => {
    class Pair extends fl.nn.Module {
      a = new fl.Parameter(fl.tensor([1, 2]));
      b = new fl.Parameter(fl.tensor([3, 4]));
      forward(x: fl.Tensor): fl.Tensor {
        return x;
      }
    }
    const m = new Pair();
    m.loadStateDict({ a: m.b, b: m.a });
    expect([await m.a.array(), await m.b.array()]).toEqual([
      [3, 4],
      [1, 2],
    ]);
    m.loadStateDict({ a: [5, 6], b: m.a });
    expect([await m.a.array(), await m.b.array()]).toEqual([
      [5, 6],
      [3, 4],
    ]);
  });

  test("does not take names from Object.prototype for its own", () => {
    class Odd extends fl.nn.Module {
      override toString = new fl.Parameter(fl.zeros([1])) as never;
      forward(x: fl.Tensor): fl.Tensor {
        return x;
      }
    }
    expect(() => new Odd().loadStateDict({})).toThrow(/missing toString/);
  });
});

describe("numbers", () => {
  test("of a parameter must fit its dtype", async () => {
    const p = new fl.nn.Buffer(fl.zeros([2], { dtype: "int32" }));
    p.assign(BigInt64Array.of(5n, -6n));
    expect(await p.array()).toEqual([5, -6]);
    for (const bad of [
      [1.5, 0],
      [2 ** 40, 0],
      [Number.NaN, 0],
      ["1", 0],
    ])
      expect(() => p.assign(bad as number[])).toThrow(/assign: element 0/);
    expect(await p.array()).toEqual([5, -6]);
    expect(() => new fl.Parameter(fl.zeros([1])).assign([10n ** 400n])).toThrow(/assign: element 0 is 1000/);
  });

  test("of a whole tensor must fit its dtype, as those of tensor() must; fractions are cut off", async () => {
    for (const [value, dtype] of [
      [2 ** 40, "int32"],
      [-(2 ** 31) - 1, "int32"],
      [300, "uint8"],
      [-1, "uint8"],
      [Number.NaN, "int32"],
      [Number.POSITIVE_INFINITY, "uint8"],
    ] as const) {
      expect(() => fl.full([2], value, { dtype })).toThrow(`full: ${value} is no value of dtype ${dtype}`);
      expect(() => fl.full([2], value, { dtype })).toThrow(fl.ValueError);
      expect(() => fl.tensor([value], { dtype })).toThrow(fl.ValueError);
    }
    for (const value of [1.5, -1.5, 2 ** 31 - 1, -(2 ** 31)])
      expect(await fl.full([1], value, { dtype: "int32" }).array()).toEqual([Math.trunc(value)]);
    expect(await fl.full([1], 1e39).array()).toEqual([Number.POSITIVE_INFINITY]);
  });

  test("of a generator's state must be its three integers", async () => {
    const g = new fl.Generator(7);
    const state = await g.getState();
    for (const bad of [[1.5, 0, 0], [2 ** 40, 0, 0], [1], "abc", null, Float32Array.of(Number.NaN, 0, 0)])
      expect(() => g.setState(bad as never), String(bad)).toThrow(fl.FourlaneError);
    expect(await g.getState()).toEqual(state);
  });

  test("in arrays of another context keep their type", async () => {
    const foreign = (code: string): never => runInNewContext(code) as never;
    const t = fl.tensor(foreign("Int32Array.of(16777217)"));
    expect([t.dtype, await t.array()]).toEqual(["int32", [16777217]]);
    expect(fl.tensor(foreign("Uint8ClampedArray.of(7)")).dtype).toBe("uint8");
    expect(() => fl.tensor(foreign("BigInt64Array.of(1n)"))).toThrow(/there is no int64/);
    expect(() => fl.tensor(foreign("new DataView(new ArrayBuffer(4))"))).toThrow(fl.DTypeError);
    const [labels] = await new fl.TensorDataset(foreign("Int32Array.of(16777217)")).batch([0]);
    expect(await labels.array()).toEqual([16777217]);
  });

  test("in arrays that are none are typed errors", () => {
    const detached = new Float32Array(4);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    expect(() => fl.tensor(detached)).toThrow(/tensor: the values is an array whose buffer is detached|detached/);
    expect(() => fl.tensor(detached)).toThrow(fl.DTypeError);
    expect(() => fl.tensor(new DataView(new ArrayBuffer(4)) as never)).toThrow(fl.DTypeError);
    expect(() => fl.tensor(BigInt64Array.of(1n) as never)).toThrow(/there is no int64/);
    expect(() => fl.tensor([1n] as never)).toThrow(fl.DTypeError);
  });

  test("of a dtype that Object.prototype has a member of: a typed error, and the next computation is right", async () => {
    for (const name of ["constructor", "toString", "hasOwnProperty", "__proto__", "float64", "", 3]) {
      expect(() => fl.tensor([1]).to(name as never), String(name)).toThrow(fl.DTypeError);
      expect(() => fl.zeros([1], { dtype: name as never }), String(name)).toThrow(fl.DTypeError);
    }
    expect(await fl.tensor([2]).add(3).item()).toBe(5);
  });
});

describe("what holds itself", () => {
  const array: unknown[] = [1];
  array.push(array);
  const nest: unknown[] = [];
  nest.push(nest);
  const object: Record<string, unknown> = { x: fl.ones([1]) };
  object.self = object;
  const deep = Array.from({ length: 100 }).reduce<unknown>((v) => [v], 1);
  const manyDeep = Array.from({ length: 20000 }).reduce<unknown>((v) => [v], 1);
  const shared = (x: unknown): unknown => Array.from({ length: 40 }).reduce<unknown>((v) => [v, v], x);
  const wrong: [string, () => unknown][] = [
    ["tensor", () => fl.tensor(nest as never)],
    ["tensor, with numbers", () => fl.tensor(array as never)],
    ["tensor, 100 deep", () => fl.tensor(deep as never)],
    ["index", () => fl.ones([3]).index(nest as never)],
    ["where", () => fl.where(fl.ones([1]).gt(0), nest as never, 0)],
    ["add", () => fl.ones([1]).add(nest as never)],
    ["cat", () => fl.cat(nest as never)],
    ["a compiled function", () => fl.compile((o: unknown) => (o as { x: fl.Tensor }).x)(object)],
    ["the result of one", () => fl.compile(() => object)()],
    ["grad", () => fl.grad((o: { x: fl.Tensor }) => o.x.sum())(object as never)],
    ["jvp", () => fl.jvp((x: fl.Tensor) => x, [fl.ones([1])] as never, object as never)],
    ["vmap", () => fl.vmap((o: { x: fl.Tensor }) => o.x)(object as never)],
    ["axes of vmap", () => fl.vmap((x: fl.Tensor) => x, nest as never)(fl.ones([2]))],
    ["a tree like axes of vmap", () => fl.vmap((...x: unknown[]) => x, nest as never)(...nest)],
    [
      "a compiled function, 20000 deep",
      () => fl.compile((...args: unknown[]) => fl.ones([args.length]))(...(manyDeep as never[])),
    ],
    // No cycle, but 2^40 ways to the end.
    ["tensor of shared parts", () => fl.tensor(shared(1) as never)],
    ["tensor of shared parts, empty", () => fl.tensor(shared([]) as never)],
    ["the result of shared parts", () => fl.compile(() => shared(fl.ones([1])))()],
    [
      "grad of shared parts",
      () => fl.grad((parts: never[]) => fl.ones([parts.length]).sum())(shared(fl.ones([1])) as never),
    ],
  ];
  test.each(wrong)("%s: a typed error at once", (_, f) => {
    const start = performance.now();
    expect(f).toThrow(fl.FourlaneError);
    expect(performance.now() - start).toBeLessThan(20_000);
  });

  test("modules that hold each other: each is met once, as in PyTorch", () => {
    class Node extends fl.nn.Module {
      weight = new fl.Parameter(fl.zeros([1]));
      next: Node | undefined;
      other: Node | undefined;
      forward(x: fl.Tensor): fl.Tensor {
        return x;
      }
    }
    const [a, b] = [new Node(), new Node()];
    a.next = b;
    b.next = a;
    b.other = b;
    expect(a.parameters()).toEqual([a.weight, b.weight]);
    expect(Object.keys(a.stateDict())).toEqual(["weight", "next.weight"]);
    expect([...a.modules()]).toEqual([a, b]);
    a.eval();
    expect([a.training, b.training]).toEqual([false, false]);
    // 2^40 ways to one module.
    let top = b;
    for (let i = 0; i < 40; i++) {
      const above = new Node();
      above.next = above.other = top;
      top = above;
    }
    expect(top.train().parameters()).toHaveLength(42);
  });
});

describe("shapes too large", () => {
  const wide = (): fl.Tensor => fl.ones([1]).expand([2 ** 29]);
  const wrong: [string, () => unknown][] = [
    ["zeros with a zero beside", () => fl.zeros([2 ** 40, 0])],
    ["ones", () => fl.ones([2 ** 16, 2 ** 16])],
    ["expand", () => fl.ones([1]).expand([2 ** 31])],
    ["broadcasting", () => fl.ones([2 ** 16, 1]).add(fl.ones([2 ** 16]))],
    ["outer", () => fl.outer(fl.ones([2 ** 16]), fl.ones([2 ** 16]))],
    ["matmul", () => fl.ones([2 ** 16, 1]).matmul(fl.ones([1, 2 ** 16]))],
    ["einsum", () => fl.einsum("i,j->ij", fl.ones([2 ** 16]), fl.ones([2 ** 16]))],
    ["cat", () => fl.cat([wide(), wide()])],
    ["repeat", () => fl.repeat(fl.ones([2 ** 20]), [2 ** 20])],
    ["unfold", () => wide().unfold(0, 2 ** 20, 1)],
    ["pad", () => fl.nn.functional.pad(fl.ones([2]), [2 ** 40, 0])],
    ["replicate", () => fl.nn.functional.pad(fl.ones([1, 1, 2]), [2 ** 31, 0], "replicate")],
    ["oneHot", () => fl.oneHot(fl.zeros([2 ** 20], { dtype: "int32" }), 2 ** 20)],
    ["interpolate", () => fl.nn.functional.interpolate(fl.ones([1, 1, 2, 2]), { size: 2 ** 28 })],
    ["adaptiveAvgPool2d", () => fl.nn.functional.adaptiveAvgPool2d(fl.ones([1, 1, 3, 3]), 2 ** 30)],
    ["split", () => fl.split(wide(), 1)],
    ["arange", () => fl.arange(2 ** 40)],
  ];
  test.each(wrong)("%s: a ShapeError at once", (_, f) => {
    const start = performance.now();
    expect(f).toThrow(fl.ShapeError);
    expect(performance.now() - start).toBeLessThan(3000);
  });

  const long = (length: number): fl.Dataset => ({ length, batch: () => [] });
  test.each<[string, () => unknown]>([
    ["DataLoader", () => new fl.DataLoader(long(2 ** 40))],
    ["randomSplit", () => fl.randomSplit(long(2 ** 40), [0.5, 0.5])],
    ["Subset", () => new fl.Subset(long(2 ** 40), [0])],
  ])("%s of more rows than can be numbered", (name, f) => {
    expect(f).toThrow(fl.ShapeError);
    expect(f).toThrow(`${name}: 1099511627776 rows are too many`);
  });

  test("what is as large as may be is made at once", () => {
    const { avgPool1d, avgPool2d, interpolate, pad } = fl.nn.functional;
    const line = fl.ones([1, 1, 1]).expand([1, 1, 2 ** 24]);
    const start = performance.now();
    avgPool1d(line, 2, { stride: 1 });
    avgPool2d(fl.ones([1, 1, 1, 1]).expand([1, 1, 2 ** 13, 2 ** 13]), 2, { stride: 1 });
    pad(line, [5, 0], "reflect");
    interpolate(fl.ones([1, 1, 2]), { size: 2 ** 22 });
    expect(performance.now() - start).toBeLessThan(20_000);
  });

  test("nested arrays that nobody can hold are refused, data() is not", async () => {
    await expect(fl.zeros([2 ** 29, 0]).array()).rejects.toThrow(/array: 536870912 nested arrays are too many/);
    expect(await fl.zeros([2 ** 29, 0]).data()).toHaveLength(0);
    expect(
      await fl
        .zeros([2 ** 29, 0])
        .sum(1)
        .narrow(0, 0, 2)
        .array(),
    ).toEqual([0, 0]);
  });
});

describe("clipping", () => {
  const clipped = async (values: number[], p = 2): Promise<[number, fl.NestedArray]> => {
    const t = new fl.Parameter(fl.zeros([values.length]));
    t.grad = fl.tensor(values);
    const norm = await fl.nn.utils.clipGradNorm([t], 1, { normType: p }).item();
    return [norm, (await t.grad?.array()) as fl.NestedArray];
  };
  test("of huge gradients takes the norm they have", async () => {
    const [huge, to] = await clipped([3e30, 4e30]);
    expect(huge / 5e30).toBeCloseTo(1, 6);
    expect((to as number[]).map((v) => Math.round(v * 1e6) / 1e6)).toEqual([0.6, 0.8]);
    expect((await clipped([1e20, 1e20, 1e20], 3))[0] / (3 ** (1 / 3) * 1e20)).toBeCloseTo(1, 5);
    expect(await clipped([0, 0])).toEqual([0, [0, 0]]);
    expect((await clipped([1, Number.POSITIVE_INFINITY]))[0]).toBe(Number.POSITIVE_INFINITY);
    expect((await clipped([1, Number.NaN]))[0]).toBeNaN();
    expect((await clipped([-7, 2], Number.POSITIVE_INFINITY))[0]).toBe(7);
  });
  test("of tiny gradients takes the norm they have", async () => {
    for (const scale of [1e-20, 1e-25, 1e-30, 1e-32])
      expect((await clipped([3 * scale, 4 * scale]))[0] / (5 * scale)).toBeCloseTo(1, 5);
    // Where nothing is lost the scale is a power of 2: the bits are those of the plain norm.
    const values = Array.from({ length: 1000 }, (_, i) => Math.sin(i) * 10 ** ((i % 9) - 4));
    const plain = await fl.norm(fl.tensor(values)).item();
    expect((await clipped(values))[0]).toBe(plain);
  });
  test("passes by parameters without elements, in every norm", async () => {
    for (const p of [1, 2, 3, Number.POSITIVE_INFINITY]) {
      const [none, some] = [0, 1].map((n) => new fl.Parameter(fl.zeros([n])));
      none.grad = fl.zeros([0]);
      some.grad = fl.tensor([4]);
      expect(await fl.nn.utils.clipGradNorm([none, some], 1, { normType: p }).item()).toBeCloseTo(4, 5);
      expect(await fl.nn.utils.clipGradNorm(none, 1, { normType: p }).item()).toBe(0);
    }
  });
});

describe("hyperparameters", () => {
  const F = fl.nn.functional;
  const p = (): fl.Parameter[] => [new fl.Parameter(fl.zeros([1]))];
  const wrong: [string, () => unknown][] = [
    ["lr", () => new fl.optim.SGD(p(), { lr: 1e39 })],
    ["lr, later", () => (new fl.optim.SGD(p()).lr = 1e39)],
    ["momentum", () => new fl.optim.SGD(p(), { momentum: 1e39 })],
    ["dampening", () => new fl.optim.SGD(p(), { momentum: 0.9, dampening: -1e39 })],
    ["weightDecay", () => new fl.optim.AdamW(p(), { weightDecay: 1e39 })],
    ["eps", () => new fl.optim.Adam(p(), { eps: 1e39 })],
    ["betas[0]", () => new fl.optim.Adam(p(), { betas: [0.9999999999, 0.9] })],
    ["betas[1]", () => new fl.optim.Adam(p(), { betas: [0.9, 0.9999999999] })],
    ["lr", () => new fl.optim.Adam(p(), { lr: "0.1" as never })],
    ["lr", () => new fl.optim.SGD(p(), { lr: -1e-50 })],
    ["betas[0]", () => new fl.optim.Adam(p(), { betas: [-1e-46, 0.9] })],
    ["betas[0]", () => new fl.optim.Adam(p(), { betas: null as never })],
    ["p", () => new fl.nn.Dropout("0.5" as never)],
    ["p", () => fl.dropout(fl.ones([2]), "0.5" as never)],
    ["eps", () => new fl.nn.BatchNorm1d(2, { eps: 1e39 })],
    ["eps", () => new fl.nn.BatchNorm2d(2, { eps: Number.NaN })],
    ["momentum", () => new fl.nn.BatchNorm1d(2, { momentum: 1e39 })],
    ["momentum", () => F.batchNorm(fl.ones([2, 2]), null, null, null, null, { training: true, momentum: 1e39 })],
    ["eps", () => F.batchNorm(fl.ones([2, 2]), fl.ones([2]), fl.ones([2]), null, null, { eps: Number.NaN })],
    ["eps", () => F.layerNorm(fl.ones([2, 2]), [2], null, null, Number.NaN)],
    ["eps", () => F.rmsNorm(fl.ones([2, 2]), [2], null, 1e39)],
    ["eps", () => new fl.nn.LayerNorm(2, { eps: Number.NaN })],
    ["eps", () => new fl.nn.RMSNorm(2, { eps: 1e39 })],
    ["eps", () => new fl.nn.GroupNorm(1, 2, { eps: 1e39 })],
    ["momentum", () => new fl.nn.InstanceNorm2d(2, { momentum: Number.NaN })],
    ["eps", () => F.instanceNorm(fl.ones([1, 2, 2]), null, null, null, null, { eps: 1e39 })],
    ["alpha", () => new fl.nn.LocalResponseNorm(2, { alpha: Number.NaN })],
    ["eps", () => F.groupNorm(fl.ones([2, 2]), 1, null, null, 1e39)],
    ["beta", () => F.localResponseNorm(fl.ones([1, 2, 3]), 2, 1e-4, 1e39)],
    ["maxNorm", () => F.embedding(fl.zeros([1], { dtype: "int32" }), fl.ones([2, 2]), { maxNorm: Number.NaN })],
    ["delta", () => F.huberLoss(fl.ones([1]), fl.zeros([1]), { delta: 1e-46 })],
    ["high", () => fl.uniform([2], 0, 1e39)],
    ["high - low", () => fl.uniform([2], -3e38, 3e38)],
    ["scale", () => new fl.TensorDataset({ data: Uint8Array.of(0), scale: 1e39 })],
  ];
  test.each(wrong)("%s that float32 cannot tell from what is not allowed", (name, f) => {
    expect(f).toThrow(fl.ValueError);
    expect(f).toThrow(name.split(",")[0]);
  });
  test("a beta that is 0 in float32 is 0", async () => {
    const loss = fl.nn.functional.smoothL1Loss(fl.tensor([3]), fl.tensor([1]), { beta: 1e-46 });
    expect(await loss.item()).toBe(2);
  });
});

describe("a function that gives no tensors", () => {
  const generator = function* (x: fl.Tensor): Generator<fl.Tensor> {
    yield x;
  };
  const iterates = (x: fl.Tensor): unknown => generator(x);
  const promises = async (x: fl.Tensor): Promise<fl.Tensor> => x;
  const uses: [string, (f: never) => unknown][] = [
    ["compile", (f) => fl.compile(f as (x: fl.Tensor) => unknown)(fl.ones([1]))],
    ["grad", (f) => (fl.grad(f) as (x: fl.Tensor) => unknown)(fl.ones([1]))],
    ["vmap", (f) => fl.vmap(f as (x: fl.Tensor) => unknown)(fl.ones([1]))],
    ["jvp", (f) => fl.jvp(f, [fl.ones([1])] as never, [fl.ones([1])] as never)],
    ["jacrev", (f) => (fl.jacrev(f) as (x: fl.Tensor) => unknown)(fl.ones([1]))],
    ["checkpoint", (f) => fl.checkpoint(f as (x: fl.Tensor) => never)(fl.ones([1]))],
    ["noGrad", (f) => fl.noGrad(() => (f as (x: fl.Tensor) => unknown)(fl.ones([1])))],
    ["Graph", (f) => new fl.Graph(f as never, fl.ones([1]))],
  ];
  test.each(uses)("%s says so", (_, use) => {
    expect(() => use(promises as never)).toThrow(/the function is async/);
    expect(() => use(iterates as never)).toThrow(/returns an iterator/);
    expect(() => use(generator as never)).toThrow(/generator|iterator/);
  });
  test("gradcheck says so", async () => {
    const check = (f: unknown): Promise<boolean> => fl.gradcheck(f as (x: fl.Tensor) => fl.Tensor, [fl.ones([1])]);
    await expect(check(promises)).rejects.toThrow(/gradcheck: the function is async/);
    await expect(check(iterates)).rejects.toThrow(/gradcheck: the function returns an iterator/);
  });
  test("a dataset whose batch() is a generator is refused by its loader", async () => {
    const dataset = {
      length: 2,
      *batch(): Generator<fl.Tensor> {
        yield fl.ones([1]);
      },
    };
    const first = new fl.DataLoader(dataset as never)[Symbol.asyncIterator]().next();
    await expect(first).rejects.toThrow(/DataLoader: batch\(indices\) of the dataset: .*returns an iterator/);
  });

  test("compile(function*) is refused when it is compiled", () => {
    expect(() => fl.compile(generator as never)).toThrow(/compile: the function is a generator/);
  });
});
