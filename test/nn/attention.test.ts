/** Attention as users call it: what it equals, where it differs from nothing, what its programs hold. */
import { afterAll, describe, expect, test } from "vitest";
import { compileGraph } from "../../src/compile/compile.ts";
import { gradients } from "../../src/diff/vjp.ts";
import * as fl from "../../src/index.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { sum } from "../../src/ops/movement.ts";
import type { Program } from "../../src/program/program.ts";

afterAll(() => fl.dispose());

const { scaledDotProductAttention: attend } = fl.nn.functional;

const numbers = (shape: number[], seed = 1): fl.Tensor =>
  fl
    .arange(shape.reduce((a, b) => a * b, 1))
    .mul(0.7 * seed)
    .add(seed)
    .sin()
    .reshape(shape);

/** As it is written without the function. */
function plain(q: fl.Tensor, k: fl.Tensor, v: fl.Tensor, mask?: fl.Tensor, scale = 1 / Math.sqrt(q.shape[q.ndim - 1])) {
  let x = q.matmul(k.transpose(-2, -1)).mul(scale);
  if (mask) x = mask.dtype === "bool" ? fl.where(mask, x, Number.NEGATIVE_INFINITY) : x.add(mask);
  return x.softmax(-1).matmul(v);
}

const causal = (l: number, s: number): fl.Tensor => fl.arange(s).unsqueeze(0).le(fl.arange(l).unsqueeze(1));

async function expectSame(a: fl.Tensor, b: fl.Tensor, what = ""): Promise<void> {
  expect(a.shape).toEqual(b.shape);
  const [x, y] = [await a.data(), await b.data()];
  x.forEach((v, i) => {
    if (!(Math.abs(v - y[i]) <= 1e-5)) throw new Error(`${what}: element ${i} is ${v}, not ${y[i]}`);
  });
}

describe("scaledDotProductAttention", () => {
  const [q, k, v] = [numbers([2, 3, 5, 4]), numbers([2, 3, 7, 4], 2), numbers([2, 3, 7, 6], 3)];

  test("is softmax(scale q k^T + mask) v", async () => {
    await expectSame(attend(q, k, v), plain(q, k, v));
    await expectSame(attend(q, k, v, { scale: 0.3 }), plain(q, k, v, undefined, 0.3));
    await expectSame(attend(q, k, v, { isCausal: true }), plain(q, k, v, causal(5, 7)));
    const mask = numbers([5, 7], 5);
    await expectSame(attend(q, k, v, { attnMask: mask }), plain(q, k, v, mask));
    for (const shape of [[5, 7], [7], [3, 1, 7], [2, 1, 5, 7]]) {
      const some = numbers(shape, 7).gt(-0.5);
      await expectSame(attend(q, k, v, { attnMask: some }), plain(q, k, v, some), String(shape));
    }
  });

  test("queries and keys may have two axes, axes in front broadcast", async () => {
    await expectSame(
      attend(numbers([5, 4]), numbers([7, 4]), numbers([7, 6])),
      plain(numbers([5, 4]), numbers([7, 4]), numbers([7, 6])),
    );
    const [one, some] = [k.select(0, 0), v.narrow(1, 0, 1)];
    await expectSame(attend(q, one, some), plain(q, one.expand([2, 3, 7, 4]), some.expand([2, 3, 7, 6])));
    await expectSame(attend(q.select(0, 1), k, v), plain(q.select(0, 1).expand([2, 3, 5, 4]), k, v));
  });

  test("enableGqa: each head of keys is for as many heads of queries side by side", async () => {
    const heads = numbers([2, 6, 5, 4]);
    const repeated = (t: fl.Tensor): fl.Tensor =>
      t
        .unsqueeze(2)
        .expand([2, 3, 2, ...t.shape.slice(2)])
        .flatten(1, 2);
    const mask = numbers([2, 6, 5, 7], 3).gt(-0.6);
    for (const attnMask of [undefined, mask])
      await expectSame(
        attend(heads, k, v, { enableGqa: true, attnMask }),
        plain(heads, repeated(k), repeated(v), attnMask),
      );
    expect(() => attend(numbers([2, 4, 5, 4]), k, v, { enableGqa: true })).toThrow("no multiple");
  });

  test("gradients are those of the plain form, to operands and to a float mask", async () => {
    const mask = numbers([5, 7], 5);
    const weight = numbers([2, 3, 5, 6], 4);
    const grads = (f: typeof plain) =>
      fl.grad((...[a, b, c, m]: fl.Tensor[]) => f(a, b, c, m).mul(weight).sum(), [0, 1, 2, 3] as never)(q, k, v, mask);
    const own = grads((a, b, c, m) => attend(a, b, c, { attnMask: m })) as unknown as fl.Tensor[];
    const wanted = grads(plain) as unknown as fl.Tensor[];
    for (const [i, g] of own.entries()) await expectSame(g, wanted[i], `operand ${i}`);
  });

  test("a query with nothing to attend to gives 0, and gets none back", async () => {
    const mask = fl.tensor([0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1], [4, 3]).ne(0);
    const none = fl.where(fl.arange(4).ne(1).unsqueeze(1), mask, fl.zeros([4, 3]).ne(0));
    const [a, b, c] = [numbers([4, 2]), numbers([3, 2], 2), numbers([3, 5], 3)];
    const y = attend(a, b, c, { attnMask: none });
    expect([...(await y.select(0, 1).data())]).toEqual([0, 0, 0, 0, 0]);
    const added = fl.where(none, 0, Number.NEGATIVE_INFINITY);
    expect([...(await attend(a, b, c, { attnMask: added }).data())]).toEqual([...(await y.data())]);
    const g = fl.grad((x: fl.Tensor) => attend(x, b, c, { attnMask: none }).square().sum())(a);
    expect([...(await g.select(0, 1).data())]).toEqual([0, 0]);
    expect((await g.data()).every(Number.isFinite)).toBe(true);
  });

  test("dropout: weights are zeroed and scaled, by the generator's numbers", async () => {
    const [many, keys] = [fl.zeros([64, 4]), fl.zeros([50, 4])];
    const draw = (seed: number) =>
      attend(many, keys, fl.ones([50, 1]), { dropoutP: 0.25, generator: new fl.Generator(seed) }).data();
    const [first, again, other] = [await draw(3), await draw(3), await draw(4)];
    expect([...first]).toEqual([...again]);
    expect([...first]).not.toEqual([...other]);
    const mean = [...first].reduce((a, x) => a + x, 0) / 64;
    expect(Math.abs(mean - 1)).toBeLessThan(0.04);
    // Of 50 weights of 1 / 50 each, whole ones are left.
    for (const x of first) expect(Math.abs(x * 0.75 * 50 - Math.round(x * 0.75 * 50))).toBeLessThan(1e-3);
    await expectSame(attend(q, k, v, { dropoutP: 1 }), fl.zeros([2, 3, 5, 6]));
  });

  test("mistakes are loud", () => {
    const bad = (f: () => unknown, text: string | RegExp): void => expect(f).toThrow(text);
    bad(() => attend(q, k, v, { isCausal: true, attnMask: causal(5, 7) }), "attnMask and isCausal exclude each other");
    bad(() => attend(q, numbers([2, 3, 7, 5]), v), "query [2, 3, 5, 4], key [2, 3, 7, 5]");
    bad(() => attend(q, numbers([2, 3, 6, 4]), v), "are not [..., L, E], [..., S, E], [..., S, Ev]");
    bad(() => attend(q, numbers([4, 3, 7, 4]), v), "scaledDotProductAttention");
    bad(() => attend(numbers([4]), k, v), "query [4] is not");
    bad(() => attend(q, k, v.to("int32")), "value has dtype int32");
    bad(() => attend(q, k, v, { attnMask: fl.ones([5, 7], { dtype: "int32" }) }), "attnMask has dtype int32");
    bad(() => attend(q, k, v, { attnMask: causal(5, 6) }), "attnMask [5, 6]");
    bad(() => attend(q, k, v, { attnMask: causal(5, 7).expand([9, 2, 3, 5, 7]) }), "does not broadcast");
    bad(() => attend(q, k, v, { dropoutP: 1.5 }), "dropoutP must be from 0 to 1, got 1.5");
    bad(() => attend(q, k, v, { isCausal: 1 as never }), "isCausal must be true or false");
    bad(() => attend(q, k, v, { scale: Number.NaN }), "scale");
    bad(() => attend(q, k, v, { causal: true } as never), "did you mean isCausal");
  });

  test("is mapped over examples, whichever operands have them, and differentiated twice", async () => {
    const f = (a: fl.Tensor, b: fl.Tensor, c: fl.Tensor): fl.Tensor => attend(a, b, c, { isCausal: true });
    const examples = numbers([4, 5, 4]);
    const [b, c] = [numbers([7, 4], 2), numbers([7, 6], 3)];
    await expectSame(fl.vmap(f, [0, null, null] as never)(examples, b, c), attend(examples, b, c, { isCausal: true }));
    expect(await fl.gradgradcheck(f, [numbers([3, 2]), numbers([4, 2], 2), numbers([4, 3], 3)])).toBe(true);
  });
});

