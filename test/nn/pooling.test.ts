/** Pooling and resizing as users call them: PyTorch's conventions, options, errors, derivatives in all modes. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

const { nn, tensor } = fl;
const F = nn.functional;

afterAll(() => fl.dispose());

const flat = async (t: fl.Tensor): Promise<number[]> => [...(await t.data())];
const range = (...shape: number[]): fl.Tensor =>
  fl
    .arange(shape.reduce((a, b) => a * b))
    .to("float32")
    .reshape(shape);

describe("max pooling", () => {
  test("layers return positions beside values if asked to, and unpooling puts values there", async () => {
    const x = tensor([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 1, 9]);
    const pool = new nn.MaxPool1d(2, { stride: 2, returnIndices: true });
    const [y, at] = pool.forward(x);
    expect([await flat(y), await flat(at), at.dtype]).toEqual([[2, 4, 6, 8], [1, 3, 5, 7], "int32"]);
    const unpool = new nn.MaxUnpool1d(2, { stride: 2 });
    expect(await flat(unpool.forward(y, at))).toEqual([0, 2, 0, 4, 0, 6, 0, 8]);
    for (const size of [[9], [1, 1, 9], x]) expect(await flat(unpool.forward(y, at, size))).toHaveLength(9);
    expect(() => unpool.forward(y, at, [12])).toThrow("maxUnpool1d: outputSize must be within the stride [2] of [8]");
    await expect(F.maxUnpool1d(y, at.add(6), 2).data()).rejects.toThrow(fl.IndexError);
    expect(new nn.MaxPool2d(2).forward(fl.ones([1, 1, 4, 4])).shape).toEqual([1, 1, 2, 2]);
  });

  test("positions count through the flattened image, behind padding and in windows that end outside", async () => {
    const x = range(1, 2, 3, 4, 5);
    const [y, at] = F.maxPool3dWithIndices(x, [2, 2, 3], { stride: 2, padding: [1, 0, 1], ceilMode: true });
    expect(y.shape).toEqual([1, 2, 2, 2, 3]);
    const image = await flat(x);
    const where = await flat(at);
    expect(await flat(y)).toEqual(where.map((p, i) => image[p + (i < 12 ? 0 : 60)]));
  });

  test("a window wholly outside has -Infinity, no position, and sends nothing back", async () => {
    const x = tensor([3, 4], [1, 2], { requiresGrad: true });
    const [y, at] = F.maxPool1dWithIndices(x, 2, { dilation: 3, padding: 1, stride: 1 });
    expect([await flat(y), await flat(at)]).toEqual([[-Infinity], [-1]]);
    y.sum().backward();
    expect(await flat(x.grad as fl.Tensor)).toEqual([0, 0]);
  });

  test("the first of equal elements gets the gradient, a NaN wins, and the last one of several", async () => {
    const x = tensor([1, 1, NaN, 0, 5, 5, NaN, NaN, 2, 2, 2, 2], [1, 3, 4], { requiresGrad: true });
    const y = F.maxPool1d(x, 2);
    expect(await flat(y)).toEqual([1, NaN, 5, NaN, 2, 2]);
    y.sum().backward();
    expect(await flat(x.grad as fl.Tensor)).toEqual([1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0]);
  });

  test("steps that nobody takes may be of any length", async () => {
    for (const stride of [1431655766, 2 ** 31 - 1, 2 ** 40]) {
      const x = tensor([3, 1, 4, 1, 5], [1, 5], { requiresGrad: true });
      const y = F.maxPool1d(x, 3, { stride, padding: 1 }).mul(F.avgPool1d(x, 2, { stride }));
      expect(await flat(y)).toEqual([6]);
      y.sum().backward();
      expect(await flat(x.grad as fl.Tensor)).toEqual([3.5, 1.5, 0, 0, 0]);
      expect(await flat(F.maxPool1d(x, 1, { dilation: stride }))).toEqual([3, 1, 4, 1, 5]);
    }
  });

  test("as many as 2,500 taps, and adaptive ones of other lengths", async () => {
    const x = fl.randn([2, 60, 55], { generator: new fl.Generator(1) });
    const [y, at] = F.maxPool2dWithIndices(x, 50, { stride: 5 });
    const [rows, found] = [await flat(x), await flat(at)];
    expect(await flat(y)).toEqual(found.map((p, i) => rows[p + Math.floor(i / 6) * 3300]));
    const [z, where] = new nn.AdaptiveMaxPool2d([7, null], { returnIndices: true }).forward(x);
    expect(z.shape).toEqual([2, 7, 55]);
    const places = await flat(where);
    expect(await flat(z)).toEqual(places.map((p, i) => rows[p + Math.floor(i / 385) * 3300]));
  });
});

describe("averages and norms", () => {
  test("windows that end outside, padding that does not count, a divisor of one's own", async () => {
    const x = range(1, 1, 5).add(1);
    expect(await flat(F.avgPool1d(x, 2, { ceilMode: true }))).toEqual([1.5, 3.5, 5]);
    expect(await flat(F.avgPool1d(x, 3, { stride: 2, padding: 1 }))).toEqual([1, 3, 3]);
    expect(await flat(F.avgPool1d(x, 3, { stride: 2, padding: 1, countIncludePad: false }))).toEqual([1.5, 3, 4.5]);
    const volume = fl.ones([1, 2, 2, 2]);
    expect(await flat(new nn.AvgPool3d(2, { divisorOverride: 4 }).forward(volume))).toEqual([2]);
  });

  test("one window more than there are elements, of a kernel larger than the image", async () => {
    expect(await flat(F.avgPool1d(range(1, 1, 3), 4, { stride: 3, ceilMode: true }))).toEqual([1]);
    expect(() => F.avgPool1d(range(1, 1, 3), 4)).toThrow("the kernel [4] (dilation [1]) is larger");
  });

  test("adaptive windows overlap where they do not divide an axis, and repeat elements where there are more", async () => {
    const x = range(1, 1, 5);
    expect(await flat(F.adaptiveAvgPool1d(x, 3))).toEqual([0.5, 2, 3.5]);
    expect(await flat(F.adaptiveAvgPool1d(x, 7))).toEqual([0, 0.5, 1.5, 2, 2.5, 3.5, 4]);
    expect(await flat(F.adaptiveMaxPool1d(x, 3))).toEqual([1, 3, 4]);
    expect(await flat(F.adaptiveAvgPool3d(range(1, 2, 4, 4), [1, null, 2]).sum())).toEqual([124]);
  });

  test("norms of windows", async () => {
    const x = tensor([3, 4, 0, 5, 12], [1, 1, 5]);
    expect(await flat(new nn.LPPool1d(2, 2).forward(x))).toEqual([5, 5]);
    expect(await flat(new nn.LPPool1d(1, 2, { stride: 3 }).forward(x))).toEqual([7, 17]);
    expect(await flat(F.lpPool3d(fl.ones([1, 2, 2, 2]), 3, 2))).toEqual([2]);
  });

  test("what is wrong is named", () => {
    const image = fl.ones([1, 1, 4, 4]);
    expect(() => F.avgPool2d(image, 2, { divisorOverride: 0 })).toThrow("avgPool2d: divisorOverride must not be 0");
    expect(() => F.maxPool3d(image.squeeze(0).squeeze(0), 2)).toThrow("maxPool3d: the input must have 4 or 5 axes");
    expect(() => F.maxPool2d(image.to("int32"), 2)).toThrow("maxPool2d: dtype int32");
    expect(() => F.maxPool2d(fl.ones([1, 1, 0, 4]), 2)).toThrow("have no elements");
    expect(() => F.adaptiveMaxPool2d(image, [2, 0])).toThrow("adaptiveMaxPool2d: outputSize must be");
    expect(() => F.lpPool2d(image, 0, 2)).toThrow("lpPool2d: normType must not be 0");
    expect(() => F.maxUnpool2d(image, image, 2)).toThrow("maxUnpool2d: indices must be int32");
    expect(() => F.maxUnpool2d(image, fl.zeros([1, 1, 2, 2], { dtype: "int32" }), 2)).toThrow("must have the shape");
  });
});

const POOLS: Record<string, (x: fl.Tensor) => fl.Tensor> = {
  maxPool2d: (x) => F.maxPool2d(x, 3, { stride: 2, padding: 1 }),
  "maxPool2d of quarters": (x) => F.maxPool2d(x, 2),
  "maxPool1d with dilation": (x) => F.maxPool1d(x.flatten(2), 3, { dilation: 2 }),
  avgPool2d: (x) => F.avgPool2d(x, 3, { stride: 2, padding: 1, countIncludePad: false }),
  "avgPool2d of quarters": (x) => F.avgPool2d(x, 2, { ceilMode: true }),
  adaptiveAvgPool2d: (x) => F.adaptiveAvgPool2d(x, [3, 4]),
  adaptiveMaxPool2d: (x) => F.adaptiveMaxPool2d(x, [3, 2]),
  lpPool2d: (x) => F.lpPool2d(x.square().add(1), 2, 2),
  maxUnpool2d: (x) => F.maxUnpool2d(x, F.maxPool2dWithIndices(fl.ones([2, 2, 10, 14]).cumsum(3).sin(), 2)[1], 2),
  bilinear: (x) => F.interpolate(x, { scaleFactor: 1.7, mode: "bilinear" }),
  bicubic: (x) => F.interpolate(x, { size: [4, 9], mode: "bicubic", alignCorners: true }),
  area: (x) => F.interpolate(x, { size: [3, 9], mode: "area" }),
};

describe.each(Object.entries(POOLS))("%s", (_, pool) => {
  // No two elements are near each other.
  const x = fl.arange(140).mul(37).remainder(140).div(70).sub(1).reshape([2, 2, 5, 7]);

  test("has right derivatives of both orders, in both modes", async () => {
    expect(await fl.gradcheck(pool, [x])).toBe(true);
    expect(await fl.gradgradcheck((t: fl.Tensor) => pool(t).mul(pool(t.sin())), [x])).toBe(true);
  });

  test("is mapped over a batch", async () => {
    const batch = fl.stack([x, x.mul(-1), x.add(1)]);
    const each = fl.stack([pool(x), pool(x.mul(-1)), pool(x.add(1))]);
    expect(await flat(fl.vmap(pool)(batch))).toEqual(await flat(each));
  });
});

describe("interpolate", () => {
  test("bicubic", async () => {
    // By PyTorch.
    const x = range(1, 1, 1, 4).square();
    const y = await flat(F.interpolate(x, { size: [1, 7], mode: "bicubic" }));
    [-0.0992, 0.1562, 0.8042, 2.125, 4.4247, 7.4808, 9.4961].forEach((v, i) => expect(y[i]).toBeCloseTo(v, 4));
  });

  test("options that a mode does not have are refused", () => {
    const image = fl.ones([1, 1, 4, 4]);
    expect(() => F.interpolate(image, { size: 2, alignCorners: false })).toThrow(
      "alignCorners is for linear and cubic",
    );
    expect(() => F.interpolate(image, { size: 2, recomputeScaleFactor: true })).toThrow("size is given");
    expect(() => F.interpolate(image, { size: 2, mode: "cubic" as never })).toThrow("mode must be one of nearest,");
    expect(() => F.interpolate(fl.ones([1, 1, 4]), { size: 2, mode: "bicubic" })).toThrow("does not fit");
  });
});

test("layers of other results are no layers of a Sequential", () => {
  const pool = new nn.MaxPool2d(2, { returnIndices: true });
  // @ts-expect-error two tensors
  expect(() => new nn.Sequential(pool, new nn.ReLU()).forward(fl.ones([1, 1, 2, 2]))).toThrow();
});
