import { describe, expect, test } from "vitest";
import { fuse } from "../../src/compile/fuse.ts";
import type { Node } from "../../src/graph/node.ts";
import { add, apply, mul, scale, UNARY } from "../../src/ops/elementwise.ts";
import { matmul } from "../../src/ops/contract.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { expandBack, sum } from "../../src/ops/movement.ts";

/** The groups as text, each by the names of its operations. */
function groups(...outputs: Node[]): string[] {
  const { order, groups } = fuse({ inputs: [], residents: [], outputs, updates: [] });
  return [...new Set(order.filter((n) => groups.has(n)).map((n) => groups.get(n)!))].map((g) =>
    g.map((n) => n.op.name).join(" "),
  );
}

describe("fuse", () => {
  test("a chain is one group", () => {
    const x = leaf([8], "float32");
    expect(groups(apply(UNARY.exp, apply(UNARY.neg, mul(x, x))))).toEqual(["mul neg exp"]);
  });

  test("a shared subexpression is computed once, in the group of its users", () => {
    const x = leaf([8], "float32");
    const s = apply(UNARY.sin, x);
    expect(groups(add(s, mul(s, x)))).toEqual(["sin mul add"]);
  });

  test("a path through a reduction does not make a group depend on itself", () => {
    const x = leaf([4, 8], "float32");
    const e = apply(UNARY.exp, x);
    const softmax = apply(UNARY.log, mul(e, expandBack(sum(e, [1]), e.shape, [1])));
    expect(groups(softmax)).toEqual(["exp", "mul log"]);
  });

  test("what only feeds a later group waits for it: an optimiser's update is one group", () => {
    const w = leaf([16, 16], "float32");
    const m = leaf([16, 16], "float32");
    const x = leaf([4, 16], "float32");
    const g = matmul(apply(UNARY.neg, matmul(w, w)), w);
    const moment = add(scale(m, 0.9), scale(g, 0.1));
    expect(groups(moment, add(w, moment), matmul(x, w))).toEqual(["neg", "mul mul add add"]);
  });

  test("a value that leaves the program waits for its users too", () => {
    const m = leaf([16], "float32");
    const rate = leaf([1], "float32");
    const moment = scale(m, 0.9);
    const step = mul(moment, expandBack(sum(apply(UNARY.neg, rate), [0]), [16], [0]));
    expect(groups(moment, step)).toEqual(["neg", "mul mul"]);
  });

  test("groups are bounded, and a cut one stays in order", () => {
    let y: Node = leaf([8], "float32");
    for (let i = 0; i < 50; i++) y = apply(UNARY.tanh, y);
    expect(groups(y).map((g) => g.split(" ").length)).toEqual([20, 20, 10]);
  });
});
