/** What the tests of transforms share. */
import { expect } from "vitest";
import type * as fl from "../../src/index.ts";

export const numbers = async (t: fl.Tensor): Promise<number[]> => [...(await t.data())];

/** The elements, within a few units in the last place of the largest. */
export async function close(t: fl.Tensor, want: ArrayLike<number>, shape?: readonly number[]): Promise<void> {
  if (shape) expect(t.shape).toEqual(shape);
  const got = await numbers(t);
  expect(got).toHaveLength(want.length);
  got.forEach((v, i) => expect(Math.abs(v - want[i])).toBeLessThan(4e-6 * Math.max(1, Math.abs(want[i]))));
}

/** Both tensors have the same shape, and elements within a few units in the last place of the largest. */
export async function same(got: fl.Tensor, want: fl.Tensor): Promise<void> {
  await close(got, await want.data(), want.shape);
}

/** The multiplications in a compiled function's matrix products, by its explanation. */
export function multiplications(explanation: string): number {
  const products = [...explanation.matchAll(/matmul \w\w (\d+)x(\d+)x(\d+)/g)];
  return products.reduce((sum, [, m, k, n]) => sum + Number(m) * Number(k) * Number(n), 0);
}
