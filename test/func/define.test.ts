/** defineOp: gates of one's own, in every mode, alone and inside everything else. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { close, same } from "./support.ts";

const { checkpoint, defineOp, tensor } = fl;
type T = fl.Tensor;

/** Built from a product and a sum, but with the derivative of a fused operation. */
const silu = defineOp({
  name: "mySilu",
  forward: (x: T) => x.mul(x.sigmoid()),
  backward: (dTop, { inputs: [x], output }) => {
    const s = x.sigmoid();
    return dTop.mul(s.add(output.mul(s.neg().add(1))));
  },
});

/** a^T b a, whose gradients need both inputs: shapes differ, and one has none for the scale. */
const quadratic = defineOp({
  name: "quadratic",
  forward: (a: T, b: T, scale: number) => a.matmul(b).matmul(a).mul(scale),
  backward: (dTop, { inputs: [a, b, scale] }) => [
    b.add(b.t()).matmul(a).mul(dTop.mul(scale)),
    fl.outer(a, a).mul(dTop.mul(scale)),
    null,
  ],
});
const plainQuadratic = (a: T, b: T, scale: number): T => a.matmul(b).matmul(a).mul(scale);

/** Rounds forward, lets gradients pass: no function has this derivative. */
const straightThrough = defineOp({
  name: "straightThrough",
  forward: (x: T) => x.round(),
  backward: (dTop) => dTop,
});

const x = tensor([-2, -0.5, 0.3, 4]);
const a = tensor([1, -2, 0.5]);
const b = tensor([
  [1, 2, 3],
  [0.5, -1, 2],
  [4, 0, -3],
]);

