/** For every operation and sample: WASM = float64 reference, derivatives right in both modes, to second order. */
import { afterAll, describe, expect, test } from "vitest";
import "../../src/index.ts"; // and with it what extensions teach the compiler
import { compileGraph } from "../../src/compile/compile.ts";
import { canLower } from "../../src/compile/lower/index.ts";
import { allocate } from "../../src/core/dtype.ts";
import { jvp } from "../../src/diff/jvp.ts";
import { vjp } from "../../src/diff/vjp.ts";
import { makeNode, type Node } from "../../src/graph/node.ts";
import { mul } from "../../src/ops/elementwise.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { referenceOf } from "../../src/ops/reference/table.ts";
import { sum } from "../../src/ops/movement.ts";
import { Session } from "../../src/run/session.ts";
import { random } from "../assembly/harness.ts";
import { evaluateRef, expectClose, type Values } from "./reference.ts";
import { ALL, samplesOf } from "./samples.ts";

const sessions = [new Session({ workers: 1 }), new Session({ workers: 3 })];
afterAll(() => Promise.all(sessions.map((s) => s.dispose())));

/** Runs nodes on the workers: on 1 and on 3, which must agree bit for bit. */
async function run(outputs: readonly Node[], leaves: ReadonlyMap<Node, Float64Array>): Promise<ArrayLike<number>[]> {
  const inputs = [...leaves.keys()];
  const program = compileGraph({ inputs, residents: [], outputs, updates: [] });
  const arrays = inputs.map((n) => {
    const a = allocate(n.dtype, (leaves.get(n) as Float64Array).length);
    a.set(leaves.get(n) as Float64Array);
    return a;
  });
  const [one, three] = await Promise.all(
    sessions.map((s) => s.launch(program, { inputs: arrays, residents: [], updates: [] })),
  );
  one.forEach((a, i) => expect(Buffer.from(a.buffer).equals(Buffer.from(three[i].buffer))).toBe(true));
  return one;
}

const isFloat = (n: Node): boolean => n.dtype === "float32";

function randomLike(n: Node, seed: number): Float64Array {
  const next = random(seed);
  return Float64Array.from({ length: n.shape.reduce((p, d) => p * d, 1) }, () => Math.fround(next() * 2 - 1));
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let s = 0;
  for (let i = 0; i < a.length; i++) s += a[i] * b[i];
  return s;
};

test("the table holds each operation under its own name", () => {
  for (const [name, op] of ALL) expect(op.name).toBe(name);
});

test("every operation has a reference, but the leaf", () => {
  expect(ALL.filter(([, op]) => !referenceOf(op)).map(([name]) => name)).toEqual(["leaf"]);
});

test("the compiler can run every operation", () => {
  for (const [, op] of ALL) expect(canLower(op), op.name).toBe(true);
});

