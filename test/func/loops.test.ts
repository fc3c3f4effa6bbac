/** Random loops against the same steps written out, through every transform: several carries and xs, of any shapes. */
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import * as fl from "../../src/index.ts";

afterAll(() => fl.dispose());

const F = fl.nn.functional;
type T = fl.Tensor;
type Step = (carry: T[], x: T[]) => [T[], T[]];
type Run = (...args: T[]) => T[];

const [B, W] = [3, 4];
const SHAPES: readonly (readonly number[])[] = [[B, W], [W], []];

function values(shape: readonly number[], seed: number): T {
  const n = shape.reduce((a, b) => a * b, 1);
  return fl.tensor(
    Float32Array.from({ length: n }, (_, i) => Math.sin(1 + i * 1.3 + seed * 7)),
    shape,
  );
}

/** As a matrix, whatever it was. */
const wide = (t: T): T => (t.ndim === 2 && t.shape[0] === B ? t : t.ndim === 2 ? t.sum(0) : t).expand([B, W]);

/** A matrix as one of the shapes. */
const fit = (t: T, { length }: readonly number[]): T => (length === 2 ? t : length === 1 ? t.mean(0) : t.mean());

/** What a step may do with two matrices and a square one. */
const MOVES: readonly ((a: T, b: T, m: T) => T)[] = [
  (a, b) => a.add(b).tanh(),
  (a, b) => a.mul(b),
  (a, _, m) => a.matmul(m),
  (a, b, m) => a.matmul(m.t()).add(b).sigmoid(),
  (a) => a.sub(a.mean(0, true)),
  (a) => a.softmax(1),
  (a, b) => fl.cat([a.slice([0, 0], [B, 2]), b.slice([0, 2], [B, W])], 1),
  (a, b) => a.t().matmul(b).mul(0.3).sum(0),
  (a, b) => a.max(1, true).mul(b),
  (a, b) => fl.where(a.gt(b), a.sin(), b),
  (a, b) => a.reshape(W, B).t().add(b),
  (a) => a.sum().mul(0.1),
  (a) => a.cumsum(1).mul(0.3),
  (a, b) => fl.checkpoint((p: T, q: T) => p.sin().mul(q).cos())(a, b),
  (a, b) => a.mul(2).to("int32").float().mul(0.25).add(b),
  (a, b) => fl.scan((c: T, x: T) => [c.mul(0.5).add(x).sin(), c.mul(x)], b.select(0, 0), a)[1],
  (a, b, m) => fl.scan((c: T, x: T) => [c.mul(x.matmul(m)).cos(), null], b.select(0, 1), a, { reverse: true })[0],
  (a) => a.flip(1),
  (a) => a.indexSelect(0, fl.tensor([2, 0, 1], { dtype: "int32" })).mul(0.7),
  (a, b, m) => F.scaledDotProductAttention(a, b, a.matmul(m), { isCausal: true }),
  (a) => F.layerNorm(a, [W], null, null, 0.1).mul(0.5),
  (a, b) => F.conv1d(a.unsqueeze(0), b.reshape(1, B, W).slice([0, 0, 0], [1, B, 3]), null, { padding: 1 }).squeeze(0),
  () => fl.full([B, W], 0.5),
];

const recipe = fc.record({
  carries: fc.array(fc.constantFrom(...SHAPES), { minLength: 1, maxLength: 3 }),
  xs: fc.array(fc.constantFrom(...SHAPES), { maxLength: 2 }),
  length: fc.integer({ min: 1, max: 5 }),
  reverse: fc.boolean(),
  moves: fc.array(fc.tuple(fc.nat(MOVES.length - 1), fc.nat(), fc.nat()), { minLength: 1, maxLength: 6 }),
  // Of each carry: whether it stays, is any tensor there is, or one of the last; of each y what it is.
  nexts: fc.array(fc.tuple(fc.nat(5), fc.nat()), { minLength: 3, maxLength: 3 }),
  ys: fc.array(fc.tuple(fc.boolean(), fc.nat()), { minLength: 1, maxLength: 3 }),
  batched: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
});
type Recipe = typeof recipe extends fc.Arbitrary<infer R> ? R : never;

/** A step as the recipe says, over what it carries, is given, and closes over. */
const stepOf =
  ({ carries, moves, nexts, ys }: Recipe, consts: readonly T[]): Step =>
  (carry, x) => {
    const pool = [...carry, ...x, ...consts];
    for (const [k, i, j] of moves)
      pool.push(MOVES[k](wide(pool[i % pool.length]), wide(pool[j % pool.length]), consts[0]));
    const next = carry.map((c, i) => {
      const [how, which] = nexts[i];
      if (how === 0) return c;
      const t = fit(wide(how === 1 ? pool[which % pool.length] : pool[pool.length - 1 - (which % 2)]), carries[i]);
      return which % 3 === 0 ? t.tanh() : t.mul(0.5);
    });
    const all = [...pool, ...next];
    return [next, ys.map(([plain, i]) => (plain ? all[i % all.length] : all[i % all.length].sin()))];
  };

