/** What counts as the same call of a compiled function: values, not identities, and what keeps changing is said. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import * as fl from "../../src/index.ts";

const x = fl.tensor([1, 2]);

/** A compiled function that counts how often it was recorded. */
function counted<Args extends unknown[]>(
  f: (x: fl.Tensor, ...args: Args) => fl.Tensor,
  options?: fl.CompileOptions,
): { call: (...args: Args) => Promise<fl.NestedArray>; records: () => number } {
  let records = 0;
  const step = fl.compile((t: fl.Tensor, ...args: Args) => {
    records++;
    return f(t, ...args);
  }, options);
  return { call: (...args) => step(x, ...args).array(), records: () => records };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("an argument that is no tensor counts by value", () => {
  class Scaled {
    s = 2;
  }
  class Knot {
    s = 2;
    self = this;
  }
  class Plain {
    u = 1;
  }
  class ScaledMap extends Map<string, number> {
    s = 2;
  }
  class ScaledSet extends Set<number> {
    s = 2;
  }
  class ScaledDate extends Date {
    s = 2;
  }
  class ScaledArray extends Float32Array {
    s = 2;
  }
  const by = Symbol("s");
  const hidden = (o: object): any => Object.defineProperty(o, "s", { value: 2, writable: true, configurable: true });
  const scaled = (o: object): any => Object.assign(o, { s: 2 });
  const up = (f: (v: any) => void) => (v: object) => f(Object.getPrototypeOf(v));
  const sticky = /1/g;
  type Case = [string, unknown, (v: any) => void, (t: fl.Tensor, v: any) => fl.Tensor];
  const changing: Case[] = [
    ["a plain object", { s: 2 }, (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a nested array", [[2]], (v) => (v[0][0] = 5), (t, v) => t.mul(v[0][0])],
    ["an instance of a class", new Scaled(), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a Map", new Map([["s", 2]]), (v) => v.set("s", 5), (t, v) => t.mul(v.get("s") as number)],
    ["a Set", new Set([2]), (v) => (v.clear(), v.add(5)), (t, v) => t.mul([...v][0])],
    ["a Date", new Date(2), (v) => v.setTime(5), (t, v) => t.mul(v.getTime())],
    ["a Float32Array", Float32Array.of(2), (v) => (v[0] = 5), (t, v) => t.mul(v[0])],
    [
      "an ArrayBuffer",
      Uint8Array.of(2).buffer,
      (v) => (new Uint8Array(v)[0] = 5),
      (t, v) => t.mul(new Uint8Array(v)[0]),
    ],
    ["a DataView", new DataView(Uint8Array.of(2).buffer), (v) => v.setUint8(0, 5), (t, v) => t.mul(v.getUint8(0))],
    [
      "a SharedArrayBuffer",
      new SharedArrayBuffer(1),
      (v) => (new Uint8Array(v)[0] = 3),
      (t, v) => t.mul(new Uint8Array(v)[0] + 2),
    ],
    ["a field of a subclass of Map", new ScaledMap(), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a field of a subclass of Set", new ScaledSet(), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a field of a subclass of Date", new ScaledDate(0), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a field of a subclass of Float32Array", new ScaledArray(2), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a field of a Map", scaled(new Map()), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a field of a function", scaled(() => 0), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a field of a boxed number", scaled(new Number(3)), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a field of what an object is made from", Object.create({ s: 2 }), up((v) => (v.s = 5)), (t, v) => t.mul(v.s)],
    ["a RegExp's lastIndex", sticky, (v) => (v.lastIndex = 3), (t, v) => t.mul(v.lastIndex + 2)],
    ["a URL", new URL("http://a/2"), (v) => (v.pathname = "/5"), (t, v) => t.mul(Number(v.pathname.slice(1)))],
    ["a URLSearchParams", new URLSearchParams("s=2"), (v) => v.set("s", "5"), (t, v) => t.mul(Number(v.get("s")))],
    ["an Error", new Error("2"), (v) => (v.message = "5"), (t, v) => t.mul(Number(v.message))],
    ["a TypeError", new TypeError("2"), (v) => (v.message = "5"), (t, v) => t.mul(Number(v.message))],
    ["an EventTarget", scaled(new EventTarget()), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a symbol of an object", { [by]: 2 }, (v) => (v[by] = 5), (t, v) => t.mul(v[by])],
    ["a symbol of an instance", Object.assign(new Scaled(), { [by]: 2 }), (v) => (v[by] = 5), (t, v) => t.mul(v[by])],
    ["a hidden field of an object", hidden({}), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a hidden field of an instance", hidden(new Plain()), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    [
      "a getter",
      {
        u: 2,
        get s(): number {
          return (this as { u: number }).u;
        },
      },
      (v) => (v.u = 5),
      (t, v) => t.mul(v.s),
    ],
    ["a Proxy", new Proxy({ s: 2 }, {}), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    ["a sparse array", [, 2], (v) => (v[1] = 5), (t, v) => t.mul(v[1])], // oxlint-disable-line no-sparse-arrays
    ["an instance that holds itself", new Knot(), (v) => (v.s = 5), (t, v) => t.mul(v.s)],
    [
      "an object without a prototype",
      Object.assign(Object.create(null), { s: 2 }),
      (v) => (v.s = 5),
      (t, v) => t.mul(v.s),
    ],
  ];
  test.each(changing)("%s that changes in place", async (_, value, change, f) => {
    const { call, records } = counted(f);
    expect(await call(value)).toEqual([2, 4]);
    expect(await call(value)).toEqual([2, 4]);
    expect(records()).toBe(1);
    change(value);
    expect(await call(value)).toEqual([5, 10]);
    expect(records()).toBe(2);
  });

  test("an instance that holds a tensor: another one is used when it comes", async () => {
    class Box {
      x = fl.tensor([10, 20]);
    }
    const box = new Box();
    const { call } = counted((t, b: Box) => t.add(b.x));
    expect(await call(box)).toEqual([11, 22]);
    box.x = fl.tensor([100, 200]);
    expect(await call(box)).toEqual([101, 202]);
  });

  test("what looks alike in print is told apart", async () => {
    const pairs: [unknown, unknown][] = [
      [[], new Array(1)],
      [new Array(1), [undefined]],
      [Symbol("a"), Symbol("a")],
      ["1", 1],
      [1, 1n],
      [0, -0],
      [null, undefined],
      [[1, 2], "1,2"],
      [["a,b"], ["a", "b"]],
      [new Map([[1, 2]]), new Set([1, 2])],
      [Int32Array.of(1), Float32Array.of(1)],
      [{ a: 1 }, [1]],
      [new Date(5), 5],
      [() => 1, () => 1],
      [true, "true"],
      [null, "null"],
      [1, new Number(1)],
      [new Number(0), new Number(-0)],
      [new String("1"), new Number(1)],
      [/a/, /a/g],
      [new Map(), new ScaledMap()],
      [[1], new (class extends Array<number> {})(1).fill(1)],
      [{}, Object.create(null)],
      [{ a: 1 }, { [Symbol.for("a")]: 1 }],
      [new Scaled(), new Scaled()],
      [new URL("http://a/"), new URLSearchParams("http://a/")],
      [{ "a=1,1:b": 2 }, { a: 1, b: 2 }],
    ];
    for (const [i, [a, b]] of pairs.entries()) {
      const { call, records } = counted<unknown[]>((t) => t.mul(1));
      for (const v of [a, b, a, b]) await call(v);
      expect(records(), `pair ${i}`).toBe(2);
    }
  });

  test("equal values in other objects are the same call", async () => {
    const { call, records } = counted<unknown[]>((t) => t.mul(1));
    for (let i = 0; i < 20; i++)
      await call(Float32Array.of(1, 2), [[1], [2, 3]], new Map([["a", [1]]]), new Set("ab"), new Date(7), {
        a: { b: Symbol.for("s") },
        u: [new URL("http://a/"), /a/g, new Number(3), new SharedArrayBuffer(2), Object.create(null)],
      });
    expect(records()).toBe(1);
  });

  test("modules, optimisers, loaders and generators count as themselves", async () => {
    const model = new fl.nn.Linear(2, 2);
    const optimizer = new fl.optim.SGD(model.parameters(), { lr: 0.1 });
    const rows = new fl.TensorDataset(fl.ones([4, 2]));
    const loader = new fl.DataLoader(rows);
    const generator = new fl.Generator(3);
    const { call, records } = counted((t, m: fl.nn.Linear, ...others: unknown[]) =>
      m.forward(t.reshape(1, 2)).mul(others.length),
    );
    for (let i = 0; i < 3; i++) {
      optimizer.lr = i;
      loader.epoch = i;
      await call(model, optimizer, loader, generator, rows);
    }
    expect(records()).toBe(1);
  });

  test("what cannot be compared is refused with what to give instead", () => {
    const step = fl.compile((t: fl.Tensor, ...others: unknown[]) => t.mul(others.length));
    expect(() => step(x, Promise.resolve(1))).toThrow(/compile: argument 1.* is a Promise.* await it/);
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const closed: [string, unknown, RegExp][] = [
      ["WeakMap", new WeakMap(), /is a WeakMap, which cannot be compared/],
      ["a subclass of WeakSet", new (class Cache extends WeakSet {})(), /is a WeakSet/],
      ["WeakRef", new WeakRef({}), /is a WeakRef/],
      ["Headers", new Headers(), /is a Headers/],
      ["AbortSignal", new AbortController().signal, /is a AbortSignal/],
      ["Intl", new Intl.NumberFormat("en"), /is a Intl.NumberFormat/],
      ["generator", (function* () {})(), /argument 1/],
      ["iterator", [1][Symbol.iterator](), /is a Array Iterator/],
      ["array with fields", Object.assign([1], { s: 2 }), /is an array with fields of its own/],
      ["huge sparse array", new Array(1e9), /more than 4096.*as a tensor/],
      [
        "getter that throws",
        {
          get s(): number {
            throw new Error("no");
          },
        },
        /cannot be read \(Error: no\)/,
      ],
      ["revoked Proxy", proxy, /cannot be read \(TypeError.*revoked/],
      ["Proxy of a Map", new Proxy(new Map(), {}), /cannot be read \(TypeError/],
      ["Proxy of a Date", new Proxy(new Date(), {}), /cannot be read \(TypeError/],
    ];
    for (const [name, value, why] of closed)
      for (const [path, v] of [
        [name, value],
        [`${name}, inside`, { a: [new Map([["k", value]])] }],
      ] as const) {
        expect(() => step(x, v), path).toThrow(fl.ValueError);
        expect(() => step(x, v), path).toThrow(why);
        if (!/as a tensor/.test(why.source))
          expect(() => step(x, v), path).toThrow(/give its values as numbers, texts, plain arrays or tensors/);
      }
    expect(() => step(x, new Float32Array(5000))).toThrow(/compile: argument 1.* 5000, more than 4096.*as a tensor/);
    expect(() => step(x, [Array.from({ length: 5000 }, (_, i) => i)])).toThrow(/4097, more than 4096.*as a tensor/);
    expect(() => step(x, { deep: new Float64Array(5000) })).toThrow(fl.ValueError);
    expect(() => step(x, new Float32Array(4096))).not.toThrow();
  });
});

describe("arguments that are one object", () => {
  test.each([
    ["objects", () => ({ s: 1 })],
    ["arrays", () => [1]],
    ["tensors", () => fl.tensor([3])],
    ["Maps", () => new Map([["s", 1]])],
  ] as [string, () => object][])("%s: are told apart from two that are equal", async (_, make) => {
    const { call, records } = counted((t, a: object, b: object) => t.mul(a === b ? 2 : 3));
    for (let i = 0; i < 3; i++) {
      const one = make();
      expect(await call(one, one)).toEqual([2, 4]);
      expect(await call(make(), make())).toEqual([3, 6]);
    }
    expect(records()).toBe(2);
  });

  test("a Map beside one that holds it", async () => {
    const { call, records } = counted((t, m: Map<string, number>, o: Map<string, object>) =>
      t.mul(o.get("m") === m ? 2 : 3),
    );
    const m = new Map([["s", 1]]);
    expect(await call(m, new Map([["m", m]]))).toEqual([2, 4]);
    expect(await call(m, new Map([["m", new Map(m)]]))).toEqual([3, 6]);
    expect(records()).toBe(2);
  });

  test("one that changes changes everywhere", async () => {
    const { call } = counted((t, a: { s: number }, { b }: { b: { s: number } }) => {
      a.s = 5;
      return t.mul(b.s);
    });
    const one = { s: 2 };
    expect(await call(one, { b: { s: 2 } })).toEqual([2, 4]);
    expect(await call(one, { b: one })).toEqual([5, 10]);
    expect(one.s).toBe(2); // the function was given a copy
  });

  test("gradients flow to a tensor from all of its places", async () => {
    const step = fl.compile((a: fl.Tensor, b: fl.Tensor, c: fl.Tensor) => {
      a.requiresGrad = true;
      a.mul(b).add(c).sum().backward();
      const gradient = a.grad as fl.Tensor;
      a.grad = null;
      return [gradient, c];
    });
    const [a, b, c] = [2, 3, 4].map((v) => fl.tensor([v]));
    const run = async (...args: [fl.Tensor, fl.Tensor, fl.Tensor]): Promise<unknown[]> =>
      Promise.all(step(...args).map((t) => t.array()));
    expect(await run(a, b, c)).toEqual([[3], [4]]);
    expect(await run(a, a, c)).toEqual([[4], [4]]);
    expect(await run(c, c, b)).toEqual([[8], [3]]);
    expect(await run(a, b, a)).toEqual([[4], [2]]);
  });

  test("what an instance holds comes from outside, even if it is an argument, too", async () => {
    const box = { inner: new Map([["t", x]]) };
    const { call } = counted((t, o: { w: fl.Tensor }, m: Map<string, { w: fl.Tensor }>) =>
      t.add(o.w).add((m.get("o") as { w: fl.Tensor }).w),
    );
    for (const w of [fl.tensor([10, 10]), fl.tensor([20, 20])]) {
      const o = { w };
      const sum = 2 * ((await w.array()) as number[])[0];
      expect(await call(o, new Map([["o", o]]))).toEqual([1 + sum, 2 + sum]);
    }
    const held = counted((t, b: typeof box, u: fl.Tensor) => t.add(b.inner.get("t") as fl.Tensor).add(u));
    expect(await held.call(box, x)).toEqual([3, 6]);
    box.inner.set("t", fl.tensor([5, 5]));
    expect(await held.call(box, x)).toEqual([7, 9]);
  });

  test("objects that hold each other many times are walked once", async () => {
    const shared = Array.from({ length: 40 }).reduce<unknown>((v) => [v, v], fl.ones([1]));
    const { call } = counted((t, ...v: unknown[]) => t.mul(v.length));
    expect(await call(shared)).toEqual([1, 2]);
  });

  test("an object keeps its prototype, symbols and hidden fields in the copy", async () => {
    const by = Symbol("w");
    const o = Object.defineProperty(Object.create(null), "s", { value: 2 });
    o[by] = fl.tensor([1, 1]);
    const { call } = counted((t, v: any) => t.mul("toString" in v ? 0 : v.s).add(v[by]));
    expect(await call(o)).toEqual([3, 5]);
    o[by] = fl.tensor([2, 2]);
    expect(await call(o)).toEqual([4, 6]);
  });
});

describe("what keeps changing", () => {
  let said: string[];
  beforeEach(() => {
    said = [];
    vi.spyOn(console, "warn").mockImplementation((text: string) => said.push(text));
  });

  test("a number: after 32 programs a warning names it, once", async () => {
    const step = fl.compile(function train(t: fl.Tensor, o: { rate: number; name: string }) {
      return t.mul(o.rate);
    });
    for (let i = 0; i < 32; i++) step(x, { rate: i / 10, name: "a" });
    expect(said).toEqual([]);
    for (let i = 32; i < 100; i++) step(x, { rate: i / 10, name: "a" });
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(
      /train was compiled more than 32 times; argument 1\.rate keeps changing \(.*3\.2\): make it a tensor/,
    );
  });

  test("a shape, and what is read from outside", () => {
    const shapes = fl.compile((t: fl.Tensor) => t.mul(2));
    for (let i = 0; i < 40; i++) shapes(fl.ones([i + 1]));
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/argument 0 keeps changing \(.*\): each shape is another program/);
    const model = new fl.nn.Linear(2, 2);
    const frozen = fl.compile((t: fl.Tensor) => model.forward(t), { cacheSize: 1 });
    for (let i = 0; i < 40; i++) {
      model.weight.requiresGrad = i % 2 === 0;
      frozen(fl.ones([1, 2]));
    }
    expect(said[1]).toMatch(/what it read from outside changed/);
  });

  test("64 programs are kept, or as many as asked for; the one used longest ago goes", async () => {
    const { call, records } = counted((t, s: number) => t.mul(s), { cacheSize: 3 });
    for (const s of [1, 2, 3, 1, 2, 3, 1]) await call(s);
    expect(records()).toBe(3);
    await call(4); // takes the place of 2
    for (const s of [3, 1, 4]) await call(s);
    expect(records()).toBe(4);
    expect(await call(2)).toEqual([2, 4]);
    expect(records()).toBe(5);
    const many = counted((t, s: number) => t.mul(s));
    for (let i = 0; i < 64; i++) await many.call(i);
    for (let i = 0; i < 64; i++) await many.call(i);
    expect(many.records()).toBe(64);
  });

  test("bad options are refused", () => {
    const f = (t: fl.Tensor): fl.Tensor => t;
    expect(() => fl.compile(f, { cachesize: 3 } as never)).toThrow(
      /compile: there is no option cachesize; did you mean cacheSize/,
    );
    expect(() => fl.compile(f, 3 as never)).toThrow(/compile: options must be an object of cacheSize, got 3/);
    for (const cacheSize of [0, -1, 1.5, Number.NaN, "3"])
      expect(() => fl.compile(f, { cacheSize: cacheSize as number })).toThrow(/cacheSize must be a positive integer/);
  });
});
