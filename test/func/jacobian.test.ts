/** Whole Jacobians and Hessians: against derivatives by hand, the two modes against each other. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { close, multiplications, same } from "./support.ts";

const { tensor } = fl;

// (x, y) in polar coordinates and back.
const cartesian = (p: fl.Tensor): fl.Tensor => {
  const [r, a] = [p.select(0, 0), p.select(0, 1)];
  return fl.stack([r.mul(a.cos()), r.mul(a.sin())]);
};
const polar = tensor([2, 0.7]);
const wanted = [Math.cos(0.7), -2 * Math.sin(0.7), Math.sin(0.7), 2 * Math.cos(0.7)];

describe("Jacobians", () => {
  test.each([fl.jacrev, fl.jacfwd, fl.jacobian])("by %o: polar coordinates, alone and compiled", async (jac) => {
    await close(jac(cartesian)(polar), wanted, [2, 2]);
    await close(fl.compile(jac(cartesian))(polar), wanted, [2, 2]);
  });

  test("of a network with respect to a tree of parameters, in both modes", async () => {
    fl.manualSeed(3);
    const p = { w: fl.randn([4, 3]), layers: [fl.randn([2, 4]), fl.randn([2])] };
    const input = fl.randn([6, 3]);
    const net = (q: typeof p, x: fl.Tensor) => ({
      out: x.matmul(q.w.t()).tanh().matmul(q.layers[0].t()).add(q.layers[1]).softmax(),
      norm: q.w.square().sum(),
      fixed: fl.ones([2]),
    });
    const [a, ax] = fl.jacrev(net, [0, 1])(p, input).out;
    const [b, bx] = fl.jacfwd(net, [0, 1])(p, input).out;
    expect(a.w.shape).toEqual([6, 2, 4, 3]);
    for (const [l, r] of [
      [a.w, b.w],
      [a.layers[0], b.layers[0]],
      [a.layers[1], b.layers[1]],
      [ax, bx],
    ])
      await same(l, r);
    const rest = fl.jacrev(net)(p, input);
    await same(rest.norm.w, p.w.mul(2));
    await close(rest.norm.layers[1], [0, 0], [2]);
    await close(rest.fixed.w, new Float32Array(24), [2, 4, 3]);
    await same(fl.jacfwd(net)(p, input).norm.w, p.w.mul(2));
  });

  test("are those of softmax, diag(s) - s s', row by row", async () => {
    const x = tensor([0.1, -0.5, 2]);
    const s = x.softmax();
    const want = fl.arange(3).unsqueeze(1).eq(fl.arange(3)).float().mul(s).sub(fl.outer(s, s));
    for (const jac of [fl.jacrev, fl.jacfwd]) await same(jac((t: fl.Tensor) => t.softmax())(x), want);
  });

  test("compose with vmap, grad and each other", async () => {
    const points = fl.stack([polar, polar.mul(2)]);
    const each = fl.vmap(fl.jacfwd(cartesian))(points);
    await close(each.select(0, 0), wanted, [2, 2]);
    await same(fl.vmap(fl.jacrev(cartesian))(points), each);
    // d/dr of det J = d/dr r = 1.
    const det = (p: fl.Tensor): fl.Tensor => {
      const j = fl.jacobian(cartesian)(p).flatten();
      const at = (i: number): fl.Tensor => j.select(0, i);
      return at(0)
        .mul(at(3))
        .sub(at(1).mul(at(2)));
    };
    await close(det(polar), [2]);
    await close(fl.grad(det)(polar), [1, 0]);
  });

  test("choose the mode with fewer vectors, and say so", async () => {
    const wide = (x: fl.Tensor): fl.Tensor => fl.repeat(x, [5]).exp();
    expect(fl.jacobian(wide).explain(polar)).toBe(
      "forward mode: the Jacobian is 10 x 2 (outputs [10], inputs [2]), so forward mode sends 2 vectors through the " +
        "function, reverse mode would send 10",
    );
    expect(fl.jacobian((x: fl.Tensor) => x.square().sum()).explain(polar)).toMatch(/^reverse mode: .* sends 1 vectors/);
    await same(fl.jacobian(wide)(polar), fl.jacrev(wide)(polar));
  });

  test("take the cheaper mode in every shape of the crossover example: multiplications counted", () => {
    const hidden = 64;
    const few = [1, 4, 16, 64];
    const shapes = [...few.map((n) => [n, 256]), [256, 256], ...few.map((m) => [256, m])];
    for (const [n, m] of shapes) {
      const [x, a, b] = [[n], [n, hidden], [hidden, m]].map((shape) => fl.ones(shape));
      const f = (t: fl.Tensor): fl.Tensor => t.matmul(a).tanh().matmul(b).tanh();
      const [forward, reverse] = [fl.jacfwd, fl.jacrev].map((mode) => multiplications(fl.compile(mode(f)).explain(x)));
      const picked = fl.jacobian(f).explain(x);
      if (n === m) expect(Math.max(forward, reverse) / Math.min(forward, reverse)).toBeLessThan(1.01);
      else
        expect(picked, `${m} x ${n}: ${forward} forward, ${reverse} reverse`).toMatch(
          forward < reverse ? /^forward/ : /^reverse/,
        );
    }
  });

  test("of one element, of none, of functions that ignore their argument", async () => {
    await close(fl.jacrev((x: fl.Tensor) => x.exp())(tensor(1)), [Math.E], []);
    await close(fl.jacfwd((x: fl.Tensor) => x.exp())(tensor([1])), [Math.E], [1, 1]);
    await close(fl.jacfwd((x: fl.Tensor) => x.mul(2))(fl.zeros([0])), [], [0, 0]);
    await close(fl.jacobian((x: fl.Tensor) => x.detach())(polar), [0, 0, 0, 0], [2, 2]);
  });

  test("that cannot be are refused", () => {
    expect(() => fl.jacrev((x: fl.Tensor) => x.argmax())(polar)).toThrow(/jacrev: the function must return float32/);
    expect(() => fl.jacfwd(cartesian)(tensor([1, 2], { dtype: "int32" }))).toThrow(fl.DTypeError);
    expect(() => fl.jacobian((x: fl.Tensor) => x.relu())(fl.zeros([100, 4096]))).toThrow(/409600 x 409600/);
  });
});

describe("Hessians", () => {
  const rosenbrock = (p: fl.Tensor): fl.Tensor => {
    const [x, y] = [p.select(0, 0), p.select(0, 1)];
    return x.neg().add(1).square().add(y.sub(x.square()).square().mul(100));
  };
  // [2 - 400 (y - x^2) + 800 x^2, -400 x; -400 x, 200]
  const at = tensor([1.2, 0.5]);
  const want = [2 - 400 * (0.5 - 1.44) + 800 * 1.44, -480, -480, 200];

  test("of Rosenbrock's function, by all four orders of modes", async () => {
    await close(fl.hessian(rosenbrock)(at), want, [2, 2]);
    await close(fl.compile(fl.hessian(rosenbrock))(at), want, [2, 2]);
    for (const outer of [fl.jacfwd, fl.jacrev])
      for (const inner of [fl.jacfwd, fl.jacrev]) await close(outer(inner(rosenbrock))(at), want, [2, 2]);
  });

  test("of vmap, vmap of hessian, hvp as their product with a vector", async () => {
    const points = fl.stack([at, at.mul(0.5), at.neg()]);
    const each = fl.vmap(fl.hessian(rosenbrock))(points);
    await close(each.select(0, 0), want);
    const whole = fl.hessian((p: fl.Tensor) => fl.vmap(rosenbrock)(p).sum())(points);
    expect(whole.shape).toEqual([3, 2, 3, 2]);
    await same(whole.select(0, 1).select(1, 1), each.select(0, 1));
    await close(whole.select(0, 1).select(1, 2), [0, 0, 0, 0]);
    const v = tensor([0.3, -2]);
    await same(fl.hvp(rosenbrock, [at], [v])[1][0], fl.hessian(rosenbrock)(at).matmul(v));
  });

  test("of two arguments: four blocks", async () => {
    const f = (a: fl.Tensor, b: { c: fl.Tensor }): fl.Tensor => a.square().mul(b.c).sum();
    const [[aa, ab], [ba, bb]] = ((h) => [
      [h[0][0], h[0][1].c],
      [h[1].c[0], h[1].c[1].c],
    ])(fl.hessian(f, [0, 1])(tensor([1, 2]), { c: tensor([3, 4]) }));
    await close(aa, [6, 0, 0, 8], [2, 2]);
    await close(ab, [2, 0, 0, 4]);
    await close(ba, [2, 0, 0, 4]);
    await close(bb, [0, 0, 0, 0]);
  });
});
