/** What the bench says of its networks follows from their layers: operations, parameters, shapes. */
import { expect, test } from "vitest";
import * as fl from "../../src/index.ts";

interface Workload {
  readonly name: string;
  readonly input: readonly number[];
  readonly batch: number;
  /** Of how many its data are indices, if they are. */
  readonly kinds?: number;
}

const { flopOf, layersOf } = (await import("../../bench/networks.js" as string)) as {
  flopOf(workload: Workload): number;
  layersOf(workload: Workload): readonly { readonly output: readonly number[] }[];
};
const { parameterCount, WORKLOADS } = (await import("../../bench/workloads.js" as string)) as {
  parameterCount(workload: Workload): number;
  WORKLOADS: readonly Workload[];
};
const { networkOf } = (await import("../../bench/engines/commands.js" as string)) as {
  networkOf(
    nn: typeof fl.nn,
    layers: unknown,
  ): { readonly forward: (x: fl.Tensor) => fl.Tensor; readonly modules: readonly fl.nn.Module[] };
};

const named = (name: string): Workload => WORKLOADS.find((workload) => workload.name === name) as Workload;

test("operations are those of the products, the first layer's without a gradient of the data", () => {
  const mlp = 2 * 64 * (2 * 784 * 128 + 3 * 128 * 10);
  expect(flopOf(named("mlp"))).toBe(mlp);
  const conv = (pixels: number, from: number, to: number): number => 2 * 32 * pixels * 9 * from * to;
  const cifar = 2 * conv(1024, 3, 32) + 3 * conv(256, 32, 64) + 3 * conv(64, 64, 64) + 3 * 2 * 32 * 1024 * 10;
  expect(flopOf(named("cifar"))).toBe(cifar);
  const depthwise = (pixels: number, channels: number): number => 2 * 32 * pixels * 9 * channels;
  const pointwise = (pixels: number, from: number, to: number): number => 2 * 32 * pixels * from * to;
  const blocks =
    depthwise(1024, 32) + pointwise(1024, 32, 32) + depthwise(256, 32) + pointwise(256, 32, 64) + depthwise(256, 64);
  const rest = pointwise(256, 64, 64) + depthwise(64, 64) + pointwise(64, 64, 128) + depthwise(64, 128);
  const mobile = 2 * conv(1024, 3, 32) + 3 * (blocks + rest + pointwise(64, 128, 128) + 2 * 32 * 128 * 10);
  expect(flopOf(named("mobile"))).toBe(mobile);
});

test.each(WORKLOADS.map((workload) => [workload.name, workload] as const))(
  "%s has the shapes and as many parameters as its layers say",
  (_, workload) => {
    const layers = layersOf(workload);
    const { forward, modules } = networkOf(fl.nn, layers);
    const dtype = workload.kinds ? "int32" : "float32";
    expect(forward(fl.zeros([2, ...workload.input], { dtype })).shape).toEqual([2, ...(layers.at(-1)?.output ?? [])]);
    const count = modules.flatMap((module) => module.parameters()).reduce((n, p) => n + p.numel(), 0);
    expect(parameterCount(workload)).toBe(count);
  },
);

test("ResNet-20 with option B has the parameters it is known for", () => {
  expect(parameterCount(named("resnet"))).toBe(272_474);
});