const HEADS = 4;
const WIDTH = 64;

/** Self-attention of heads, from queries, keys and values side by side, and what comes back to them. */
function selfAttention(length: number, batch: number): Program {
  const x = leaf([batch, length, 3 * WIDTH], "float32");
  const parts = new fl.Tensor(x).reshape([batch, length, 3, HEADS, WIDTH / HEADS]).permute(2, 0, 3, 1, 4);
  const [q, k, v] = [0, 1, 2].map((i) => parts.select(0, i));
  const y = attend(q, k, v, { isCausal: true }).transpose(1, 2).reshape([batch, length, WIDTH]);
  const loss = sum(y.square().node, [0, 1, 2]);
  return compileGraph({ inputs: [x], residents: [], outputs: [loss, ...gradients(loss, [x])], updates: [] });
}

describe("programs of attention", () => {
  test.each([1, 3])("hold no scores, and grow with the context, batch %d", (batch) => {
    const [short, long] = [256, 1024].map((length) => selfAttention(length, batch));
    expect(long.plan.bytes).toBeLessThanOrEqual(4.1 * short.plan.bytes);
    // Nothing is of the size of one head's scores: all buffers together are hardly as large.
    expect(long.plan.unshared).toBeLessThan(batch * 1024 * 1024 * 4);
    expect(long.plan.bytes).toBeLessThan(batch * HEADS * 1024 * 1024);
  });

  test.each([1, 3])("read heads where they are, and write them where they go, batch %d", (batch) => {
    const texts = selfAttention(64, batch).labels.map(({ text }) => text);
    expect(texts.filter((t) => /copy|transpose|zeros|pad|concat/.test(t))).toEqual([]);
    expect(texts.filter((t) => t.startsWith("attention ")).length).toBe(1);
    expect(texts.filter((t) => t.startsWith("attentionGrad")).length).toBe(batch === 1 ? 2 : 1);
  });
});
