/** What methods of tensors give, and what they say of arguments that do not fit. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

const { tensor, zeros, ones, full, where, cat, stack } = fl;

afterAll(() => fl.dispose());

describe("operations", () => {
  const a = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);

  test("broadcasting by NumPy's rules", async () => {
    expect(await a.add(tensor([10, 20, 30])).array()).toEqual([
      [11, 22, 33],
      [14, 25, 36],
    ]);
    expect(await a.mul(tensor([[2], [3]])).array()).toEqual([
      [2, 4, 6],
      [12, 15, 18],
    ]);
    expect(await a.sub(1).array()).toEqual([
      [0, 1, 2],
      [3, 4, 5],
    ]);
    expect(() => a.add(tensor([1, 2]))).toThrow("add: shapes [2, 3] and [2] do not broadcast together");
  });

  test("dtypes promote as in PyTorch", async () => {
    const i = tensor(Int32Array.of(1, 2));
    expect(i.add(1).dtype).toBe("int32");
    expect(i.add(0.5).dtype).toBe("float32");
    expect(i.div(2).dtype).toBe("float32");
    expect(i.exp().dtype).toBe("float32");
    expect(i.sum().dtype).toBe("int32");
    expect(tensor([true, true, false]).sum().dtype).toBe("int32");
    expect(await tensor([true, true, false]).sum().item()).toBe(2);
    expect(i.gt(1).dtype).toBe("bool");
    expect(await i.add(tensor([0.5, 0.5])).array()).toEqual([1.5, 2.5]);
    expect(await tensor([2.7, -2.7]).to("int32").array()).toEqual([2, -2]);
  });

  test("reductions, with negative axes and keepdim", async () => {
    expect(await a.sum().item()).toBe(21);
    expect(await a.sum(0).array()).toEqual([5, 7, 9]);
    expect(await a.sum(-1, true).array()).toEqual([[6], [15]]);
    expect(await a.mean([0, 1]).item()).toBe(3.5);
    expect(await a.max(1).array()).toEqual([3, 6]);
    expect(await a.min().item()).toBe(1);
    expect(await a.argmax(0).array()).toEqual([1, 1, 1]);
    expect(await a.argmax().item()).toBe(5);
    expect(await a.var().item()).toBeCloseTo(3.5, 6);
    expect(await zeros([0, 3]).sum(0).array()).toEqual([0, 0, 0]);
    expect(await zeros([0]).mean().item()).toBeNaN();
    expect(() => a.sum(2)).toThrow("sum: axis 2 is out of range for a tensor of rank 2");
    expect(() => a.sum([0, 0])).toThrow(fl.ValueError);
    expect(() => zeros([0, 3]).max(0)).toThrow(fl.ShapeError);
  });

  test("sums do not drift: 2^22 times 0.1", async () => {
    const s = await full([2 ** 22], 0.1)
      .sum()
      .item();
    expect(Math.abs(s / (2 ** 22 * Math.fround(0.1)) - 1)).toBeLessThan(1e-6);
  });

  test("matmul: matrices, vectors, batches", async () => {
    const b = tensor([
      [1, 0],
      [0, 1],
      [1, 1],
    ]);
    expect(await a.matmul(b).array()).toEqual([
      [4, 5],
      [10, 11],
    ]);
    expect(await a.matmul(tensor([1, 1, 1])).array()).toEqual([6, 15]);
    expect(await tensor([1, 1]).matmul(a).array()).toEqual([5, 7, 9]);
    expect(
      await tensor([1, 2, 3])
        .matmul(tensor([1, 2, 3]))
        .item(),
    ).toBe(14);
    expect((await a.expand(5, 2, 3).matmul(b)).shape).toEqual([5, 2, 2]);
    expect(a.unsqueeze(0).matmul(ones([4, 3, 2])).shape).toEqual([4, 2, 2]);
    expect(
      await a
        .unsqueeze(0)
        .matmul(b.expand(4, 3, 2))
        .sum()
        .item(),
    ).toBe(4 * 30);
    expect(() => a.matmul(a)).toThrow("matmul: shapes [2, 3] and [2, 3] cannot be multiplied");
    expect(() => a.matmul(tensor(3))).toThrow(fl.ShapeError);
    expect(
      await zeros([2, 0])
        .matmul(zeros([0, 3]))
        .array(),
    ).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });

  test("movement", async () => {
    expect(await a.t().array()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
    expect(await a.reshape(3, -1).array()).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(await a.t().reshape(2, 3).array()).toEqual([
      [1, 4, 2],
      [5, 3, 6],
    ]);
    expect(await a.flip(1).array()).toEqual([
      [3, 2, 1],
      [6, 5, 4],
    ]);
    expect(await a.slice([0, 1]).array()).toEqual([
      [2, 3],
      [5, 6],
    ]);
    expect(await a.slice([0, 0], [2, 3], [1, 2]).array()).toEqual([
      [1, 3],
      [4, 6],
    ]);
    expect(await a.slice([-1, -2]).array()).toEqual([[5, 6]]);
    expect(await a.narrow(1, 1, 1).array()).toEqual([[2], [5]]);
    expect(await cat([a, a.neg()], 1).sum(1).array()).toEqual([0, 0]);
    expect((await stack([a, a], -1)).shape).toEqual([2, 3, 2]);
    expect(await a.indexSelect(1, tensor(Int32Array.of(2, 0))).array()).toEqual([
      [3, 1],
      [6, 4],
    ]);
    expect(a.unsqueeze(-1).shape).toEqual([2, 3, 1]);
    expect(a.unsqueeze(0).squeeze().shape).toEqual([2, 3]);
    expect(a.flatten().shape).toEqual([6]);
    expect(a.permute(-1, 0).shape).toEqual([3, 2]);
    expect(() => a.reshape(4, 2)).toThrow(fl.ShapeError);
    expect(() => a.permute(0, 0)).toThrow(fl.ValueError);
    expect(() => a.narrow(0, 1, 2)).toThrow(fl.ValueError);
  });

  test("select and clamp", async () => {
    const x = tensor([-2, -0.5, 0.5, 2]);
    expect(await where(x.gt(0), x, 0).array()).toEqual([0, 0, 0.5, 2]);
    expect(await x.clamp(-1, 1).array()).toEqual([-1, -0.5, 0.5, 1]);
    expect(await x.clamp(null, 0).array()).toEqual([-2, -0.5, 0, 0]);
    expect(await tensor([Number.NaN]).clamp(0, 1).item()).toBeNaN();
    expect(await x.gt(0).logicalNot().array()).toEqual([true, true, false, false]);
  });

  test("softmax along any axis", async () => {
    const s = await a.softmax(0).sum(0).array();
    for (const v of s as number[]) expect(v).toBeCloseTo(1, 6);
    expect(await tensor([1e4, 1e4]).softmax().array()).toEqual([0.5, 0.5]);
    expect(await tensor([3]).softmax(0).array()).toEqual([1]);
  });
});

describe("bad input", () => {
  test("slices take integers, cat takes no scalars", () => {
    const a = tensor([[1, 2, 3]]);
    for (const bad of [[0.5], [Number.NaN], [0, 0, 0]]) expect(() => a.slice(bad)).toThrow(fl.ValueError);
    expect(() => a.slice([0], [Number.NaN])).toThrow("must be integers");
    expect(() => a.slice(1 as unknown as number[])).toThrow(fl.ValueError);
    expect(() => cat([tensor(1), tensor(2)])).toThrow("scalars cannot be put side by side");
  });

  test("arguments of the wrong type are named", async () => {
    const a = tensor([1, 2]);
    expect(() => a.sum("0" as unknown as number)).toThrow("sum: axes must be an integer or a list of them, got 0");
    expect(() => a.sum(null as unknown as number)).toThrow(fl.ValueError);
    expect(() => fl.where(true as unknown as fl.Tensor, a, a)).toThrow("the condition must be a tensor");
    expect(() => new fl.nn.Sequential(5 as unknown as fl.nn.Module)).toThrow("layer 0 is no Module");
    await expect(fl.init({ wrkers: 3 } as fl.InitOptions)).rejects.toThrow("there is no option wrkers");
    await expect(fl.init({ shared: "no" } as unknown as fl.InitOptions)).rejects.toThrow(fl.ValueError);
  });

  test("parameters are set from any numbers, copied", async () => {
    const p = new fl.Parameter(tensor([1, 2]));
    const source = Float32Array.of(5, 6);
    p.assign(source);
    source[0] = 99;
    expect(await p.mul(1).array()).toEqual([5, 6]);
    p.assign([3, 4]);
    expect(await p.mul(1).array()).toEqual([3, 4]);
    p.assign(Float64Array.of(0.5, 0.25));
    expect(await p.mul(1).array()).toEqual([0.5, 0.25]);
    expect(() => p.assign([1])).toThrow(fl.ShapeError);
    expect(() => p.assign(["a", "b"] as unknown as number[])).toThrow(fl.DTypeError);
    expect(() => new fl.optim.SGD([tensor([1]) as fl.Parameter])).toThrow("parameters[0] is no Parameter");
    expect(() => new fl.optim.SGD(3 as never)).toThrow(fl.ValueError);
  });
});
