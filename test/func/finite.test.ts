/** What is not finite: found, named, and without effect. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { random } from "../assembly/harness.ts";
import { close } from "./support.ts";

const { assertFinite, detectAnomaly, tensor } = fl;
const line = (): number => Number(/:(\d+):\d+\)?$/.exec(new Error().stack?.split("\n")[2] ?? "")?.[1]);

/** A step of SGD that fails for inputs of 0: the logarithm has no slope there. */
function trainer() {
  const p = new fl.Parameter(tensor([1, 2]));
  const optimizer = new fl.optim.SGD([p], { lr: 0.1 });
  const at: { log?: number } = {};
  const step = fl.compile((x: fl.Tensor) => {
    optimizer.zeroGrad();
    at.log = line() + 1;
    const loss = p.mul(x).square().log().sum();
    loss.backward();
    const norm = fl.nn.utils.clipGradNorm([p], 1);
    assertFinite({ norm, grads: [p.grad] });
    optimizer.step();
    return loss;
  });
  return { p, step, at };
}

describe("assertFinite", () => {
  test("fails the step that has a NaN, names the tensor, and leaves the parameters", async () => {
    const { p, step } = trainer();
    await step(tensor([1, 1])).item();
    const before = await p.data();
    await expect(step(tensor([1, 0])).item()).rejects.toThrow("assertFinite: norm has a NaN or an infinity");
    await expect(step(tensor([1, 0])).item()).rejects.toBeInstanceOf(fl.NonFiniteError);
    expect(await p.data()).toEqual(before);
    await step(tensor([1, 1])).item();
    expect(await p.data()).not.toEqual(before);
  });

  test("outside of compiled functions is a promise", async () => {
    const big = tensor([3e38, -3e38]);
    await assertFinite({ big, none: fl.zeros([0]), i: fl.arange(3), text: "x" });
    await expect(assertFinite([big, { x: big.mul(2) }])).rejects.toThrow("assertFinite: 1.x has");
    await expect(assertFinite(tensor([1, Number.NaN]))).rejects.toThrow("the tensor has a NaN");
    await expect(assertFinite(tensor([Number.NEGATIVE_INFINITY]))).rejects.toMatchObject({ code: "NON_FINITE" });
  });

  test("is not given nothing: numbers, modules and functions are no tensors", () => {
    for (const tree of [{ loss: Number.NaN }, new fl.nn.Linear(1, 1), () => [], undefined, { norm: Promise.resolve() }])
      expect(() => assertFinite(tree)).toThrow(/^assertFinite: there is no tensor in what it is given/);
  });

  test("in an epoch of one launch: the batches before it count", async () => {
    const p = new fl.Parameter(tensor([0]));
    const step = fl.compile((x: fl.Tensor) => {
      const y = p.add(x.log().sum());
      assertFinite({ y });
      p.assign(y);
      return y;
    });
    const data = new fl.TensorDataset(tensor([[Math.E], [Math.E], [0], [Math.E]]));
    const run = step.run(new fl.DataLoader(data, { batchSize: 1 }));
    await expect(run.data()).rejects.toThrow("y has a NaN or an infinity");
    await close(p, [2]);
  });
});

