/** Every kernel gives the same bits wherever its operands and its instruction lie: around 2 GiB, and at the end of 4 GiB. */
import { expect, test } from "vitest";
import { floatBits, isa, Machine } from "./harness.ts";

const GIB = 2 ** 30;

interface Case {
  readonly length: number;
  readonly units: number;
  /** Operand words; those of `f32`, `i32` and `out` are addresses. */
  readonly words: Record<number, number>;
  readonly f32?: Record<number, number>;
  readonly i32?: Record<number, readonly number[]>;
  /** Results: how many words. */
  readonly out: Record<number, number>;
  readonly extra?: readonly number[];
}

const labels = [3, 0, 4, 2, 1, 3];
/** Statistics of six rows, two float64 each. */
const pairs = [...new Int32Array(Float64Array.from({ length: 12 }, (_, i) => 0.3 + i / 7).buffer)];
const CASES: Record<Exclude<keyof typeof isa.Opcode, "Barrier" | "Loop">, Case> = (() => {
  const {
    Map: M,
    Gemm,
    Reduce,
    Softmax,
    SoftmaxGrad,
    CrossEntropy: C,
    CrossEntropyGrad: CG,
    Gather,
    ScatterAdd: S,
  } = isa;
  const {
    Random,
    Transpose,
    Adam,
    Cumsum,
    Argsort,
    Fold,
    Product,
    Assert,
    Convolution: V,
    Winograd: W,
    WinogradTaps: T,
    Pool: P,
  } = isa;
  // 2 samples of 2 channels, 6 x 6, and 5 kernels of 3 x 3 with zeros around.
  const convolved = {
    ...{ [V.N]: 2, [V.Groups]: 1, [V.Channels]: 2, [V.Results]: 5, [V.InD]: 1, [V.InH]: 6, [V.InW]: 6 },
    ...{ [V.OutD]: 1, [V.OutH]: 6, [V.OutW]: 6, [V.TapsD]: 1, [V.TapsH]: 3, [V.TapsW]: 3 },
    ...{ [V.StrideD]: 1, [V.StrideH]: 1, [V.StrideW]: 1, [V.DilationD]: 1, [V.DilationH]: 1, [V.DilationW]: 1 },
    ...{ [V.PadD]: 0, [V.PadH]: 1, [V.PadW]: 1, [V.SpreadD]: 1, [V.SpreadH]: 1, [V.SpreadW]: 1 },
    ...{ [V.Path]: isa.ConvolutionPath.Gathered, [V.OutPlane]: 36, [V.OutStepD]: 36, [V.OutStepH]: 6, [V.OutStepW]: 1 },
    ...{ [V.KernelResult]: 18, [V.KernelChannel]: 9, [V.KernelStepH]: 3, [V.KernelStepW]: 1 },
  };
  // 2 samples of 6 channels, 4 x 8, and 5 kernels of 3 x 3 with zeros around.
  const filtered = {
    ...{ [W.N]: 2, [W.Channels]: 6, [W.Results]: 5, [W.InH]: 4, [W.InW]: 8, [W.OutH]: 4, [W.OutW]: 8 },
    ...{ [W.PadH]: 1, [W.PadW]: 1, [W.Block]: 1, [W.Pieces]: 1 },
  };
  // 2 planes of 5 x 9, windows of 3 x 3 with stride 2 and padding 1.
  const pooled = {
    ...{ [P.Planes]: 2, [P.ImageD]: 1, [P.ImageH]: 5, [P.ImageW]: 9, [P.CountD]: 1, [P.CountH]: 3, [P.CountW]: 5 },
    ...{ [P.KernelD]: 1, [P.KernelH]: 3, [P.KernelW]: 3, [P.StrideD]: 1, [P.StrideH]: 2, [P.StrideW]: 2 },
    ...{ [P.DilationD]: 1, [P.DilationH]: 1, [P.DilationW]: 1, [P.PadD]: 0, [P.PadH]: 1, [P.PadW]: 1 },
    ...{ [P.Adaptive]: 0, [P.Wide]: 1, [P.Block]: 1, [P.Pieces]: 1 },
  };
  // 2 entries of 5 queries and 7 keys, 4 elements wide, values 3.
  const { Attention: At } = isa;
  const attended = {
    ...{ [At.L]: 5, [At.S]: 7, [At.E]: 4, [At.Ev]: 3, [At.Scale]: floatBits(0.5), [At.Causal]: 1, [At.Block]: 3 },
    ...{ [At.Split]: isa.AttentionSplit.Queries, [At.OutRow]: 3, [At.QRow]: 4, [At.KRow]: 4, [At.VRow]: 3 },
    ...{ [At.GradRow]: 3, [At.ToQRow]: 4, [At.ToKRow]: 4, [At.ToVRow]: 3, [At.Rank]: 1 },
  };
  const apart = [2, 15, 20, 28, 21, 0, 15, 20, 28, 21];
  const taps = Array.from({ length: 30 }, (_, i) => 4 + (i % 2));
  return {
    // exp(x) + a broadcast view of it, written dense.
    Map: {
      length: M.Length,
      units: 2,
      words: {
        [M.N]: 24,
        [M.Grain]: 12,
        [M.Slots]: 4,
        [M.SlotsAt]: M.Length,
        [M.Micros]: 3,
        [M.MicrosAt]: M.Length + 8,
        [M.Once]: 0,
      },
      f32: { [M.Length + 3]: 24, [M.Length + 8 + 15]: 6 },
      out: { [M.Length + 1]: 24 },
      extra: [
        ...[isa.Slot.Dense, 0, isa.Slot.Dense, 0, isa.Slot.Register, 0, isa.Slot.View, M.Length + 8 + 15],
        ...[isa.Micro.LoadView, 2, 3, 0, 0],
        ...[isa.Micro.Add, 2, 2, 1, 0],
        ...[isa.Micro.Exp, 0, 2, 0, 0],
        ...[0, 4, 2, 4, 6, 0, 1],
      ],
    },
    Gemm: {
      length: Gemm.Length,
      units: 3,
      words: {
        ...{
          [Gemm.M]: 10,
          [Gemm.N]: 37,
          [Gemm.K]: 70,
          [Gemm.CRow]: 37,
          [Gemm.ARow]: 70,
          [Gemm.ACol]: 1,
          [Gemm.BRow]: 37,
        },
        ...{ [Gemm.BCol]: 1, [Gemm.Batch]: 1, [Gemm.CBatch]: 370, [Gemm.Slice]: 0, [Gemm.Block]: 4 },
      },
      f32: { [Gemm.A]: 700, [Gemm.B]: 2590 },
      out: { [Gemm.C]: 370 },
    },
    Reduce: {
      length: Reduce.Length,
      units: 2,
      words: {
        ...{ [Reduce.Outer]: 5, [Reduce.R]: 33, [Reduce.Inner]: 1, [Reduce.Block]: 33, [Reduce.Blocks]: 1 },
        ...{ [Reduce.Kind]: isa.ReduceKind.Sum, [Reduce.Grain]: 4 },
      },
      f32: { [Reduce.In]: 165 },
      out: { [Reduce.Out]: 5 },
    },
    Softmax: {
      length: Softmax.Length,
      units: 2,
      words: { [Softmax.Rows]: 6, [Softmax.Cols]: 7, [Softmax.Log]: 0, [Softmax.Block]: 4 },
      f32: { [Softmax.In]: 42 },
      out: { [Softmax.Out]: 42 },
    },
    SoftmaxGrad: {
      length: SoftmaxGrad.Length,
      units: 2,
      words: { [SoftmaxGrad.Rows]: 6, [SoftmaxGrad.Cols]: 7, [SoftmaxGrad.Log]: 1, [SoftmaxGrad.Block]: 4 },
      f32: { [SoftmaxGrad.Y]: 42, [SoftmaxGrad.G]: 42 },
      out: { [SoftmaxGrad.Out]: 42 },
    },
    CrossEntropy: {
      length: C.Length,
      units: 2,
      words: { [C.Rows]: 6, [C.Cols]: 5, [C.Ignore]: -100, [C.Block]: 4 },
      f32: { [C.X]: 30 },
      i32: { [C.Label]: labels },
      out: { [C.Out]: 6 },
    },
    CrossEntropyGrad: {
      length: CG.Length,
      units: 2,
      words: { [CG.Rows]: 6, [CG.Cols]: 5, [CG.Ignore]: -100, [CG.Block]: 4 },
      f32: { [CG.X]: 30, [CG.G]: 6 },
      i32: { [CG.Label]: labels },
      out: { [CG.Out]: 30 },
    },
    Gather: {
      length: Gather.Length,
      units: 2,
      words: {
        ...{ [Gather.Outer]: 1, [Gather.Rows]: 6, [Gather.Bound]: 5, [Gather.Inner]: 9, [Gather.IndexOuter]: 0 },
        ...{ [Gather.IndexRow]: 1, [Gather.IndexInner]: 0, [Gather.Block]: 4 },
      },
      f32: { [Gather.In]: 45 },
      i32: { [Gather.Index]: labels },
      out: { [Gather.Out]: 54 },
    },
    ScatterAdd: {
      length: S.Length,
      units: 2,
      words: {
        ...{ [S.Outer]: 1, [S.Rows]: 6, [S.Bound]: 5, [S.Inner]: 9, [S.IndexOuter]: 0, [S.IndexRow]: 1 },
        ...{ [S.IndexInner]: 0, [S.Kind]: isa.ScatterKind.Sum, [S.Block]: 4 },
      },
      f32: { [S.In]: 54 },
      i32: { [S.Index]: labels },
      out: { [S.Out]: 45 },
    },
    Random: {
      length: Random.Length,
      units: 3,
      words: {
        ...{ [Random.Draw]: 2, [Random.N]: 37, [Random.Kind]: isa.RandomKind.Normal, [Random.A]: 0 },
        ...{ [Random.B]: floatBits(1), [Random.Grain]: 16 },
      },
      i32: { [Random.State]: [1, 2, 3] },
      out: { [Random.Out]: 37 },
    },
    Transpose: {
      length: Transpose.Length,
      units: 3,
      words: { [Transpose.Batch]: 1, [Transpose.Rows]: 7, [Transpose.Cols]: 9, [Transpose.Block]: 4 },
      f32: { [Transpose.In]: 63 },
      out: { [Transpose.Out]: 63 },
    },
    Adam: {
      length: Adam.Length,
      units: 2,
      words: {
        ...{ [Adam.N]: 21, [Adam.Grain]: 16, [Adam.Beta1]: floatBits(0.9), [Adam.Rest1]: floatBits(0.1) },
        ...{ [Adam.Beta2]: floatBits(0.99), [Adam.Rest2]: floatBits(0.01), [Adam.Eps]: floatBits(1e-8) },
      },
      f32: { [Adam.W]: 21, [Adam.M]: 21, [Adam.V]: 21, [Adam.G]: 21, [Adam.StepSize]: 1, [Adam.Root]: 1 },
      out: { [Adam.NewW]: 21, [Adam.NewM]: 21, [Adam.NewV]: 21 },
    },
    Cumsum: {
      length: Cumsum.Length,
      units: 1,
      words: {
        [Cumsum.Outer]: 2,
        [Cumsum.R]: 9,
        [Cumsum.Inner]: 3,
        [Cumsum.Reverse]: 1,
        [Cumsum.Integer]: 0,
        [Cumsum.Grain]: 16,
      },
      f32: { [Cumsum.In]: 54 },
      out: { [Cumsum.Out]: 54 },
    },
    Argsort: {
      length: Argsort.Length,
      units: 3,
      words: {
        [Argsort.Rows]: 3,
        [Argsort.Cols]: 40,
        [Argsort.Descending]: 0,
        [Argsort.Integer]: 0,
        [Argsort.Block]: 1,
      },
      f32: { [Argsort.In]: 120 },
      out: { [Argsort.Out]: 120, [Argsort.Spare]: 120 },
    },
    Fold: {
      length: Fold.Length,
      units: 4,
      words: {
        ...{ [Fold.Outer]: 2, [Fold.Extent]: 8, [Fold.Windows]: 6, [Fold.Inner]: 2, [Fold.Size]: 3, [Fold.Step]: 1 },
        ...{ [Fold.Dilation]: 1, [Fold.Block]: 4 },
      },
      f32: { [Fold.In]: 72 },
      out: { [Fold.Out]: 32 },
    },
    Convolution: {
      length: V.Length,
      units: 2,
      words: { ...convolved, [V.Block]: 1, [V.Pieces]: 1 },
      f32: { [V.In]: 144, [V.Kernels]: 90 },
      out: { [V.Out]: 360 },
    },
    ConvolutionKernel: {
      length: V.Length,
      units: 2,
      words: { ...convolved, [V.Block]: 1, [V.Pieces]: 1 },
      f32: { [V.In]: 144, [V.Kernels]: 360 },
      out: { [V.Out]: 180 },
    },
    Winograd: {
      length: W.Length,
      units: 2,
      words: filtered,
      f32: { [W.In]: 384, [W.Kernels]: 36 * 80 },
      out: { [W.Out]: 320 },
    },
    WinogradTaps: {
      length: T.Length,
      units: 1,
      words: { [T.Channels]: 6, [T.Results]: 5, [T.Adjoint]: 1 },
      f32: { [T.Taps]: 270 },
      out: { [T.Out]: 36 * 48 },
    },
    WinogradKernel: {
      length: W.Length,
      units: 2,
      words: filtered,
      f32: { [W.In]: 384, [W.Kernels]: 320 },
      out: { [W.Out]: 540, [W.Sums]: 2 * 36 * 64 },
    },
    Norm: {
      length: isa.Norm.Length,
      units: 2,
      words: {
        ...{ [isa.Norm.A]: 1, [isa.Norm.Rows]: 6, [isa.Norm.Groups]: 2, [isa.Norm.Channels]: 3, [isa.Norm.Places]: 5 },
        ...{ [isa.Norm.Eps]: floatBits(1e-5), [isa.Norm.Centered]: 1, [isa.Norm.Block]: 4 },
        [isa.Norm.Stage]: isa.NormStage.Measure | isa.NormStage.Apply,
      },
      f32: { [isa.Norm.In]: 90, [isa.Norm.Weight]: 6, [isa.Norm.Bias]: 6 },
      out: { [isa.Norm.Out]: 90, [isa.Norm.Statistics]: 24, [isa.Norm.Moments]: 12 },
    },
    NormGrad: {
      length: isa.NormGrad.Length,
      units: 2,
      words: {
        ...{ [isa.NormGrad.A]: 1, [isa.NormGrad.Rows]: 6, [isa.NormGrad.Groups]: 2, [isa.NormGrad.Channels]: 3 },
        ...{ [isa.NormGrad.Places]: 5, [isa.NormGrad.Centered]: 1, [isa.NormGrad.Block]: 4 },
        [isa.NormGrad.Stage]: isa.NormStage.Measure | isa.NormStage.Apply,
      },
      f32: { [isa.NormGrad.In]: 90, [isa.NormGrad.Grad]: 90, [isa.NormGrad.Weight]: 6 },
      i32: { [isa.NormGrad.Statistics]: pairs },
      out: { [isa.NormGrad.Out]: 90, [isa.NormGrad.Sums]: 36 },
    },
    NormParameters: {
      length: isa.NormParameters.Length,
      units: 8,
      words: {
        ...{ [isa.NormParameters.Rows]: 6, [isa.NormParameters.Groups]: 2, [isa.NormParameters.Channels]: 17 },
        [isa.NormParameters.Block]: 2,
      },
      f32: { [isa.NormParameters.In]: 102, [isa.NormParameters.Grad]: 102 },
      i32: { [isa.NormParameters.Statistics]: pairs },
      out: { [isa.NormParameters.Out]: 136 },
    },
    Attention: {
      length: isa.Attention.Length,
      units: 4,
      words: attended,
      extra: apart,
      f32: { [isa.Attention.Q]: 40, [isa.Attention.K]: 56, [isa.Attention.V]: 42 },
      out: { [isa.Attention.Out]: 30, [isa.Attention.Statistics]: 20 },
    },
    AttentionGrad: {
      length: isa.Attention.Length,
      units: 2,
      words: { ...attended, [isa.Attention.Split]: isa.AttentionSplit.None },
      extra: apart,
      f32: {
        ...{ [isa.Attention.Q]: 40, [isa.Attention.K]: 56, [isa.Attention.V]: 42 },
        ...{ [isa.Attention.Out]: 30, [isa.Attention.Grad]: 30, [isa.Attention.Statistics]: 20 },
      },
      out: { [isa.Attention.ToQ]: 40, [isa.Attention.ToK]: 56, [isa.Attention.ToV]: 42 },
    },
    Product: {
      length: Product.Length,
      units: 2,
      words: {
        ...{
          [Product.M]: 6,
          [Product.N]: 5,
          [Product.K]: 11,
          [Product.ARow]: 11,
          [Product.ACol]: 1,
          [Product.BRow]: 5,
        },
        ...{ [Product.BCol]: 1, [Product.Batch]: 1, [Product.Block]: 4, [Product.Integer]: 0 },
      },
      f32: { [Product.A]: 66, [Product.B]: 55 },
      out: { [Product.C]: 30 },
    },
    MaxPool: {
      length: P.Length,
      units: 2,
      words: pooled,
      f32: { [P.In]: 90 },
      out: { [P.Out]: 30, [P.Taps]: 30 },
    },
    TakeTaps: {
      length: P.Length,
      units: 2,
      words: pooled,
      f32: { [P.In]: 90 },
      i32: { [P.Taps]: taps },
      out: { [P.Out]: 30 },
    },
    PutTaps: {
      length: P.Length,
      units: 2,
      words: pooled,
      f32: { [P.In]: 30 },
      i32: { [P.Taps]: taps },
      out: { [P.Out]: 90 },
    },
    SumWindows: { length: P.Length, units: 2, words: pooled, f32: { [P.In]: 90 }, out: { [P.Out]: 30 } },
    SpreadWindows: { length: P.Length, units: 2, words: pooled, f32: { [P.In]: 30 }, out: { [P.Out]: 90 } },
    Assert: {
      length: Assert.Length,
      units: 1,
      words: { [Assert.N]: 6, [Assert.Code]: isa.FaultCode.NonFinite },
      i32: { [Assert.In]: labels },
      out: { [Assert.Out]: 6 },
    },
  };
})();

