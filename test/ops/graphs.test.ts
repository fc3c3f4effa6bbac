/**
 * Random graphs on the workers against the float64 interpreter: values, gradients, tangents. What may differ: torch.testing's
 * tolerance for float32 times the square root of the number of operations on the longest path. The generator sees to it that
 * operations do not make errors much larger, and errors of rounding are independent: they add up as a random walk does.
 */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { compileGraph } from "../../src/compile/compile.ts";
import { allocate, type TypedArray } from "../../src/core/dtype.ts";
import { jvp } from "../../src/diff/jvp.ts";
import { vjp } from "../../src/diff/vjp.ts";
import { functionOf, interpret, type Values } from "../../src/ops/interpret.ts";
import { makeNode, type Node, toposort } from "../../src/graph/node.ts";
import * as fl from "../../src/index.ts";
import { constantLike, LEAF } from "../../src/ops/leaf.ts";
import { OPS } from "../../src/ops/table.ts";
import { Session } from "../../src/run/session.ts";
import { build, type RandomGraph, type Recipe, recipes } from "./graphs.ts";
import { expectClose } from "./reference.ts";

/** The same graphs in every run; another number gives others. */
const SEED = Number(process.env.GRAPHS_SEED ?? 1);
/** Times 1,000 graphs. */
const ROUNDS = Number(process.env.GRAPHS_ROUNDS ?? 1);

const sessions = [1, 2, 3].map((workers) => new Session({ workers }));
afterAll(() => Promise.all([...sessions.map((s) => s.dispose()), fl.dispose()]));

/** A property of graphs of so many operations. A failure is made smaller for some time, then reported as it is. */
function holds(size: number, numRuns: number, property: (g: RandomGraph) => Promise<void>): Promise<void> {
  return fc.assert(
    fc.asyncProperty(recipes(size), (recipe: Recipe) => property(build(recipe))),
    { numRuns, seed: SEED, interruptAfterTimeLimit: 100_000 * ROUNDS, markInterruptAsFailure: true },
  );
}

interface Derived {
  /** Values, their tangents, and the gradients of the inputs. */
  readonly outputs: readonly Node[];
  readonly tangents: readonly Node[];
  readonly gradients: readonly Node[];
  readonly all: readonly Node[];
}

function derive({ inputs, outputs, tangents: v, cotangents: u }: RandomGraph): Derived {
  const orZero = (list: readonly (Node | null)[], like: readonly Node[]): Node[] =>
    list.map((n, i) => n ?? constantLike(like[i], 0));
  const tangents = orZero(jvp(outputs, inputs, v), outputs);
  const gradients = orZero(vjp(outputs, u, inputs), inputs);
  return { outputs, tangents, gradients, all: [...outputs, ...tangents, ...gradients] };
}

async function run(session: Session, outputs: readonly Node[], values: Values): Promise<TypedArray[]> {
  const inputs = toposort(outputs).filter((n) => n.op === LEAF);
  const arrays = inputs.map((n) => {
    const array = allocate(n.dtype, (values.get(n) as Float64Array).length);
    array.set(values.get(n) as Float64Array);
    return array;
  });
  const program = compileGraph({ inputs, residents: [], outputs, updates: [] });
  return session.launch(program, { inputs: arrays, residents: [], updates: [] });
}

/** By how much results may be further off than those of one operation. */
function loosening(outputs: readonly Node[]): number {
  const depth = new Map<Node, number>();
  for (const n of toposort(outputs))
    depth.set(n, n.src.length === 0 ? 0 : 1 + Math.max(...n.src.map((s) => depth.get(s) as number)));
  return Math.sqrt(Math.max(1, ...outputs.map((n) => depth.get(n) as number)));
}

/** Sum of products of lists of arrays, and of their absolute values. */
function dot(a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): { sum: number; size: number } {
  let [sum, size] = [0, 0];
  a.forEach((x, i) => {
    for (let k = 0; k < x.length; k++) {
      sum += x[k] * b[i][k];
      size += Math.abs(x[k] * b[i][k]);
    }
  });
  return { sum, size };
}

/** Operations that a random graph has no place for. */
const LEFT_OUT = [
  // No derivative, or that of no function, on purpose.
  "detach",
  "scaleGradient",
  // Derivative 0.
  "sign",
  "floor",
  "ceil",
  "round",
  "trunc",
  // Nothing to differentiate.
  "argmax",
  "argmin",
  "uniform",
  "normal",
  "randomBits",
];

