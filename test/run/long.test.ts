/** @file Work that is all one unit of an instruction is not called hung; assembly/beat.test.ts tries each kernel. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { eachByItself, fresh, settle, unlessStalled } from "./support.ts";

eachByItself();

const N = 2 ** 25;
/** Different elements: constants would be folded. */
const values = (n: number): fl.Tensor => fl.arange(n).mul(2 ** -24);
const integers = (n: number, below: number): fl.Tensor => fl.arange(n).remainder(below).to("int32");

/** Nothing here can be cut between units: it is one row, or few columns. */
const WORK: Record<string, () => fl.Tensor> = {
  "the place of the largest in each of two columns": () =>
    values(N)
      .reshape([N / 2, 2])
      .argmax(0)
      .sum(),
  "the sum of two columns": () =>
    values(N)
      .reshape([N / 2, 2])
      .sum(0)
      .max(),
  "softmax of one row": () => values(N).reshape([1, N]).softmax(1).slice([0, 0], [1, 1]),
  "logSoftmax of one row": () => values(N).reshape([1, N]).logSoftmax(1).slice([0, 0], [1, 1]),
  "cross-entropy of one row": () => fl.crossEntropy(values(N).reshape([1, N]), fl.tensor(Int32Array.of(3))),
  "a product of one element": () =>
    values(N)
      .reshape([1, N])
      .matmul(values(N).cos().reshape([N, 1])),
  "an integer product of one row": () =>
    integers(2 ** 12, 7)
      .reshape([1, 2 ** 12])
      .matmul(integers(N, 5).reshape([2 ** 12, N / 2 ** 12]))
      .sum(),
};

describe.each([
  ["1 worker", { workers: 1 }],
  ["private memory", { shared: false }],
])("%s", (_, options) => {
  test.each(Object.entries(WORK))("%s", async (_name, work) => {
    await fresh({ ...options, hangTimeout: 100 });
    const { error, value } = await unlessStalled(() => settle(work().item(), 20_000));
    expect(error).toBeUndefined();
    expect(value).toEqual(expect.any(Number));
  });
});
