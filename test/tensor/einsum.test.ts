/** einsum against loops. */
import { afterAll, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { random } from "../assembly/harness.ts";

afterAll(() => fl.dispose());

const { tensor } = fl;

describe("einsum", () => {
  const extents: Record<string, number> = { i: 2, j: 3, k: 4, b: 2, l: 5 };

  /** By the definition: for all values of all names, the product of the operands, summed where the result has its place. */
  function reference(inputs: string[], output: string, arrays: Float32Array[]): number[] {
    const names = [...new Set(inputs.join("") + output)];
    const place = (term: string, at: Record<string, number>): number =>
      [...term].reduce((p, n) => p * extents[n] + at[n], 0);
    const out = new Array<number>([...output].reduce((p, n) => p * extents[n], 1)).fill(0);
    const visit = (k: number, at: Record<string, number>): void => {
      if (k === names.length) {
        out[place(output, at)] += inputs.reduce((p, term, i) => p * arrays[i][place(term, at)], 1);
        return;
      }
      for (let v = 0; v < extents[names[k]]; v++) visit(k + 1, { ...at, [names[k]]: v });
    };
    visit(0, {});
    return out;
  }

  test.each([
    "i->",
    "ij->ji",
    "ii->i",
    "ii->",
    "iji->j",
    "ij,jk->ik",
    "ij,kj->",
    "ij,jk->k",
    "bij,bjk->bik",
    "i,j->ij",
    "i,i,i->i",
    "ij,jk,kl->il",
    "ijk,ljk->il",
    "bij,ij->b",
    "ijk->kij",
    "ij,ii->j",
  ])("%s", async (equation) => {
    const [left, output] = equation.split("->");
    const inputs = left.split(",");
    const next = random(equation.length);
    const arrays = inputs.map((term) =>
      Float32Array.from({ length: [...term].reduce((p, n) => p * extents[n], 1) }, () => next() * 2 - 1),
    );
    const tensors = inputs.map((term, i) =>
      tensor(
        arrays[i],
        [...term].map((n) => extents[n]),
      ),
    );
    const got = await fl.einsum(equation, ...tensors).data();
    reference(inputs, output, arrays).forEach((v, i) => expect(got[i]).toBeCloseTo(v, 5));
  });

  test("without an arrow, the names that occur once, sorted; with dots, broadcasting", async () => {
    const a = fl.arange(6).float().reshape(2, 3);
    const b = fl.arange(12).float().reshape(3, 4);
    expect(await fl.einsum("zb,bc", a, b).array()).toEqual(await a.matmul(b).t().array());
    expect(await fl.einsum("ij", a).array()).toEqual(await a.array());
    const batch = fl.arange(12).float().reshape(2, 1, 2, 3);
    const other = fl.arange(60).float().reshape(5, 3, 4);
    expect(await fl.einsum("...ij,...jk->...ik", batch, other).array()).toEqual(await batch.matmul(other).array());
    expect(await fl.einsum("...ij,...jk", batch, other).array()).toEqual(await batch.matmul(other).array());
    expect(await fl.einsum("i...->...", a).array()).toEqual(await a.sum(0).array());
    expect(await fl.einsum("ij,ij->ij", a, fl.ones([1, 3])).array()).toEqual(await a.array());
  });
});
