/** @file Images in other resolutions. */
import { ShapeError, ValueError } from "../../core/errors.ts";
import { checkOptions, type Names } from "../../core/options.ts";
import { checkCount, show } from "../../core/shape.ts";
import { tensor } from "../../tensor/creation.ts";
import { checkTensors, Tensor } from "../../tensor/tensor.ts";
import { averages } from "./adaptive.ts";
import { perAxis, type Sizes } from "./sizes.ts";

/** [..., C r^2, H, W] to [..., C, H r, W r]. */
export function pixelShuffle(x: Tensor, upscaleFactor: number): Tensor {
  checkTensors("pixelShuffle", { x });
  const r = upscaleFactor;
  const [c, h, w] = x.shape.slice(-3);
  if (x.ndim < 3 || !Number.isInteger(r) || r < 1 || c % (r * r) !== 0)
    throw new ShapeError(`pixelShuffle: the channels of shape ${show(x.shape)} do not divide by ${r} squared`);
  const lead = x.shape.slice(0, -3);
  const k = lead.length;
  return x
    .reshape([...lead, c / (r * r), r, r, h, w])
    .permute([...lead.map((_, i) => i), k, k + 3, k + 1, k + 4, k + 2])
    .reshape([...lead, c / (r * r), h * r, w * r]);
}

export interface InterpolateOptions {
  /** Extents of the result. */
  size?: Sizes | null;
  /** Or what extents are multiplied with, rounded down. */
  scaleFactor?: Sizes | null;
  /** "linear", "bilinear" and "trilinear" for 1, 2 and 3 spatial axes. */
  mode?: "nearest" | "nearest-exact" | "linear" | "bilinear" | "trilinear" | "area";
  /** Linear modes: whether the middles of the corner pixels fall together, instead of their outer edges. */
  alignCorners?: boolean | null;
  /** Whether pixels are spaced by the extents (rounded) instead of by scaleFactor. */
  recomputeScaleFactor?: boolean | null;
}

export const INTERPOLATE_NAMES: Names<InterpolateOptions> = {
  size: true,
  scaleFactor: true,
  mode: true,
  alignCorners: true,
  recomputeScaleFactor: true,
};

const LINEAR = { linear: 1, bilinear: 2, trilinear: 3 } as const;

/** [N, C, ...] resized along the spatial axes. */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  checkTensors("interpolate", { x });
  const {
    size,
    scaleFactor,
    mode = "nearest",
    alignCorners = false,
    recomputeScaleFactor = false,
  } = checkOptions("interpolate", options, INTERPOLATE_NAMES);
  const rank = x.ndim - 2;
  if (rank < 1 || rank > 3)
    throw new ShapeError(`interpolate: the input must have 3 to 5 axes, got shape ${show(x.shape)}`);
  const linear = Object.hasOwn(LINEAR, mode);
  if (!linear && !["nearest", "nearest-exact", "area"].includes(mode))
    throw new ValueError(`interpolate: there is no mode ${String(mode)}`);
  if (linear && LINEAR[mode as keyof typeof LINEAR] !== rank)
    throw new ShapeError(`interpolate: mode ${mode} does not fit shape ${show(x.shape)}`);
  const given = (v: Sizes | null | undefined): v is Sizes => v !== undefined && v !== null;
  if (given(size) === given(scaleFactor)) throw new ValueError("interpolate: give either size or scaleFactor");
  const factors = given(scaleFactor)
    ? typeof scaleFactor === "number"
      ? new Array<number>(rank).fill(scaleFactor)
      : [...scaleFactor]
    : undefined;
  if (factors && (factors.length !== rank || factors.some((f) => !(f > 0 && Number.isFinite(f)))))
    throw new ValueError(
      `interpolate: scaleFactor must be positive, one number or ${rank}, got ${String(scaleFactor)}`,
    );
  const image = x.shape.slice(2);
  const to = perAxis(
    "interpolate",
    "size",
    factors ? image.map((d, i) => Math.floor(d * factors[i])) : (size as Sizes),
    rank,
    1,
  );
  for (const d of to) checkCount("interpolate", "places along an axis", d, 2 ** 24);
  if (mode === "area") return averages(x, to);
  return to.reduce((y, d, i) => {
    const n = image[i];
    const step = factors && !recomputeScaleFactor ? 1 / factors[i] : n / d;
    const place = (k: number): number => {
      if (mode === "nearest") return Math.floor(Math.fround(k * Math.fround(step)));
      if (mode === "nearest-exact") return Math.floor(Math.fround((k + 0.5) * Math.fround(step)));
      if (alignCorners) return d > 1 ? (k * (n - 1)) / (d - 1) : 0;
      return Math.max(0, (k + 0.5) * step - 0.5);
    };
    const places = new Float64Array(d);
    for (let k = 0; k < d; k++) places[k] = place(k);
    return sampled(y, 2 + i, places);
  }, x);
}

/** x at places along an axis, between two elements by their distance. */
function sampled(x: Tensor, axis: number, places: Float64Array): Tensor {
  const last = x.shape[axis] - 1;
  const low = new Int32Array(places).map((p) => Math.min(p, last));
  const here = x.indexSelect(axis, tensor(low));
  if (places.every(Number.isInteger)) return here;
  const next = x.indexSelect(axis, tensor(low.map((p) => Math.min(p + 1, last))));
  const distances = new Float32Array(places.map((p, k) => p - low[k]));
  const weights = tensor(distances, [places.length, ...x.shape.slice(axis + 1).map(() => 1)]);
  return here.mul(weights.neg().add(1)).add(next.mul(weights));
}
