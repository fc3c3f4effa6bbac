/** What the tests of the pool share: real worker handles, damaged programs, and promises that must settle in time. */
import { platform } from "#platform";
import { afterAll, afterEach, expect } from "vitest";
import * as isa from "../../assembly/isa.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import { loops } from "../../src/compile/extensions/scan.ts";
import type { Program } from "../../src/program/program.ts";
import { mul, scale } from "../../src/ops/elementwise.ts";
import { softmax } from "../../src/ops/fused.ts";
import type { Node } from "../../src/graph/node.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { matmul } from "../../src/ops/contract.ts";
import * as fl from "../../src/index.ts";
import type { WorkerHandle } from "../../src/run/platform.ts";

/** How the pool is set up; every fault is tried on each. */
export const POOLS: [string, fl.InitOptions][] = [
  ["1 worker", { workers: 1 }],
  ["2 workers", { workers: 2 }],
  ["3 workers", { workers: 3 }],
  ["private memory", { shared: false }],
];

const realSpawn = platform.spawn;
let handles: WorkerHandle[] = [];

/** The workers started since watchSpawns, oldest first. */
export function spawned(): readonly WorkerHandle[] {
  return handles;
}

/** Records the handles of the workers that start. `replace` may put something else in a worker's place. */
export function watchSpawns(
  replace?: (index: number, real: (name: string) => WorkerHandle) => WorkerHandle | undefined,
): void {
  handles = [];
  platform.spawn = (name) => {
    const handle = replace?.(handles.length, realSpawn) ?? realSpawn(name);
    handles.push(handle);
    return handle;
  };
}

export function restoreSpawn(): void {
  platform.spawn = realSpawn;
}

/** A new runtime, whatever was in use before. */
export async function fresh(options: fl.InitOptions): Promise<fl.Info> {
  await fl.dispose();
  return fl.init(options);
}

export interface Settled {
  readonly value?: unknown;
  readonly error?: Error & Partial<fl.WorkerError & fl.IndexError & fl.OutOfMemoryError>;
  readonly ms: number;
}