describe("detectAnomaly", () => {
  const message = async (promise: Promise<unknown>): Promise<string> => {
    const error = await promise.then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(fl.NonFiniteError);
    return (error as Error).message;
  };

  test("names the first operation forward, its operands' ranges, and the line", async () => {
    const { p, step, at } = trainer();
    const text = await message(detectAnomaly(step)(tensor([1, 0])));
    expect(text).toMatch(/^detectAnomaly: log -> float32\[2\] made 1 infinite of 2 elements\n/);
    expect(text).toContain("operand 0: float32[2] from square, 0 to 1");
    expect(text).toMatch(new RegExp(`made\\n    at .*finite\\.test\\.ts:${at.log}:`));
    expect(text).not.toMatch(/src\/tensor/);
    await close(p, [1, 2]);
  });

  test("names the operation whose gradient goes wrong, and its line", async () => {
    const x = tensor([4, 0]);
    let at = 0;
    const f = fl.compile((t: fl.Tensor) => {
      at = line() + 1;
      const root = t.sqrt();
      const [y, g] = fl.valueAndGrad((s: fl.Tensor) => s.sqrt().mul(t).sum())(t);
      return [root, y, g];
    });
    const text = await message(detectAnomaly(f, { nanOnly: true })(x));
    expect(text).toMatch(/made 1 NaN of 2 elements/);
    expect(text).toContain("in the backward pass of sqrt on [2], made");
    expect(text).toContain(`finite.test.ts:${at + 1}:`);
    const infinite = await message(detectAnomaly(fl.grad((t: fl.Tensor) => t.sqrt().sum()))(x));
    expect(infinite).toMatch(/div -> float32\[2\] made 1 infinite/);
    expect(infinite).toContain("operand 0: float32[2] from expand, all 1");
  });

  test("tells what came in bad, and lets pass what is fine, with its effects", async () => {
    const { p, step } = trainer();
    expect(await message(detectAnomaly(step)(tensor([1, Number.NaN])))).toMatch(
      /^detectAnomaly: argument 0, float32\[2\], has 1 NaN of 2 elements$/,
    );
    await close(await detectAnomaly(step)(tensor([1, 1])), [Math.log(4)]);
    expect(await p.data()).not.toEqual(Float32Array.of(1, 2));
    // What is infinite on purpose is no anomaly where it comes from a constant.
    const masked = (t: fl.Tensor): fl.Tensor => fl.where(t.gt(0), t, Number.NEGATIVE_INFINITY).softmax();
    await close(await detectAnomaly(masked)(tensor([1, -1])), [1, 0]);
  });

  test("finds a NaN that came in as a number, where it is used", async () => {
    const text = await message(detectAnomaly((x: fl.Tensor) => x.exp().mul(Number.NaN))(tensor([1, 2])));
    expect(text).toMatch(/^detectAnomaly: \w+ -> float32\[2\] made 2 NaN of 2 elements/);
  });

  test("says which argument, parameter or constant it was", async () => {
    const x = tensor([1, 2]);
    const bad = tensor([Number.NaN, 1]);
    const sum = ({ a, b }: { a: fl.Tensor; b: fl.Tensor }): fl.Tensor => a.add(b);
    expect(await message(detectAnomaly(sum)({ a: x, b: bad }))).toMatch(
      /: argument 0\.b, float32\[2\], has 1 NaN of 2/,
    );
    const p = new fl.Parameter(bad);
    expect(await message(detectAnomaly((a: fl.Tensor) => a.mul(p))(x))).toMatch(/: a parameter .*, has 1 NaN of 2/);
    expect(await message(detectAnomaly((a: fl.Tensor) => a.mul(bad))(x))).toMatch(
      /: a tensor from outside, .*has 1 NaN/,
    );
    const filled = await message(detectAnomaly(() => fl.full([2], Number.NaN))());
    expect(filled).toBe("detectAnomaly: the function returns float32[2] filled with NaN");
  });

  test("is not alarmed by what no result depends on: masks and clamped logarithms", async () => {
    const at = tensor([0, 1]);
    const bce = (t: fl.Tensor): fl.Tensor => fl.nn.functional.binaryCrossEntropy(t, at);
    await close(await detectAnomaly(bce)(at), [0]);
    const mask = tensor([[0, Number.NEGATIVE_INFINITY]]);
    const masked = (t: fl.Tensor): fl.Tensor => t.add(mask).softmax();
    await close(await detectAnomaly(masked)(tensor([[1, 2]])), [1, 0]);
    // A row of nothing but the mask is one.
    const all = fl.full([1, 2], Number.NEGATIVE_INFINITY);
    const text = await message(detectAnomaly((t: fl.Tensor) => t.add(all).softmax())(tensor([[1, 2]])));
    expect(text).toMatch(/^detectAnomaly: softmax -> .* made 2 NaN of 2 elements\n {2}operand 0: .*all -Infinity/);
    // What a check looks at counts as a result.
    const checking = fl.compile((t: fl.Tensor) => {
      assertFinite(t.div(t));
      return t;
    });
    expect(await message(detectAnomaly(checking)(at))).toMatch(/^detectAnomaly: div -> float32\[2\] made 1 NaN/);
  });

  test("finds a NaN that an integer result hides, and takes an infinity there", async () => {
    const predict = (t: fl.Tensor): fl.Tensor => t.log().argmax();
    expect(await message(detectAnomaly(predict)(tensor([1, -1])))).toMatch(/^detectAnomaly: log -> .* made 1 NaN/);
    const accuracy = (t: fl.Tensor): fl.Tensor => t.log().argmax().eq(0).float().mean();
    expect(await message(detectAnomaly(accuracy)(tensor([1, -1])))).toMatch(/^detectAnomaly: log -> .* made 1 NaN/);
    await close(await detectAnomaly(predict)(tensor([1, 0])), [0]);
    // Asking for NaN is no fault.
    const without = (t: fl.Tensor): fl.Tensor => fl.where(t.eq(t), t, 0);
    await close(await detectAnomaly((t: fl.Tensor) => without(t.log()))(tensor([1, -1])), [0, 0]);
  });

  describe("in a loop", () => {
    type T = fl.Tensor;
    let at = 0;
    /** A root of each x, of which the carry is the sum. */
    const roots = (xs: T, options = {}): T =>
      fl.scan(
        (c: T, x: T) => {
          at = line() + 1;
          const y = x.sqrt();
          return [c.add(y.sum()), null];
        },
        tensor(0),
        xs,
        options,
      )[0];

    test("names the step, the operation and the user's line", async () => {
      const text = await message(detectAnomaly(roots)(tensor([1, 4, -1, -2])));
      expect(text).toMatch(
        /^detectAnomaly: sqrt -> float32\[\] in step 2 made 1 NaN of 1 elements\n {2}operand 0: .* all -1\n/,
      );
      expect(text).toContain(`finite.test.ts:${at}:`);
      expect(await message(detectAnomaly((xs: T) => roots(xs, { reverse: true }))(tensor([1, 4, -1, -2])))).toMatch(
        /^detectAnomaly: sqrt -> float32\[\] in step 3 made/,
      );
      expect(await (await detectAnomaly(roots)(tensor([1, 4, 9]))).item()).toBe(6);
    });

    test("backward too, where the last step comes first", async () => {
      const text = await message(detectAnomaly(fl.grad(roots))(tensor([[1], [0], [0], [4]])));
      expect(text).toMatch(/^detectAnomaly: \w+ -> float32\[1\] in step 2 made 1 infinite of 1 elements\n/);
      expect(text).toContain("in the backward pass of sqrt on [1], made");
      expect(text).toContain(`finite.test.ts:${at}:`);
    });

    test("through transforms, checkpoint, and loops in loops", async () => {
      const bad = tensor([
        [4, 9],
        [1, -1],
      ]);
      const nested = (xs: T): T => fl.scan((c: T, x: T) => [c.add(roots(x)), null], tensor(0), xs)[0];
      const text = await message(detectAnomaly(nested)(bad));
      expect(text).toMatch(/^detectAnomaly: sqrt -> float32\[\] in step 1 of a loop in step 1 made 1 NaN/);
      expect(text).toContain(`finite.test.ts:${at}:`);
      const others: [string, (xs: T) => unknown][] = [
        ["vmap", fl.vmap((x: T) => roots(x), 1)],
        [
          "checkpoint",
          (xs) =>
            fl.scan(
              fl.checkpoint((c: T, x: T) => [c.add(roots(x)), null] as [T, null]),
              tensor(0),
              xs,
            )[0],
        ],
        ["jvp", (xs) => fl.jvp(nested, [xs], [xs])[0]],
      ];
      for (const [name, f] of others) {
        const found = await message(detectAnomaly(f)(bad));
        expect(found, name).toMatch(/^detectAnomaly: sqrt -> float32\[2?\] in step 1 .*made 1 NaN/);
        expect(found, name).toContain(`finite.test.ts:${at}:`);
      }
    });

    test("what is not finite already is no step's fault", async () => {
      expect(await message(detectAnomaly(roots)(tensor([1, Number.NaN])))).toMatch(
        /^detectAnomaly: argument 0, .* has 1 NaN/,
      );
    });
  });

  test("finds the line and the operation through every transform", async () => {
    let at = 0;
    const root = (t: fl.Tensor): fl.Tensor => {
      at = line() + 1;
      const y = t.sqrt();
      return y.sum();
    };
    const x = tensor([4, 0]);
    const transforms: Record<string, (t: fl.Tensor) => unknown> = {
      grad: fl.grad(root),
      "vmap(grad)": (t) => fl.vmap(fl.grad(root))(t.unsqueeze(0)),
      "grad(vmap)": fl.grad((t: fl.Tensor) => fl.vmap(root)(t.unsqueeze(0)).sum()),
      jacfwd: fl.jacfwd(root),
      jvp: (t) => fl.jvp(root, [t], [t])[1],
      hessian: fl.hessian(root),
      checkpoint: fl.grad((t: fl.Tensor) => fl.checkpoint(root)(t)),
    };
    for (const [name, f] of Object.entries(transforms)) {
      const text = await message(detectAnomaly(f)(x));
      expect(text, name).toMatch(/in the (backward pass|forward-mode derivative) of sqrt on \[(1, )?2\], made/);
      expect(text, name).toContain(`finite.test.ts:${at}:`);
    }
    const text = await message(
      detectAnomaly(
        fl.vmap((t: fl.Tensor) => {
          at = line() + 1;
          const y = t.log();
          return y.add(1);
        }),
      )(x),
    );
    expect(text).toMatch(/log -> float32\[2\] made 1 infinite/);
    expect(text).toContain(`finite.test.ts:${at}:`);
  });

  test("fails random functions exactly where a result is not finite, and names the line", async () => {
    const UNARY = ["sqrt", "log", "reciprocal", "exp", "square", "neg", "relu", "tanh", "abs", "log1p"] as const;
    const VALUES = [0, 1, -1, 0.5, 3, 60, -90];
    let failed = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const next = random(seed);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)];
      const steps = Array.from({ length: 2 + (seed % 5) }, () => [next(), next(), next(), next()]);
      let [first, last] = [0, 0];
      const f = (x: fl.Tensor): fl.Tensor => {
        const ts = [x];
        first = line();
        for (const [how, what, i, j] of steps) {
          const [a, b] = [i, j].map((k) => ts[Math.floor(k * ts.length)]);
          if (how < 0.6) ts.push(a[UNARY[Math.floor(what * UNARY.length)]]());
          else if (how < 0.7) ts.push(a.div(b));
          else if (how < 0.8) ts.push(a.mul(b));
          else if (how < 0.87) ts.push(a.softmax());
          else if (how < 0.94) ts.push(fl.where(a.gt(0), a, b));
          else ts.push(a.clamp(-2, 2));
        }
        const y = ts[ts.length - 1].sum();
        last = line();
        return y;
      };
      const x = tensor([pick(VALUES), pick(VALUES), pick(VALUES)]);
      const g = [fl.valueAndGrad(f), fl.compile(fl.grad(f)), (t: fl.Tensor) => fl.vmap(f)(t.unsqueeze(0))][seed % 3];
      const values = (await Promise.all([g(x)].flat().map((t) => t.data()))).flatMap((a) => [...a]);
      for (const nanOnly of [true, false]) {
        const run = detectAnomaly(g as (t: fl.Tensor) => unknown, { nanOnly })(x);
        if (values.every((v) => (nanOnly ? !Number.isNaN(v) : Number.isFinite(v)))) await run;
        else {
          failed++;
          const at = /finite\.test\.ts:(\d+):/.exec(await message(run))?.[1];
          expect(Number(at), `seed ${seed}`).toBeGreaterThan(first);
          expect(Number(at), `seed ${seed}`).toBeLessThan(last);
        }
      }
    }
    expect(failed).toBeGreaterThan(20);
  });

  test("refuses an async function by its own name", async () => {
    const late = async (t: fl.Tensor): Promise<fl.Tensor> => t;
    await expect(detectAnomaly(late)(tensor([1]))).rejects.toThrow(/^detectAnomaly: the function is async/);
  });

  test("blames no operation whose backward threw some time before", async () => {
    const broken = fl.defineOp({
      name: "broken",
      forward: (x: fl.Tensor) => x.mul(1),
      backward: () => {
        throw new Error("no gradient today");
      },
    });
    expect(() => fl.grad((x: fl.Tensor) => broken(x).sum())(tensor([1, 2]))).toThrow("no gradient today");
    const text = await message(detectAnomaly((x: fl.Tensor) => x.log())(tensor([0])));
    expect(text).toMatch(/log -> .* made 1 infinite/);
    expect(text).not.toContain("backward pass");
  });
});
