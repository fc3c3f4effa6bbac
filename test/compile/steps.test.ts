/** The steps of the bench: no columns of windows in any plan, arenas near their lower bound, bits that no pool changes. */
import { afterAll, describe, expect, test } from "vitest";
import * as isa from "../../assembly/isa.ts";
import { compileBody } from "../../src/compile/compile.ts";
import { fuse } from "../../src/compile/fuse.ts";
import { lower } from "../../src/compile/lower/index.ts";
import { match } from "../../src/compile/match.ts";
import { partition } from "../../src/compile/partition.ts";
import { plan } from "../../src/compile/plan.ts";
import { simplify } from "../../src/compile/simplify.ts";
import * as fl from "../../src/index.ts";
import { record } from "../../src/trace/record.ts";

afterAll(() => fl.dispose());

interface Layer {
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly weight?: readonly number[];
  readonly kernel?: number;
}

interface Workload {
  readonly name: string;
  readonly input: readonly number[];
  readonly batch: number;
}

interface Network {
  readonly forward: (x: fl.Tensor) => fl.Tensor;
  readonly modules: readonly fl.nn.Module[];
}

const { flat, layersOf } = (await import("../../bench/networks.js" as string)) as {
  flat(layers: readonly Layer[]): readonly Layer[];
  layersOf(workload: Workload): readonly Layer[];
};
const { batchOf, WORKLOADS } = (await import("../../bench/workloads.js" as string)) as {
  batchOf(workload: Workload): { x: Float32Array; shape: number[]; y: Int32Array; rows: number[] };
  WORKLOADS: readonly Workload[];
};
const { networkOf } = (await import("../../bench/engines/commands.js" as string)) as {
  networkOf(nn: typeof fl.nn, layers: readonly Layer[]): Network;
};

/** A step of a workload, its arguments, and the parameters it changes. */
function stepOf(workload: Workload) {
  const { forward, modules } = networkOf(fl.nn, layersOf(workload));
  const parameters = modules.flatMap((module) => module.parameters());
  const optimizer = new fl.optim.Adam(parameters);
  const { x, shape, y, rows } = batchOf(workload);
  const step = (x: fl.Tensor, y: fl.Tensor): fl.Tensor => {
    optimizer.zeroGrad();
    const loss = fl.crossEntropy(forward(x).flatten(0, -2), y.flatten());
    loss.backward();
    optimizer.step();
    return loss;
  };
  const args: [fl.Tensor, fl.Tensor] = [fl.tensor(x, shape), fl.tensor(y, rows)];
  return { step, args, modules };
}

/** The instructions and the plan of a function's program. */
function planned(step: (...args: fl.Tensor[]) => fl.Tensor, args: fl.Tensor[]) {
  const simple = simplify(record(step, args).graph);
  const low = lower(simple, match(simple, fuse(simple)), compileBody);
  const schedule = partition(low.instrs);
  return { low, schedule, plan: plan(low.buffers, low.homes, schedule) };
}

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const floats = (workload: Workload, shape: readonly number[]): number => 4 * workload.batch * size(shape);

/**
 * Buffers that hold windows side by side: those of the size of a layer's, and what an instruction other than elementwise work makes
 * of less than a quarter as many bytes (of one element that is spread, nothing), unless it has the size of what a layer sees or
 * computes (a mean's gradient is spread over its pixels), or is kernels, or sums for them, at the points of minimal filtering.
 */
function columns(workload: Workload, { low }: ReturnType<typeof planned>): string[] {
  const layers = flat(layersOf(workload));
  const activations = new Set(layers.flatMap(({ input, output }) => [input, output].map((s) => floats(workload, s))));
  const whole = new Set(
    layers.flatMap(({ kernel = 1, weight, output }) =>
      kernel > 1 && weight ? [floats(workload, [size(output.slice(1)), size(weight.slice(1))])] : [],
    ),
  );
  return low.instrs.flatMap(({ opcode, reads, writes, text }) => {
    const most = Math.max(0, ...reads.map(({ buffer }) => buffer.bytes));
    const exempt =
      (opcode === isa.Opcode.Map && text !== "copy") ||
      opcode === isa.Opcode.WinogradTaps ||
      opcode === isa.Opcode.WinogradKernel;
    const made = writes.filter(
      ({ buffer: { bytes } }) =>
        whole.has(bytes) || (!exempt && most > 4 && bytes > 4 * most && !activations.has(bytes)),
    );
    return made.map(({ buffer }) => `${text} makes ${buffer.bytes} bytes of ${most}`);
  });
}

describe("a plan of the bench's steps", () => {
  test("columns are found where there are some", () => {
    const workload = WORKLOADS.find(({ name }) => name === "cnn") as Workload;
    const windows = (x: fl.Tensor): fl.Tensor => fl.nn.functional.unfold(x, 3, { padding: 1 }).cumsum(2);
    const { x, shape } = batchOf(workload);
    expect(columns(workload, planned(windows, [fl.tensor(x, shape)])).length).toBeGreaterThan(0);
  });

  test.each(WORKLOADS.map((workload) => [workload.name, workload] as const))(
    "%s: no columns, and an arena near its lower bound",
    (_, workload) => {
      // What the test above looks for has no layer's size.
      const layers = flat(layersOf(workload));
      const sizes = layers.flatMap(({ input, output }) => [size(input), size(output)]);
      for (const { kernel = 1, weight, output } of layers)
        if (kernel > 1 && weight) expect(sizes).not.toContain(size(output.slice(1)) * size(weight.slice(1)));

      const { step, args } = stepOf(workload);
      const program = planned(step as (...args: fl.Tensor[]) => fl.Tensor, args);
      if (workload.input.length === 3) expect(columns(workload, program)).toEqual([]);
      expect(program.plan.bytes).toBeGreaterThan(0);
      expect(program.plan.bytes / program.plan.lowerBound).toBeLessThanOrEqual(1.05);
    },
  );
});

test("steps of the bench give the same bits for 1, 2, 3 and 4 workers", async () => {
  const bits = async (workers: number): Promise<[string, Uint8Array][]> => {
    await fl.dispose();
    await fl.init({ workers });
    const found: [string, Uint8Array][] = [];
    for (const workload of WORKLOADS) {
      // An odd number of samples, so that no pool cuts them evenly.
      const { step, args, modules } = stepOf({ ...workload, batch: 9 });
      const compiled = fl.compile(step);
      compiled(...args);
      const loss = await compiled(...args).item();
      expect(loss, workload.name).toBeGreaterThan(0);
      for (const [i, module] of modules.entries())
        for (const [key, value] of Object.entries(module.stateDict())) {
          const { buffer, byteOffset, byteLength } = await value.data();
          found.push([`${workload.name}, module ${i}, ${key}`, new Uint8Array(buffer, byteOffset, byteLength).slice()]);
        }
    }
    return found;
  };
  const one = await bits(1);
  expect(one.length).toBeGreaterThan(150);
  for (const workers of [2, 3, 4])
    for (const [i, [name, got]] of (await bits(workers)).entries())
      expect(Buffer.compare(got, one[i][1]), `${name}, ${workers} workers`).toBe(0);
});
