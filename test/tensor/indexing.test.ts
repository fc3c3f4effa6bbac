/** Indexing by integers, slices, masks and tensors. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

afterAll(() => fl.dispose());

const { tensor } = fl;
const i32 = (values: fl.NestedArray): fl.Tensor => tensor(values, { dtype: "int32" });
const x = fl.arange(24).reshape(2, 3, 4);
const read = async (...items: Parameters<fl.Tensor["index"]>): Promise<fl.NestedArray> => x.index(...items).array();

describe("index", () => {
  test("by integers and slices", async () => {
    expect(await read(1, 2, 3)).toBe(23);
    expect(await read(-1, 0)).toEqual([12, 13, 14, 15]);
    expect(await read(0, "1:")).toEqual([
      [4, 5, 6, 7],
      [8, 9, 10, 11],
    ]);
    expect(await read(0, ":-1", "::2")).toEqual([
      [0, 2],
      [4, 6],
    ]);
    expect(await read("...", 1)).toEqual([
      [1, 5, 9],
      [13, 17, 21],
    ]);
    expect(x.index(0, "...", null).shape).toEqual([3, 4, 1]);
    expect(x.index(null, "...", "2:2").shape).toEqual([1, 2, 3, 0]);
    expect(x.index("1:99").shape).toEqual([1, 3, 4]);
  });

  test("by integer tensors, broadcast together; neighbours stay in place, others move to the front", async () => {
    expect(await read(0, [2, 0])).toEqual([
      [8, 9, 10, 11],
      [0, 1, 2, 3],
    ]);
    expect(await read(":", i32([-1, 0]), 1)).toEqual([
      [9, 1],
      [21, 13],
    ]);
    expect(await read([0, 1], [2, 1], [3, 0])).toEqual([11, 16]);
    expect(await read(i32([[0], [1]]), [2, 1])).toEqual([
      [
        [8, 9, 10, 11],
        [4, 5, 6, 7],
      ],
      [
        [20, 21, 22, 23],
        [16, 17, 18, 19],
      ],
    ]);
    expect(x.index("...", i32([[0, 1]]), [1, 2]).shape).toEqual([2, 1, 2]);
    expect(x.index([0], ":", [1, 2]).shape).toEqual([2, 3]);
    expect(await read([1, 0], "1:", [1, 2])).toEqual([
      [17, 21],
      [6, 10],
    ]);
    expect(x.index([]).shape).toEqual([0, 3, 4]);
  });

  test("by masks whose values are known", async () => {
    expect(await read(tensor([false, true]), 0)).toEqual([[12, 13, 14, 15]]);
    const mask = tensor([
      [true, false, false],
      [false, false, true],
    ]);
    expect(await read(mask)).toEqual([
      [0, 1, 2, 3],
      [20, 21, 22, 23],
    ]);
    expect(await read(mask, "::3")).toEqual([
      [0, 3],
      [20, 23],
    ]);
    expect(() => x.index(x.gt(3))).toThrow("await maskedSelect or nonzero");
    expect(() => x.index(tensor([true]))).toThrow("the mask [1] does not fit the axes [2, 3, 4]");
    expect(await (await fl.maskedSelect(x, x.gt(20))).array()).toEqual([21, 22, 23]);
    expect(await (await fl.maskedSelect(x, x.gt(99))).array()).toEqual([]);
    expect(await (await fl.nonzero(x.gt(21))).array()).toEqual([
      [1, 2, 2],
      [1, 2, 3],
    ]);
  });

  test("is differentiable, and the same place may be named twice", async () => {
    const f = (t: fl.Tensor): fl.Tensor => t.index([0, 0, -1], "1:").square().sum();
    const g = fl.grad(f)(
      tensor([
        [1, 2],
        [3, 4],
      ]),
    );
    expect(await g.array()).toEqual([
      [0, 8],
      [0, 8],
    ]);
    const y = tensor([1, 2, 3], { requiresGrad: true });
    (await fl.maskedSelect(y, y.gt(1))).square().sum().backward();
    expect(await y.grad?.array()).toEqual([0, 4, 6]);
  });

  test("refuses what is out of range or no index", async () => {
    expect(() => x.index(2)).toThrow(fl.IndexError);
    expect(() => x.index(0, 0, 0, 0)).toThrow("4 axes are named, the tensor has shape [2, 3, 4]");
    expect(() => x.index("...", "...")).toThrow("only one item");
    expect(() => x.index("a:b")).toThrow("is no slice begin:end:step");
    expect(() => x.index("::0")).toThrow(fl.ValueError);
    expect(() => x.index(tensor([0.5]))).toThrow(fl.DTypeError);
    // Out of range on its own axis, though not on all of them taken together.
    await expect(x.index([0], [3]).data()).rejects.toMatchObject({ code: "INDEX", index: 3, bound: 3 });
    await expect(x.index([0], [-4]).data()).rejects.toMatchObject({ code: "INDEX", index: -1, bound: 3 });
  });

  test("works inside compiled functions", async () => {
    const f = fl.compile((t: fl.Tensor, at: fl.Tensor) => t.index(0, at, "::2"));
    expect(await f(x, i32([2, 0])).array()).toEqual([
      [8, 10],
      [0, 2],
    ]);
    expect(await f(x, i32([1, 1])).array()).toEqual([
      [4, 6],
      [4, 6],
    ]);
  });
});

describe("scatter", () => {
  test("the last of several wins, and it alone gets the gradient", async () => {
    const at = i32([1, 0, 1]);
    const put = (source: fl.Tensor): fl.Tensor => tensor([7, 8, 9]).scatter(0, at, source);
    expect(await put(tensor([1, 2, 3])).array()).toEqual([2, 3, 9]);
    expect(
      await fl
        .grad((s: fl.Tensor) => put(s).sum())(tensor([1, 2, 3]))
        .array(),
    ).toEqual([0, 1, 1]);
    expect(await tensor([7, 8, 9]).scatter(0, at, 2, { reduce: "multiply" }).array()).toEqual([14, 32, 9]);
    expect(await i32([7, 8, 9]).scatter(0, at, 1, { reduce: "add" }).array()).toEqual([8, 10, 9]);
  });
});
