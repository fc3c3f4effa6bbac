/** scan against the loop written out: values and derivatives, in every mode and transform. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { same } from "./support.ts";

afterAll(() => fl.dispose());

const { scan, tensor } = fl;
type T = fl.Tensor;

const [STEPS, BATCH, WIDTH] = [5, 3, 4];

function values(shape: readonly number[], seed: number): T {
  const n = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Float32Array.from({ length: n }, (_, i) => Math.sin(1 + i * 1.3 + seed * 7)),
    shape,
  );
}

const [W, B, H0, XS] = [
  values([WIDTH, WIDTH], 1).mul(0.5),
  values([WIDTH], 2),
  values([BATCH, WIDTH], 3),
  values([STEPS, BATCH, WIDTH], 4),
];

type Step<C, Y> = (carry: C, x: T) => [C, Y];

/** The same steps, one after the other. */
function unrolled<C>(f: Step<C, T>, init: C, xs: T, reverse = false): [C, T] {
  let carry = init;
  const ys: T[] = [];
  for (let k = 0; k < xs.shape[0]; k++) {
    const t = reverse ? xs.shape[0] - 1 - k : k;
    [carry, ys[t]] = f(carry, xs.index(t));
  }
  return [carry, fl.stack(ys)];
}

/** Bodies: of weights, a step. What is carried is one tensor. */
const BODIES: Record<string, (w: T, b: T) => Step<T, T>> = {
  "a recurrent cell": (w, b) => (h, x) => {
    const next = h.matmul(w).add(x).add(b).tanh();
    return [next, next.mul(2)];
  },
  "products of x alone, and weights used twice": (w, b) => (h, x) => {
    const next = x.matmul(w).add(h.matmul(w)).sigmoid().mul(b);
    return [next.add(h.mul(0.3)), next.sum(1)];
  },
  "a result that is what was carried in": (w) => (h, x) => [h.mul(x.matmul(w).cos()), h],
  "a result that is x": (_, b) => (h, x) => [h.add(x).mul(b), x],
  "a carry that stays as it is": (_, b) => (h, x) => [h, h.mul(x).add(b)],
  "a mean over the batch": (w) => (h, x) => [h.sub(h.mean(0, true)).add(x.matmul(w)).relu(), x.max(1)],
  "masks and powers": (_, b) => (h, x) => [fl.where(h.gt(x), h.mul(b), x.square()), x.abs().add(h).gt(0.5).float()],
};

type Scanned = (w: T, b: T, h: T, xs: T) => [T, T];
const ARGS: [T, T, T, T] = [W, B, H0, XS];
const ALL = [0, 1, 2, 3] as const;

const loss =
  (f: Scanned) =>
  (...args: [T, T, T, T]): T => {
    const [h, y] = f(...args);
    return h.square().sum().add(y.sin().sum());
  };

describe.each(Object.entries(BODIES))("%s", (_, body) => {
  describe.each([false, true])("reverse: %s", (reverse) => {
    const loop: Scanned = (w, b, h, xs) => scan(body(w, b), h, xs, { reverse });
    const written: Scanned = (w, b, h, xs) => unrolled(body(w, b), h, xs, reverse);

    test("values, and compiled the same bits", async () => {
      const [got, want] = [loop(...ARGS), written(...ARGS)];
      await same(got[0], want[0]);
      await same(got[1], want[1]);
      const compiled = fl.compile((...args: [T, T, T, T]) => loop(...args))(...ARGS);
      for (const i of [0, 1]) expect(await compiled[i].data()).toEqual(await got[i].data());
    });

    test("gradients, those of gradients, and their products with vectors", async () => {
      const grads = (f: Scanned) => fl.grad(loss(f), ALL)(...ARGS);
      const [got, want] = [grads(loop), grads(written)];
      for (const i of ALL) await same(got[i], want[i]);
      const squares = (f: Scanned) =>
        fl.grad(
          (...args: [T, T, T, T]) =>
            fl
              .grad(
                loss(f),
                ALL,
              )(...args)
              .map((g) => g.div(g.detach().abs().max().add(1)).sin().sum())
              .reduce((a, b) => a.add(b)),
          ALL,
        )(...ARGS);
      const [got2, want2] = [squares(loop), squares(written)];
      for (const i of ALL) expect((await got2[i].sub(want2[i]).abs().max().item()) as number).toBeLessThan(2e-4);
      const vectors = ARGS.map((t, i) => values(t.shape, 10 + i)) as [T, T, T, T];
      const [hvp, wanted] = [loop, written].map((f) => fl.hvp(loss(f), ARGS, vectors)[1]);
      for (const i of ALL) expect((await hvp[i].sub(wanted[i]).abs().max().item()) as number).toBeLessThan(2e-4);
    });

    test("tangents", async () => {
      const tangents = ARGS.map((t, i) => values(t.shape, 20 + i)) as [T, T, T, T];
      const [got, want] = [loop, written].map((f) => fl.jvp(f, ARGS, tangents)[1]);
      await same(got[0], want[0]);
      await same(got[1], want[1]);
    });

    test.each([
      [null, null, null, 0],
      [0, null, null, null],
      [null, 0, 0, null],
      [null, null, 0, 0],
    ])("batches: values and gradients, axes %j %j %j %j", async (...axes) => {
      const many = ARGS.map((t, i) => (axes[i] === 0 ? fl.stack([t, t.mul(0.5), t.neg()]) : t)) as [T, T, T, T];
      const run = (f: Scanned) => fl.vmap(f, axes)(...many);
      const [got, want] = [run(loop), run(written)];
      await same(got[0], want[0]);
      await same(got[1], want[1]);
      const grads = (f: Scanned) => fl.vmap(fl.grad(loss(f), ALL), axes)(...many);
      const [gotG, wantG] = [grads(loop), grads(written)];
      for (const i of ALL) await same(gotG[i], wantG[i]);
    });
  });
});

