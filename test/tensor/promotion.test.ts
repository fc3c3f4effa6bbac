/** Dtypes of results are PyTorch's, but for int64, which is int32 here. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

afterAll(() => fl.dispose());

const { tensor } = fl;
const DTYPES = ["bool", "uint8", "int32", "float32"] as const;
const ones = (dtype: fl.DType, axes: number): fl.Tensor => fl.ones(axes > 0 ? [2] : [], { dtype });
const u8 = (...values: number[]): fl.Tensor => tensor(values, { dtype: "uint8" });
const i32 = (...values: number[]): fl.Tensor => tensor(values, { dtype: "int32" });

describe("promotion", () => {
  // Rows: the left operand's dtype; columns: the right one's.
  const B = "bool";
  const U = "uint8";
  const I = "int32";
  const F = "float32";
  const equals = [
    [B, U, I, F],
    [U, U, I, F],
    [I, I, I, F],
    [F, F, F, F],
  ];
  const scalarRight = [
    [B, U, I, F],
    [U, U, U, F],
    [I, I, I, F],
    [F, F, F, F],
  ];
  const scalarLeft = [
    [B, U, I, F],
    [U, U, I, F],
    [I, U, I, F],
    [F, F, F, F],
  ];

  test.each([
    [1, 1, equals],
    [0, 0, equals],
    [1, 0, scalarRight],
    [0, 1, scalarLeft],
  ])("operands of rank %i and %i", (left, right, table) => {
    DTYPES.forEach((a, i) =>
      DTYPES.forEach((b, j) => {
        const [x, y] = [ones(a, left), ones(b, right)];
        expect(x.add(y).dtype, `${a} + ${b}`).toBe(table[i][j]);
        expect(fl.where(tensor(true), x, y).dtype, `where(${a}, ${b})`).toBe(table[i][j]);
        expect(x.lt(y).dtype).toBe("bool");
        expect(x.div(y).dtype).toBe("float32");
      }),
    );
  });

  test("a bare number counts least", () => {
    for (const axes of [0, 1]) {
      expect(DTYPES.map((d) => ones(d, axes).add(2).dtype)).toEqual(["int32", "uint8", "int32", "float32"]);
      expect(DTYPES.map((d) => ones(d, axes).add(2.5).dtype)).toEqual(new Array(4).fill("float32"));
    }
    expect(fl.where(tensor([true]), u8(1), 0).dtype).toBe("uint8");
  });
});

describe("arithmetic of integers and bool", () => {
  test("uint8 wraps, inside of an expression too", async () => {
    const x = u8(250, 3);
    expect(await x.add(10).array()).toEqual([4, 13]);
    expect(await x.mul(3).array()).toEqual([238, 9]);
    expect(await x.sub(u8(255, 4)).array()).toEqual([251, 255]);
    expect(await x.neg().array()).toEqual([6, 253]);
    expect(await x.pow(2).array()).toEqual([36, 9]);
    expect(await x.add(10).gt(5).array()).toEqual([false, true]);
    expect(await x.add(10).float().array()).toEqual([4, 13]);
    expect(await x.lt(300).array()).toEqual([true, true]);
  });

  test("powers of integers are integers; negative ones are 0 but for 1 and -1", async () => {
    expect(
      await i32(-2, 3, -1, 1)
        .pow(i32(2, -1, -3, -2))
        .array(),
    ).toEqual([4, 0, -1, 1]);
    expect(await i32(-2, 3).pow(3).array()).toEqual([-8, 27]);
    expect(await i32(0, 7).pow(0).array()).toEqual([1, 1]);
    expect(await i32(3).pow(20).array()).toEqual([3486784401 | 0]);
  });

  test("bool adds as or, multiplies as and; what has no meaning is refused", async () => {
    const b = tensor([true, false]);
    expect(await b.add(tensor([true, true])).array()).toEqual([true, true]);
    expect(await b.mul(tensor([true, true])).array()).toEqual([true, false]);
    expect(await b.add(1).array()).toEqual([2, 1]);
    expect(await b.maximum(tensor([false, true])).array()).toEqual([true, true]);
    for (const f of [
      () => b.sub(b),
      () => b.neg(),
      () => b.abs(),
      () => b.remainder(b),
      () => b.pow(b),
      () => b.floor(),
    ])
      expect(f).toThrow(fl.DTypeError);
  });

  test("matrix products of integers are integers, modulo 2^32 and 2^8", async () => {
    const big = tensor(
      [
        [2 ** 31 - 1, 2],
        [3, -4],
      ],
      { dtype: "int32" },
    );
    const square = [
      [7, -10],
      [2147483633, 22],
    ]; // PyTorch's
    const a = tensor(
      [
        [200, 100],
        [3, 4],
      ],
      { dtype: "uint8" },
    );
    const v = u8(2, 3);
    expect([big.matmul(big).dtype, a.matmul(v).dtype]).toEqual(["int32", "uint8"]);
    expect(await big.matmul(big).array()).toEqual(square);
    expect(await fl.einsum("ij,jk->ik", big, big).array()).toEqual(square);
    expect(await a.matmul(v).array()).toEqual([188, 18]);
    expect(await fl.einsum("ij,j->i", a, v).array()).toEqual([188, 18]);
    expect(await fl.einsum("ij,k->i", a, v).array()).toEqual([(300 * 5) % 256, 35]);
    expect(await fl.einsum("ij->j", a).array()).toEqual([203, 104]);
    expect(
      await i32(1, 2, 3)
        .matmul(i32(4, 5, 6))
        .item(),
    ).toBe(32);
    expect(() => big.matmul(a)).toThrow(fl.DTypeError);
    expect(() => big.matmul(big.float())).toThrow("matmul: dtypes int32 and float32");
    expect(() => a.to("bool").matmul(a.to("bool"))).toThrow(fl.DTypeError);
    expect(() => fl.einsum("i,i->", v, i32(1, 2))).toThrow("einsum: operands of dtypes uint8 and int32");
  });

  test("sums and products of whole numbers are int32, their extremes keep the dtype, their mean is refused", async () => {
    const x = u8(250, 3);
    for (const y of [x.sum(), x.prod(), x.cumsum(0)]) expect(y.dtype).toBe("int32");
    expect(await x.sum().item()).toBe(253);
    expect(await x.prod().item()).toBe(750);
    expect(await x.cumsum(0).array()).toEqual([250, 253]);
    for (const y of [x.max(), x.min(), ...x.sort().slice(0, 1), x.topk(1)[0], x.gather(0, i32(1))])
      expect(y.dtype).toBe("uint8");
    expect(await x.sort()[0].array()).toEqual([3, 250]);
    expect(await tensor([true, true]).sum().item()).toBe(2);
    expect(await tensor([true, false]).max().item()).toBe(1);
    expect(() => x.mean()).toThrow(fl.DTypeError);
    expect(await i32(-3, 4).relu().array()).toEqual([0, 4]);
    expect(i32(1).floor().dtype).toBe("int32");
    expect(i32(1).exp().dtype).toBe("float32");
  });
});
