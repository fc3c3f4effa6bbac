/** What is around an image, on the raw kernels of each path: read where it came from, and nothing else is touched. */
import { describe, expect, it } from "vitest";
import { floats, isa, Machine, placeIn, random } from "./harness.ts";

const { Border, Convolution: V, ConvolutionPath: Path, Opcode } = isa;

interface Sizes {
  readonly n: number;
  readonly groups: number;
  /** Of a group. */
  readonly c: number;
  readonly o: number;
  readonly size: readonly [number, number];
  readonly taps: readonly [number, number];
  readonly pad: readonly [number, number];
  readonly stride: number;
  readonly around: isa.Border;
}

const outer = ({ size, taps, pad, stride }: Sizes): number[] =>
  size.map((d, i) => Math.floor((d + 2 * pad[i] - taps[i]) / stride) + 1);

/** Calls f with the numbers of each product's element, tap and place. */
function eachProduct(s: Sizes, f: (x: number, w: number, y: number) => void): void {
  const { n, groups, c, o, size, taps, pad, stride, around } = s;
  const [h, w] = outer(s);
  for (let b = 0; b < n; b++)
    for (let j = 0; j < groups * o; j++)
      for (let i = 0; i < c; i++)
        for (let t = 0; t < taps[0] * taps[1]; t++)
          for (let q = 0; q < h * w; q++) {
            const y = placeIn(Math.floor(q / w) * stride + Math.floor(t / taps[1]) - pad[0], size[0], around);
            const z = placeIn((q % w) * stride + (t % taps[1]) - pad[1], size[1], around);
            if (y < 0 || z < 0) continue;
            const plane = b * groups * c + Math.floor(j / o) * c + i;
            f(
              (plane * size[0] + y) * size[1] + z,
              (j * c + i) * taps[0] * taps[1] + t,
              (b * groups * o + j) * h * w + q,
            );
          }
}

describe.each(["plain", "relaxed"])("convolutions, %s", (variant) => {
  const m = new Machine(variant);

  function check(s: Sizes, path: isa.ConvolutionPath): void {
    m.reset();
    const { n, groups, c, o, size, taps, pad, stride, around } = s;
    const [h, w] = outer(s);
    const next = random(h * w + c + o);
    const values = (count: number): Float32Array => Float32Array.from({ length: count }, () => 2 * next() - 1);
    const k = taps[0] * taps[1];
    const [x, kernels, back] = [n * groups * c * size[0] * size[1], groups * o * c * k, n * groups * o * h * w].map(
      values,
    );
    new Float32Array(m.memory.buffer, m.scratch, isa.Scratch.Bytes / 4).fill(Number.NaN);
    const words = {
      ...{ [V.In]: m.f32(x, 4), [V.N]: n, [V.Groups]: groups, [V.Channels]: c, [V.Results]: o, [V.Around]: around },
      ...{ [V.InD]: 1, [V.InH]: size[0], [V.InW]: size[1], [V.OutD]: 1, [V.OutH]: h, [V.OutW]: w },
      ...{ [V.TapsD]: 1, [V.TapsH]: taps[0], [V.TapsW]: taps[1], [V.StrideD]: 1, [V.StrideH]: stride },
      ...{ [V.StrideW]: stride, [V.DilationD]: 1, [V.DilationH]: 1, [V.DilationW]: 1, [V.PadD]: 0, [V.PadH]: pad[0] },
      ...{ [V.PadW]: pad[1], [V.SpreadD]: 1, [V.SpreadH]: 1, [V.SpreadW]: 1, [V.Path]: path, [V.Block]: 1 },
      ...{ [V.Pieces]: 1, [V.OutPlane]: h * w, [V.OutStepD]: h * w, [V.OutStepH]: w, [V.OutStepW]: 1 },
      ...{ [V.KernelGroup]: o * c * k, [V.KernelResult]: c * k, [V.KernelChannel]: k, [V.KernelStepD]: k },
      ...{ [V.KernelStepH]: taps[1], [V.KernelStepW]: 1 },
    };
    const near = (got: Float32Array, want: Float64Array): void => {
      const most = want.reduce((worst, v, i) => Math.max(worst, Math.abs(v - got[i])), 0);
      const what = `${Path[path]} ${JSON.stringify(s)}`;
      expect(got.every(Number.isFinite), what).toBe(true);
      expect(most, what).toBeLessThan(1e-5);
    };
    const y = new Float64Array(back.length);
    eachProduct(s, (i, t, q) => {
      y[q] += x[i] * kernels[t];
    });
    const out = m.alloc(y.length * 4, 8);
    const operands = { ...words, [V.Kernels]: m.f32(kernels, 12), [V.Out]: out };
    near(floats(m.runEverySplit(m.instruction(Opcode.Convolution, V.Length, n, operands), out, y.length)), y);
    if (path !== Path.Planes) {
      const add = m.instruction(Opcode.Convolution, V.Length, n, { ...operands, [V.Add]: 1 });
      m.run(add, 2);
      m.checkGuards();
      near(
        m.readF32(out, y.length),
        y.map((v) => 2 * v),
      );
    }
    const gradient = new Float64Array(kernels.length);
    eachProduct(s, (i, t, q) => {
      gradient[t] += x[i] * back[q];
    });
    const to = m.alloc(gradient.length * 4, 4);
    const ip = m.instruction(Opcode.ConvolutionKernel, V.Length, 1, {
      ...{ ...words, [V.Kernels]: m.f32(back), [V.Out]: to, [V.Block]: n },
    });
    near(floats(m.runEverySplit(ip, to, gradient.length)), gradient);
  }

  describe.each([Border.Zeros, Border.Reflect, Border.Replicate, Border.Circular])("border %i", (around) => {
    it.each([Path.Gathered, Path.Precise])("path %i: every tail of rows, and as far as a mirror reaches", (path) => {
      for (let w = 1; w <= 10; w++) {
        for (const pad of [
          [1, Math.min(1, w - 1)],
          [2, 0],
          [2, w - 1],
        ] as const)
          check({ n: 3, groups: 1, c: 2, o: 5, size: [3, w], taps: [3, 1], pad, stride: 1, around }, path);
        const far = Math.min(2, w - 1);
        check({ n: 2, groups: 2, c: 2, o: 3, size: [5, w + 2], taps: [2, 3], pad: [1, far], stride: 2, around }, path);
      }
    });

    it("plane by plane: every tail of rows", () => {
      for (let w = 1; w <= 12; w++)
        for (const stride of [1, 2, 3])
          for (const taps of [
            [3, 3],
            [5, 5],
            [2, 1],
          ] as const) {
            const pad = [Math.min(2, taps[0] - 1), Math.min(2, taps[1] - 1, w + 1)] as const;
            check({ n: 2, groups: 3, c: 1, o: 1, size: [6, w + 2], taps, pad, stride, around }, Path.Planes);
          }
    });
  });
});
