import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DTypeError, IndexError, ShapeError, ValueError } from "../../src/core/errors.ts";
import { type Dataset, randomSplit, Subset, TensorDataset } from "../../src/data/index.ts";
import { tensor } from "../../src/tensor/creation.ts";
import { Tensor } from "../../src/tensor/tensor.ts";

/** A dataset of one column that holds the number of each row. */
const counting = (n: number): TensorDataset => new TensorDataset(Int32Array.from({ length: n }, (_, i) => i));

async function column(dataset: Dataset, indices: ArrayLike<number>, i = 0): Promise<number[]> {
  return [...(await (await dataset.batch(indices))[i].data())];
}

const all = (n: number): Uint32Array => Uint32Array.from({ length: n }, (_, i) => i);

describe("TensorDataset", () => {
  it("gathers rows of every column by index", async () => {
    const dataset = new TensorDataset(
      { data: Float32Array.from({ length: 24 }, (_, i) => i / 2), shape: [4, 2, 3] },
      Int32Array.of(10, 11, 12, 13),
      { data: Uint8Array.of(1, 2, 3, 4) },
    );
    expect(dataset.length).toBe(4);
    const [x, y, z] = await dataset.batch([2, 0, 2]);
    expect([x.shape, y.shape, z.shape]).toEqual([[3, 2, 3], [3], [3]]);
    expect([x.dtype, y.dtype, z.dtype]).toEqual(["float32", "int32", "uint8"]);
    expect(await y.array()).toEqual([12, 10, 12]);
    expect(await z.array()).toEqual([3, 1, 3]);
    const row = (r: number): number[] => Array.from({ length: 6 }, (_, i) => (r * 6 + i) / 2);
    expect([...(await x.data())]).toEqual([2, 0, 2].flatMap(row));
  });

  it("delivers bytes as floats from 0 to 1, exactly as a division would", async () => {
    const dataset = new TensorDataset({ data: Uint8Array.from(all(256)), scale: 1 / 255 });
    const [x] = await dataset.batch(all(256));
    expect(x.dtype).toBe("float32");
    expect(await x.data()).toEqual(Float32Array.from(all(256), (v) => v / 255));
  });

  it("scales and shifts every type", async () => {
    for (const data of [Uint8Array.of(0, 1, 9), Int32Array.of(0, 1, 9), Float32Array.of(0, 1, 9)]) {
      const dataset = new TensorDataset({ data, scale: 0.5, shift: -1 });
      expect(await column(dataset, [0, 1, 2])).toEqual([-1, -0.5, 3.5]);
    }
    expect(await column(new TensorDataset({ data: Int32Array.of(-3, 4), shift: 1 }), [1, 0])).toEqual([5, -2]);
  });

  it("widens where asked to", async () => {
    const bytes = Uint8Array.of(0, 1, 255);
    for (const [dtype, values] of [
      ["int32", [0, 1, 255]],
      ["float32", [0, 1, 255]],
      ["bool", [0, 1, 1]],
    ] as const) {
      const dataset = new TensorDataset({ data: bytes, dtype });
      const [x] = await dataset.batch([0, 1, 2]);
      expect(x.dtype).toBe(dtype);
      expect([...(await x.data())]).toEqual(values);
    }
    expect(await column(new TensorDataset({ data: Int32Array.of(-5), dtype: "float32" }), [0])).toEqual([-5]);
  });

  it("hands out fresh memory", async () => {
    const data = Float32Array.of(1, 2);
    const dataset = new TensorDataset(data);
    const [x] = await dataset.batch([0, 1]);
    data.fill(9);
    expect(await x.array()).toEqual([1, 2]);
    expect(await column(dataset, [0, 1])).toEqual([9, 9]);
  });

  it("takes tensors, and fetches their values once, when they are needed", async () => {
    let reads = 0;
    class Counting extends Tensor {
      override data(): ReturnType<Tensor["data"]> {
        reads++;
        return super.data();
      }
    }
    const x = new Counting(tensor([1, 2, 3, 4, 5, 6], [3, 2]).node);
    const dataset = new TensorDataset(x, tensor([true, false, true]));
    expect(dataset.length).toBe(3);
    expect(reads).toBe(0);
    const [[a, b]] = await Promise.all([dataset.batch([2, 1]), dataset.batch([0])]);
    expect(await a.array()).toEqual([
      [5, 6],
      [3, 4],
    ]);
    expect(await b.array()).toEqual([true, false]);
    expect(reads).toBe(1);
  });

  it("tries again after a tensor could not be read", async () => {
    let fail = true;
    class Flaky extends Tensor {
      override data(): ReturnType<Tensor["data"]> {
        return fail ? Promise.reject(new Error("not now")) : super.data();
      }
    }
    const dataset = new TensorDataset(new Flaky(tensor([1, 2]).node));
    await expect(dataset.batch([0])).rejects.toThrow("not now");
    fail = false;
    expect(await column(dataset, [1])).toEqual([2]);
  });

  it("allows no rows, no indices and rows of no elements", async () => {
    const none = new TensorDataset({ data: new Float32Array(0), shape: [0, 3] }, new Int32Array(0));
    expect(none.length).toBe(0);
    expect((await none.batch([])).map((t) => t.shape)).toEqual([[0, 3], [0]]);
    const hollow = new TensorDataset({ data: new Float32Array(0), shape: [2, 0] });
    expect((await hollow.batch([1, 0, 1]))[0].shape).toEqual([3, 0]);
  });

  it("names both counts when columns differ", () => {
    const two = tensor([1, 2]);
    expect(() => new TensorDataset(new Int32Array(5), new Uint8Array(5), new Float32Array(4))).toThrow(
      new ShapeError("TensorDataset: column 0 has 5 rows, column 2 has 4"),
    );
    expect(() => new TensorDataset({ data: new Uint8Array(6), shape: [3, 2] }, two)).toThrow(/has 3 rows.* has 2/);
  });

  it("refuses columns that make no sense, with typed errors that name them", () => {
    const make =
      (...columns: unknown[]) =>
      (): TensorDataset =>
        new TensorDataset(...(columns as Uint8Array[]));
    const data = new Uint8Array(6);
    expect(make()).toThrow(ValueError);
    expect(make({ data, shape: [4, 2] })).toThrow(
      new ShapeError("TensorDataset: column 0: 6 values do not fill shape [4, 2]"),
    );
    expect(make({ data, shape: [2.5, 2] })).toThrow(ShapeError);
    expect(make({ data, shape: [-6, -1] })).toThrow(ShapeError);
    expect(make({ data: Uint8Array.of(1), shape: [] })).toThrow(ShapeError);
    expect(make(tensor(1))).toThrow(ShapeError);
    expect(make(data, { data: [1, 2, 3] })).toThrow(/column 1 must hold/);
    expect(make({ data: new Float64Array(2) })).toThrow(DTypeError);
    expect(make({ data, dtype: "float16" })).toThrow(DTypeError);
    expect(make({ data: new Float32Array(1), dtype: "int32" })).toThrow(/holds float32.*int32/);
    expect(make({ data: new Int32Array(1), dtype: "uint8" })).toThrow(DTypeError);
    expect(make({ data, dtype: "int32", scale: 2 })).toThrow(DTypeError);
    expect(make({ data, scale: Number.NaN })).toThrow(
      new ValueError("TensorDataset: column 0: scale must be finite in float32, got NaN"),
    );
    expect(make({ data, shift: Number.POSITIVE_INFINITY })).toThrow(ValueError);
  });

  it("never reads outside: an index out of range is an IndexError", async () => {
    const dataset = counting(4);
    for (const bad of [-1, 4, 0.5, Number.NaN, 2 ** 32]) {
      const error = await dataset.batch([0, bad]).catch((e) => e);
      expect(error).toBeInstanceOf(IndexError);
      expect(error).toMatchObject({ index: bad, bound: 4, position: 1 });
    }
  });
});