describe("what is carried and given", () => {
  test("trees, parts that are null, integers, bits and bytes", async () => {
    const init = { sum: tensor(0), count: tensor(0, { dtype: "int32" }), seen: tensor(false, { dtype: "bool" }) };
    const xs = { v: tensor([1, -2, 3]), small: tensor([250, 3, 7], { dtype: "uint8" }), none: null };
    const [last, ys] = scan(
      (c, x) => [
        { sum: c.sum.add(x.v), count: c.count.add(1), seen: c.seen.logicalNot() },
        { at: c.count, byte: x.small, before: c.seen, nothing: null, twice: [x.v, x.v] as [T, T] },
      ],
      init,
      xs,
    );
    expect([last.sum.dtype, last.count.dtype, last.seen.dtype, ys.byte.dtype]).toEqual([
      "float32",
      "int32",
      "bool",
      "uint8",
    ]);
    expect(await last.sum.item()).toBe(2);
    expect(await last.count.item()).toBe(3);
    expect(await last.seen.array()).toBe(true);
    expect(await ys.at.array()).toEqual([0, 1, 2]);
    expect(await ys.byte.array()).toEqual([250, 3, 7]);
    expect(await ys.before.array()).toEqual([false, true, false]);
    expect(ys.nothing).toBeNull();
    expect(await ys.twice[1].array()).toEqual([1, -2, 3]);
  });

  test("no xs, one step, no step, constants, and carries that change places", async () => {
    const [[a, b], y] = scan(
      ([p, q]: [T, T]): [[T, T], T] => [[q, p.add(q)], tensor(7)],
      [tensor(0), tensor(1)] as [T, T],
      null,
      { length: 10 },
    );
    expect([await a.item(), await b.item()]).toEqual([55, 89]);
    expect(await y.array()).toEqual(new Array(10).fill(7));
    const [one] = scan((h: T, x: T) => [h.add(x), null], tensor(1), tensor([5]));
    expect(await one.item()).toBe(6);
    const [still, twice] = scan((h: T) => [h, [h, h]] as [T, [T, T]], tensor([true, false]), null, { length: 2 });
    expect(await still.array()).toEqual([true, false]);
    for (const t of twice) expect(await t.data()).toEqual(Uint8Array.of(1, 0, 1, 0));
    const nothing = scan((h: T, x: T) => [h.add(x).sin(), h], fl.zeros([0, 3]), fl.zeros([4, 0, 3]));
    expect([...nothing.map((t) => t.shape), (await nothing[1].data()).length]).toEqual([[0, 3], [4, 0, 3], 0]);
    const wrapping = scan((h: T) => [h.mul(3), h], tensor([2 ** 30 + 1], { dtype: "int32" }), null, { length: 2 });
    expect(await wrapping[1].array()).toEqual([[2 ** 30 + 1], [(3 * (2 ** 30 + 1)) | 0]]);
    const bytes = scan(
      (h: T, x: T) => [h.add(x), h],
      tensor([200], { dtype: "uint8" }),
      fl.full([3, 1], 100, { dtype: "uint8" }),
    );
    expect([await bytes[0].array(), await bytes[1].array()]).toEqual([[244], [[200], [44], [144]]]);
    const odd = scan((h: T, x: T) => [x, h], tensor([-0]), tensor([[NaN], [-0], [Infinity]]));
    expect(await odd[1].data()).toEqual(Float32Array.of(-0, NaN, -0));
    const [none, empty] = scan((h: T, x: T) => [h.add(x), h.mul(2)], tensor(1), fl.zeros([0]));
    expect(await none.item()).toBe(1);
    expect([empty.shape, empty.dtype]).toEqual([[0], "float32"]);
  });

  test("gradients flow through the parameters a step closes over, in a compiled step too", async () => {
    const train = async (f: typeof unrolled): Promise<number[]> => {
      const w = new fl.Parameter(W);
      const optimizer = new fl.optim.SGD([w], { lr: 0.1 });
      const step = fl.compile((xs: T) => {
        optimizer.zeroGrad();
        const [h] = f<T>((c, x) => [c.matmul(w).add(x).tanh(), x], H0, xs);
        const value = h.square().sum();
        value.backward();
        optimizer.step();
        return value;
      });
      const losses: number[] = [];
      for (let i = 0; i < 4; i++) losses.push(await step(XS).item());
      return [...losses, ...(await w.data())];
    };
    const [got, want] = [await train(scan as typeof unrolled), await train(unrolled)];
    got.forEach((v, i) => expect(v).toBeCloseTo(want[i], 5));
  });

  test("gradients flow to constants that a step closes over", async () => {
    for (const f of [
      (w: T) => scan((c: T, x: T) => [c.mul(w).add(x), null], H0, XS)[0],
      (w: T) => scan((c: T, x: T) => [c.add(x), w], H0, XS)[1],
      (w: T) => scan(() => [w, null], fl.zeros([WIDTH]), XS)[0],
    ]) {
      const w = fl.full([WIDTH], 0.5);
      w.requiresGrad = true;
      f(w).sum().backward();
      await same(w.grad as T, fl.grad((v: T) => f(v).sum())(tensor(await w.data(), [WIDTH])));
    }
  });

  test("transforms in a step, and compiled functions", async () => {
    const double = fl.compile((x: T) => x.mul(2));
    const f = (s: typeof unrolled) => (w: T) => {
      const [last, all] = s<T>(
        (c, x) => {
          const g = fl.grad((v: T) => v.mul(x).sin().sum())(c);
          const sums = fl.vmap((a: T, b: T) => a.mul(b).sum(), [0, 0])(c, double(x));
          return [c.sub(g.mul(0.1)).add(sums.unsqueeze(1).mul(0.01)), c];
        },
        w,
        XS,
      );
      return last.sum().add(all.square().mean());
    };
    const [got, want] = [scan as typeof unrolled, unrolled].map((s) => fl.valueAndGrad(f(s))(H0));
    for (const i of [0, 1]) await same(got[i] as T, want[i] as T);
  });

  test("one loop computes what is asked of it: the program has one", async () => {
    const step = fl.compile((xs: T) => {
      const f = (w: T) => {
        const [h, y] = scan(BODIES["a recurrent cell"](w, B), H0, xs);
        return h.sum().add(y.sum());
      };
      const [value, g] = fl.valueAndGrad(f)(W);
      return [value, g] as [T, T];
    });
    await step(XS)[0].item();
    expect(step.explain(XS).match(/loop of 5 steps/g)).toHaveLength(2); // there and back
  });
});

