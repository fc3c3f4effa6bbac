/** The example runs, and says what is so. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const script = fileURLToPath(new URL("../../examples/relu-jacobian.js", import.meta.url));

test("examples/relu-jacobian.js shows the structures, and products in linear time", () => {
  const out = execFileSync(process.execPath, [script], { encoding: "utf8", timeout: 50_000 });
  expect(out).toContain("relu on [100,4096]: a Jacobian of 409600 x 409600\n  structure  diagonal\n");
  expect(out).toContain("1.64 MB, dense 671 GB");
  expect(out).toContain("ShapeError: toDense: a diagonal Jacobian of 409600 x 409600");
  // About half of the normal draws are positive: five standard deviations, 320 each.
  const ones = Number(/ones on it (\d+)/.exec(out)?.[1]);
  expect(Math.abs(ones - 204_800)).toBeLessThan(1600);
  const rows = [...out.matchAll(/^ +(\d+) +([\d.]+) +([\d.]+) +[\d.]+$/gm)].map((row) => row.slice(1, 4).map(Number));
  expect(rows.map(([n]) => n)).toEqual([51_200, 102_400, 204_800, 409_600]);
  // Eight times the elements: were it quadratic, 64 times the time.
  for (const column of [1, 2]) expect(rows[3][column]).toBeLessThan(30 * rows[0][column]);
  const structures = [...out.matchAll(/\d+ x \d+ {3}(.*?) {2}/g)].map((row) => row[1]);
  expect(structures).toEqual([
    "kronecker",
    "kronecker",
    "broadcast",
    "block-diagonal",
    "block-diagonal",
    "permutation",
    "sum",
  ]);
});
