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

type Mode = "nearest" | "nearest-exact" | "linear" | "bilinear" | "trilinear" | "bicubic" | "area";

export interface InterpolateOptions {
  /** Extents of the result. */
  size?: Sizes | null;
  /** Or what extents are multiplied with, rounded down. */
  scaleFactor?: Sizes | null;
  /** "linear", "bilinear" and "trilinear" for 1, 2 and 3 spatial axes, "bicubic" for 2. */
  mode?: Mode;
  /** Linear and cubic modes: whether the middles of the corner pixels fall together, instead of their outer edges. */
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

/** Of each mode: what it makes of places between elements, and for how many axes it is; 0 for any. */
const MODES: Record<Mode, { readonly taps: number; readonly rank: number }> = {
  nearest: { taps: 1, rank: 0 },
  "nearest-exact": { taps: 1, rank: 0 },
  area: { taps: 1, rank: 0 },
  linear: { taps: 2, rank: 1 },
  bilinear: { taps: 2, rank: 2 },
  trilinear: { taps: 2, rank: 3 },
  bicubic: { taps: 4, rank: 2 },
};

/** [N, C, ...] resized along the spatial axes. */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  checkTensors("interpolate", { x });
  const {
    size,
    scaleFactor,
    mode = "nearest",
    alignCorners,
    recomputeScaleFactor,
  } = checkOptions("interpolate", options, INTERPOLATE_NAMES);
  const rank = x.ndim - 2;
  if (rank < 1 || rank > 3)
    throw new ShapeError(`interpolate: the input must have 3 to 5 axes, got shape ${show(x.shape)}`);
  if (!Object.hasOwn(MODES, mode))
    throw new ValueError(`interpolate: mode must be one of ${Object.keys(MODES).join(", ")}, got ${String(mode)}`);
  const { taps, rank: only } = MODES[mode];
  if (only !== 0 && only !== rank)
    throw new ShapeError(`interpolate: mode ${mode} does not fit shape ${show(x.shape)}`);
  const given = <T>(v: T | null | undefined): v is T => v !== undefined && v !== null;
  if (given(size) === given(scaleFactor)) throw new ValueError("interpolate: give either size or scaleFactor");
  if (given(alignCorners) && taps === 1)
    throw new ValueError(`interpolate: alignCorners is for linear and cubic modes, mode is ${mode}`);
  if (given(size) && recomputeScaleFactor === true)
    throw new ValueError("interpolate: recomputeScaleFactor is for scaleFactor, size is given");
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
    const step = factors && recomputeScaleFactor !== true ? 1 / factors[i] : n / d;
    const place = (k: number): number => {
      // PyTorch's index is the floor of a product in float32.
      if (mode === "nearest") return Math.floor(Math.fround(k * Math.fround(step)));
      if (mode === "nearest-exact") return Math.floor(Math.fround((k + 0.5) * Math.fround(step)));
      if (alignCorners) return d > 1 ? (k * (n - 1)) / (d - 1) : 0;
      const at = (k + 0.5) * step - 0.5;
      return taps === 2 ? Math.max(0, at) : at;
    };
    const places = new Float64Array(d);
    for (let k = 0; k < d; k++) places[k] = place(k);
    return sampled(y, 2 + i, places, taps);
  }, x);
}

/** How much the elements from the one before a place on count, by how far behind its element the place lies: Keys' cubics (1981). */
function cubics(t: number): number[] {
  const a = -0.75;
  const near = (d: number): number => ((a + 2) * d - (a + 3)) * d * d + 1;
  const far = (d: number): number => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return [far(t + 1), near(t), near(1 - t), far(2 - t)];
}

/** x at places along an axis: from the elements around each of them, the ones at the ends standing for what is outside. */
function sampled(x: Tensor, axis: number, places: Float64Array, taps: number): Tensor {
  const last = x.shape[axis] - 1;
  const select = (offset: number): Tensor => {
    const index = new Int32Array(places.length);
    places.forEach((p, k) => {
      index[k] = Math.min(Math.max(Math.floor(p) + offset, 0), last);
    });
    return x.indexSelect(axis, tensor(index));
  };
  if (taps === 1 || places.every(Number.isInteger)) return select(0);
  const weights = Array.from(places, (p) => {
    const t = p - Math.floor(p);
    return taps === 2 ? [1 - t, t] : cubics(t);
  });
  const ones = x.shape.slice(axis + 1).map(() => 1);
  return Array.from({ length: taps }, (_, i) => {
    const weight = tensor(
      Float32Array.from(weights, (w) => w[i]),
      [places.length, ...ones],
    );
    return select(taps === 2 ? i : i - 1).mul(weight);
  }).reduce((a, b) => a.add(b));
}
