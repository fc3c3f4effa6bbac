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
    ];
    for (const [a, b] of pairs) {
      const { call, records } = counted<unknown[]>((t) => t.mul(1));
      for (const v of [a, b, a, b]) await call(v);
      expect(records(), `${String(a)} ${String(b)}`).toBe(2);
    }
  });

  test("equal values in other objects are the same call", async () => {
    const { call, records } = counted<unknown[]>((t) => t.mul(1));
    for (let i = 0; i < 20; i++)
      await call(Float32Array.of(1, 2), [[1], [2, 3]], new Map([["a", [1]]]), new Set("ab"), new Date(7), {
        a: { b: Symbol.for("s") },
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
    expect(() => step(x, Promise.resolve(1))).toThrow(/compile: argument 1.* is a promise: await it/);
    expect(() => step(x, new Float32Array(5000))).toThrow(/compile: argument 1.* 5000, more than 4096.*as a tensor/);
    expect(() => step(x, [Array.from({ length: 5000 }, (_, i) => i)])).toThrow(/4097, more than 4096.*as a tensor/);
    expect(() => step(x, { deep: new Float64Array(5000) })).toThrow(fl.ValueError);
    expect(() => step(x, new Float32Array(4096))).not.toThrow();
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