/** How a promise settles; throws if it does not do so in time. */
export async function settle(promise: PromiseLike<unknown>, limit = 2000): Promise<Settled> {
  const start = performance.now();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still pending after ${limit} ms`)), limit);
  });
  const settled = Promise.resolve(promise).then(
    (value) => ({ value, ms: performance.now() - start }),
    (error) => ({ error, ms: performance.now() - start }),
  );
  try {
    return await Promise.race([settled, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** How it settles; a machine that has other things to do may stop a worker for a while, but not three times in a row. */
export async function unlessStalled(run: () => Promise<Settled>): Promise<Settled> {
  let settled = await run();
  for (let i = 0; i < 2 && settled.error?.fault === "hung"; i++) settled = await run();
  return settled;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A WorkerError, in time, that says which worker failed, how, and why. */
export function expectFault({ error, ms }: Settled, fault: fl.WorkerFault, worker: number): void {
  expect(error).toBeInstanceOf(fl.WorkerError);
  expect(error).toMatchObject({ fault, worker, code: `WORKER_${fault.toUpperCase()}` });
  expect(error?.cause).toBeInstanceOf(Error);
  expect(error?.message).toContain(`worker ${worker}`);
  expect(error?.message.length).toBeLessThan(500);
  expect(ms).toBeLessThan(2000);
}

/** A value as bits: NaN and -0 count. */
export function bits(data: fl.TypedArray): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("hex");
}

// --- training --------------------------------------------------------------------------------------------------------

const ROWS = 32;
const FEATURES = 12;
const CLASSES = 5;

export interface Training {
  readonly model: fl.nn.Sequential;
  readonly optimizer: fl.optim.Adam;
  /** One step. `burden` large matrix products are computed beside it, which change nothing but how long it takes. */
  step(labels?: fl.Tensor, burden?: number): fl.Tensor;
  /** Parameters, bit by bit. */
  parameters(): Promise<string>;
}

export const goodLabels = (): fl.Tensor => fl.tensor(Int32Array.from({ length: ROWS }, (_, i) => (i * 7) % CLASSES));

/** A small network with dropout and Adam: what a step leaves depends on all of its state. */
export function training(): Training {
  fl.manualSeed(11);
  const { nn } = fl;
  const model = new nn.Sequential(
    new nn.Linear(FEATURES, 24),
    new nn.ReLU(),
    new nn.Dropout(0.25),
    new nn.Linear(24, CLASSES),
  );
  const optimizer = new fl.optim.Adam(model.parameters(), { lr: 0.01 });
  const x = fl.tensor(
    Float32Array.from({ length: ROWS * FEATURES }, (_, i) => Math.sin(i * 1.7)),
    [ROWS, FEATURES],
  );
  const size = 512;
  const large = fl.tensor(
    Float32Array.from({ length: size * size }, (_, i) => ((i * 31) % 17) / 4096),
    [size, size],
  );
  const compiled = fl.compile((input: fl.Tensor, labels: fl.Tensor, weight: fl.Tensor | null, burden: number) => {
    optimizer.zeroGrad();
    const loss = fl.crossEntropy(model.forward(input), labels);
    loss.backward();
    optimizer.step();
    if (!weight) return [loss];
    let product = weight;
    for (let i = 0; i < burden; i++) product = product.matmul(weight);
    return [loss, product.sum()];
  });
  return {
    model,
    optimizer,
    step: (labels = goodLabels(), burden = 0) => compiled(x, labels, burden > 0 ? large : null, burden)[0],
    async parameters() {
      const all: string[] = [];
      for (const p of model.parameters()) all.push(bits(await p.data()));
      return all.join();
    },
  };
}

/** Parameters after each of some steps without a fault: their bits do not depend on the pool. */
export async function withoutFault(steps: number): Promise<string[]> {
  await fresh({ workers: 2 });
  const t = training();
  const list: string[] = [];
  for (let i = 0; i < steps; i++) {
    await t.step().item();
    list.push(await t.parameters());
  }
  await fl.dispose();
  return list;
}

/** Matrix products that keep any machine busy for some hundred milliseconds at least. */
export const BURDEN = 150;

// --- damaged programs ------------------------------------------------------------------------------------------------

/** A program of three phases with matrix products, so that workers meet at barriers. */
export function chainProgram(size = 64): Program {
  const x = leaf([size, size], "float32");
  const product = matmul(matmul(x, x), mul(x, x));
  return compileGraph({ inputs: [x], residents: [], outputs: [matmul(product, product)], updates: [] });
}

/** A loop of three steps over the same, with another loop and barriers in it. */
export function loopProgram(size = 64): Program {
  const x = leaf([size, size], "float32");
  const loopOf = (next: (h: Node) => Node): Node => {
    const h = leaf([size, size], "float32");
    return loops.lastOf(new loops.Loop(3, false, [h], [], [], [next(h)]), [x], 0);
  };
  const scaled = (h: Node): Node => scale(matmul(h, h), 1 / 64);
  const within = leaf([size, size], "float32");
  const inner = new loops.Loop(3, true, [within], [], [], [scaled(scaled(within))]);
  const out = loopOf((h) => softmax(loops.lastOf(inner, [h], 0)));
  return compileGraph({ inputs: [x], residents: [], outputs: [out], updates: [] });
}

export const chainInput = (size = 64): Float32Array =>
  Float32Array.from({ length: size * size }, (_, i) => (i % 7) - 3);

export type Damage = "address" | "opcode" | "endless";

/** The program with other words; as many instructions are expected of it. */
export const recoded = (program: Program, change: (code: number[]) => number[] | void): Program => {
  const code = [...program.code];
  return { ...program, code: Int32Array.from(change(code) ?? code) };
};

/** One sum of more terms than anybody waits for, all of which are left out. It gives no sign of life, and touches nothing. */
export function endless(lanes: number): number[] {
  const { Fold } = isa;
  const words = new Array<number>(Fold.Length).fill(0);
  words.splice(0, 4, isa.Opcode.Fold, Fold.Length, 1, lanes);
  return Object.assign(words, {
    [Fold.Out]: isa.Memory.Heap,
    [Fold.Outer]: 1,
    [Fold.Extent]: 1,
    [Fold.Windows]: 0,
    [Fold.Inner]: 4,
    [Fold.Size]: 0x7fffffff,
    [Fold.Step]: 1,
    [Fold.Dilation]: 0,
    [Fold.Block]: 1,
  });
}

/**
 * The program with an instruction put before its first barrier that harms one worker, the first or the last, while the
 * others wait there for it. One unit over L lanes is the last lane's.
 */
export function damaged(program: Program, damage: Damage, worker: "first" | "last", workers: number): Program {
  const wanted = worker === "first" ? 1 : workers;
  const code = [...program.code];
  let at = 0;
  while (code[at] !== isa.Opcode.Barrier) at += code[at + isa.At.Length];
  let extra: number[];
  if (damage === "endless") extra = endless(wanted);
  else if (damage === "opcode") extra = [999, 4, 1, wanted];
  else {
    extra = new Array<number>(isa.Reduce.Length).fill(0);
    extra.splice(0, 4, isa.Opcode.Reduce, isa.Reduce.Length, 1, wanted);
    Object.assign(extra, {
      [isa.Reduce.Out]: 0x7ff00000, // far beyond the memory
      [isa.Reduce.In]: 0x7ff00000,
      [isa.Reduce.Outer]: 4,
      [isa.Reduce.R]: 64,
      [isa.Reduce.Inner]: 1,
      [isa.Reduce.Block]: 64,
      [isa.Reduce.Blocks]: 1,
      [isa.Reduce.Grain]: 4,
    });
  }
  code.splice(at, 0, ...extra);
  const relocations = program.relocations.map((v, i) => (i % 2 === 0 && v >= at ? v + extra.length : v));
  const extraLabel = { word: at, phase: 0, op: damage, text: damage, shapes: "" };
  const labels = [
    ...program.labels.filter((l) => l.word < at),
    extraLabel,
    ...program.labels.filter((l) => l.word >= at).map((l) => ({ ...l, word: l.word + extra.length })),
  ];
  const families = [...new Set([...program.families, ...(damage === "endless" ? [isa.Family.Various] : [])])];
  const lanes = Math.max(program.lanes, workers);
  return { ...program, code: Int32Array.from(code), relocations, labels, families, lanes };
}

/** After each test nothing is left of it; fails the file if a promise is rejected and nobody listens. */
export function eachByItself(reset = (): void => {}): void {
  expectNoUnhandledRejections();
  afterEach(async () => {
    reset();
    restoreSpawn();
    await fl.dispose();
  });
}

/** Fails the file if a promise is rejected and nobody listens. */
export function expectNoUnhandledRejections(): void {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  afterAll(async () => {
    await sleep(50);
    process.off("unhandledRejection", note);
    expect(unhandled.map(String)).toEqual([]);
  });
}