describe("nested", () => {
  const inner = (f: typeof unrolled) => (h: T, x: T) => {
    const [last, ys] = f<T>((c, row) => [c.mul(0.5).add(row).sin(), c.mul(row)], h, x);
    return [last, ys.sum(0)] as [T, T];
  };
  test("loops in loops: values, gradients and tangents", async () => {
    const xs = values([4, 3, 2], 5);
    const run = (f: typeof unrolled) => (h: T, x: T) => {
      const [last, ys] = f<T>(inner(f), h, x);
      return last.sum().add(ys.square().sum());
    };
    const h = values([2], 6);
    const [got, want] = [scan as typeof unrolled, unrolled].map((f) => fl.valueAndGrad(run(f), [0, 1])(h, xs));
    await same(got[0], want[0]);
    for (const i of [0, 1]) await same(got[1][i], want[1][i]);
    const [a, b] = [scan as typeof unrolled, unrolled].map((f) => fl.jvp(run(f), [h, xs], [h, xs.mul(2)])[1]);
    await same(a, b);
  });

  test("Jacobians and Hessians of loops", async () => {
    const f = (s: typeof unrolled) => (h: T) => s<T>((c, x) => [c.mul(x).sin(), c], h, values([4, 3], 7))[0];
    const h = values([3], 8);
    for (const j of [fl.jacrev, fl.jacfwd]) await same(j(f(scan as typeof unrolled))(h) as T, j(f(unrolled))(h) as T);
    const g = (s: typeof unrolled) => (x: T) => f(s)(x).sum();
    await same(fl.hessian(g(scan as typeof unrolled))(h) as T, fl.hessian(g(unrolled))(h) as T);
  });

  test("checkpoint, in the body and around the loop", async () => {
    const body = BODIES["a recurrent cell"];
    const plain = fl.grad(
      loss((w, b, h, xs) => scan(body(w, b), h, xs)),
      ALL,
    )(...ARGS);
    const within = loss((w, b, h, xs) => scan(fl.checkpoint(body(w, b)), h, xs));
    const around = fl.checkpoint(loss((w, b, h, xs) => scan(body(w, b), h, xs)));
    for (const f of [within, around]) {
      const got = fl.grad(f, ALL)(...ARGS);
      for (const i of ALL) await same(got[i], plain[i]);
    }
    // In the body: what a step computes is not kept, but what it began with.
    const planOf = async (f: (...args: [T, T, T, T]) => T): Promise<number> => {
      const big = [W, B, values([64, WIDTH], 1), values([200, 64, WIDTH], 2)] as [T, T, T, T];
      const step = fl.compile((...args: [T, T, T, T]) => fl.grad(f, [0])(...args)[0]);
      await step(...big).data();
      return step.plan().bytes;
    };
    const deep = (wrap: typeof fl.checkpoint) =>
      loss((w, b, h, xs) =>
        scan(
          wrap((c: T, x: T) => [c.mul(x).sin().mul(w.sum()).cos().tanh().add(b), c]),
          h,
          xs,
        ),
      );
    expect(await planOf(deep(fl.checkpoint))).toBeLessThan(0.8 * (await planOf(deep((f) => f))));
  });
});

