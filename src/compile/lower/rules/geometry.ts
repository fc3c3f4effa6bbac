/** @file How windows slide over up to three axes, whatever is done with them, and how that is cut into units. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import { ROWS } from "../emission.ts";
import { PIECES } from "./axes.ts";

/** Place q of the result sees at tap t place q stride + t dilation - padding of its source, or of the source spread apart. */
export interface Geometry {
  readonly inner: readonly number[];
  readonly outer: readonly number[];
  readonly taps: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly padding: readonly number[];
  readonly spread: readonly number[];
  /** What is around the source. */
  readonly around: isa.Border;
  /** Which places of a plane these are: the first, and from place to place along each axis; in elements. */
  readonly places: Steps;
  /** Which of a kernel's taps. */
  readonly kernel: Steps;
}

export interface Steps {
  readonly first: number;
  readonly step: readonly number[];
}

/** Elements from place to place of a dense plane. */
export function strides([, h, w]: readonly number[]): number[] {
  return [h * w, w, 1];
}

/** Without the first and last taps of each axis that see nothing of the source; `taps` may be 0 then. */
export function trimmed(g: Geometry): Geometry {
  const axes = g.taps.map((taps, i) => {
    const seen = (t: number): boolean => {
      const from = t * g.dilation[i] - g.padding[i];
      return from < g.inner[i] && from + (g.outer[i] - 1) * g.stride[i] >= 0;
    };
    let [first, last] = [0, taps];
    while (first < last && !seen(first)) first++;
    while (first < last && !seen(last - 1)) last--;
    return { first, taps: last - first };
  });
  return {
    ...g,
    taps: axes.map((a) => a.taps),
    padding: axes.map((a, i) => g.padding[i] - a.first * g.dilation[i]),
    kernel: { ...g.kernel, first: axes.reduce((at, a, i) => at + a.first * g.kernel.step[i], g.kernel.first) },
  };
}

/** Places of an axis that see the same taps, counted from 0, as if there were no others. */
interface Residue {
  readonly first: number;
  readonly places: number;
  readonly lastTap: number;
  readonly taps: number;
  readonly tapStep: number;
  readonly dilation: number;
  readonly padding: number;
}

/** Units of work on samples that have so many rows each: blocks of samples where there are enough, else pieces of a sample's rows. */
export function cutSamples(samples: number, rows: number) {
  const whole = samples >= 2 * ROWS;
  const block = whole ? ROWS : 1;
  const pieces = whole ? 1 : Math.max(1, Math.min(rows, Math.ceil(PIECES / Math.max(1, samples))));
  return {
    block,
    pieces,
    units: Math.ceil(samples / block) * pieces,
    /** Bytes of a float32 value of samples that a unit has; 0 if any unit may touch any. */
    unitOf: ({ shape }: Node): number => (whole ? ROWS * numel(shape.slice(1)) * 4 : 0),
  };
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** The residues of an axis of `size` places, modulo the stride, that a convolution sends something back to. */
function residues(size: number, taps: number, stride: number, dilation: number, padding: number): Residue[] {
  const tapStep = stride / gcd(dilation, stride);
  return Array.from({ length: Math.min(stride, size) }, (_, first) => {
    const seen = Array.from({ length: taps }, (_t, t) => t).filter(
      (t) => (first + padding - t * dilation) % stride === 0,
    );
    const lastTap = seen[seen.length - 1] ?? 0;
    return {
      first,
      places: Math.ceil((size - first) / stride),
      lastTap,
      taps: seen.length,
      tapStep,
      dilation: (tapStep * dilation) / stride,
      padding: seen.length === 0 ? 0 : (lastTap * dilation - first - padding) / stride,
    };
  });
}

/**
 * The adjoint of a convolution to its input, as convolutions with stride 1 of what comes back: one for the places of each residue
 * modulo the stride, with the taps that see them, turned around. None has a tap that sees nothing. `taps` may be 0.
 */
export function adjoints(of: Geometry): Geometry[] {
  const axes = of.outer.map((size, i) => residues(size, of.taps[i], of.stride[i], of.dilation[i], of.padding[i]));
  const [kernelStep, placeStep] = [strides(of.taps), of.places.step];
  const sum = (values: readonly number[], steps: readonly number[]): number =>
    values.reduce((s, v, i) => s + v * steps[i], 0);
  const ones = [1, 1, 1];
  return axes[0].flatMap((d) =>
    axes[1].flatMap((h) =>
      axes[2].map((w) => {
        const axis = [d, h, w];
        return {
          ...of,
          outer: axis.map((r) => r.places),
          taps: axis.map((r) => r.taps),
          stride: ones,
          dilation: axis.map((r) => r.dilation),
          padding: axis.map((r) => r.padding),
          places: {
            first:
              of.places.first +
              sum(
                axis.map((r) => r.first),
                placeStep,
              ),
            step: placeStep.map((s, i) => s * of.stride[i]),
          },
          kernel: {
            first: sum(
              axis.map((r) => r.lastTap),
              kernelStep,
            ),
            step: kernelStep.map((s, i) => -s * axis[i].tapStep),
          },
        };
      }),
    ),
  );
}
