/** step.profile(): every instruction of a real step, on every worker. */
import { describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { bits, eachByItself, fresh, POOLS } from "./support.ts";

eachByItself();

const x = (): fl.Tensor =>
  fl.tensor(
    Float32Array.from({ length: 64 * 96 }, (_, i) => Math.cos(i)),
    [64, 96],
  );

function net() {
  fl.manualSeed(2);
  const layer = new fl.nn.Linear(96, 80);
  const optimizer = new fl.optim.Adam(layer.parameters());
  const step = fl.compile((input: fl.Tensor) => {
    optimizer.zeroGrad();
    const loss = layer.forward(input).square().mean();
    loss.backward();
    optimizer.step();
    return loss;
  });
  return { layer, step };
}

describe.each(POOLS)("a profile, %s", (_, options) => {
  test("is of a step that takes place, and accounts for its instructions in order", async () => {
    await fresh(options);
    const one = net();
    for (let i = 0; i < 3; i++) await one.step(x()).item();
    const t = net();
    await t.step(x()).item();
    const profile = await t.step.profile(x());
    await t.step(x()).item();
    expect(bits(await t.layer.weight.data())).toBe(bits(await one.layer.weight.data()));

    const workers = options.shared === false ? 1 : (options.workers as number);
    const { instructions, total } = profile;
    expect(instructions.some((i) => /matmul NT 64x96x80/.test(i.name) && i.shapes === "[64, 96] [96, 80]")).toBe(true);
    expect(instructions.some((i) => i.name === "adam")).toBe(true);
    const phases = Math.max(...instructions.map((i) => i.phase));
    expect(instructions.filter((i) => i.name === "barrier")).toHaveLength(phases);
    expect(total).toBeGreaterThan(0);
    for (let w = 0; w < workers; w++) {
      let end = 0;
      for (const i of instructions) {
        expect(i.workers).toHaveLength(workers);
        expect(i.workers[w].begin).toBeGreaterThanOrEqual(end - 2); // the clocks of two threads differ by a little
        expect(i.workers[w].duration).toBeGreaterThanOrEqual(0);
        end = i.workers[w].begin + i.workers[w].duration;
      }
      expect(end).toBeLessThanOrEqual(total + 1e-6);
    }
    const lines = String(profile).split("\n");
    expect(lines).toHaveLength(instructions.length + 3);
    expect(lines[0]).toContain(`worker ${workers - 1}`);
    const { traceEvents } = JSON.parse(profile.toTrace());
    expect(traceEvents).toHaveLength(instructions.length * workers);
    expect(traceEvents[0]).toMatchObject({ ph: "X", pid: 0, tid: 0 });
  });
});
