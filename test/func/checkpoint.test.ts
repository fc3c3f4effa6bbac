/** checkpoint: the same bits for less memory. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { same } from "./support.ts";

const { checkpoint, tensor } = fl;

const bits = async (t: fl.Tensor): Promise<number[]> => [...new Uint32Array((await t.data()).slice().buffer)];

/** Three steps of a network of `depth` layers in pieces of `piece`; the bits of all, and what the plan says. */
async function train(depth: number, piece: number, wrapped: boolean) {
  fl.manualSeed(0);
  const layers = Array.from({ length: depth }, () => new fl.nn.Linear(32, 32));
  const optimizer = new fl.optim.Adam(layers.flatMap((l) => l.parameters()));
  const batch = tensor(await fl.randn([128, 32]).data(), [128, 32]);
  const step = fl.compile((x: fl.Tensor) => {
    optimizer.zeroGrad();
    let h = x;
    for (let i = 0; i < depth; i += piece) {
      const block = (t: fl.Tensor): fl.Tensor =>
        layers.slice(i, i + piece).reduce((y, layer) => fl.dropout(layer.forward(y).tanh(), 0.1), t);
      h = (wrapped ? checkpoint(block) : block)(h);
    }
    const loss = h.square().mean();
    loss.backward();
    optimizer.step();
    return loss;
  });
  const losses = [step(batch), step(batch), step(batch)];
  const values = [...losses, ...layers.flatMap((l) => l.parameters())];
  const all: number[][] = [];
  for (const t of values) all.push(await bits(t));
  return { all, plan: step.plan(batch), text: step.explain(batch) };
}

describe("checkpoint", () => {
  test("of a deep network: losses and parameters have the same bits, the plan shrinks", async () => {
    const plain = await train(32, 4, false);
    const pieces = await train(32, 4, true);
    expect(pieces.all).toEqual(plain.all);
    expect(pieces.plan.bytes).toBeLessThan(0.45 * plain.plan.bytes);
    expect(pieces.plan.bytes).toBeLessThanOrEqual(1.05 * pieces.plan.lowerBound);
    // One forward pass more: 32 products forward, 32 again, 32 + 31 backward.
    const products = (text: string): number => text.match(/ = gemm /g)?.length ?? 0;
    expect(products(plain.text)).toBe(32 + 63);
    expect(products(pieces.text)).toBe(32 + 32 + 63);
  });

  test("of a function that takes derivatives itself: second ones, in both modes, are those without it", async () => {
    const g = (t: fl.Tensor): fl.Tensor => t.tanh().mul(t).sum();
    const at = tensor([0.4, -0.7]);
    const functions: ((t: fl.Tensor) => fl.Tensor)[] = [
      (t) => fl.hvp(g, [t], [t.cos()])[1][0],
      fl.grad((t: fl.Tensor) => fl.grad(g)(t).square().sum()),
      fl.hessian(g),
    ];
    for (const f of functions) {
      await same(checkpoint(f)(at), f(at));
      await same(fl.grad((t: fl.Tensor) => checkpoint(f)(t).sum())(at), fl.grad((t: fl.Tensor) => f(t).sum())(at));
    }
  });

  test("second derivatives by what a checkpointed function made on the way", async () => {
    const [h, y] = checkpoint((t: fl.Tensor) => {
      const inner = t.sin();
      return [inner, inner.pow(3)];
    })(tensor([0.4, -0.7]));
    h.requiresGrad = true;
    y.sum().backward();
    const first = h.grad as fl.Tensor; // 3 h^2
    h.grad = null;
    first.square().sum().backward();
    await same(h.grad as unknown as fl.Tensor, h.pow(3).mul(36));
    // What was made before it gets its gradient all the same.
    const x = tensor([0.4, -0.7], { requiresGrad: true });
    const z = checkpoint((t: fl.Tensor) => {
      const inner = t.sin();
      inner.requiresGrad = true;
      return inner.pow(3);
    })(x);
    z.sum().backward();
    await same(x.grad as fl.Tensor, x.sin().square().mul(3).mul(x.cos()));
  });

  const w = tensor([
    [0.5, -1],
    [2, 0.3],
  ]);
  const x = tensor([0.4, -0.7]);
  // Several results, a captured tensor that is computed, an index on the way.
  const captured = tensor([1, 2]).exp();
  const f = (p: { x: fl.Tensor }, scale: fl.Tensor): { y: fl.Tensor; z: fl.Tensor } => {
    const h = w.matmul(p.x).tanh().mul(captured);
    return { y: h.mul(scale), z: h.indexSelect(0, h.argmax().reshape([1])).exp() };
  };
  const loss =
    (g: typeof f) =>
    (t: fl.Tensor, s: fl.Tensor): fl.Tensor => {
      const { y, z } = g({ x: t }, s);
      return y.square().sum().add(z.sum()).add(y.sum().mul(z.sum()));
    };

  test.each([
    ["gradients", (h: ReturnType<typeof loss>) => fl.grad(h)(x, tensor(3))],
    ["Hessians", (h: ReturnType<typeof loss>) => fl.hessian(h)(x, tensor(3))],
    ["tangents", (h: ReturnType<typeof loss>) => fl.jvp(h, [x, tensor(3)], [x, tensor(1)])[1]],
    [
      "gradients of many",
      (h: ReturnType<typeof loss>) => fl.vmap(fl.grad(h), [0, null])(fl.stack([x, x.mul(2), x.exp()]), tensor(3)),
    ],
    [
      "the gradient of many",
      (h: ReturnType<typeof loss>) =>
        fl.grad((xs: fl.Tensor) => fl.vmap(h, [0, null])(xs, tensor(3)).sum())(fl.stack([x, x.mul(2)])),
    ],
    ["compiled gradients", (h: ReturnType<typeof loss>) => fl.compile(fl.grad(h))(x, tensor(3))],
  ])("changes no bit of %s", async (_, derivative) => {
    const want = derivative(loss(f));
    expect(await bits(derivative(loss(checkpoint(f))))).toEqual(await bits(want));
    const inner = checkpoint((p: { x: fl.Tensor }, s: fl.Tensor) => checkpoint(f)(p, s));
    expect(await bits(derivative(loss(inner)))).toEqual(await bits(want));
  });

  test("keeps what backward() and vmap see: parameters, and the pieces of each example", async () => {
    const p = new fl.Parameter(tensor([1, 2]));
    checkpoint((t: fl.Tensor) => t.mul(p).exp())(x)
      .sum()
      .backward();
    await same(p.grad as fl.Tensor, x.mul(x.mul(tensor([1, 2])).exp()));
    // Of a batch, too, what is inside is computed again.
    const block = (t: fl.Tensor): fl.Tensor => t.exp().sin();
    const step = (g: typeof block) =>
      fl.compile(fl.grad((xs: fl.Tensor) => fl.vmap(g)(xs).mul(xs).sum())).graph(fl.zeros([3, 2]));
    expect(step(block)).not.toMatch(/fence/);
    expect(step(block).match(/= exp %/g)).toHaveLength(1);
    expect(step(checkpoint(block)).match(/= exp %/g)).toHaveLength(2);
  });
});
