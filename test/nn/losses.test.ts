/** Losses: reductions, ignored labels, labels out of range, batches of no examples. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

const { tensor, zeros } = fl;

afterAll(() => fl.dispose());

describe("losses", () => {
  const logits = tensor([
    [1, 2, 3],
    [3, 1, 0],
  ]);
  const labels = tensor(Int32Array.of(2, 1));
  const nll = [0.40760596, 2.16984602];

  test("cross-entropy with every reduction, ignored labels, one row", async () => {
    expect(await fl.crossEntropy(logits, labels).item()).toBeCloseTo((nll[0] + nll[1]) / 2, 6);
    expect(await fl.crossEntropy(logits, labels, { reduction: "sum" }).item()).toBeCloseTo(nll[0] + nll[1], 5);
    expect(await fl.crossEntropy(logits, tensor(Int32Array.of(2, -100))).item()).toBeCloseTo(nll[0], 6);
    expect(await fl.crossEntropy(tensor([1, 2, 3]), tensor(2, { dtype: "int32" })).item()).toBeCloseTo(nll[0], 6);
    expect(await fl.crossEntropy(logits, labels, { reduction: "none" }).data()).toHaveLength(2);
  });

  test("labels outside the classes are a typed error that names them", async () => {
    for (const bad of [3, -1, 2 ** 30]) {
      const loss = fl.crossEntropy(logits, tensor(Int32Array.of(0, bad)));
      await expect(loss.item()).rejects.toThrow(
        `crossEntropy: label ${bad} at position 1 is out of range for 3 classes`,
      );
      await expect(fl.crossEntropy(logits, tensor(Int32Array.of(0, bad))).item()).rejects.toBeInstanceOf(fl.IndexError);
    }
    expect(() => fl.crossEntropy(logits, tensor([0, 1]))).toThrow(fl.DTypeError);
    expect(() => fl.crossEntropy(logits, tensor(Int32Array.of(1)))).toThrow("input [2, 3] and target [1]");
    await expect(
      tensor([1, 2])
        .indexSelect(0, tensor(Int32Array.of(2)))
        .data(),
    ).rejects.toThrow(fl.IndexError);
  });

  test("mean squared error", async () => {
    expect(await fl.mseLoss(tensor([1, 2]), tensor([0, 4])).item()).toBe(2.5);
    expect(() => fl.mseLoss(tensor([1, 2]), tensor([1]))).toThrow(fl.ShapeError);
  });

  test("zero-size batches give NaN or zero, never a hang", async () => {
    expect(await fl.crossEntropy(zeros([0, 3]), zeros([0], { dtype: "int32" })).item()).toBeNaN();
    expect(await fl.crossEntropy(zeros([0, 3]), zeros([0], { dtype: "int32" }), { reduction: "sum" }).item()).toBe(0);
  });
});
