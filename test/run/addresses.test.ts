/** Memory beyond 2 GiB, where addresses are no positive 32-bit integers any more; and programs that would do nothing. */
import { describe, expect, test } from "vitest";
import * as isa from "../../assembly/isa.ts";
import * as fl from "../../src/index.ts";
import { session } from "../../src/run/active.ts";
import { Allocator } from "../../src/run/memory.ts";
import {
  chainInput,
  chainProgram,
  expectFault,
  eachByItself,
  fresh,
  settle,
  unlessStalled,
  training,
} from "./support.ts";

eachByItself(() => {
  Allocator.from = 0;
});

const GIB = 2 ** 30;
const POOLS: [string, fl.InitOptions][] = [
  ["2 workers", { workers: 2 }],
  ["private memory", { shared: false }],
];
/** Where the first block lies; what follows it crosses 2 GiB, or ends with the memory. */
const PLACES: [string, number][] = [
  ["just below 2 GiB", 2 * GIB - 4096],
  ["beyond 2 GiB", 2 * GIB + 64],
  ["beyond 3 GiB", 3 * GIB],
  ["in the last pages", 4 * GIB - 24 * 65536],
];

describe.each(POOLS)("memory %s", (_, options) => {
  test.each(PLACES)(
    "that begins %s: training, reading, faults and profiles are what they are elsewhere",
    async (_, from) => {
      const run = async (): Promise<unknown[]> => {
        const t = training();
        for (let i = 0; i < 3; i++) await t.step().item();
        const values = fl.arange(3000).mul(0.5).sin();
        const sorted = values.sort()[0].cumsum(0);
        const picked = values.indexSelect(0, fl.tensor(Int32Array.of(5, 2999, 0)));
        const bad = await settle(values.indexSelect(0, fl.tensor(Int32Array.of(3, 4000))).data());
        const step = fl.compile((x: fl.Tensor) => x.matmul(x.t()).softmax().sum());
        const profile = await step.profile(values.reshape(60, 50));
        const bytes = fl.tensor([1, 2, 300 % 256], { dtype: "uint8" }).add(fl.tensor([1, 2, 3], { dtype: "uint8" }));
        const gradient = fl.grad((x: fl.Tensor) =>
          fl.nn.functional
            .conv2d(x, fl.ones([2, 1, 3, 3]))
            .tanh()
            .sum(),
        );
        // A loop whose parts cross 2 GiB, one in it, backward, and a fault in a step.
        const layer = new fl.nn.LSTM(20, 64);
        const looped = fl.grad((x: fl.Tensor) => {
          const [all] = layer.forward(x);
          const inner = (c: fl.Tensor, row: fl.Tensor): [fl.Tensor, null] => [c.add(row).tanh(), null];
          return fl
            .scan((c: fl.Tensor, rows: fl.Tensor) => [fl.scan(inner, c, rows)[0], c], fl.zeros([64]), all)[1]
            .sum();
        })(values.slice([0], [2400]).reshape(30, 4, 20));
        const steps = fl.tensor(Int32Array.of(1, 2, 4000, 4001));
        const far = await settle(
          fl
            .scan(
              (c: fl.Tensor, i: fl.Tensor) => [values.indexSelect(0, i.reshape(1)).add(c), null],
              fl.zeros([1]),
              steps,
            )[0]
            .data(),
        );
        return [
          await t.parameters(),
          await looped.array(),
          [far.error?.name, far.error?.message],
          await Promise.all(
            [sorted, picked, bytes, gradient(values.slice([0], [64]).reshape(1, 1, 8, 8))].map((v) => v.array()),
          ),
          [bad.error?.name, bad.error?.message],
          profile.instructions.length,
          await fl.rand([100]).sum().item(),
        ];
      };
      await fresh({ ...options, math: "portable" });
      fl.manualSeed(1);
      const want = await run();
      for (const place of [2, 4]) expect((want[place] as string[])[0]).toBe("IndexError");
      Allocator.from = from;
      await fresh({ ...options, math: "portable" });
      fl.manualSeed(1);
      expect(await run()).toEqual(want);
      const { top } = (await session().ready()).allocator;
      expect(top).toBeGreaterThan(from);
      expect(top).toBeLessThanOrEqual(4 * GIB - 65536);
    },
  );

  test("of which 4 GiB are used: an OutOfMemoryError, and the rest goes on", async () => {
    Allocator.from = 4 * GIB - 4 * 2 ** 20;
    await fresh(options);
    expect(
      (
        await settle(
          fl
            .ones([2 * 2 ** 20])
            .mul(2)
            .data(),
          10_000,
        )
      ).error,
    ).toBeInstanceOf(fl.OutOfMemoryError);
    expect(await fl.tensor([1, 2, 3]).mul(2).array()).toEqual([2, 4, 6]);
  });
});