describe("random graphs", { timeout: 120_000 * ROUNDS }, () => {
  test.each([
    [5, 600],
    [20, 300],
    [100, 100],
  ])("of %d operations, %d of them: values, gradients and tangents", async (size, count) => {
    const seen = new Set<string>();
    await holds(size, count * ROUNDS, async (g) => {
      const d = derive(g);
      for (const n of toposort(g.outputs)) seen.add(n.op.name);
      const values = interpret(d.all, g.values);
      const want = (list: readonly Node[]): Float64Array[] => list.map((n) => values.get(n) as Float64Array);

      // The derivatives are right: against each other, and against central differences along the tangents.
      const [u, v] = [want(g.cotangents), want(g.tangents)];
      const forward = dot(want(d.tangents), u);
      const reverse = dot(want(d.gradients), v);
      expect(Math.abs(forward.sum - reverse.sum)).toBeLessThanOrEqual(1e-12 * (1 + forward.size + reverse.size));
      const f = functionOf(g.outputs, g.inputs, g.values);
      const [high, low] = [1e-6, -1e-6].map((h) =>
        f(...want(g.inputs).map((x, i) => x.map((a, k) => a + h * v[i][k]))),
      );
      d.tangents.forEach((t, i) => {
        const tangent = values.get(t) as Float64Array;
        high[i].forEach((a, k) => {
          const error = Math.abs((a - low[i][k]) / 2e-6 - tangent[k]);
          expect(error).toBeLessThanOrEqual(1e-6 * (1 + Math.abs(tangent[k])));
        });
      });

      // The workers compute them.
      const loosen = loosening(g.outputs);
      const got = await run(sessions[1], d.all, g.values);
      got.forEach((array, i) => expectClose(array, values.get(d.all[i]) as Float64Array, d.all[i].op.name, loosen));
      const left = dot(got.slice(d.outputs.length, 2 * d.outputs.length), u);
      const right = dot(got.slice(2 * d.outputs.length), v);
      expect(Math.abs(left.sum - right.sum)).toBeLessThanOrEqual(1e-6 * loosen * (1 + left.size + right.size));
    });
    if (size < 100) return;
    const differentiable = Object.values(OPS).filter(({ vjp: r, jvp: t, decompose, loop, name }) => {
      return (r || t || decompose || loop) && !LEFT_OUT.includes(name);
    });
    expect(differentiable.map((op) => op.name).filter((name) => !seen.has(name))).toEqual([]);
  });

  test("second derivatives: both modes over reverse mode, and differences of the gradient", async () => {
    await holds(8, 60, async (g) => {
      const { gradients } = derive(g);
      const orZero = (list: readonly (Node | null)[]): Node[] => list.map((n, i) => n ?? constantLike(g.inputs[i], 0));
      // The Hessian is symmetric: with the tangents as cotangents both are its product with the same vector.
      const forward = orZero(jvp(gradients, g.inputs, g.tangents));
      const reverse = orZero(vjp(gradients, g.tangents, g.inputs));
      const values = interpret([...forward, ...reverse], g.values);
      const want = (n: Node): Float64Array => values.get(n) as Float64Array;
      const f = functionOf(gradients, g.inputs, g.values);
      const [high, low] = [1e-6, -1e-6].map((h) =>
        f(...g.inputs.map((x, i) => want(x).map((a, k) => a + h * want(g.tangents[i])[k]))),
      );
      g.inputs.forEach((_, i) => {
        high[i].forEach((a, k) => {
          const wanted = want(forward[i])[k];
          expect(Math.abs(want(reverse[i])[k] - wanted)).toBeLessThanOrEqual(1e-12 * (1 + Math.abs(wanted)));
          expect(Math.abs((a - low[i][k]) / 2e-6 - wanted)).toBeLessThanOrEqual(1e-5 * (1 + Math.abs(wanted)));
        });
      });
      const all = [...forward, ...reverse];
      const got = await run(sessions[1], all, g.values);
      got.forEach((array, i) => expectClose(array, want(all[i]), all[i].op.name, loosening(g.outputs)));
    });
  });

  test("have the same bits on 1, 2 and 3 workers", async () => {
    await holds(30, 60, async (g) => {
      const { all } = derive(g);
      const results = await Promise.all(sessions.map((s) => run(s, all, g.values)));
      for (const arrays of results.slice(1))
        arrays.forEach((a, i) => expect(Buffer.from(a.buffer).equals(Buffer.from(results[0][i].buffer))).toBe(true));
    });
  });

  test("as a user's function: by gradcheck, lazily, compiled, checkpointed, and by backward()", async () => {
    await holds(15, 40, async (g) => {
      const d = derive(g);
      const values = interpret(d.all, g.values);
      const given = (n: Node): fl.Tensor => {
        const data = values.get(n) ?? (g.values.get(n) as Float64Array);
        return fl.tensor(n.dtype === "int32" ? Int32Array.from(data) : Float32Array.from(data), n.shape);
      };
      const f = (...xs: fl.Tensor[]): fl.Tensor[] => {
        const copies = new Map(g.inputs.map((x, i) => [x, xs[i].node]));
        for (const n of toposort(g.outputs)) {
          if (copies.has(n)) continue;
          const src = n.src.map((s) => copies.get(s) as Node);
          copies.set(n, n.op === LEAF ? given(n).node : makeNode(n.op, src, n.attrs));
        }
        return g.outputs.map((n) => new fl.Tensor(copies.get(n) as Node));
      };
      const [xs, vs, us] = [g.inputs, g.tangents, g.cotangents].map((list) => list.map(given));
      const derivatives = (y: typeof f) => (x: fl.Tensor[], v: fl.Tensor[], u: fl.Tensor[]) => [
        ...fl.jvp(y, x, v).flat(),
        ...fl.vjp(y, ...x)[1](u),
      ];
      expect(await fl.gradcheck(f, xs, { fastMode: true })).toBe(true);
      const leaves = xs.map((x) => new fl.Parameter(x));
      const results = {
        lazy: derivatives(f)(xs, vs, us),
        compiled: fl.compile(derivatives(f))(xs, vs, us),
        checkpointed: fl.compile(derivatives(fl.checkpoint(f)))(xs, vs, us),
        backward: (() => {
          f(...leaves)
            .map((y, i) => y.mul(us[i]).sum())
            .reduce((a, b) => a.add(b))
            .backward();
          return leaves.map((x) => x.grad);
        })(),
      };
      for (const [i, t] of results.checkpointed.entries())
        expect(await t.data(), `recomputed ${i}`).toEqual(await results.compiled[i].data());
      for (const [name, tensors] of Object.entries(results)) {
        const nodes = name === "backward" ? d.gradients : d.all;
        for (const [i, n] of nodes.entries()) {
          const data = (await tensors[i]?.data()) ?? new Float32Array((values.get(n) as Float64Array).length);
          expectClose(data, values.get(n) as Float64Array, `${name} ${i}`, loosening(g.outputs));
        }
      }
    });
  });
});