/** The results of a case by a machine whose blocks begin at an address. */
function results(machine: Machine, c: Case, opcode: isa.Opcode, from: number): number[][] {
  machine.reset(from);
  const words: Record<number, number> = { ...c.words };
  c.extra?.forEach((v, i) => (words[c.length + i] = v));
  let seed = 1;
  const random = (): number => ((seed = (seed * 16807) % 2147483647) / 2147483647) * 2 - 0.9;
  for (const [w, n] of Object.entries(c.f32 ?? {})) words[Number(w)] = machine.f32(Array.from({ length: n }, random));
  for (const [w, values] of Object.entries(c.i32 ?? {})) words[Number(w)] = machine.i32(values);
  const outs = Object.entries(c.out).map(([w, n]) => [(words[Number(w)] = machine.alloc(n * 4)), n]);
  const ip = machine.instruction(opcode, c.length + (c.extra?.length ?? 0), c.units, words);
  machine.run(ip, 2);
  machine.checkGuards();
  return outs.map(([address, n]) => [...machine.readI32(address, n)]);
}

test.each(["plain", "relaxed"])("%s kernels, around 2 GiB and at the end of 4", (variant) => {
  const machine = new Machine(variant, 65536);
  for (const [name, c] of Object.entries(CASES)) {
    const opcode = isa.Opcode[name as keyof typeof isa.Opcode];
    const want = results(machine, c, opcode, 2 ** 20);
    expect(want.flat().some((v) => v !== 0)).toBe(true);
    for (const from of [2 * GIB - 8192, 2 * GIB - 2000, 2 * GIB - 256, 2 * GIB, 3 * GIB, 4 * GIB - 2 * 65536])
      expect(results(machine, c, opcode, from), `${name} at ${from}`).toEqual(want);
  }
});