describe("an operation of one's own", () => {
  test("has its forward's value and its backward's gradient: eager, compiled, by backward()", async () => {
    await same(silu(x), x.silu());
    const loss = (t: T): T => silu(t).square().sum();
    const want = fl.grad((t: T) => t.silu().square().sum())(x);
    await same(fl.grad(loss)(x), want);
    await same(fl.compile(fl.grad(loss))(x), want);
    const p = new fl.Parameter(x);
    loss(p).backward();
    await same(p.grad as T, want);
    const step = fl.compile((t: T) => {
      p.grad = null;
      const l = silu(t.add(p)).sum();
      l.backward();
      return [l, p.grad as unknown as T];
    });
    const [l, g] = step(fl.zeros([4]));
    await same(l, x.silu().sum());
    await same(g, fl.grad((t: T) => t.silu().sum())(x));
  });

  test("has several inputs, and others that are no tensors", async () => {
    await same(quadratic(a, b, 3), plainQuadratic(a, b, 3));
    const got = fl.grad((s: T, t: T) => quadratic(s, t, 3), [0, 1])(a, b);
    const want = fl.grad((s: T, t: T) => plainQuadratic(s, t, 3), [0, 1])(a, b);
    await same(got[0], want[0]);
    await same(got[1], want[1]);
    // One tensor in two places gets both gradients.
    const product = defineOp({
      name: "product",
      forward: (s: T, t: T) => s.mul(t),
      backward: (dTop, { inputs: [s, t] }) => [dTop.mul(t), dTop.mul(s)],
    });
    await same(fl.grad((t: T) => product(t, t).sum())(x), x.mul(2));
  });

  test("is differentiated by its backward, not by its forward", async () => {
    const loss = (t: T): T => straightThrough(t.mul(3)).mul(t).sum();
    await same(fl.grad(loss)(x), x.mul(3).round().add(x.mul(3)));
    await same(fl.vmap(fl.grad((t: T) => straightThrough(t.mul(3)).mul(t)))(x), x.mul(3).round().add(x.mul(3)));
    await same(fl.grad((t: T) => fl.vmap(straightThrough)(t).sum())(x), fl.ones([4]));
    // What forward takes from elsewhere gets no gradient.
    const p = new fl.Parameter(tensor(2));
    const scaled = defineOp({ name: "scaled", forward: (t: T) => t.mul(p), backward: (dTop) => dTop.mul(p) });
    scaled(p).backward();
    await close(p.grad as T, [2]);
  });

  test("has forward mode by transposition of its backward, or by its own jvp", async () => {
    const v = tensor([1, -2, 3, 0.5]);
    await same(fl.jvp(silu, [x], [v])[1], fl.jvp((t: T) => t.silu(), [x], [v])[1]);
    await same(fl.jvp(straightThrough, [x], [v])[1], v);
    const [da, db] = [tensor([0.1, 3, -1]), b.t()];
    const along = (f: (s: T, t: T, c: number) => T): T => fl.jvp((s: T, t: T) => f(s, t, 3), [a, b], [da, db])[1];
    await same(along(quadratic), along(plainQuadratic));
    const own = defineOp({
      name: "own",
      forward: (s: T, t: T) => s.mul(t),
      backward: () => [null, null],
      jvp: ([ds, dt], { inputs: [s, t] }) => (ds ? ds.mul(t) : (dt as T).mul(s).mul(10)),
    });
    await same(fl.jvp((t: T) => own(t, x), [v], [v])[1], v.mul(x));
    await same(fl.jvp((t: T) => own(x, t), [v], [v])[1], v.mul(x).mul(10));
    await same(fl.vmap((s: T, t: T) => fl.jvp((u: T) => own(s, u), [t], [t])[1])(x, v), v.mul(x).mul(10));
  });

  test("nests in hessian, jacobians, vmap, checkpoint and itself", async () => {
    const f = (g: (t: T) => T) => (t: T) => g(g(t).mul(t)).sum();
    const plain = (t: T): T => t.silu();
    await same(fl.hessian(f(silu))(x), fl.hessian(f(plain))(x));
    await same(fl.compile(fl.hessian(f(silu)))(x), fl.hessian(f(plain))(x));
    for (const jac of [fl.jacrev, fl.jacfwd]) await same(jac(silu)(x), jac(plain)(x));
    await same(fl.grad(f(fl.checkpoint(silu)))(x), fl.grad(f(plain))(x));
    const rows = fl.stack([x, x.mul(2), x.neg()]);
    await same(fl.vmap(fl.hessian(f(silu)))(rows), fl.vmap(fl.hessian(f(plain)))(rows));
    const whole = (g: (t: T) => T) => fl.grad((t: T) => fl.vmap(f(g))(t).square().sum())(rows);
    await same(whole(silu), whole(plain));
    const outer = defineOp({
      name: "outer",
      forward: (t: T) => silu(t).mul(2),
      backward: (dTop, { inputs: [t] }) => fl.grad((u: T) => silu(u).mul(2).mul(dTop).sum())(t),
    });
    await same(fl.hessian((t: T) => outer(t).sum())(x), fl.hessian((t: T) => t.silu().mul(2).sum())(x));
  });

  test("in a batch: over some inputs, over all, twice", async () => {
    const as = fl.stack([a, a.mul(2)]);
    const bs = fl.stack([b, b.t().add(1)]);
    const g = (f: typeof quadratic) => (s: T, t: T) => fl.grad((u: T, w: T) => f(u, w, 2), [0, 1])(s, t);
    for (const axes of [
      [0, 0],
      [0, null],
      [null, 0],
    ] as const) {
      const [s, t] = [axes[0] === 0 ? as : a, axes[1] === 0 ? bs : b];
      const [got, want] = [quadratic, plainQuadratic].map((f) => fl.vmap(g(f), axes)(s, t));
      await same(got[0], want[0]);
      await same(got[1], want[1]);
      // The gradient of what all examples share is a sum.
      const shared = (f: typeof quadratic): T =>
        fl.grad((u: T) =>
          fl
            .vmap((p: T, q: T) => f(p, q, 2), axes)(axes[0] === 0 ? s : u, axes[0] === 0 ? u : t)
            .sum(),
        )(axes[0] === 0 ? t : s);
      await same(shared(quadratic), shared(plainQuadratic));
    }
    const twice = (f: typeof quadratic) =>
      fl.vmap((s: T) => fl.vmap((t: T) => fl.grad((u: T) => f(u, t, 2))(s))(bs))(as);
    await same(twice(quadratic), twice(plainQuadratic));
    const late = (f: typeof quadratic): T =>
      fl.grad((s: T) =>
        fl
          .vmap((u: T) => fl.vmap((t: T) => f(u, t, 2))(bs))(s)
          .square()
          .sum(),
      )(as);
    await same(late(quadratic), late(plainQuadratic));
  });

  test("in a checkpoint is computed again: the same bits, and not much more memory than for a built-in operation", async () => {
    fl.manualSeed(0);
    const weights = Array.from({ length: 12 }, () => fl.randn([32, 32]));
    const input = tensor(await fl.randn([128, 32]).data(), [128, 32]);
    const gradient = (act: (t: T) => T, wrap: <F>(f: F) => F) =>
      fl.compile(
        fl.grad((t: T) => {
          const piece = (i: number) => wrap((u: T) => weights.slice(i, i + 3).reduce((v, w) => act(v.matmul(w)), u));
          return [0, 3, 6, 9].reduce((u, i) => piece(i)(u), t).sum();
        }),
      );
    const plain = gradient(silu, (f) => f);
    const pieces = gradient(silu, fl.checkpoint as <F>(f: F) => F);
    const builtIn = gradient((t) => t.silu(), fl.checkpoint as <F>(f: F) => F);
    expect(await pieces(input).data()).toEqual(await plain(input).data());
    await builtIn(input).data();
    expect(pieces.plan().bytes).toBeLessThan(1.25 * builtIn.plan().bytes);
    expect(pieces.plan().bytes).toBeLessThan(0.7 * plain.plan().bytes);
  });

  test("prints under its name, and is not there in the program", async () => {
    const f = fl.compile((t: T) => silu(t));
    await f(x).data();
    expect(f.graph()).toContain("= mySilu %");
    expect(f.explain()).not.toContain("mySilu");
    // What backward computes again, forward has computed: one sigmoid.
    const g = fl.compile((t: T) => fl.vjp(silu, t)[1](fl.ones([4]))[0]);
    await g(x).data();
    expect(g.explain().match(/sigmoid/gi)).toHaveLength(1);
  });
});

