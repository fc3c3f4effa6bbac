/** The examples of a lecture on automatic differentiation: what they print is right. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { example } from "./support.ts";

/** What an example prints, which must be all it does. */
async function printed(name: string): Promise<string> {
  const { code, stdout, stderr } = await example(name);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return stdout;
}

test("gates: (x + y) z step by step, and as the README shows it", async () => {
  const text = await printed("gates");
  expect(text).toContain("%4 = mul %2 z -> float32[]  is -12\n");
  expect(text).toContain("%4 has 1 and switches it: -4 to %2, 3 to z\n");
  expect(text).toContain("%2 has -4 and distributes it: -4 to x, -4 to y\n");
  expect(text).toContain('g2 -->|"3 / -4"| g4');
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const table = /( {4}gate .*\n(?: {4}.*\n)+)/.exec(readme)?.[1] as string;
  expect(text).toContain(table.replaceAll(/^ {4}/gm, ""));
});

test("modes: x1 x2 + sin(x1) in both modes, reverse mode cheaper", async () => {
  const text = await printed("modes");
  const slope = (5 + Math.cos(2)).toFixed(4);
  expect(text).toContain(`v1 = 5.0000   v2 = ${Math.cos(2).toFixed(4)}   y = ${slope}`);
  expect(text).toContain(`v1 = 2.0000   v2 = 0.0000   y = 2.0000`);
  expect(text).toContain(`v1 = 1.0000   v2 = 1.0000   x1 = ${slope}   x2 = 2.0000`);
  // Tangents: t1 x2 + x1 t2 + t1 cos(x1). Cotangents: u x2 + u cos(x1), u x1.
  expect(text).toMatch(/forward mode +2 passes of 6: 12\n +reverse mode +1 pass of 5\n/);
});

test("neuron: the same gradients through simple gates and through one of our own", async () => {
  const text = await printed("neuron");
  const [simple, own] = text.split("as one gate:");
  const slope = 0.1966; // (1 - s) s at 1
  for (const part of [simple, own]) {
    for (const [name, factor] of [
      ["w0", -1],
      ["x0", 2],
      ["w1", -2],
      ["x1", -3],
      ["w2", 1],
    ] as const)
      expect(part).toMatch(new RegExp(`^${name} +leaf .* ${(factor * slope).toFixed(4)}$`, "m"));
  }
  expect(simple).toMatch(/^%13 +reciprocal +%12 +\[\] +0\.7311 +1 +scales$/m);
  expect(own).toMatch(/^%9 +ourSigmoid +%8 +\[\] +0\.7311 +1 +times \(1 - s\) s$/m);
  const [, first, second] = /at x = 1 (.*)\nbuilt in (.*)\n/.exec(own) as RegExpExecArray;
  expect(first).toBe(second);
});

test("relu-net: what the ReLU cuts off gets no gradient, and the net learns", async () => {
  const text = await printed("relu-net");
  const [, through, back, others] = /lets (\d+) of 32 .* of (\d+) of these elements, of (\d+) others/.exec(
    text,
  ) as RegExpExecArray;
  expect([back, others]).toEqual([through, "0"]);
  expect(Number(through)).toBeGreaterThan(0);
  expect(Number(through)).toBeLessThan(32);
  expect(text).toMatch(/the gates again {3}loss 0\.00\d+ {3}outputs -?0\.0\d 1\.0\d 1\.0\d -?0\.0\d\n$/);
});

test("jacobian-modes: jacobian picks the mode that takes less time and memory", async () => {
  const rows = (await printed("jacobian-modes")).split("\n").filter((line) => /^ +\d/.test(line));
  expect(rows).toHaveLength(9);
  for (const row of rows) {
    const [n, m, forward, forwardKB, reverse, reverseKB, picked] = row.trim().split(/ +/);
    expect(picked).toBe(Number(n) < Number(m) ? "forward" : "reverse");
    // At n = m, and near it on a busy machine, either may be ahead.
    if (Math.max(Number(n) / Number(m), Number(m) / Number(n)) < 16) continue;
    const isForward = picked === "forward";
    expect(Number(forward) < Number(reverse), row).toBe(isForward);
    expect(Number(forwardKB) < Number(reverseKB), row).toBe(isForward);
  }
});