describe("random draws", () => {
  test("differ from step to step and from loop to loop; what was drawn before is the same in all steps", async () => {
    fl.manualSeed(5);
    const before = fl.rand([2]);
    const draw = () =>
      scan((h: T) => [h, [fl.rand([2]), before] as [T, T]] as [T, [T, T]], tensor(0), null, { length: 4 })[1];
    const [[a, same1], [b]] = [draw(), draw()];
    const rows = [...((await a.array()) as number[][]), ...((await b.array()) as number[][])].map(String);
    expect(new Set(rows).size).toBe(8);
    expect(new Set(((await same1.array()) as number[][]).map(String)).size).toBe(1);
  });

  test("dropout drops anew in every step, and backward what was dropped", async () => {
    fl.manualSeed(6);
    const f = (x: T) => scan((h: T, v: T) => [h.add(fl.dropout(v, 0.5).sum()), null], tensor(0), x)[0];
    const [value, g] = fl.valueAndGrad(f)(fl.ones([8, 16]));
    const rows = (await g.array()) as number[][];
    expect(new Set(rows.map(String)).size).toBe(8);
    expect(rows.flat().reduce((p, q) => p + q)).toBe(await value.item());
  });
});

test("for examples of a batch draws are refused, the same or different, as asked", async () => {
  const draw = (randomness: "error" | "same" | "different") =>
    fl.vmap((c: T) => scan((h: T) => [h, fl.rand([2])], c, null, { length: 3 })[1], 0, 0, { randomness })(
      fl.ones([2, 1]),
    );
  expect(() => draw("error")).toThrow(/draws random numbers/);
  const numbers = async (t: T): Promise<number> => new Set(await t.data()).size;
  expect(await numbers(draw("same"))).toBe(6);
  expect(await numbers(draw("different"))).toBe(12);
});

test("draws of loops within loops all differ, and a generator goes on behind them", async () => {
  fl.manualSeed(8);
  const [, ys] = scan((c: T) => [c, scan((d: T) => [d, fl.rand([])], c, null, { length: 3 })[1]], fl.ones([1]), null, {
    length: 4,
  });
  expect(new Set([...(await ys.data()), ...(await fl.rand([5]).data())]).size).toBe(17);
});

