/** Function transforms: against derivatives by hand, in both modes, nested, compiled, over trees. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { close, multiplications } from "./support.ts";

const { tensor } = fl;
// f(x, y) = [x0 y0, sin x1, x0 x1]: J = [y0 0 | x0], [0 cos x1 | 0], [x1 x0 | 0].
const f = (x: fl.Tensor, y: fl.Tensor): fl.Tensor =>
  fl.stack([x.select(0, 0).mul(y), x.select(0, 1).sin(), x.select(0, 0).mul(x.select(0, 1))]);
const x = tensor([2, 0.5]);
const y = tensor(3);

describe("forward and reverse mode", () => {
  test("jvp and linearize: the Jacobian times a vector", async () => {
    const [value, derivative] = fl.jvp(f, [x, y], [tensor([1, 10]), tensor(100)]);
    await close(value, [6, Math.sin(0.5), 1]);
    await close(derivative, [3 + 200, 10 * Math.cos(0.5), 0.5 + 20]);
    const [again, along] = fl.linearize(f, x, y);
    await close(again, [6, Math.sin(0.5), 1]);
    await close(along(tensor([0, 1]), tensor(0)), [0, Math.cos(0.5), 2]);
    await close(along(tensor([0, 0]), tensor(1)), [2, 0, 0]);
  });

  test("vjp: a vector times the Jacobian, one tree per argument", async () => {
    const [value, pullback] = fl.vjp(f, x, y);
    await close(value, [6, Math.sin(0.5), 1]);
    const [gx, gy] = pullback(tensor([1, 10, 100]));
    await close(gx, [3 + 50, 10 * Math.cos(0.5) + 200]);
    await close(gy, [2]);
  });

  test("<J v, u> = <v, J' u> through a network, over an object of tensors", async () => {
    fl.manualSeed(4);
    const parameters = { w: fl.randn([6, 5]), layers: [fl.randn([4, 6]), fl.randn([4])] };
    const input = fl.randn([3, 5]);
    const net = (p: typeof parameters): { out: fl.Tensor } => ({
      out: input.matmul(p.w.t()).tanh().matmul(p.layers[0].t()).add(p.layers[1]).softmax(-1),
    });
    const v = { w: fl.randn([6, 5]), layers: [fl.randn([4, 6]), fl.randn([4])] };
    const u = { out: fl.randn([3, 4]) };
    const [, jv] = fl.jvp(net, [parameters], [v]);
    const [, pullback] = fl.vjp(net, parameters);
    const [ju] = pullback(u);
    const left = await jv.out.mul(u.out).sum().item();
    const dots = [ju.w.mul(v.w), ju.layers[0].mul(v.layers[0]), ju.layers[1].mul(v.layers[1])];
    const right = await fl
      .cat(dots.map((d) => d.flatten()))
      .sum()
      .item();
    expect(left).toBeCloseTo(right, 4);
    expect(Math.abs(left)).toBeGreaterThan(1e-3);
  });
});

describe("of higher order", () => {
  const cubic = (t: fl.Tensor): fl.Tensor =>
    t
      .pow(3)
      .sum()
      .add(t.select(0, 0).mul(t.select(0, 1)));

  test("hvp: the Hessian times a vector, diag(6 t) and one off the diagonal", async () => {
    const t = tensor([1, 2, 3]);
    const [value, [hv]] = fl.hvp(cubic, [t], [tensor([1, 10, 100])]);
    await close(value, [1 + 8 + 27 + 2]);
    await close(hv, [6 + 10, 120 + 1, 1800]);
  });

  test("grad of jvp, jvp of grad, vjp of vjp, and all of them compiled", async () => {
    const t = tensor([1, 2, 3]);
    const v = tensor([1, 10, 100]);
    const want = [6 + 10, 120 + 1, 1800];
    const gradOfJvp = (s: fl.Tensor, d: fl.Tensor): fl.Tensor =>
      fl.grad((z: fl.Tensor) => fl.jvp(cubic, [z], [d])[1])(s);
    const jvpOfGrad = (s: fl.Tensor, d: fl.Tensor): fl.Tensor => fl.jvp(fl.grad(cubic), [s], [d])[1];
    const vjpOfVjp = (s: fl.Tensor, d: fl.Tensor): fl.Tensor =>
      fl.vjp((z: fl.Tensor) => fl.vjp(cubic, z)[1](tensor(1))[0], s)[1](d)[0];
    for (const transform of [gradOfJvp, jvpOfGrad, vjpOfVjp]) {
      await close(transform(t, v), want);
      await close(fl.compile(transform)(t, v), want);
    }
  });

  test("third derivatives of exp, sigmoid and tanh by forward over forward over forward", async () => {
    const one = tensor(1);
    const third = (g: (s: fl.Tensor) => fl.Tensor): fl.Tensor => {
      const d = (h: (s: fl.Tensor) => fl.Tensor) => (s: fl.Tensor) => fl.jvp(h, [s], [one])[1];
      return d(d(d(g)))(tensor(0.3));
    };
    const s = 1 / (1 + Math.exp(-0.3));
    const th = Math.tanh(0.3);
    await close(
      third((z) => z.exp()),
      [Math.exp(0.3)],
    );
    await close(
      third((z) => z.sigmoid()),
      [s * (1 - s) * (1 - 6 * s + 6 * s * s)],
    );
    await close(
      third((z) => z.tanh()),
      [(1 - th * th) * (6 * th * th - 2)],
    );
  });
});

test("trees are matched by key, not by the order of their keys", async () => {
  const product = ({ a, b }: { a: fl.Tensor; b: fl.Tensor }): fl.Tensor => a.square().mul(b).sum();
  const at = { a: tensor([1, 2]), b: tensor([3, 4]) };
  const along = { b: tensor([0, 0]), a: tensor([1, 1]) };
  await close(fl.jvp(product, [at], [along])[1], [2 * 3 + 4 * 4]);
  await close(fl.linearize(product, at)[1](along), [22]);
  const { a, b } = fl.hvp(product, [at], [along])[1][0];
  await close(a, [6, 8]);
  await close(b, [2, 4]);
  const pair = (t: fl.Tensor): { p: fl.Tensor; q: fl.Tensor } => ({ p: t.mul(2), q: t.mul(3) });
  await close(fl.vjp(pair, x)[1]({ q: tensor([0, 0]), p: tensor([1, 1]) })[0], [2, 2]);
  const net = new fl.Graph(({ a, b }: typeof at) => a.sub(b).sum(), at);
  await close(net.forward({ b: tensor([1, 1]), a: tensor([5, 5]) }), [8]);
  await close(net.backward()[0].b, [-1, -1]);
  const wrong: unknown[] = [{ a: at.a }, { ...at, c: at.a }, [at.a, at.b], at.a, { p: at.a, q: at.b }, null];
  for (const tree of wrong)
    expect(() => fl.jvp(product, [at], [tree as typeof at])).toThrow(/^jvp: the tangents are no tree like/);
  // What is no tensor needs no tangent.
  const power = (t: fl.Tensor, n: number): fl.Tensor => t.pow(n);
  await close(fl.jvp(power, [x, 2], [tensor([1, 1]), 0])[1], [4, 1]);
});

test("what does not fit says so", () => {
  const last: fl.Tensor = fl.grad((a: fl.Tensor, b: fl.Tensor) => a.mul(2).add(b.mul(3)).sum(), -1)(x, y);
  expect(last.shape).toEqual(y.shape);
  for (const argnums of ["a", null, 0.5, [], -3])
    expect(() => fl.grad(f, argnums as never)(x, y)).toThrow(/argnums .* do not name arguments/);
  expect(() => fl.jvp(f, [x, y], null as never)).toThrow("jvp: tangents must be an array of arguments, got null");
  expect(() => fl.jacrev((t: fl.Tensor) => t.ndim as never)(x)).toThrow(
    "jacrev: the function must return a tensor, got 1",
  );
  expect(() => fl.grad(null as never)(x)).toThrow("grad: a function is wanted, got null");
  expect(() => fl.checkpoint(async (t: fl.Tensor) => t)(x)).toThrow("checkpoint: the function is async");
  expect(() => fl.jvp(f, [x, y], [tensor([1]), tensor(1)])).toThrow(/jvp: tangent 0 is float32\[1\].*\[2\]/);
  expect(() => fl.jvp(f, [x, y], [x] as never)).toThrow(
    /jvp: the tangents are no tree like what they are for: no tensor at 1$/,
  );
  expect(() => fl.vjp(f, x, y)[1](tensor([1, 2]))).toThrow(fl.ShapeError);
  expect(() => fl.vjp((t: fl.Tensor) => t, tensor(Int32Array.of(1)))).toThrow(/vjp: derivatives need float32.*int32/);
  expect(() => fl.vjp(() => x)).toThrow(/no tensor/);
  expect(() => fl.hvp(f, [x, y], [x, y])).toThrow(/hvp: the function must return one element, got shape \[3\]/);
});

describe("gradients", () => {
  type Net = { w: fl.Tensor; layers: [fl.Tensor, fl.Tensor] };
  const net = (): Net => ({ w: tensor([1, 2]), layers: [tensor([3, 4]), tensor(5)] });
  const value = (p: Net): fl.Tensor => p.w.mul(p.layers[0]).sum().mul(p.layers[1]);

  test("of trees of tensors, by the names they have", async () => {
    const [y, g] = fl.valueAndGrad(value)(net());
    await close(y, [55]);
    await close(g.w, [15, 20]);
    await close(g.layers[0], [5, 10]);
    await close(g.layers[1], [11]);
  });

  test("of several arguments, and a compiled function inside of a transform", async () => {
    const product = fl.compile((a: fl.Tensor, b: Net) => value(b).mul(a));
    const [gb, ga] = fl.grad(product, [1, 0])(tensor(2), net());
    await close(ga, [55]);
    await close(gb.layers[1], [22]);
    const compiled = fl.compile((a: fl.Tensor, b: Net) => product(a, b).add(1));
    await close(compiled(tensor(2), net()), [111]);
  });

  test("of gradients, as often as one likes, of the first of several arguments too", async () => {
    const cube = (t: fl.Tensor, s: fl.Tensor): fl.Tensor => t.pow(3).mul(s);
    const third: fl.Tensor = fl.grad(fl.grad(fl.grad(cube)))(tensor(5), tensor(2));
    await close(third, [12]);
  });

  test("do not flow through stopGradient and noGrad", async () => {
    const g = fl.grad((t: fl.Tensor) => fl.stopGradient({ t: t.square() }).t.mul(t).sum());
    await close(g(tensor([2, 3])), [4, 9]);
    const h = fl.grad((t: fl.Tensor) =>
      fl
        .noGrad(() => t.exp())
        .mul(t)
        .sum(),
    );
    await close(h(tensor([0, 1])), [1, Math.E]);
    expect(() => fl.noGrad(async () => x)).toThrow(/noGrad: the function is async/);
  });

  test("of what cannot be differentiated are refused", () => {
    expect(() => fl.grad((t: fl.Tensor) => t.argmax())(x)).toThrow(/must return float32, got int32/);
    expect(() => fl.grad((t: fl.Tensor) => t, 1)(x)).toThrow(/argnums 1 do not name arguments, there are 1/);
    expect(() => fl.grad((t: fl.Tensor) => t, [0, 0])(x)).toThrow(fl.ValueError);
    expect(() => fl.grad((t: fl.Tensor) => t)(tensor([true]))).toThrow(/need float32, an argument is bool/);
  });
});

test("a Hessian-vector product of a 3-layer MLP costs at most 4 gradients: its matrix products, multiplications counted", () => {
  const sizes = [64, 96, 80, 10];
  const batch = 32;
  const of = (seed: number): fl.Tensor[] =>
    sizes.slice(1).map((n, i) =>
      fl.tensor(
        Float32Array.from({ length: n * sizes[i] }, (_, k) => Math.sin(k * seed)),
        [n, sizes[i]],
      ),
    );
  const images = fl.tensor(
    Float32Array.from({ length: batch * sizes[0] }, (_, k) => Math.cos(k)),
    [batch, sizes[0]],
  );
  const labels = fl.tensor(Int32Array.from({ length: batch }, (_, k) => k % 10));
  const loss = (w: fl.Tensor[]): fl.Tensor =>
    fl.crossEntropy(
      w.reduce((h, wi, i) => (i > 0 ? h.tanh() : h).matmul(wi.t()), images),
      labels,
    );
  const gradient = multiplications(fl.compile((w: fl.Tensor[]) => fl.grad(loss)(w)).explain(of(1)));
  const product = multiplications(
    fl.compile((w: fl.Tensor[], v: fl.Tensor[]) => fl.hvp(loss, [w], [v])).explain(of(1), of(2)),
  );
  // Forward: 3 products; backward: 5, for the first layer's input needs no gradient.
  const macs = sizes.slice(1).map((n, i) => batch * n * sizes[i]);
  expect(gradient).toBe(3 * (macs[0] + macs[1] + macs[2]) - macs[0]);
  expect(product / gradient).toBeLessThanOrEqual(4);
  expect(product).toBeGreaterThan(gradient);
});