test("twelve parameters of 128 MiB in two places each: small results beside them are right", async () => {
  // The places are handed out, but only written where a program writes: the system counts what is touched.
  await fresh({ workers: 2 });
  const { allocator } = await session().ready();
  const blocks = Array.from({ length: 24 }, () => allocator.alloc(2 ** 27));
  expect(await fl.tensor([1, 2, 3]).mul(2).array()).toEqual([2, 4, 6]);
  expect(await fl.zeros([5]).exp().sum().item()).toBe(5);
  for (const block of blocks) allocator.free(block);
});

describe("what is no size", () => {
  test.each([Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY, undefined, "64"])(
    "%s is refused, and harms nothing",
    (size) => {
      const allocator = new Allocator(1024, 2 ** 20);
      const first = allocator.alloc(64);
      expect(() => allocator.alloc(size as number)).toThrow(fl.FourlaneError);
      expect(allocator.alloc(64)).toBe(first + 64);
      expect(() => allocator.alloc(2 ** 40)).toThrow(fl.OutOfMemoryError);
      expect(allocator.top).toBe(first + 128);
    },
  );
});

describe.each(POOLS)("a program that would do nothing, %s", (_, options) => {
  const run = (program: ReturnType<typeof chainProgram>): Promise<fl.TypedArray[]> =>
    session().launch(program, { inputs: [chainInput()], residents: [], updates: [] });
  const good = chainProgram();
  const cut = (change: (code: Int32Array) => Int32Array): typeof good => ({ ...good, code: change(good.code.slice()) });
  const wrong: [string, typeof good][] = [
    ["of no length", { ...cut((code) => code.subarray(0, 0)), relocations: new Int32Array() }],
    ["whose first instruction has no length", cut((code) => ((code[isa.At.Length] = 0), code))],
    ["whose first instruction has a negative length", cut((code) => ((code[isa.At.Length] = -8), code))],
    [
      "whose last instruction is longer than the program",
      cut((code) => ((code[lastOf(code) + isa.At.Length] += 4), code)),
    ],
    ["of an instruction nobody knows", cut((code) => ((code[isa.At.Opcode] = 999), code))],
  ];
  test.each(wrong)("%s: the step fails, and the pool goes on", async (_, program) => {
    await fresh(options);
    const [expected] = await run(good);
    const { error, ms } = await settle(run(program));
    expectFault({ error, ms }, "trap", (error as fl.WorkerError).worker);
    expect((await run(good))[0]).toEqual(expected);
  });

  test("because its results are empty or given: they come", async () => {
    await fresh(options);
    const x = fl.tensor([1, 2]);
    expect(
      await fl
        .compile((t: fl.Tensor) => t.narrow(0, 0, 0).mul(2))(x)
        .array(),
    ).toEqual([]);
    expect(
      await fl
        .compile((t: fl.Tensor) => t)(x)
        .array(),
    ).toEqual([1, 2]);
    expect(
      await fl
        .zeros([0, 3])
        .matmul(fl.zeros([3, 4]))
        .data(),
    ).toHaveLength(0);
    expect(fl.compile(() => [])()).toEqual([]);
  });
});

/** Word of the last instruction. */
function lastOf(code: Int32Array): number {
  let at = 0;
  while (at + code[at + isa.At.Length] < code.length) at += code[at + isa.At.Length];
  return at;
}

describe.each([
  ["1 worker", { workers: 1 }],
  ["2 workers", { workers: 2 }],
  ["private memory", { shared: false }],
])("an instruction that takes longer than workers may stand still is not hung, %s", (_, options) => {
  const n = 2 ** 24;
  const long: [string, () => fl.Tensor][] = [
    [
      "a product",
      () =>
        fl
          .rand([1800, 1800])
          .matmul(fl.rand([1800, 1800]))
          .mean(),
    ],
    [
      "a sort",
      () =>
        fl
          .arange(n / 4)
          .mul(7919)
          .remainder(n)
          .sort()[0]
          .slice([0], [1]),
    ],
    [
      "running sums",
      () =>
        fl
          .arange(2 * n)
          .cumsum(0)
          .slice([0], [1]),
    ],
    [
      "functions of elements",
      () =>
        fl
          .arange(2 * n)
          .mul(1e-6)
          .sin()
          .tan()
          .erf()
          .tan()
          .sin()
          .tan()
          .erf()
          .tan()
          .sum(),
    ],
    ["random numbers", () => fl.randn([2 * n]).sum()],
  ];
  test.each(long)("%s", async (name, make) => {
    await fresh({ ...options, hangTimeout: 100 });
    const start = performance.now();
    const { error, value } = await unlessStalled(() => settle(make().item(), 60_000));
    expect(error).toBeUndefined();
    expect(value).toEqual(expect.any(Number));
    // On a machine so fast that this says nothing the work must grow. (Sums wait for memory, more of it would make no test.)
    expect(performance.now() - start).toBeGreaterThan(name === "running sums" ? 40 : 100);
  });
});