describe("mistakes", () => {
  const xs = fl.ones([3, 2]);
  const h = fl.zeros([2]);
  const bad: [string, () => unknown, RegExp][] = [
    [
      "a carry of another shape",
      () => scan((c: T, x: T) => [c.add(x).sum(), c], h, xs),
      /the carry has shape \[2\] before a step and \[\] after/,
    ],
    [
      "of another dtype",
      () => scan((c: { a: T }) => [{ a: c.a.to("int32") }, null], { a: h }, xs),
      /the carry's a is float32 before a step and int32/,
    ],
    ["of another structure", () => scan((c: T) => [[c, c] as never, null], h, xs), /carries on is no tree like/],
    ["no pair", () => scan(((c: T) => c) as never, h, xs), /must return \[carry, y\]/],
    ["nothing that tells the steps", () => scan((c: T) => [c, null], h, null), /give it a length/],
    [
      "extents that differ",
      () => scan((c: T) => [c, null], h, [xs, fl.ones([4])]),
      /shape \[4\], but there are 3 steps/,
    ],
    [
      "a length that differs",
      () => scan((c: T) => [c, null], h, xs, { length: 4 }),
      /shape \[3, 2\], but there are 4 steps/,
    ],
    ["a length that is none", () => scan((c: T) => [c, null], h, null, { length: -1 }), /length must be an integer/],
    ["an x without an axis", () => scan((c: T) => [c, null], h, tensor(1)), /no axis of steps/],
    ["a misspelt option", () => scan((c: T) => [c, null], h, xs, { reversed: true } as never), /did you mean reverse/],
    [
      "what is no flag",
      () => scan((c: T) => [c, null], h, xs, { reverse: 1 } as never),
      /reverse must be true or false/,
    ],
    [
      "what is carried is a number",
      () => scan((c: { n: number }) => [{ n: c.n + 1 }, null], { n: 0 }, xs),
      /^scan: the carry's n is 0, no tensor$/,
    ],
    [
      "a number among what is carried on",
      () => scan((c: T) => [5 as never, c], h, xs),
      /^scan: the carry is 5, no tensor$/,
    ],
    ["a y that is a number", () => scan((c: T) => [c, [c, { at: 3 }]], h, xs), /^scan: y's 1.at is 3, no tensor$/],
    ["no function", () => scan(5 as never, h, xs), /scan/],
    ["an async function", () => scan((async (c: T) => [c, null]) as never, h, xs), /async|promise/i],
  ];
  test.each(bad)("%s", (_, f, message) => expect(f).toThrow(message));

  test("what would change once, not in every step, is refused, and nothing has changed", async () => {
    const p = new fl.Parameter(fl.ones([2]));
    const norm = new fl.nn.BatchNorm1d(2);
    const optimizer = new fl.optim.SGD([p], { lr: 1 });
    const changes: Record<string, (x: T) => unknown> = {
      assign: (x) => p.assign(x),
      "assign of what is the same in all steps": () => p.assign(p.mul(2)),
      "assign of an array": () => p.assign([3, 4]),
      "running statistics": (x) => norm.forward(x.expand([3, 2])),
      backward: (x) => p.mul(x).sum().backward(),
      step: () => optimizer.step(),
      assertFinite: (x) => fl.assertFinite(x),
    };
    for (const [name, change] of Object.entries(changes)) {
      p.grad = name === "step" ? fl.ones([2]) : null;
      const run = (inner: T): T =>
        scan(
          (c: T, x: T) => {
            change(x);
            return [c.add(x), null];
          },
          h,
          inner,
        )[0];
      expect(() => run(xs), name).toThrow(/^(assign|backward|SGD.step|assertFinite): not within a step of scan/);
      p.grad = null;
      expect(() => fl.compile(run)(xs), name).toThrow(/not within a step of scan/);
      expect(p.grad, name).toBeNull();
    }
    expect(await p.array()).toEqual([1, 1]);
    expect(await norm.running_mean?.array()).toEqual([0, 0]);
    // Neither is it forgotten when a step is done, nor when it failed.
    p.assign(h);
    expect(await p.array()).toEqual([0, 0]);
  });

  test("a tensor of a step used outside", async () => {
    let leaked: T = h;
    const [fine] = scan(
      (c: T, x: T) => {
        leaked = x;
        return [c.add(x), null];
      },
      h,
      xs,
    );
    expect(await fine.array()).toEqual([3, 3]);
    await expect(leaked.add(1).data()).rejects.toThrow(/function/);
    const read: Promise<unknown>[] = [];
    scan((c: T, x: T) => [c, (read.push(x.data()), x)], h, xs);
    await expect(read[0]).rejects.toThrow();
  });
});