describe("Subset", () => {
  it("is a range of rows", async () => {
    const part = counting(10).subset(3, 7);
    expect(part.length).toBe(4);
    expect(await column(part, [0, 3, 1])).toEqual([3, 6, 4]);
    expect(counting(10).subset(8).length).toBe(2);
    expect(counting(10).subset(10).length).toBe(0);
  });

  it("is any choice of rows, of subsets too", async () => {
    const part = new Subset(new Subset(counting(10), [9, 1, 5, 5]), [3, 0]);
    expect(await column(part, [0, 1])).toEqual([5, 9]);
  });

  it("checks its range and its indices", async () => {
    const dataset = counting(5);
    for (const [begin, end] of [
      [-1, 3],
      [4, 3],
      [0, 6],
      [0.5, 2],
      [Number.NaN, 2],
    ])
      expect(() => dataset.subset(begin, end), `${begin} to ${end}`).toThrow(ValueError);
    expect(() => new Subset(dataset, [5])).toThrow(IndexError);
    await expect(dataset.subset(1, 3).batch([2])).rejects.toThrow(IndexError);
  });
});

describe("randomSplit", () => {
  it("splits into parts that hold every row once, the same for the same seed", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(20), { minLength: 1, maxLength: 4 }), fc.nat(), async (lengths, seed) => {
        const n = lengths.reduce((a, b) => a + b, 0);
        fc.pre(n !== 1);
        const parts = randomSplit(counting(n), lengths, { seed });
        expect(parts.map((p) => p.length)).toEqual(lengths);
        const rows = parts.map((p) => Array.from(p.indices));
        expect(rows.flat().sort((a, b) => a - b)).toEqual([...all(n)]);
        const again = randomSplit(counting(n), lengths, { seed });
        expect(again.map((p) => Array.from(p.indices))).toEqual(rows);
      }),
      { numRuns: 50 },
    );
  });

  it("depends on the seed; 0 is one", () => {
    const order = (seed?: number): string => String(randomSplit(counting(50), [50], { seed })[0].indices);
    expect(new Set([order(0), order(1), order(2), String(all(50))]).size).toBe(4);
    expect(order()).toBe(order(0));
  });

  it("takes fractions", () => {
    const lengths = (n: number, f: number[]): number[] => randomSplit(counting(n), f).map((p) => p.length);
    expect(lengths(10, [0.8, 0.2])).toEqual([8, 2]);
    expect(lengths(100, [0.29, 0.71])).toEqual([29, 71]);
    expect(lengths(11, [0.5, 0.5])).toEqual([6, 5]);
    expect(lengths(7, [1])).toEqual([7]);
    expect(lengths(3, [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])).toEqual([1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
  });

  it("refuses lengths that do not add up", () => {
    const split = (lengths: number[], seed?: number) => () => randomSplit(counting(10), lengths, { seed });
    expect(split([5, 6])).toThrow(/\[5, 6\] add up to 11, the dataset has 10 rows/);
    expect(split([0.5, 0.4])).toThrow(ValueError);
    expect(split([-1, 11])).toThrow(ValueError);
    expect(split([Number.NaN, 10])).toThrow(ValueError);
    expect(split([Number.POSITIVE_INFINITY])).toThrow(ValueError);
    expect(split([10], -1)).toThrow(ValueError);
    expect(split([10], 0.5)).toThrow(ValueError);
  });
});