/** The loop, and its steps one after the other, as functions of all tensors that go in. */
function both(r: Recipe): [Run, Run] {
  const { carries, xs, length, reverse } = r;
  const cut = (args: T[]): [T[], T[], T[]] => {
    const to = carries.length + xs.length;
    return [args.slice(0, carries.length), args.slice(carries.length, to), args.slice(to)];
  };
  const loop: Run = (...args) => {
    const [init, parts, consts] = cut(args);
    return fl.scan<T[], T[], T[]>(stepOf(r, consts), init, parts, { length, reverse }).flat();
  };
  const written: Run = (...args) => {
    const [init, parts, consts] = cut(args);
    const step = stepOf(r, consts);
    let carry = init;
    const ys: T[][] = [];
    for (let k = 0; k < length; k++) {
      const t = reverse ? length - 1 - k : k;
      [carry, ys[t]] = step(
        carry,
        parts.map((x) => x.index(t)),
      );
    }
    return [...carry, ...ys[0].map((_, i) => fl.stack(ys.map((y) => y[i])))];
  };
  return [loop, written];
}

const loss =
  (f: Run) =>
  (...args: T[]): T =>
    f(...args)
      .map((t, i) =>
        t
          .mul(0.7 + i)
          .sin()
          .mean(),
      )
      .reduce((a, b) => a.add(b));

/** How far apart two tensors are, of the largest element, or of 1. */
async function distance(got: T, want: T): Promise<number> {
  expect([got.shape, got.dtype]).toEqual([want.shape, want.dtype]);
  const [x, y] = [[...(await got.data())], [...(await want.data())]];
  const scale = y.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
  // Of NaN, NaN.
  return x.reduce((most, v, i) => (Math.abs(v - y[i]) <= most ? most : Math.abs(v - y[i])), 0) / scale;
}

test("random loops are the same steps written out, in values, derivatives and batches", async () => {
  const check = fc.asyncProperty(recipe, async (r) => {
    const args = [
      ...r.carries.map((shape, i) => values(shape, i)),
      ...r.xs.map((shape, i) => values([r.length, ...shape], 10 + i)),
      values([W, W], 20).mul(0.4),
      values([B, W], 30),
      values([], 40),
    ];
    const all = args.map((_, i) => i);
    const grads = (f: Run): Run => fl.grad(loss(f), all) as Run;
    const vectors = (seed: number): T[] => args.map((t, i) => values(t.shape, seed + i));
    const axes = args.map((_, i) => (i === 0 || r.batched[i % 8] ? 0 : null));
    const many = args.map((t, i) => (axes[i] === 0 ? fl.stack([t, t.mul(0.5)]) : t));
    const sumOf = (list: readonly T[]): T => list.map((t) => t.sin().sum()).reduce((a, b) => a.add(b));
    const views: [string, number, (f: Run) => T[]][] = [
      ["values", 2e-5, (f) => f(...args)],
      ["compiled", 2e-5, (f) => fl.compile((...a: T[]) => f(...a))(...args)],
      ["gradients", 1e-4, (f) => grads(f)(...args)],
      ["tangents", 1e-4, (f) => fl.jvp(f, args, vectors(50))[1]],
      ["a batch", 5e-5, (f) => fl.vmap(f, axes)(...many)],
      ["gradients of each example", 1e-4, (f) => fl.compile((...m: T[]) => fl.vmap(grads(f), axes)(...m))(...many)],
      ["gradients through a batch", 1e-4, (f) => fl.grad((...m: T[]) => sumOf(fl.vmap(f, axes)(...m)), all)(...many)],
      ["a checkpoint", 1e-4, (f) => fl.grad(fl.checkpoint(loss(f)), all)(...args)],
      ["products with the Hessian", 1e-3, (f) => fl.hvp(loss(f), args, vectors(60))[1]],
      ["gradients of gradients", 1e-3, (f) => fl.grad((...a: T[]) => sumOf(grads(f)(...a)), all)(...args)],
    ];
    const [loop, written] = both(r);
    for (const [name, tolerance, view] of views) {
      const [got, want] = [view(loop), view(written)];
      expect(got).toHaveLength(want.length);
      for (const [i, t] of got.entries()) expect(await distance(t, want[i]), name).toBeLessThan(tolerance);
    }
  });
  await fc.assert(check, { numRuns: 25, seed: 3 });
});