describe.each(ALL)("%s", (_, op) => {
  const samples = samplesOf(op);

  test("WASM equals the float64 reference", async () => {
    for (const { name, node, values } of samples) {
      const [want] = evaluateRef([node], new Map(values));
      const [got] = await run([node], values);
      if (isFloat(node)) expectClose(got, want, name);
      else expect([...(got as Int32Array)], name).toEqual([...want]);
    }
  });

  // Its gradient is that of no function.
  if (op.name === "scaleGradient") {
    test("leaves the tangent, multiplies the gradient", () => {
      const [{ node, values }] = samples;
      const u = leaf(node.shape, "float32");
      const all = new Map(values).set(u, randomLike(node, 5));
      const [x, factor] = node.src;
      expect(jvp([node], [x], [u])).toEqual([u]);
      const [g] = evaluateRef(vjp([node], [u], [x]) as Node[], all);
      expect([...g]).toEqual([...(all.get(u) as Float64Array)].map((v, i) => v * (all.get(factor) as Float64Array)[i]));
    });
    return;
  }

  const differentiable = samples.filter(({ node }) => isFloat(node) && node.src.some(isFloat));
  if (differentiable.length === 0) return;

  test("reverse mode, forward mode and finite differences agree; <Jv,u> = <v,J'u>; WASM too", async () => {
    for (const { name, node, values } of differentiable) {
      const inputs = node.src.filter(isFloat);
      const all: Values = new Map(values);
      const u = leaf(node.shape, "float32");
      all.set(u, randomLike(node, 5));
      const tangents = inputs.map((s, i) => {
        const t = leaf(s.shape, "float32");
        all.set(t, randomLike(s, 6 + i));
        return t;
      });
      const grads = vjp([node], [u], inputs);
      const [tangent] = jvp([node], inputs, tangents);
      const real = grads.filter((g): g is Node => g !== null);
      const values64 = evaluateRef([...real, ...(tangent ? [tangent] : [])], all);
      const uv = all.get(u) as Float64Array;
      let k = 0;
      const reverse = grads.reduce(
        (s, g, i) => s + (g ? dot(values64[k++], all.get(tangents[i]) as Float64Array) : 0),
        0,
      );
      const forward = tangent ? dot(values64[values64.length - 1], uv) : 0;
      expect(Math.abs(reverse - forward), `${name}: adjoint identity`).toBeLessThanOrEqual(
        1e-9 * (1 + Math.abs(forward)),
      );

      // Central differences in float64, where the function is smooth at the sample.
      const smooth =
        !["floor", "ceil", "round", "trunc", "sign", "detach"].includes(op.name) && !name.includes("[6] float32[6]");
      if (smooth) {
        const h = 1e-6;
        const at = (s: number): number => {
          const moved: Values = new Map(all);
          inputs.forEach((x, i) => {
            const t = all.get(tangents[i]) as Float64Array;
            moved.set(
              x,
              (all.get(x) as Float64Array).map((v, j) => v + s * h * t[j]),
            );
          });
          return dot(evaluateRef([node], moved)[0], uv);
        };
        const numeric = (at(1) - at(-1)) / (2 * h);
        const ties = ["max", "min"].includes(op.name) && name.includes("[4,6]");
        if (!ties)
          expect(Math.abs(numeric - forward), `${name}: finite differences`).toBeLessThanOrEqual(
            1e-4 * (1 + Math.abs(forward)),
          );
      }

      const wasm = await run([...real, ...(tangent ? [tangent] : [])], all);
      wasm.forEach((got, i) => expectClose(got, values64[i], `${name}: derivative ${i}`, 4));
    }
  });

  test("second derivatives: forward over reverse equals reverse over reverse", () => {
    for (const { name, node, values } of differentiable.slice(0, 4)) {
      const inputs = node.src.filter(isFloat);
      const all: Values = new Map(values);
      const u = leaf(node.shape, "float32");
      all.set(u, randomLike(node, 5));
      const grads = vjp([node], [u], inputs);
      const dirs = inputs.map((s, i) => {
        const t = leaf(s.shape, "float32");
        all.set(t, randomLike(s, 11 + i));
        return t;
      });
      const real = grads.map((g, i) => [g, dirs[i]] as const).filter((p): p is readonly [Node, Node] => p[0] !== null);
      if (real.length === 0) continue;
      const forward = jvp(
        real.map(([g]) => g),
        inputs,
        dirs,
      );
      const allAxes = (n: Node): number[] => n.shape.map((_s, i) => i);
      const scalar = real.map(([g, d]) => sum(mul(g, d), allAxes(g))).reduce((a, b) => makeNode(ALL_OPS.add, [a, b]));
      const reverse = vjp(
        [scalar],
        [makeNode(ALL_OPS.constant, [], { value: 1, shape: [], dtype: "float32" })],
        inputs,
      );
      // H is symmetric: (d'H) d by both routes.
      const quadratic = (parts: readonly (Node | null)[], with_: readonly Node[]): number => {
        const pairs = parts
          .map((p, i) => [p, with_[i]] as const)
          .filter((p): p is readonly [Node, Node] => p[0] !== null);
        return evaluateRef(
          pairs.map(([p]) => p),
          all,
        ).reduce((s, v, i) => s + dot(v, all.get(pairs[i][1]) as Float64Array), 0);
      };
      const a = quadratic(
        forward,
        real.map(([, d]) => d),
      );
      const b = quadratic(reverse, dirs);
      expect(Math.abs(a - b), name).toBeLessThanOrEqual(1e-8 * (1 + Math.abs(a)));
    }
  });
});

const ALL_OPS = Object.fromEntries(ALL);
