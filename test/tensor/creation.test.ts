/** Tensors made of values, read, printed, disposed of. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

const { tensor, zeros, ones, full, arange, cat, stack } = fl;

afterAll(() => fl.dispose());

describe("making and reading", () => {
  test("nested arrays, typed arrays, scalars, booleans", async () => {
    expect(
      await tensor([
        [1, 2],
        [3, 4],
      ]).array(),
    ).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(tensor([true, false]).dtype).toBe("bool");
    expect(await tensor([[true], [false]]).array()).toEqual([[true], [false]]);
    expect(tensor(new Int32Array([1, 2])).dtype).toBe("int32");
    expect(tensor(new Uint8Array([1, 2])).dtype).toBe("uint8");
    expect(tensor(new Float64Array([0.1])).dtype).toBe("float32");
    expect(await tensor(7).item()).toBe(7);
    expect(await tensor([1, 2, 3, 4, 5, 6], [2, 3]).array()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(await tensor([], [0, 3]).array()).toEqual([]);
    expect(await tensor([0.1], { dtype: "int32" }).array()).toEqual([0]);
  });

  test("values are copied in and out", async () => {
    const source = Float32Array.of(1, 2);
    const t = tensor(source);
    source[0] = 9;
    const data = await t.data();
    expect([...data]).toEqual([1, 2]);
    data[0] = 5;
    expect(await t.array()).toEqual([1, 2]);
  });

  test("zeros, ones, full, arange", async () => {
    expect(await zeros([2]).array()).toEqual([0, 0]);
    expect(await ones([2], { dtype: "int32" }).array()).toEqual([1, 1]);
    expect(await full([1, 2], 2.5).array()).toEqual([[2.5, 2.5]]);
    expect(await arange(3).array()).toEqual([0, 1, 2]);
    expect(await arange(1, 2, 0.25).array()).toEqual([1, 1.25, 1.5, 1.75]);
    expect(await arange(5, 0, -2).array()).toEqual([5, 3, 1]);
  });

  test("bad input names what is wrong", () => {
    expect(() => tensor([[1, 2], [3]])).toThrow(fl.ShapeError);
    expect(() => tensor([1, 2, 3], [2, 2])).toThrow("3 values do not fill shape [2, 2]");
    expect(() => tensor(["x" as unknown as number])).toThrow(fl.DTypeError);
    expect(() => tensor([1], { dtype: "float16" as fl.DType })).toThrow(fl.DTypeError);
    expect(() => zeros([2, -1])).toThrow(fl.ShapeError);
    expect(() => zeros([1.5])).toThrow(fl.ShapeError);
    expect(() => zeros([2 ** 20, 2 ** 20])).toThrow(fl.ShapeError);
  });

  test("what is no tensor is named with its operation", () => {
    const x = zeros([2, 2]);
    const layer = new fl.nn.Linear(2, 2);
    const rows = new fl.TensorDataset(x);
    const none = null as never;
    const wrong: [message: string, type: unknown, call: () => unknown][] = [
      ["cat: an array of tensors is wanted, got Tensor float32[2, 2]", fl.ValueError, () => cat(x as never)],
      ["stack: tensor 1 must be a tensor, got null", fl.DTypeError, () => stack([x, none])],
      ["mseLoss: target must be a tensor, got null", fl.DTypeError, () => fl.mseLoss(x, none)],
      ["crossEntropy: input must be a tensor, got null", fl.DTypeError, () => fl.crossEntropy(none, x)],
      ["linear: input must be a tensor, got null", fl.DTypeError, () => layer.forward(none)],
      ["conv2d: the input must be a tensor, got null", fl.DTypeError, () => new fl.nn.Conv2d(1, 1, 1).forward(none)],
      ["mm: the second matrix must be a tensor, got null", fl.DTypeError, () => fl.mm(x, none)],
      ["Parameter: the value must be a tensor, got null", fl.DTypeError, () => new fl.nn.Parameter(none)],
      ["loadStateDict: an object of tensors or typed arrays is wanted", fl.ValueError, () => layer.loadStateDict(none)],
      [
        "loadStateDict: weight must be a tensor or an array of numbers, got null",
        fl.DTypeError,
        () => layer.loadStateDict({ weight: none, bias: zeros([2]) }),
      ],
      ["TensorDataset: column 0 must hold", fl.DTypeError, () => new fl.TensorDataset(none)],
      ["Subset: the dataset must have a length", fl.ValueError, () => new fl.Subset(none, [0])],
      ["Subset: indices must be an array of integers, got null", fl.ValueError, () => new fl.Subset(rows, none)],
      ["randomSplit: lengths must be an array of numbers, got null", fl.ValueError, () => fl.randomSplit(rows, none)],
    ];
    for (const [message, type, call] of wrong) {
      expect(call).toThrow(message);
      expect(call).toThrow(type as typeof fl.FourlaneError);
    }
  });

  test("a tensor prints as dtype and shape", async () => {
    const { inspect } = await import("node:util");
    expect(String(zeros([2, 3]))).toBe("Tensor float32[2, 3]");
    expect(inspect(tensor([true]))).toBe("Tensor bool[1]");
  });

  test("errors and tensors say what they are, whatever a bundler calls their classes", () => {
    const renamed = (Class: unknown): (new (...args: unknown[]) => object) =>
      class Renamed extends (Class as new (...args: unknown[]) => object) {};
    const errors = Object.entries(fl).filter(([name]) => name.endsWith("Error"));
    expect(errors.length).toBeGreaterThan(10);
    for (const [name, type] of errors) expect(new (renamed(type))("hung", 0, 0, "")).toHaveProperty("name", name);
    for (const [name, type] of Object.entries({ Tensor: fl.Tensor, Parameter: fl.Parameter, Buffer: fl.nn.Buffer })) {
      const given = type === fl.Tensor ? zeros([2]).node : zeros([2]);
      expect(String(new (renamed(type))(given))).toBe(`${name} float32[2]`);
    }
  });

  test("a read after dispose is a typed error", async () => {
    const t = tensor([1]);
    t.dispose();
    await expect(t.data()).rejects.toThrow(fl.DisposedError);
    expect(() => t.add(1)).toThrow(fl.DisposedError);
    expect(t.shape).toEqual([1]);
  });
});
