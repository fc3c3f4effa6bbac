/** @file Of two workers' faults that of the earlier instruction counts, also of a program across 2 GiB. */
import { expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { session } from "../../src/run/active.ts";
import { eachByItself, fresh, settle } from "./support.ts";

eachByItself();

const ROWS = 4096;
const COLS = 64;

/** Indices, a bad one among them or not: the first worker meets those in front, the second one those behind. */
const indices = (at: number): fl.Tensor =>
  fl.tensor(Int32Array.from({ length: ROWS }, (_, i) => (i === at ? 99 : i % 8)));

/** Three lookups, one instruction after the other: the first and the last are further apart than images are aligned. */
const lookups = (n: number): ((a: fl.Tensor, b: fl.Tensor, c: fl.Tensor) => fl.Tensor[]) => {
  const tables = [1, 2, 3].map(() => new fl.Parameter(fl.rand([8, COLS])));
  return fl.compile((...rows: fl.Tensor[]) =>
    rows.map((r, i) =>
      tables[i]
        .indexSelect(0, r)
        .mul(n + i)
        .sum(),
    ),
  );
};

/** Where the fault of two workers was, if the program's image begins so many bytes below 2 GiB; 0: low in memory. */
async function placeOfFault(below: number): Promise<number | undefined> {
  await fresh({ workers: 2 });
  const { allocator } = await session().ready();
  const good = lookups(1);
  for (const t of good(indices(-1), indices(-1), indices(-1))) await t.data();
  // The arena is there now. What comes next and is as large as an image with its inputs is one.
  const { alloc } = allocator;
  let address = 0;
  allocator.alloc = (bytes) => {
    if (address > 0 || bytes < 3 * ROWS * 4) return alloc.call(allocator, bytes);
    if (below > 0) alloc.call(allocator, 2 ** 31 - below - allocator.top);
    address = alloc.call(allocator, bytes);
    return address;
  };
  const { error } = await settle(lookups(2)(indices(5), indices(-1), indices(ROWS - 5))[0].data());
  expect(error).toBeInstanceOf(fl.IndexError);
  if (below > 0) expect(address).toBe(2 ** 31 - below);
  return (error as fl.IndexError).position;
}

test("the fault of the earlier instruction, wherever in a program 2 GiB is", async () => {
  const want = await placeOfFault(0);
  expect(want).toBe(5);
  for (let below = 64; below <= 384; below += 64) expect(await placeOfFault(below), `${below} bytes below`).toBe(want);
});