describe("what does not fit says so", () => {
  const with_ = (backward: unknown, forward: unknown = (s: T) => s.mul(2)) =>
    defineOp({ name: "wrong", forward, backward } as fl.OpDefinition<[T, T]>);
  const gradient = (backward: unknown) => () => fl.grad((t: T) => with_(backward)(t, a).sum())(a);

  test.each([
    [() => [a], fl.ValueError, "wrong: backward gave 1 gradients for 2 inputs"],
    [(d: T) => d, fl.ValueError, "wrong: backward gave 1 gradients for 2 inputs"],
    [() => [null, null, null], fl.ValueError, "wrong: backward gave 3 gradients for 2 inputs"],
    [() => undefined, fl.ValueError, "wrong: backward gave 1 gradients for 2 inputs"],
    [() => [1, null], fl.ValueError, "wrong: gradient 0 of backward must be a tensor or null, got 1"],
    [
      (d: T) => [null, d.sum()],
      fl.ShapeError,
      "wrong: gradient 1 of backward is float32[], what it belongs to float32[3]",
    ],
    [
      (d: T) => [d.to("int32"), null],
      fl.DTypeError,
      "wrong: gradient 0 of backward is int32[3], what it belongs to float32[3]",
    ],
  ])("backward: %#", (backward, type, message) => {
    expect(gradient(backward)).toThrow(type);
    expect(gradient(backward)).toThrow(message);
  });

  test("gradients of integers and of what is no tensor", () => {
    const whole = tensor(Int32Array.of(1, 2, 3));
    const of = (second: unknown) => () => fl.grad((t: T) => with_((d: T) => [d, d])(t, second as T).sum())(a);
    expect(of(whole)).toThrow("wrong: gradient 1 of backward must be null, it belongs to int32[3]");
    expect(of(4)).toThrow("wrong: gradient 1 of backward must be null, input 1 is no tensor");
  });

  test("forward and the definition", () => {
    expect(() => with_(null)).toThrow("defineOp: backward of wrong must be a function, got null");
    expect(() => defineOp({ name: "", forward: (t: T) => t, backward: (d) => d })).toThrow(fl.ValueError);
    expect(() =>
      with_(
        () => [],
        async () => a,
      )(a, a),
    ).toThrow("wrong: forward must return a tensor, got [object Promise]");
    expect(() =>
      with_(
        () => [],
        (s: T) => s.argmax(),
      )(a, a),
    ).toThrow(fl.DTypeError);
    expect(() => with_(() => [])(1 as never, 2 as never)).toThrow("wrong: there is no tensor among the inputs");
    expect(() => with_(() => [])(a, [a] as never)).toThrow("wrong: tensors must be inputs of their own");
  });

  test("backward may compile, checkpoint, call another operation, and put zeros beside its gradient", async () => {
    const twice = fl.compile((d: T, x: T) => d.mul(x).mul(2));
    const negative = defineOp({ name: "negative", forward: (t: T) => t.neg(), backward: (d) => d.neg() });
    const backwards: ((d: T, x: T) => T)[] = [
      (d, x) => twice(d, x),
      (d, x) => checkpoint((t: T, s: T) => t.mul(s).mul(2))(d, x),
      (d, x) => negative(d.mul(x)).mul(-2),
      (d, x) => fl.zeros([1, 3]).reshape([3]).add(d).mul(x).mul(2),
      (d, x) => fl.where(tensor([true, true, true]), d, fl.zeros([1]).expand([3])).mul(x.add(x)),
      (d, x) =>
        fl
          .stack([d.mul(x), fl.zeros([3])])
          .sum(0)
          .mul(2),
    ];
    const square = (x: T): T => x.square();
    for (const [i, backward] of backwards.entries()) {
      const own = defineOp({ name: `square${i}`, forward: square, backward: (d, { inputs: [x] }) => backward(d, x) });
      await same(fl.jvp(own, [a], [a])[1], fl.jvp(square, [a], [a])[1]);
      await same(fl.jacrev(own)(a), fl.jacrev(square)(a));
      const cube = (f: (x: T) => T) => fl.hessian((x: T) => f(x).mul(x).sum())(a);
      await same(cube(own), cube(square));
      expect(await fl.gradcheck(own, [a])).toBe(true);
    }
  });

  test("the tangent of jvp, and a backward that is not linear", async () => {
    const bad = defineOp({
      name: "wrong",
      forward: (t: T) => t.sum(),
      backward: (d) => d.expand([3]),
      jvp: ([t]) => t,
    });
    expect(() => fl.jvp(bad, [a], [a])).toThrow(
      "wrong: the tangent of jvp is float32[3], what it belongs to float32[]",
    );
    const clipped = defineOp({ name: "clipped", forward: (t: T) => t.mul(1), backward: (d) => d.clamp(-1, 1) });
    await close(fl.grad((t: T) => clipped(t).mul(7).sum())(a), [1, 1, 1]);
    expect(() => fl.jvp(clipped, [a], [a])).toThrow(
      /clipped: has no forward-mode derivative, and its reverse-mode one cannot be shown to be linear/,
    );
    // Linear but for a constant: the gradient by the cotangent knows nothing of that.
    const b = tensor([3, 2, 1]);
    const affine: Record<string, (d: T) => T> = {
      constant: (d) => d.mul(2).add(1),
      input: (d) => d.sub(b),
      branch: (d) => fl.where(b.gt(1), d, b),
      side: (d) => fl.cat([d.narrow(0, 0, 2), fl.ones([1])]),
    };
    for (const [name, backward] of Object.entries(affine)) {
      const op = defineOp({ name, forward: (t: T) => t.mul(1), backward });
      expect(() => fl.jvp(op, [a], [a]), name).toThrow(/its reverse-mode one cannot be shown to be linear/);
    }
    const proper = defineOp({
      name: "proper",
      forward: (t: T) => t.mul(2),
      backward: (d) =>
        fl.where(
          b.gt(1),
          fl
            .cat([d.narrow(0, 0, 2), fl.zeros([1])])
            .mul(b)
            .div(b)
            .add(d),
          0,
        ),
    });
    await close(fl.jvp(proper, [a], [fl.ones([3])])[1], [2, 2, 0]);
    // Homogeneous pieces that are not linear, and gradients that do not depend on the one given.
    const other: Record<string, (d: T) => T> = {
      remainder: (d) => d.remainder(2),
      frac: (d) => d.frac(),
      fixed: () => fl.ones([3]),
      compiled: (d) => fl.compile((t: T) => t.add(1))(d),
    };
    for (const [name, backward] of Object.entries(other))
      expect(() => fl.jvp(defineOp({ name, forward: (t: T) => t.mul(1), backward }), [a], [a]), name).toThrow(
        /cannot be shown to be linear/,
      );
    const part = defineOp({
      name: "part",
      forward: (t: T) => t.narrow(0, 0, 2),
      backward: (d) => fl.stack([d.select(0, 0), d.select(0, 1), tensor(0)]),
    });
    await close(fl.jvp(part, [a], [tensor([1, 2, 3])])[1], [1, 2]);
  });
});

test.each<[string, (dTop: T) => T]>([
  ["is cut off", (dTop) => fl.noGrad(() => dTop.mul(2))],
  ["is flat", (dTop) => dTop.sign()],
  ["is a comparison", (dTop) => dTop.gt(0).float()],
])("forward mode does not follow from a backward that %s", async (_, backward) => {
  const op = defineOp({ name: "bent", forward: (t: T) => t.mul(2), backward });
  const t = tensor([1, 2]);
  await fl
    .grad((v: T) => op(v).sum())(t)
    .data();
  expect(() => fl.jvp(op, [t], [t])).toThrow(/^bent: has no forward-mode derivative, .* give it a jvp$/);
});
